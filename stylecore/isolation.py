"""A guest in somebody's program: what we compute neither depends on the state that its host has given torch, nor
changes it. The default dtype is no context but the whole process's: where it would matter, a dtype is named.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
Y = TypeVar("Y")
R = TypeVar("R")
DEVICES_WITH_AUTOCAST = ("cpu", "cuda", "mps")


@contextmanager
def isolated() -> Iterator[None]:
    """For a `with` or a function: gradients are recorded, tensors are made on the CPU, and nothing is autocast."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for kind in DEVICES_WITH_AUTOCAST:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def isolated_steps(steps: Callable[P, Generator[Y, None, R]]) -> Callable[P, Generator[Y, None, R]]:
    """For a generator function, whose body runs in the state of whoever asks for the next step: each is `isolated`."""

    @functools.wraps(steps)
    def wrapped(*args: P.args, **options: P.kwargs) -> Generator[Y, None, R]:
        made = steps(*args, **options)
        try:
            while True:
                with isolated():
                    try:
                        step = next(made)
                    except StopIteration as end:
                        return end.value
                yield step
        finally:
            made.close()

    return wrapped
