"""How events wait: jobs one at a time a worker, and within their visitor's quota, all else beside them."""

from __future__ import annotations

import contextvars
import functools
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Timer
from typing import Any, TypeVar

import gradio as gr

from .gradio_internals import current_visitor
from .messages import message_of
from .quota import Quota
from .settings import Settings
from .timings import Timings

JOBS = "jobs"  # all kinds of them, in Gradio's queue
BESIDE_JOBS: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private"}
# Past the queue, which may be full; but without it Gradio's messages and errors do not reach the page.
PARKED_S = 60  # for so long a job waits for the visitor whose page has gone
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}

T = TypeVar("T")
Job = Callable[..., Any]  # a generator function; Gradio wants endpoints annotated with what they yield
Say = Callable[[str], Any]  # a sentence as a job's last frame


class JobQueue:
    """Wires jobs: generator functions that compute between their yields.

    As many at a time as there are workers, whoever asks for them: more at once would each take longer. Where the server
    is its own worker, one thread computes them all: of every thread that ever did, glibc, MKL and oneDNN keep memory
    for its next time, and Gradio would run each step of a job in whichever of its forty is free.
    """

    def __init__(self, settings: Settings, timings: Timings | None = None) -> None:
        self.quota, self.timings = Quota(settings), timings or Timings()
        self._is_closed = False
        self._attended: set[str] = set()
        self._parked: dict[str, tuple[Generator[Any, None, None], Timer]] = {}
        self._limit: dict[str, Any] = {"concurrency_id": JOBS, "concurrency_limit": settings.workers}
        self._threads = ThreadPoolExecutor(settings.workers, thread_name_prefix="jobs")
        self._open: set[Generator[Any, None, None]] = set()

    def wire(self, listen: Callable[..., T], job: Job, *arguments: Any, say: Say | None = None, **options: Any) -> T:
        """Hand a job to an event's listener or to `gr.api`, and return what that returns; `say` as `as_job` has it."""
        return listen(self.as_job(job, say), *arguments, **options, **self._limit)

    def as_job(self, job: Job, say: Say | None = None) -> Callable[..., Iterator[Any]]:
        """The job in a thread of its own kind, charged to the visitor who started it.

        Whatever goes wrong ends in one sentence, `message_of` the error: in a gr.Error, or the frame that `say` makes.
        """

        @functools.wraps(job)
        def run(*arguments: Any, **options: Any) -> Iterator[Any]:
            began = time.monotonic()
            try:
                yield from self.quota.charge(current_visitor(), self._in_thread(job(*arguments, **options)))
            except Exception as error:
                sentence = message_of(error)
                if say is None:
                    raise gr.Error(sentence, print_exception=False) from error
                yield say(sentence)
            finally:
                self.timings.note_job(time.monotonic() - began)

        return run

    def before_all(self, work: Callable[[], Any]) -> None:
        """Have something done in the jobs' thread, before the first of them."""
        self._threads.submit(work)

    def park(self, key: str, frames: Generator[Any, None, None]) -> None:
        """Keep a job whose visitor has gone, as it is and without computing, for a minute."""
        if self._is_closed:
            frames.close()
            return
        timer = Timer(PARKED_S, self._end_parked, [key])
        timer.daemon = True
        self._parked[key] = (frames, timer)
        timer.start()

    def attend(self, key: str) -> None:
        """Somebody watches that job."""
        self._attended.add(key)

    def leave(self, key: str) -> None:
        """Nobody does any more."""
        self._attended.discard(key)

    def is_attended(self, key: str) -> bool:
        """Whether somebody does."""
        return key in self._attended

    def is_parked(self, key: str) -> bool:
        """Whether that job waits for its visitor."""
        return key in self._parked

    def unpark(self, key: str) -> Generator[Any, None, None] | None:
        """The job's frames, to be gone on with; None if it has been given up."""
        frames, timer = self._parked.pop(key, (None, None))
        if timer is not None:
            timer.cancel()
        return frames

    def _end_parked(self, key: str) -> None:
        frames = self.unpark(key)
        if frames is not None:
            self._threads.submit(frames.close)

    def close(self) -> None:
        """End the jobs within their steps at work: no job computes any more, or writes a file."""
        self._is_closed = True
        for frames in tuple(self._open):
            self._threads.submit(frames.close)
        for key in tuple(self._parked):
            self._end_parked(key)
        self._threads.shutdown()

    def _in_thread(self, frames: Generator[T, None, None]) -> Generator[T, None, None]:
        """The job's frames, and into it whatever is thrown here."""
        end, thrown = object(), None
        self._open.add(frames)
        try:
            while (frame := self._call(_advance, frames, thrown, end)) is not end:
                try:
                    yield frame
                    thrown = None
                except Exception as error:
                    thrown = error
        finally:
            self._open.discard(frames)
            self._call(frames.close)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run it in the thread, with the caller's context: Gradio's messages find their visitor by it."""
        return self._threads.submit(contextvars.copy_context().run, function, *arguments).result()


def _advance(frames: Generator[T, None, None], thrown: Exception | None, end: object) -> T | object:
    """The next frame, or `end`. (A future that holds a StopIteration would break the generator that reads it.)"""
    try:
        return next(frames) if thrown is None else frames.throw(thrown)
    except StopIteration:
        return end
