"""How events wait: jobs one at a time, in one thread and within their visitor's quota, all else beside them."""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from .gradio_internals import current_visitor
from .quota import Quota
from .settings import Settings

# One job at a time on the machine, whoever asks for it: two at once would both take twice as long.
ONE_JOB: dict[str, Any] = {"concurrency_id": "one job", "concurrency_limit": 1}
BESIDE_JOBS: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private"}
# Past the queue, which may be full; but without it Gradio's messages and errors do not reach the page.
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}

T = TypeVar("T")
Job = Callable[..., Any]  # a generator function; Gradio wants endpoints annotated with what they yield


class JobQueue:
    """Wires jobs: generator functions that compute between their yields.

    One thread computes them all: of every thread that ever did, glibc, MKL and oneDNN keep memory for its next time,
    and Gradio would run each step of a job in whichever of its forty is free.
    """

    def __init__(self, settings: Settings) -> None:
        self.quota = Quota(settings)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")

    def wire(self, listen: Callable[..., T], job: Job, *arguments: Any, **options: Any) -> T:
        """Hand a job to an event's listener or to `gr.api`, and return what that returns."""
        return listen(self.as_job(job), *arguments, **options, **ONE_JOB)

    def as_job(self, job: Job) -> Callable[..., Iterator[Any]]:
        """The job in the one thread, charged to the visitor who started it."""

        @functools.wraps(job)
        def run(*arguments: Any, **options: Any) -> Iterator[Any]:
            yield from self.quota.charge(current_visitor(), self._in_thread(job(*arguments, **options)))

        return run

    def _in_thread(self, frames: Generator[T, None, None]) -> Generator[T, None, None]:
        end = object()
        try:
            while (frame := self._call(next, frames, end)) is not end:
                yield frame
        finally:
            self._call(frames.close)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run it in the thread, with the caller's context: Gradio's messages find their visitor by it."""
        return self._thread.submit(contextvars.copy_context().run, function, *arguments).result()
