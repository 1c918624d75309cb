"""What a program does once, before torch is loaded. The library does none of it: a guest leaves its host as it is."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from stylecore.allocator import keep_freed_memory

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130

# Torch's threads spin while they wait for work, so that two programs on the same cores slow one another several times:
# docs/benchmarks/neighbours.md. OpenMP reads this once, when it is loaded; what the user has set stays.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}


@contextmanager
def starting(name: str) -> Iterator[None]:
    """Around the imports of a program: `name` is what its messages begin with.

    Ctrl-C and SIGTERM end it at once and in one line, for an exception could come out of anything that is being
    imported, as any error; afterwards both are a KeyboardInterrupt. A terminal that lacks a letter gets its code.
    """
    for variable, value in WAITING.items():
        os.environ.setdefault(variable, value)
    keep_freed_memory()
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # closed: the next file that is opened would take its number
            setattr(sys, stream, open(os.devnull, "w"))  # noqa: PTH123, SIM115
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]

    def stop(*_: object) -> None:
        os.write(2, f"{name}: Stopped before anything was begun.\n".encode())
        os._exit(EXIT_INTERRUPTED)

    is_ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN  # as shells start what runs in the background
    heard = [signal.SIGTERM] if is_ignored else [signal.SIGTERM, signal.SIGINT]
    for number in heard:
        signal.signal(number, stop)
    yield
    for number in heard:
        signal.signal(number, signal.default_int_handler)


@contextmanager
def printing(name: str) -> Iterator[None]:
    """Around all that a program does afterwards. What stdout does not take, as on a full disk, ends in one line, and a
    reader who has seen enough, such as `head`, in none; both with status 1.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:  # of a file, not of stdout
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python tries once more at its end
        if not isinstance(error, BrokenPipeError):
            os.write(2, f"{name}: The result could not be printed: {error.strerror}.\n".encode())
        sys.exit(EXIT_FAILED)
