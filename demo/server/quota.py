"""Seconds that jobs compute, counted for each visitor."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any, TypeVar

from stylecore.errors import StylecoreError

from .settings import Settings

WINDOW_S = 3600

T = TypeVar("T")


class NoTimeLeftError(StylecoreError):
    """A visitor's seconds are spent. Thrown into a running job, which may show what it has got before it ends."""


class Quota:
    """Counts the seconds that jobs compute for each visitor, and ends those that take too many."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._spent: deque[tuple[float, str, float]] = deque()  # when, by whom, seconds

    def charge(self, visitor: str, job: Generator[T, None, None]) -> Iterator[T]:
        """The job's frames. A NoTimeLeftError is thrown into it, once, when the visitor's seconds are spent."""
        allowed, spent, end = self.allowance(visitor), 0.0, object()
        advance: Callable[[], Any] = partial(next, job, end)
        try:
            while True:
                began = time.monotonic()
                try:
                    frame = advance()
                except StopIteration:  # thrown into, it had nothing more to show
                    return
                finally:
                    spent += time.monotonic() - began
                if frame is end:
                    return
                yield frame
                advance = partial(next, job, end)
                if spent > allowed:
                    advance, allowed = partial(job.throw, _too_long()), float("inf")
        finally:
            job.close()
            self._spent.append((time.monotonic(), visitor, spent))

    def allowance(self, visitor: str) -> float:
        """Seconds that a job of this visitor may take now. Raises a NoTimeLeftError if there are none."""
        now = time.monotonic()
        while self._spent and now - self._spent[0][0] > WINDOW_S:
            self._spent.popleft()
        spent = tuple(self._spent)  # a job that is closed elsewhere may add to it
        own = self.settings.client_seconds - sum(seconds for _, who, seconds in spent if who == visitor)
        all_left = self.settings.total_seconds - sum(seconds for _, _, seconds in spent)
        if min(own, all_left) <= 0:
            whose = "You have used your" if own <= 0 else "Visitors have used all the"
            raise NoTimeLeftError(f"{whose} time on this server for now: try again later.")
        return min(own, all_left, self.settings.job_seconds)


def _too_long() -> NoTimeLeftError:
    return NoTimeLeftError("This job takes longer than the server allows: choose a smaller size or fewer steps.")
