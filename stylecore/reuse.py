"""What was computed of a picture, for the next job that has the same picture: its sizes, checksum, colours, moments.

Only within `reusing()`, and for as long as the picture itself is kept: who keeps few pictures keeps little of this.
Where seconds are compared nothing may be reused, nor of a picture that its owner may change in place.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Concatenate, ParamSpec, TypeVar

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

P = ParamSpec("P")
R = TypeVar("R")

_found: WeakIdKeyDictionary = WeakIdKeyDictionary()  # picture -> {function and arguments: what it returned}
_is_reusing: ContextVar[bool] = ContextVar("is_reusing", default=False)


@contextmanager
def reusing() -> Iterator[None]:
    """Within, functions that are `per_picture` compute once what they are asked for again."""
    token = _is_reusing.set(True)
    try:
        yield
    finally:
        _is_reusing.reset(token)


def known_of(picture: Tensor) -> dict[Hashable, Any]:
    """What is known of a picture, to be added to. Outside `reusing()` nothing is, nor will be."""
    return _found.setdefault(picture, {}) if _is_reusing.get() else {}


def per_picture(function: Callable[Concatenate[Tensor, P], R]) -> Callable[Concatenate[Tensor, P], R]:
    """For a function of a picture and of what can be hashed, whose result nobody changes and which has no part of the
    picture in it: else neither would ever go."""

    @functools.wraps(function)
    def wrapped(picture: Tensor, *args: P.args, **options: P.kwargs) -> R:
        known, key = known_of(picture), (function, args, tuple(options.items()))
        if key in known:
            return known[key]
        found = function(picture, *args, **options)
        if found is not picture:
            known[key] = found
        return found

    return wrapped
