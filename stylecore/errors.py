"""What can go wrong, in sentences meant for the user. The CLI and the demo show `str(error)` and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class StylecoreError(Exception):
    """Base of every error that a user can mend; its message is one sentence that says what to do."""


class ImageError(StylecoreError):
    """A file or array that is not an image we accept."""


class OutputError(StylecoreError):
    """A place where nothing can be written."""


class WeightsError(StylecoreError):
    """Encoder weights that are missing, damaged, or made for another network."""


class OptionError(StylecoreError):
    """An option out of range, unknown, or at odds with another."""


class NotEnoughMemoryError(StylecoreError):
    """The job would not fit; the message names the size that would."""


class DivergenceError(StylecoreError):
    """The optimisation left the finite numbers; `last_good` is the last image before it did, (1, 3, H, W)."""

    def __init__(self, message: str, last_good: Any = None) -> None:  # the default lets it be pickled
        super().__init__(message)
        self.last_good = last_good


def unknown(kind: str, name: object, choices: Iterable[str]) -> OptionError:
    """The error for a name that is not among `choices`: suggests the nearest, else lists all."""
    names = [str(choice) for choice in choices]
    near = get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(names)}."
    return OptionError(f"Unknown {kind} '{name}': {hint}")
