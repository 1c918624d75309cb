"""Seconds that jobs compute, counted for each visitor."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator
from typing import TypeVar

import gradio as gr

from .settings import Settings

WINDOW_S = 3600

T = TypeVar("T")


class Quota:
    """Counts the seconds that jobs compute for each visitor, and ends those that take too many."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._spent: deque[tuple[float, str, float]] = deque()  # when, by whom, seconds

    def charge(self, visitor: str, job: Generator[T, None, None]) -> Iterator[T]:
        """The job's frames. Raises a gr.Error that says so once the visitor's seconds are spent."""
        allowed, spent, end = self.allowance(visitor), 0.0, object()
        try:
            while spent <= allowed:
                began = time.monotonic()
                try:
                    frame = next(job, end)
                finally:
                    spent += time.monotonic() - began
                if frame is end:
                    return
                yield frame  # type: ignore[misc]
            raise gr.Error("This job takes longer than the server allows.", print_exception=False)
        finally:
            job.close()
            self._spent.append((time.monotonic(), visitor, spent))

    def allowance(self, visitor: str) -> float:
        """Seconds that a job of this visitor may take now. Raises a gr.Error that says so if there are none."""
        now = time.monotonic()
        while self._spent and now - self._spent[0][0] > WINDOW_S:
            self._spent.popleft()
        own = self.settings.client_seconds - sum(seconds for _, who, seconds in self._spent if who == visitor)
        all_left = self.settings.total_seconds - sum(seconds for _, _, seconds in self._spent)
        if min(own, all_left) <= 0:
            whose = "You have used your" if own <= 0 else "Visitors have used all the"
            raise gr.Error(f"{whose} time on this server for now: try again later.", print_exception=False)
        return min(own, all_left, self.settings.job_seconds)
