"""Processes that paint for one page, so that several visitors' jobs go on side by side: `--workers N`.

A job's pictures go to a process once, and frames come back as arrays of bytes. A process that dies is replaced, and its
job goes on from the last frame that came.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

import gradio as gr
import numpy as np
import psutil
import torch

from stylecore.errors import OptionError
from stylecore.images import ImageTensor, load_image, to_uint8
from stylecore.job import Job

from ..live import Frame, Point, run_job

ATTEMPTS = 3  # at a job whose process dies: that may be the job's fault
JOBS_EACH, MIB_EACH = 200, 4096  # after so many jobs, or holding so much, a process is replaced by a fresh one
STOP, END = "stop", "end"
LOST = "The process that paints was lost. A new one goes on from the last picture."
GIVEN_UP = f"The process that paints was lost {ATTEMPTS} times: choose a smaller size."

Frames = Generator[Frame, None, None]


class Workers:
    """So many processes; `frames` is `live.run_job` in the first that is free.

    Args:
        number: each has an equal share of the cores, or one GPU after the other where there are any.
        jobs_each, mib_each: bounds of one process.
    """

    def __init__(self, number: int, *, jobs_each: int = JOBS_EACH, mib_each: float = MIB_EACH) -> None:
        self._all = [_Worker(index, number, jobs_each, mib_each) for index in range(number)]
        self._free: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self._all:
            self._free.put(worker)

    @property
    def pids(self) -> list[int]:
        """Of the processes as they are now."""
        return [worker.process.pid or 0 for worker in self._all]

    def frames(self, job: Job, image: ImageTensor | None = None) -> Frames:
        """As `run_job`, whose errors come with the first frame."""
        worker = self._free.get()
        try:
            yield from worker.frames(job, image)
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """End all processes, whatever they do."""
        for worker in self._all:
            worker.is_closed = True
            worker.end()


class _Worker:
    """A process, and the next one when that has done its part."""

    def __init__(self, index: int, number: int, jobs_each: int, mib_each: float) -> None:
        self.index, self.number, self.jobs_each, self.mib_each = index, number, jobs_each, mib_each
        self.is_closed = False
        self._start()

    def frames(self, job: Job, image: ImageTensor | None) -> Frames:
        """Of a job in the process, or in as many as it takes."""
        before: Frame | None = None  # the last one of a process that was lost
        last: Frame | None = None
        for _ in range(ATTEMPTS):
            try:
                for frame in self._frames_of_one(job, before.image if before else image, before.step if before else 0):
                    if before is None or frame.step:
                        last = frame if before is None else _joined(before, frame)
                        yield last
                self._renew()
                return
            except (EOFError, OSError):
                if self.is_closed:
                    return
                self.end()
                self._start()
                before = last
                if last is not None and last.step == job.config.num_steps:
                    return
                gr.Info(LOST)
        raise OptionError(GIVEN_UP)

    def _frames_of_one(self, job: Job, image: ImageTensor | None, num_made: int) -> Iterator[Frame]:
        is_at_work = True
        try:
            self.pipe.send((job, image, num_made))
            while (message := self.pipe.recv()) != END:
                if isinstance(message, Exception):
                    is_at_work = False
                    raise message
                pixels, *values = message
                yield Frame(job, load_image(pixels), *values)
            is_at_work = False
        except (EOFError, OSError):
            is_at_work = False
            raise
        finally:
            if is_at_work:  # whoever watched has gone
                self._stop()

    def _stop(self) -> None:
        """What was under way comes first; then it has ended."""
        with suppress(EOFError, OSError):
            self.pipe.send(STOP)
            while (message := self.pipe.recv()) != END and not isinstance(message, Exception):
                pass

    def _renew(self) -> None:
        """A fresh process after so many jobs, or for one that has grown: torch and glibc keep what they had."""
        self.num_jobs += 1
        with suppress(psutil.Error):
            held_mib = psutil.Process(self.process.pid).memory_info().rss / 2**20
            if self.num_jobs >= self.jobs_each or held_mib > self.mib_each:
                self.end()
                self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        self.pipe, theirs = context.Pipe()
        num_threads = max(1, (os.cpu_count() or 1) // self.number)
        self.process = context.Process(
            target=_work, args=(theirs, num_threads, self.index), name=f"painter {self.index}", daemon=True
        )
        self.process.start()
        theirs.close()  # so that its end shows here when the process ends
        self.num_jobs = 0

    def end(self) -> None:
        """Whatever it does."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _joined(before: Frame, frame: Frame) -> Frame:
    """A frame of the process that goes on, with what those before it have seen."""
    losses = tuple(Point(before.step + step, *rest) for step, *rest in frame.losses)
    return replace(
        frame,
        seconds=before.seconds + frame.seconds,
        losses=before.losses + losses,
        distances=before.distances + frame.distances,
    )


def _work(pipe: Connection, num_threads: int, index: int) -> None:
    """A process's whole life: jobs come, frames go."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's
    torch.set_num_threads(num_threads)
    if torch.cuda.device_count():
        torch.cuda.set_device(index % torch.cuda.device_count())
    with suppress(EOFError, OSError):  # the server has gone
        while True:
            message = pipe.recv()
            if message != STOP:  # of a job that had ended by then
                _paint(pipe, *message)


def _paint(pipe: Connection, job: Job, image: ImageTensor | None, num_made: int) -> None:
    try:
        for frame in run_job(job, image, num_made):
            pipe.send(_packed(frame))
            if pipe.poll():  # STOP
                pipe.recv()
                break
        pipe.send(END)
    except Exception as error:
        pipe.send(error)


def _packed(frame: Frame) -> tuple[Any, ...]:
    pixels: np.ndarray[Any, Any] = to_uint8(frame.image)
    return (pixels, frame.step, frame.seconds, frame.losses, frame.distances, frame.trouble)
