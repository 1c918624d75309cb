"""Where jobs are painted for the page but not in its server: the worker's side, and a process that has it.

What a worker says while it paints is the same wherever it is: frames, then the end or an error. Pictures on the way are
JPEGs, which the page shows as they come; the last one, which becomes the result, comes to the bit.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import psutil
import torch

from stylecore.devices import resident_memory_mib
from stylecore.images import ImageTensor, load_image, to_uint8
from stylecore.job import Job

from ..live import Frame, Point, frame_jpeg, run_job

STOP, END = "stop", "end"


class LostError(Exception):
    """A worker has gone in the middle of whatever it did."""


@dataclass(frozen=True)
class PackedFrame:
    """A frame on its way, without the job, which its receiver has."""

    picture: bytes | np.ndarray[Any, Any]  # a JPEG; of the last frame the 8-bit pixels
    step: int
    seconds: float
    losses: tuple[Point, ...]
    distances: tuple[Point, ...]
    trouble: str
    is_last: bool

    @classmethod
    def of(cls, frame: Frame) -> PackedFrame:
        """As it is sent."""
        picture = to_uint8(frame.image) if frame.is_last else frame_jpeg(frame.image)
        values = (frame.step, frame.seconds, frame.losses, frame.distances, frame.trouble, frame.is_last)
        return cls(picture, *values)

    def unpacked(self, job: Job) -> Frame:
        """As it was."""
        values = (self.step, self.seconds, self.losses, self.distances, self.trouble, self.is_last)
        return Frame(
            job, load_image(self.picture), *values, jpeg=self.picture if isinstance(self.picture, bytes) else b""
        )


Message = PackedFrame | Exception | str  # a frame; or the last one: what went wrong, or END


def paint(job: Job, image: ImageTensor | None, num_made: int, is_stopped: Callable[[], bool]) -> Iterator[Message]:
    """All that a worker says of a job, as `run_job` has it."""
    try:
        for frame in run_job(job, image, num_made, is_stopped):
            yield PackedFrame.of(frame)
    except Exception as error:
        yield error
    else:
        yield END


class Painter(ABC):
    """A worker as the page's server sees it: one job at a time.

    Raises:
        LostError: out of every method but `end`, if the worker has gone.
    """

    def frames(self, job: Job, image: ImageTensor | None, num_made: int) -> Iterator[Frame]:
        """Of a job, whose errors are raised; closed, it has the worker stop, and waits for that."""
        self.begin(job, image, num_made)
        is_at_work = True
        try:
            while isinstance(message := self.receive(), PackedFrame):
                yield message.unpacked(job)
            is_at_work = False
            if isinstance(message, Exception):
                raise message
        finally:
            if is_at_work:
                with suppress(LostError):
                    self.stop()
                    while isinstance(self.receive(), PackedFrame):
                        pass

    def wait(self) -> None:  # noqa: B027 - a process of this machine is there at once
        """Until it is there. Raises an OptionError if there is no room for it."""

    @property
    @abstractmethod
    def pid(self) -> int:
        """Of its process."""

    @abstractmethod
    def begin(self, job: Job, image: ImageTensor | None, num_made: int) -> None:
        """Have it paint."""

    @abstractmethod
    def receive(self) -> Message:
        """What it says next."""

    @abstractmethod
    def stop(self) -> None:
        """Have it end after the step at work. It still says so."""

    @abstractmethod
    def held_mib(self) -> float:
        """Of the main memory, while it has no job."""

    @abstractmethod
    def end(self) -> None:
        """It goes, whatever it does."""


class ProcessPainter(Painter):
    """A process of this machine.

    Args:
        index, number: the how manieth of so many, which share the cores; or each has a GPU, one after the other.
    """

    def __init__(self, index: int, number: int) -> None:
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        self.pipe, theirs = context.Pipe()
        num_threads = max(1, (os.cpu_count() or 1) // number)
        self.process = context.Process(
            target=_work, args=(theirs, num_threads, index), name=f"painter {index}", daemon=True
        )
        self.process.start()
        theirs.close()  # so that its end shows here when the process ends

    @property
    def pid(self) -> int:
        return self.process.pid or 0

    def begin(self, job: Job, image: ImageTensor | None, num_made: int) -> None:
        self._send((job, image, num_made))

    def receive(self) -> Message:
        try:
            message: Message = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise LostError from error
        return message

    def stop(self) -> None:
        self._send(STOP)

    def _send(self, message: Any) -> None:
        try:
            self.pipe.send(message)
        except OSError as error:
            raise LostError from error

    def held_mib(self) -> float:
        try:
            return resident_memory_mib(self.pid)
        except psutil.Error as error:
            raise LostError from error

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _work(pipe: Connection, num_threads: int, index: int) -> None:
    """A process's whole life: jobs come, frames go."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's
    torch.set_num_threads(num_threads)
    if torch.cuda.device_count():
        torch.cuda.set_device(index % torch.cuda.device_count())
    with suppress(EOFError, OSError):  # the server has gone
        while True:
            message = pipe.recv()
            if message != STOP:  # of a job that has ended
                job, image, num_made = message
                for said in paint(job, image, num_made, pipe.poll):  # what comes meanwhile is STOP
                    pipe.send(said)
