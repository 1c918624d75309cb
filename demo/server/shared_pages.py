"""The addresses of what was shared: /r/<token>, a result, and /c/<token>, a comparison, each with a head of its own.

They are pages without Gradio: a recipient on a phone sees the picture at once.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from stylecore.errors import OptionError, StylecoreError
from stylecore.report.viewer import VIEWER_CSS, VIEWER_JS, View, viewer_html

from . import gradio_internals
from .gradio_internals import host_of
from .heads import Head
from .messages import message_of
from .shared_results import Shared, SharedResults
from .votes import Votes

RESULT, COMPARISON = "r", "c"
CARD, PICTURE, PHOTO, PAGE = "card.jpg", "result.png", "photo.jpg", "comparison.html"
FILES = {RESULT: (CARD, PICTURE, PHOTO), COMPARISON: (CARD,)}
HEADERS = {
    "Cache-Control": "no-cache",  # what is taken back is gone
    "X-Robots-Tag": "noindex",  # nobody finds it who was not sent the link
}
INSIDE = "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
INSIDE += "connect-src 'self'; base-uri 'none'; form-action 'none'; "
INVITATIONS = {RESULT: "Try it with your photo.", COMPARISON: "Look closer, and say which you like."}
FRAMED_BY = {RESULT: "frame-ancestors 'self' https://huggingface.co", COMPARISON: "frame-ancestors *"}
LOG_IN = "This server asks for a login: log in first, then open the link again."


def routes(shared: SharedResults, votes: Votes) -> list[Route]:
    """All of them, for the app that serves the page."""
    results, comparisons = _Results(RESULT, shared), _Comparisons(COMPARISON, shared, votes)
    return [*results.routes, *comparisons.routes]


def answered(endpoint: Callable[..., Response]) -> Callable[..., Response]:
    """An endpoint for those who are admitted, and one sentence for what goes wrong."""

    @wraps(endpoint)
    def answer(self: Any, request: Request) -> Response:
        try:
            if not gradio_internals.is_admitted(request):
                return _sentence(request, LOG_IN, 401)
            return endpoint(self, request)
        except StylecoreError as error:
            return _sentence(request, message_of(error), 404 if request.method in ("GET", "HEAD") else 400)

    return answer


class _Pages(ABC):
    """What is shared of one kind."""

    def __init__(self, kind: str, shared: SharedResults) -> None:
        self.kind, self.shared = kind, shared

    @property
    def routes(self) -> list[Route]:
        """Under /<kind>/<token>."""
        address = f"/{self.kind}/{{token}}"
        return [
            Route(address, self.page),
            Route(address, self.take_back, methods=["DELETE"]),
            Route(f"{address}/{{name}}", self.file),
        ]

    @abstractmethod
    def page(self, request: Request) -> Response:
        """What a link opens."""

    @answered
    def file(self, request: Request) -> Response:
        """A picture of a shared thing."""
        shared, name = self.find(request), request.path_params["name"]
        path = shared.file(name) if name in FILES[self.kind] else None
        if path is None:
            raise OptionError("There is no such file.")
        return FileResponse(
            path, headers=HEADERS, filename="stylecore.png" if "download" in request.query_params else None
        )

    @answered
    def take_back(self, request: Request) -> Response:
        """Delete it, for whoever has the key."""
        self.shared.take_back(request.path_params["token"], self.kind, request.headers.get("x-key", ""))
        return JSONResponse({"detail": "Taken back: nobody can open it any more."})

    def find(self, request: Request) -> Shared:
        return self.shared.find(request.path_params["token"], self.kind)

    def head(self, request: Request, shared: Shared) -> Head:
        address = f"{gradio_internals.root_url(request)}/{self.kind}/{shared.token}"
        words = f"{shared.record.description} {INVITATIONS[self.kind]}"
        return Head(shared.record.title, words, address, f"{address}/{CARD}")

    def answer(self, text: str) -> HTMLResponse:
        return HTMLResponse(text, headers=HEADERS | {"Content-Security-Policy": INSIDE + FRAMED_BY[self.kind]})

    def rendered(self, template: str, shared: Shared, **values: Any) -> str:
        end = shared.folder.stat().st_mtime + self.shared.max_age_s
        until = f"{time.gmtime(end).tm_mday} {time.strftime('%B %Y', time.gmtime(end))}"
        return _templates().get_template(template).render(token=shared.token, until=until, **values)


class _Results(_Pages):
    @answered
    def page(self, request: Request) -> Response:
        """The result first, before and after where the photo is shared, then how to make one's own."""
        shared = self.find(request)
        views = [View("Photo", f"{shared.token}/{PHOTO}")] if shared.file(PHOTO) else []
        views.append(View("Result", f"{shared.token}/{PICTURE}"))
        text = self.rendered(
            "shared_result.html",
            shared,
            head=Markup(self.head(request, shared).tags()),
            record=shared.record,
            viewer=Markup(viewer_html(views, ("Photo", "Result") if len(views) > 1 else None)),
            css=Markup(VIEWER_CSS),
            js=Markup(VIEWER_JS),
        )
        return self.answer(text)


class _Comparisons(_Pages):
    def __init__(self, kind: str, shared: SharedResults, votes: Votes) -> None:
        super().__init__(kind, shared)
        self.votes = votes

    @property
    def routes(self) -> list[Route]:
        """And where votes go."""
        address = f"/{self.kind}/{{token}}/votes"
        return [Route(address, self.vote, methods=["POST"]), Route(f"{address}.csv", self.counts), *super().routes]

    @answered
    def page(self, request: Request) -> Response:
        """The page that `stylecore compare` writes, with a head, and what can be done with a shared one."""
        shared = self.find(request)
        above, _, rest = (shared.folder / PAGE).read_text(encoding="utf-8").partition("<title>")
        page = above + self.head(request, shared).tags() + rest.partition("</title>")[2]
        names = shared.record.variants if self.votes.are_wanted else ()
        start, end, rest = page.rpartition("</body>")
        return self.answer(start + self.rendered("shared_comparison.html", shared, names=names) + end + rest)

    @answered
    def vote(self, request: Request) -> Response:
        """One of two unlabelled variants is better: their numbers are in the query."""
        self.votes.add(self.find(request), request.query_params, host_of(request.client))
        return JSONResponse({"detail": "Thank you."})

    @answered
    def counts(self, request: Request) -> Response:
        """How often which variant was said to be better than which."""
        return PlainTextResponse(self.votes.csv(self.find(request)), media_type="text/csv", headers=HEADERS)


def _sentence(request: Request, sentence: str, status: int) -> Response:
    """For a browser a page that leads on, for a script a line."""
    if request.method not in ("GET", "HEAD"):
        return JSONResponse({"detail": sentence}, status)
    page = _templates().get_template("sentence.html").render(sentence=sentence)
    return HTMLResponse(page, status, headers=HEADERS)


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
