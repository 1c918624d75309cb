"""Votes on shared comparisons, where the host wants them: which of two unlabelled variants is better by eye."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping

from stylecore.errors import OptionError

from .limits import RateLimit
from .settings import Settings
from .shared_results import HOUR_S, Shared

FILE = "votes.jsonl"  # beside the record; a line a vote, so that several servers may add to it
MAX_BYTES = 2**20
CLIENT_VOTES = 200  # of one address within an hour


class Votes:
    """Counts them, unless the settings say otherwise."""

    def __init__(self, settings: Settings) -> None:
        self.are_wanted = settings.votes
        self._limit = RateLimit(CLIENT_VOTES, HOUR_S)

    def add(self, shared: Shared, numbers: Mapping[str, str], visitor: str) -> None:
        """The variant of number `better` is better than that of `worse`.

        Raises:
            OptionError: no such variants, too many votes, or a host who wants none.
        """
        if not self.are_wanted:
            raise OptionError("This server takes no votes.")
        names, path = shared.record.variants, shared.folder / FILE
        try:
            better, worse = int(numbers["better"]), int(numbers["worse"])
            is_vote = better != worse and min(better, worse) >= 0 and max(better, worse) < len(names)
        except (KeyError, ValueError):
            is_vote = False
        if not is_vote:
            raise OptionError(f"A vote names two of the {len(names)} variants: ?better=0&worse=1.")
        if not self._limit.allows(visitor) or (path.is_file() and path.stat().st_size > MAX_BYTES):
            raise OptionError("There are enough votes of yours for now: thank you.")
        with path.open("a", encoding="ascii") as file:
            file.write(json.dumps([better, worse]) + "\n")

    def counts(self, shared: Shared) -> Counter[tuple[str, str]]:
        """How often the first was said to be better than the second."""
        names, path = shared.record.variants, shared.folder / FILE
        lines = path.read_text(encoding="ascii").splitlines() if path.is_file() else []
        votes = [json.loads(line) for line in lines]
        return Counter((names[better], names[worse]) for better, worse in votes)

    def csv(self, shared: Shared) -> str:
        """The counts of all pairs that have any."""
        text = io.StringIO()
        rows = [(*pair, count) for pair, count in sorted(self.counts(shared).items())]
        csv.writer(text, lineterminator="\n").writerows([("better", "worse", "votes"), *rows])
        return text.getvalue()
