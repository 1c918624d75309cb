"""What all commands say in the same way: progress, notes, errors, exit statuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from stylecore.engine import Step
from stylecore.errors import StylecoreError

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130

messages = Console(stderr=True, highlight=False, soft_wrap=True)


class InterruptedRunError(StylecoreError):
    """Ctrl-C, after what there was has been saved."""


@contextmanager
def progress(total: int) -> Iterator[Callable[..., None]]:
    """A bar with the loss and the time left, on a terminal's stderr only: report(step, done_before=0, name="")."""
    columns = (BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"), TextColumn("loss {task.fields[loss]}"))
    name_column = TextColumn("{task.description}")
    with Progress(
        name_column, *columns, TimeRemainingColumn(), console=messages, transient=True, disable=not messages.is_terminal
    ) as bar:
        task = bar.add_task("stylizing", total=total, loss="-")

        def report(step: Step, done_before: int = 0, name: str = "stylizing") -> None:
            # Reading the loss waits for the device: only as often as a person can read it.
            if step.index % 5 == 0 or step.index == step.total:
                loss = f"{float(step.losses.total):.3g}"
                bar.update(task, completed=done_before + step.index, description=name, loss=loss)

        yield report


class DownloadBar:
    """A download's progress as pooch tells it: `total` is set, then `update`, `reset` and `close` are called."""

    def __init__(self, bar: Progress) -> None:
        self.bar, self.task = bar, bar.add_task("downloading", total=None, visible=False)

    @property
    def total(self) -> float | None:
        return self.bar.tasks[self.task].total

    @total.setter
    def total(self, size: float) -> None:
        self.bar.update(self.task, total=size, visible=True)

    def update(self, size: int) -> None:
        self.bar.advance(self.task, size)

    def reset(self) -> None:
        self.bar.reset(self.task, visible=True)

    def close(self) -> None:
        self.bar.update(self.task, visible=False)


@contextmanager
def downloading() -> Iterator[DownloadBar]:
    """A bar for the encoder's weights, shown if they have to be downloaded, on a terminal's stderr only."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as bar:
        yield DownloadBar(bar)


def print_note(message: Warning | str, *_: Any, **__: Any) -> None:
    """In the place of `warnings.showwarning`."""
    messages.print(f"Note: {message}")


def print_error(message: str, status: int) -> int:
    """One line on stderr; returns the status."""
    messages.print(f"stylecore: {' '.join(message.split())}", markup=False)
    return status
