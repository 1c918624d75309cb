"""What visitors have painted within the last hour: pictures and settings, by tokens that their browsers remember."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stylecore.config import StylizeConfig
from stylecore.errors import OptionError

from .cleanup import MAX_AGE_S
from .uploads import is_there

MAX_RESULTS = 2000  # a kilobyte each
GONE = "This picture is gone: the server keeps pictures for an hour."


@dataclass(frozen=True)
class Result:
    """A finished picture, and all that shows it again."""

    path: Path  # the PNG, with its settings inside
    photo: Path  # in the same size
    values: dict[str, Any]  # of the page's controls, by name, as the browser sent them
    config: StylizeConfig  # which goes beyond the controls where a picture went on from another
    words: str  # how it ended
    seconds: float  # that it took
    film: Path  # of how it came about
    made: float = field(default_factory=time.time)

    @property
    def is_there(self) -> bool:
        """Both of its files."""
        return is_there(str(self.path)) and is_there(str(self.photo))


class Results:
    """The last results of this server. Nobody finds one without its token."""

    def __init__(self) -> None:
        self._results: OrderedDict[str, Result] = OrderedDict()

    def add(self, result: Result) -> str:
        """Remember a result, and return its token."""
        token = secrets.token_urlsafe(16)
        self._results[token] = result
        while self._results and (len(self._results) > MAX_RESULTS or self._is_old(next(iter(self._results.values())))):
            self._results.popitem(last=False)
        return token

    def find(self, token: str) -> Result:
        """The result. Raises an OptionError if it is gone."""
        result = self._results.get(str(token))
        if result is None or not result.is_there:
            raise OptionError(GONE)
        return result

    def found(self, tokens: list[str]) -> dict[str, Result]:
        """Those that are still there, by their tokens."""
        known = {token: self._results[token] for token in map(str, tokens) if token in self._results}
        return {token: result for token, result in known.items() if result.is_there}

    def _is_old(self, result: Result) -> bool:
        return time.time() - result.made > MAX_AGE_S
