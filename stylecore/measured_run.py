"""A job's run with what is measured on the way: the curve, seconds, distances, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

from stylecore.devices import find_device, synchronize
from stylecore.encoders import Encoder
from stylecore.engine import Ending, Step, Steps, job_steps, job_yardstick
from stylecore.errors import DivergenceError
from stylecore.images import ImageTensor, resize_image
from stylecore.job import NUM_MADE_KEY, Job
from stylecore.metrics import Distances, Yardstick
from stylecore.objective import Fitted

NUM_CURVE_POINTS = 12


class CurvePoint(NamedTuple):
    """The yardstick's distances after a step."""

    step: int
    seconds: float  # the engine's own
    distances: Distances


class MeasuredRun:
    """Iterate it for a job's steps; abandon it to stop. What is measured is no part of its seconds.

    Divergence does not raise out of it: the run ends with the last good image and `trouble`.

    Args:
        job: what is run.
        encoder, start, num_made, fitted: as `stylize_steps` has them.
        marks: steps to measure as they come.

    Raises:
        OptionError, NotEnoughMemoryError: when made, if the job is impossible.
    """

    def __init__(
        self,
        job: Job,
        *,
        encoder: Encoder | None = None,
        start: ImageTensor | None = None,
        num_made: int = 0,
        fitted: Fitted | None = None,
        marks: Collection[int] = (),
        yardstick: Yardstick | None = None,
    ) -> None:
        self.job, self.marks = job, marks
        self.step: Step | None = None  # the last
        self.curve: list[CurvePoint] = []
        self.seconds_measuring = 0.0
        self.reason: Literal["finished", "target", "budget", "diverged", "stopped"] = "stopped"
        self.trouble = ""  # why it ended early, for the user
        self.fitted: Fitted = {}
        self._steps: Steps = job_steps(job, encoder=encoder, start=start, num_made=num_made, fitted=fitted)
        self._waited = 0.0
        self._last_good: ImageTensor | None = None
        self._yardstick = yardstick

    def __iter__(self) -> Iterator[Step]:
        try:
            ending = yield from self._watched()
            self.reason, self.fitted = ending.reason, ending.fitted
        except DivergenceError as error:
            self.reason, self.trouble, self._last_good = "diverged", str(error), error.last_good

    def _watched(self) -> Steps:
        while True:
            try:
                self.step = next(self._steps)
            except StopIteration as end:
                ending: Ending = end.value
                return ending
            if self.step.index in self.marks:
                self.measure()
            yield self.step

    @property
    def num_steps(self) -> int:
        """Evaluations made."""
        return self.step.index if self.step else 0

    @property
    def seconds(self) -> float:
        """The engine's own time so far."""
        return self._waited + (self.step.seconds if self.step else 0.0)

    @property
    def image(self) -> ImageTensor:
        """The last one, on the CPU, as `as_result` has it."""
        image = self._last_good
        if image is None:
            assert self.step is not None, "there is no image before the first step"
            image = self.step.image
        return self.as_result(image.cpu())

    def as_result(self, image: ImageTensor) -> ImageTensor:
        """Brought to the result's size if it comes from a coarser stage."""
        return resize_image(image, *self.job.size)

    @cached_property
    def yardstick(self) -> Yardstick:
        """On the job's device."""
        return self._yardstick or job_yardstick(self.job, find_device(self.job.config.device))

    def settings(self) -> dict[str, Any]:
        """The job's, and where there are evaluations to be made yet, how many were made: what `--resume` asks for."""
        is_stopped = self.reason == "stopped" and self.step is not None and self.step.index < self.step.total
        return self.job.settings() | ({NUM_MADE_KEY: self.num_steps} if is_stopped else {})

    def wait(self) -> None:
        """Until the device has made the last step: the wait is the engine's time, not the consumer's."""
        if self.step is not None:
            started = time.perf_counter()
            synchronize(self.step.image.device)
            self._waited += time.perf_counter() - started

    def measure(self) -> CurvePoint:
        """The distances now; they go onto the curve unless this step was measured already."""
        if self.curve and self.curve[-1].step == self.num_steps and self._last_good is None:
            return self.curve[-1]
        self.wait()
        started = time.perf_counter()
        point = CurvePoint(self.num_steps, self.seconds, self.yardstick.measure(self.image))
        self.seconds_measuring += time.perf_counter() - started
        if self._last_good is None:
            self.curve.append(point)
        return point

    @property
    def distances(self) -> Distances:
        """Of the last image."""
        return self.measure().distances

    def to_end(self) -> MeasuredRun:
        """Drain the steps, and measure the last image."""
        for _ in self:
            pass
        self.measure()
        return self


def curve_steps(num_steps: int, num_points: int = NUM_CURVE_POINTS) -> set[int]:
    """At most `num_points` of the steps 1 .. num_steps, log-spaced, the first and the last always."""
    return {round(num_steps ** (index / (num_points - 1))) for index in range(num_points)}


def in_turns(
    runs: Sequence[Callable[[], object]], *, min_runs: int, min_seconds: float = 0.0, warm_up: int = 1, turn: int = 1
) -> list[list[float]]:
    """Seconds of every call of each, interleaved, so that a machine that slows down slows all of them.

    Args:
        runs: what is timed; each waits for its device itself.
        min_runs, min_seconds: each is done when it has both.
        warm_up: calls of each beforehand that do not count.
        turn: calls of one before the next has its turn.
    """
    for run in runs:
        for _ in range(warm_up):
            run()
    samples: list[list[float]] = [[] for _ in runs]
    waiting = list(zip(runs, samples, strict=True))
    while waiting:
        for run, seconds in waiting:
            for _ in range(turn):
                started = time.perf_counter()
                run()
                seconds.append(time.perf_counter() - started)
        waiting = [(run, s) for run, s in waiting if len(s) < min_runs or sum(s) < min_seconds]
    return samples
