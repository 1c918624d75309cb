"""What one visitor, and all of them together, may ask of this server; and the headers of all its answers."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.context import LocalContext
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.serving import ONE_JOB
from stylecore.errors import OptionError

WINDOW_S = 3600
JOINS = re.compile(r"/gradio_api/(queue/join|call/.+)/?")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # an address may hold a shared result's secret name
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    # Only what cannot break Gradio's page, whose scripts and styles are inline. Spaces show it in a frame.
    "Content-Security-Policy": "object-src 'none'; base-uri 'self'; frame-ancestors 'self' https://huggingface.co",
}


@dataclass(frozen=True)
class Limits:
    """Each field can be set by the environment: `STYLECORE_` and its name in capitals."""

    client_jobs: float = 4  # of one address, waiting and running
    job_seconds: float = 1800  # of computing, as all below
    client_seconds: float = 3600  # of one address, within an hour
    total_seconds: float = 3600  # of all, within an hour

    @classmethod
    def from_environment(cls) -> Limits:
        """Raises an OptionError for a value that is no positive number."""
        given = {}
        for field in dataclasses.fields(cls):
            variable = f"STYLECORE_{field.name.upper()}"
            if variable in os.environ:
                given[field.name] = _positive(variable, os.environ[variable])
        return cls(**given)


def _positive(variable: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise OptionError(f"{variable} must be a number above 0, not '{text}'.")
    return value


class Meter:
    """Counts the seconds that jobs compute for each client, and ends those that take too many."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._spent: deque[tuple[float, str, float]] = deque()  # when, by whom, seconds

    def put_on(self, app: gr.Blocks) -> None:
        """Count every job of the app, started from the page or by a program."""
        for function in app.fns.values():
            if function.concurrency_id == ONE_JOB["concurrency_id"] and function.fn is not None:
                function.fn = self._metered(function.fn) if function.types_generator else self._timed(function.fn)

    def _metered(self, job: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        @functools.wraps(job)
        def run(*arguments: Any, **options: Any) -> Iterator[Any]:
            client = _client()
            allowed, spent = self.allowance(client), 0.0
            frames = job(*arguments, **options)
            try:
                while True:
                    began = time.monotonic()
                    try:
                        frame = next(frames)
                    except StopIteration:
                        return
                    finally:
                        spent += time.monotonic() - began
                    yield frame
                    if spent > allowed:
                        raise gr.Error("This job takes longer than the server allows.", print_exception=False)
            finally:
                frames.close()  # type: ignore[attr-defined]
                self.add(client, spent)

        return run

    def _timed(self, job: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(job)
        def run(*arguments: Any, **options: Any) -> Any:
            client = _client()
            self.allowance(client)
            began = time.monotonic()
            try:
                return job(*arguments, **options)
            finally:
                self.add(client, time.monotonic() - began)

        return run

    def allowance(self, client: str) -> float:
        """Seconds that a job of this client may take now. Raises a gr.Error that says so if there are none."""
        now = time.monotonic()
        while self._spent and now - self._spent[0][0] > WINDOW_S:
            self._spent.popleft()
        own = self.limits.client_seconds - sum(seconds for _, who, seconds in self._spent if who == client)
        all_left = self.limits.total_seconds - sum(seconds for _, _, seconds in self._spent)
        if min(own, all_left) <= 0:
            whose = "You have used your" if own <= 0 else "Visitors have used all the"
            raise gr.Error(f"{whose} time on this server for now: try again later.", print_exception=False)
        return min(own, all_left, self.limits.job_seconds)

    def add(self, client: str, seconds: float) -> None:
        """Seconds that a client's job has taken, now at its end."""
        self._spent.append((time.monotonic(), client, seconds))


def _client() -> str:
    request = LocalContext.request.get(None)
    return _host(request.client) if request else ""


def _host(address: Any) -> str:
    """Of a Starlette address, or of the pair that ASGI has for it; "" for none."""
    return address[0] if address else ""


class Door:
    """ASGI middleware: turns away clients with too many jobs, and puts `HEADERS` on every answer."""

    def __init__(self, app: ASGIApp, blocks: gr.Blocks, limits: Limits) -> None:
        self.app, self.blocks, self.limits = app, blocks, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if scope["type"] == "http" and self._is_too_much(scope):
            detail = f"You have {self.limits.client_jobs:g} jobs here already: wait until one has ended."
            await JSONResponse({"detail": detail}, status_code=429)(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)

    def _is_too_much(self, scope: Scope) -> bool:
        if scope["method"] != "POST" or not JOINS.fullmatch(scope["path"]):
            return False
        return self._num_jobs(_host(scope["client"])) >= self.limits.client_jobs

    def _num_jobs(self, client: str) -> int:
        """Waiting and running, as Gradio's queue knows them."""
        queue = self.blocks._queue
        waiting = [event for each in queue.event_queue_per_concurrency_id.values() for event in each.queue]
        running = [event for job in queue.active_jobs for event in job or ()]
        return sum(_host(event.request.client) == client for event in waiting + running)
