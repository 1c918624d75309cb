"""In front of Gradio: who is turned away, what is refused, and the headers of all answers."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, NoReturn

import gradio as gr
import safehttpx
from fastapi.exceptions import RequestValidationError
from gradio.utils import get_upload_folder
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.server.settings import DISK_IS_FULL, Limits
from demo.server.uploads import host_of

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


FAILED = {"detail": "The server failed at this request."}
_log = logging.getLogger(__name__)


class Door:
    """ASGI middleware: turns away clients with too many jobs, and puts `HEADERS` on every answer."""

    def __init__(self, app: ASGIApp, blocks: gr.Blocks, limits: Limits) -> None:
        self.app, self.blocks, self.limits = app, blocks, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        async def answer(content: dict[str, str], status_code: int) -> None:
            await JSONResponse(content, status_code)(scope, receive, send_with_headers)

        if scope["type"] == "http" and self._is_too_much(scope):
            jobs = f"{self.limits.client_jobs:g} jobs"
            await answer({"detail": f"You have {jobs} here already: wait until one has ended."}, 429)
            return
        if scope["type"] == "http" and self._is_full(scope):
            await answer({"detail": DISK_IS_FULL}, 507)
            return
        try:
            await self.app(scope, receive, send_with_headers)
        except Exception:  # what Gradio does not foresee, such as a number that no function has
            if scope["type"] != "http" or has_started:
                raise
            # Raised further, it would make uvicorn close the connection under the visitor's next request.
            _log.exception("a request failed")
            await answer(FAILED, 500)

    def _is_too_much(self, scope: Scope) -> bool:
        if scope["method"] != "POST" or not JOINS.fullmatch(scope["path"]):
            return False
        return self._num_jobs(host_of(scope["client"])) >= self.limits.client_jobs

    def _is_full(self, scope: Scope) -> bool:
        folder = Path(get_upload_folder())
        return UPLOADS.fullmatch(scope["path"]) is not None and folder.exists() and not self.limits.has_room(folder)

    def _num_jobs(self, client: str) -> int:
        """Waiting and running, as Gradio's queue knows them."""
        queue = self.blocks._queue
        waiting = [event for each in queue.event_queue_per_concurrency_id.values() for event in each.queue]
        running = [event for job in queue.active_jobs for event in job or ()]
        return sum(host_of(event.request.client) == client for event in waiting + running)


async def refuse(_: Request, error: Exception) -> JSONResponse:
    """Say what is wrong with a request, without its body: FastAPI quotes it, and fails where it is no text."""
    assert isinstance(error, RequestValidationError)
    detail = [{key: each[key] for key in ("type", "loc", "msg")} for each in error.errors()]
    return JSONResponse({"detail": detail}, status_code=422)


def fetch_nothing() -> None:
    """Keep Gradio from fetching what a visitor names by a web address: into memory, whatever its size, or for others.

    It has no setting for that; all its fetching goes through these two functions of safehttpx.
    """

    async def turn_down(*_: Any, **__: Any) -> NoReturn:
        raise gr.Error("A picture must be an uploaded file, not an address.", print_exception=False)

    safehttpx.get = safehttpx.async_validate_url = turn_down
