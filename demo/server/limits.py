"""How often a visitor may do something."""

from __future__ import annotations

import time
from collections import deque


class RateLimit:
    """Counts what each visitor does within a time.

    Args:
        number: how often is allowed.
        within_s: seconds.
    """

    def __init__(self, number: float, within_s: float) -> None:
        self.number, self.within_s = number, within_s
        self._done: deque[tuple[float, str]] = deque()

    def allows(self, visitor: str) -> bool:
        """Whether the visitor may do it once more now, which is then counted."""
        now = time.monotonic()
        while self._done and now - self._done[0][0] > self.within_s:
            self._done.popleft()
        if sum(who == visitor for _, who in tuple(self._done)) >= self.number:
            return False
        self._done.append((now, visitor))
        return True
