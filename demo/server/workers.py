"""Workers that paint for one page, so that several visitors' jobs go on side by side: `--workers N`, `--ray ADDRESS`.

One that dies is replaced, and its job goes on from the last frame that came.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import replace
from queue import SimpleQueue

import gradio as gr

from stylecore.errors import OptionError
from stylecore.images import ImageTensor
from stylecore.job import Job

from ..live import Frame, Point
from .painters import LostError, Painter

ATTEMPTS = 3  # at a job whose worker dies: that may be the job's fault
JOBS_EACH, MIB_EACH = 200, 4096  # after so many jobs, or holding so much, a worker is replaced by a fresh one
LOST = "The process that paints was lost. A new one goes on from the last picture."
GIVEN_UP = f"The process that paints was lost {ATTEMPTS} times: choose a smaller size."

Frames = Generator[Frame, None, None]


class Workers:
    """So many of them; `frames` is `live.run_job` in the first that is free.

    Args:
        number: of the workers.
        start: makes the one of an index below the number.
        jobs_each, mib_each: bounds of one.
    """

    def __init__(
        self,
        number: int,
        start: Callable[[int], Painter],
        *,
        jobs_each: int = JOBS_EACH,
        mib_each: float = MIB_EACH,
    ) -> None:
        self._all = [_Worker(index, start, jobs_each, mib_each) for index in range(number)]
        self._free: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self._all:
            self._free.put(worker)

    @property
    def pids(self) -> list[int]:
        """Of the processes as they are now."""
        return [worker.painter.pid for worker in self._all]

    def wait(self) -> None:
        """Until all are there. Raises an OptionError if there is no room for one, a LostError if it died."""
        for worker in self._all:
            worker.painter.wait()

    def frames(self, job: Job, image: ImageTensor | None = None) -> Frames:
        """As `run_job`, whose errors come with the first frame."""
        worker = self._free.get()
        try:
            yield from worker.frames(job, image)
        finally:
            try:
                worker.renew_when_due()
            finally:
                self._free.put(worker)

    def close(self) -> None:
        """End all workers, whatever they do."""
        for worker in self._all:
            worker.is_closed = True
            worker.painter.end()


class _Worker:
    """A painter, and the next one when that has done its part."""

    def __init__(self, index: int, start: Callable[[int], Painter], jobs_each: int, mib_each: float) -> None:
        self.index, self.start, self.jobs_each, self.mib_each = index, start, jobs_each, mib_each
        self.is_closed = False
        self.painter, self.num_jobs = start(index), 0

    def frames(self, job: Job, image: ImageTensor | None) -> Frames:
        """Of a job in the painter, or in as many as it takes."""
        before: Frame | None = None  # the last one of a painter that was lost
        last: Frame | None = None
        for _ in range(ATTEMPTS):
            try:
                going_on = (before.image, before.step) if before else (image, 0)
                for frame in self.painter.frames(job, *going_on):
                    if before is None or frame.step:
                        last = frame if before is None else _joined(before, frame)
                        yield last
                return
            except LostError:
                if self.is_closed:
                    return
                self._renew()
                before = last
                if last is not None and last.step == job.config.num_steps:
                    return
                gr.Info(LOST)
        raise OptionError(GIVEN_UP)

    def renew_when_due(self) -> None:
        """A fresh painter after so many jobs, or for one that has grown: torch and glibc keep what they had."""
        self.num_jobs += 1
        with suppress(LostError):
            if not self.is_closed and (self.num_jobs >= self.jobs_each or self.painter.held_mib() > self.mib_each):
                self._renew()

    def _renew(self) -> None:
        self.painter.end()
        self.painter, self.num_jobs = self.start(self.index), 0


def _joined(before: Frame, frame: Frame) -> Frame:
    """A frame of the painter that goes on, with what those before it have seen."""
    losses = tuple(Point(before.step + step, *rest) for step, *rest in frame.losses)
    return replace(
        frame,
        seconds=before.seconds + frame.seconds,
        losses=before.losses + losses,
        distances=before.distances + frame.distances,
    )
