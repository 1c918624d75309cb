"""Seconds that jobs compute, counted for each visitor."""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from gradio.context import LocalContext

from demo.server.settings import Limits
from demo.server.uploads import host_of, jobs_of

WINDOW_S = 3600


class Meter:
    """Counts the seconds that jobs compute for each client, and ends those that take too many."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._spent: deque[tuple[float, str, float]] = deque()  # when, by whom, seconds

    def put_on(self, app: gr.Blocks) -> None:
        """Count every job of the app, started from the page or by a program."""
        for function in jobs_of(app):
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
    return host_of(request.client) if request else ""
