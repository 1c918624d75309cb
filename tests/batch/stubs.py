"""What workers do in tests of who does it: importable, because other processes load it by name."""

import os
import signal
from pathlib import Path

from stylecore.batch import Outcome, Task
from stylecore.storage import Storage


def write_line(task: Task, place: str) -> Outcome:
    """A result in no time; a second one of the same task would show, for lines are added."""
    with (Path(place) / f"{task.file}.made").open("a") as file:
        file.write(f"{os.getpid()}\n")
    Storage(place).write(task.file, b"whole")
    return Outcome(task, {"file": task.file})


def die_once(task: Task, place: str) -> Outcome:
    """At its first task named `deadly`, the worker is killed in the middle of it."""
    dead = Path(place) / "dead"
    if task.row == "deadly" and not dead.exists():
        dead.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return write_line(task, place)


def die_always(task: Task, place: str) -> Outcome:
    """No attempt at `deadly` lives."""
    if task.row == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    return write_line(task, place)
