"""ASGI middleware in front of Gradio: the headers of every answer, and what is refused before Gradio sees it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, quote

from fastapi.exceptions import RequestValidationError
from gradio.utils import get_upload_folder
from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .gradio_internals import host_of
from .heads import Head, with_head
from .messages import DISK_IS_FULL
from .settings import Settings

# Behind a proxy there may be its path in front.
JOINS = re.compile(r".*/gradio_api/(queue/join|call/.+)/?")
UPLOADS = re.compile(r".*/gradio_api/upload/?")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # an address may hold a shared result's secret name
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    # Only what cannot break Gradio's page, whose tools and styles are inline. Spaces show it in a frame.
    "Content-Security-Policy": "object-src 'none'; base-uri 'self'; frame-ancestors 'self' https://huggingface.co",
}
# Names of these files have a hash of what is in them, or of the release.
HASHED = re.compile(r".*/(assets|static/fonts)/.*")
FILES = re.compile(r".*/gradio_api/file=.*/[0-9a-f]{32,64}/[^/]*")
FOR_EVER = "public, max-age=31536000, immutable"
FOR_AN_HOUR = "private, max-age=3600"  # visitors' files, which are deleted then
FAILED = "The server failed at this request."

_log = logging.getLogger(__name__)


class SecurityHeaders:
    """Puts `HEADERS` on every answer that has no stricter ones, and answers where Gradio fails."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if message["status"] == 200:
                    headers.update(_cache_control(scope["path"]))
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception:  # what Gradio does not foresee, such as a number that no function has
            if scope["type"] != "http" or has_started:
                raise
            # Raised further, it would make uvicorn close the connection under the visitor's next request.
            _log.exception("a request failed")
            await _refusal(500, FAILED)(scope, receive, send_with_headers)


def _cache_control(path: str) -> dict[str, str]:
    if HASHED.fullmatch(path):
        return {"Cache-Control": FOR_EVER}
    return {"Cache-Control": FOR_AN_HOUR} if FILES.fullmatch(path) else {}


class Compression(GZipMiddleware):
    """Of the page and the answers; Gradio has its own for its assets. Streams are left as they are."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_asset = scope["type"] == "http" and HASHED.fullmatch(scope["path"])
        await (self.app(scope, receive, send) if is_asset else super().__call__(scope, receive, send))


class PageHead:
    """Puts a head of our own on Gradio's page, on its way out: what `launch(head=)` adds comes after Gradio's tags.

    Args:
        head: for a request of the page.
    """

    def __init__(self, app: ASGIApp, head: Callable[[Request], Head]) -> None:
        self.app, self.head = app, head

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_page = scope["type"] == "http" and scope["path"].removeprefix(scope.get("root_path", "")) in ("", "/")
        if not is_page or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        shared = parse_qs(scope["query_string"].decode("latin-1")).get("result", [""])[-1]
        if shared:  # a link of before results had addresses of their own
            await RedirectResponse(f"r/{quote(shared, safe='')}")(scope, receive, send)
            return
        start: Message = {}
        parts: list[bytes] = []

        async def send_with_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            parts.append(message.get("body", b""))
            if message.get("more_body"):
                return
            page = with_head(b"".join(parts), self.head(Request(scope)))
            MutableHeaders(scope=start)["Content-Length"] = str(len(page))
            await send(start)
            await send({"type": "http.response.body", "body": page})

        await self.app(scope, receive, send_with_head)


class RequestLimits:
    """Refuses jobs of visitors who have too many already, and uploads to a disk that is nearly full.

    Args:
        num_jobs: how many a visitor's host has in the queue.
    """

    def __init__(self, app: ASGIApp, settings: Settings, num_jobs: Callable[[str], int]) -> None:
        self.app, self.settings, self.num_jobs = app, settings, num_jobs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refuse(scope) if scope["type"] == "http" else None
        await (refusal or self.app)(scope, receive, send)

    def _refuse(self, scope: Scope) -> JSONResponse | None:
        limit = self.settings.client_jobs
        if scope["method"] == "POST" and JOINS.fullmatch(scope["path"]):
            if self.num_jobs(host_of(scope["client"])) >= limit:
                return _refusal(429, f"You have {limit:g} jobs here already: wait until one has ended.")
        elif UPLOADS.fullmatch(scope["path"]):
            folder = Path(get_upload_folder())
            if folder.exists() and not self.settings.has_room(folder):
                return _refusal(507, DISK_IS_FULL)
        return None


def _refusal(status_code: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status_code)


async def refuse_invalid(_: Request, error: Exception) -> JSONResponse:
    """Say what is wrong with a request, without its body: FastAPI quotes it, and fails where it is no text."""
    assert isinstance(error, RequestValidationError)
    detail = [{key: each[key] for key in ("type", "loc", "msg")} for each in error.errors()]
    return JSONResponse({"detail": detail}, status_code=422)
