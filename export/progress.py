"""How long work is watched: it loops over `track(items, "what is done")` where it would loop over the items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from rich.console import Console
from rich.progress import track as rich_track

T = TypeVar("T")


@runtime_checkable
class Track(Protocol):
    """Gives the items one by one and shows how many are left."""

    def __call__(self, items: Sequence[T], description: str, /) -> Iterable[T]: ...


def untracked(items: Sequence[T], _: str, /) -> Iterable[T]:
    """Nobody watches."""
    return items


def on_terminal(items: Sequence[T], description: str, /) -> Iterable[T]:
    """A bar on stderr while it lasts; nothing where that is no terminal."""
    console = Console(stderr=True)
    return rich_track(items, description, console=console, transient=True, disable=not console.is_terminal)
