"""One thread computes all jobs: of every thread that ever did, glibc, MKL and oneDNN keep memory for its next time."""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import gradio as gr

from demo.server.uploads import jobs_of

T = TypeVar("T")


class Worker:
    """The thread. Gradio would run each step of a job in whichever of its forty is free."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")

    def put_on(self, app: gr.Blocks) -> None:
        """Let every job of the app compute here."""
        for function in jobs_of(app):
            function.fn = self._stepwise(function.fn) if function.types_generator else self._whole(function.fn)

    def _call(self, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Run it in the thread, with the caller's context: Gradio's messages find their visitor by it."""
        return self._thread.submit(contextvars.copy_context().run, function, *arguments, **options).result()

    def _whole(self, job: Callable[..., T]) -> Callable[..., T]:
        @functools.wraps(job)
        def run(*arguments: Any, **options: Any) -> T:
            return self._call(job, *arguments, **options)

        return run

    def _stepwise(self, job: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        @functools.wraps(job)
        def run(*arguments: Any, **options: Any) -> Iterator[Any]:
            frames, end = job(*arguments, **options), object()
            try:
                while (frame := self._call(next, frames, end)) is not end:
                    yield frame
            finally:
                self._call(frames.close)  # type: ignore[attr-defined]

        return run
