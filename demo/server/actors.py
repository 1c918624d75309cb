"""Workers on a Ray cluster: each an actor, which is asked for one frame after the other.

Nothing of a visitor's is put into Ray's object store for longer than it takes to come over: the pictures of a job are
arguments of one call, and a frame is the result of one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from stylecore.cluster import connect
from stylecore.devices import resident_memory_mib
from stylecore.errors import OptionError
from stylecore.images import ImageTensor
from stylecore.job import Job

from .painters import END, LostError, Message, PackedFrame, Painter, paint

START_S = 120.0  # an actor loads torch first
NO_ROOM = "The Ray cluster gives no worker with {:g} CPUs and {:g} GPUs: ask for less, or add nodes."
NOT_THERE = "The Ray cluster's nodes cannot start a worker: install this version of stylecore[demo,ray] on them."


class _Actor:
    """What lives on the cluster. Painting has one thread, and `stop` one of its own."""

    def __init__(self) -> None:
        self._messages: Iterator[Message] = iter(())
        self._stopped = 0  # number of the last job that was

    def pid(self) -> int:
        return os.getpid()

    def held_mib(self) -> float:
        return resident_memory_mib()

    def begin(self, number: int, job: Job, image: ImageTensor | None, num_made: int) -> Message:
        self._messages = paint(job, image, num_made, lambda: self._stopped >= number)
        return self.go_on()

    def go_on(self) -> Message:
        message = next(self._messages, END)
        if not isinstance(message, PackedFrame):
            self._messages = iter(())  # the job's pictures go with it
        return message

    def stop(self, number: int) -> None:
        self._stopped = number


class ActorPainter(Painter):
    """An actor of a cluster.

    Args:
        address: as `cluster.connect` takes it.
        num_cpus, num_gpus: that it asks the cluster for; fractions share one.

    Raises:
        OptionError: no such cluster answers.
    """

    def __init__(self, address: str, num_cpus: float, num_gpus: float) -> None:
        self._ray = ray = connect(address)
        self._asked = num_cpus, num_gpus
        self._number = 0
        self._coming: Any = None
        options = {"num_cpus": num_cpus, "num_gpus": num_gpus, "max_restarts": 0, "max_task_retries": 0}
        actor = ray.remote(concurrency_groups={"control": 1}, **options)(_Actor)
        self._actor = actor.remote()
        self._pid = self._actor.pid.remote()

    def wait(self) -> None:
        try:
            self._get(self._pid, START_S)
        except TimeoutError as error:
            raise OptionError(NO_ROOM.format(*self._asked)) from error

    @property
    def pid(self) -> int:
        self.wait()
        return int(self._get(self._pid))

    def begin(self, job: Job, image: ImageTensor | None, num_made: int) -> None:
        self.wait()  # else a cluster without room would have the visitor wait for ever
        self._number += 1
        self._coming = self._actor.begin.remote(self._number, job, image, num_made)

    def receive(self) -> Message:
        message: Message = self._get(self._coming)
        # The next one is made while this one is shown, and none after it: who does not look, has nothing computed.
        self._coming = self._actor.go_on.remote() if isinstance(message, PackedFrame) else None
        return message

    def stop(self) -> None:
        self._actor.stop.options(concurrency_group="control").remote(self._number)

    def held_mib(self) -> float:
        return float(self._get(self._actor.held_mib.remote()))

    def end(self) -> None:
        self._ray.kill(self._actor, no_restart=True)

    def _get(self, reference: Any, timeout_s: float | None = None) -> Any:
        try:
            return self._ray.get(reference, timeout=timeout_s)
        except self._ray.exceptions.GetTimeoutError:
            raise
        except self._ray.exceptions.RayError as error:
            raise LostError from error
