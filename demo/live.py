"""One stylization as the page shows it: frames at a pace that people can follow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

import stylecore
from stylecore import DivergenceError, Step, StylizeConfig, Yardstick, stylize_steps
from stylecore.devices import find_device
from stylecore.engine import initial_image
from stylecore.images import ImageTensor, fit_size, image_size, resize_image
from stylecore.job import Inputs, check_style_weights
from stylecore.objective import Losses

FRAME_INTERVAL_S = 0.4  # at least, between two frames: smooth to watch, light on the line
MEASURE_AFTER_S, MEASURING_SHARE = 5.0, 0.1  # distances are measured on the way in long jobs, for a tenth of the time

T = TypeVar("T")


class LossPoint(NamedTuple):
    """The weighted terms of the loss at one step."""

    step: int
    total: float
    content: float
    style: float


class DistancePoint(NamedTuple):
    """The yardstick's distances after one step."""

    step: int
    content: float
    style: float


@dataclass(frozen=True)
class Job:
    """What is to be done: pictures and settings that fit each other, or an OptionError."""

    inputs: Inputs
    config: StylizeConfig

    def __post_init__(self) -> None:
        check_style_weights(self.config, self.inputs)

    @property
    def name(self) -> str:
        """From the names of its pictures: `astronaut_flow_strokes`."""
        return "_".join(Path(record["name"]).stem for record in self.inputs.records)

    @property
    def settings(self) -> dict[str, Any]:
        """What travels inside the PNG, as the command line has it."""
        return {"version": stylecore.__version__, "config": self.config.to_dict(), "inputs": self.inputs.records}

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the result in px."""
        return fit_size(image_size(self.inputs.content), self.config.size)


@dataclass(frozen=True)
class Frame:
    """A moment of a job: enough to show it, and to save it as a result if the job ends here."""

    job: Job
    image: ImageTensor  # (1, 3, H, W) in [0, 1], on the CPU, of the result's size
    step: int = 0  # evaluations made; 0: where the optimisation starts
    seconds: float = 0.0  # the engine's own time so far
    losses: tuple[LossPoint, ...] = ()  # every step's
    distances: tuple[DistancePoint, ...] = ()  # of some steps
    trouble: str = ""  # why the job ended early, for the user

    @property
    def seconds_left(self) -> float | None:
        """By the pace so far; None while there is none."""
        return self.seconds / self.step * (self.job.config.num_steps - self.step) if self.step else None


def throttle(events: Iterable[T], must_show: Callable[[T], bool]) -> Iterator[T]:
    """The events that must be shown, and of the others as many as people can follow."""
    shown = time.monotonic()
    for event in events:
        if must_show(event) or time.monotonic() - shown >= FRAME_INTERVAL_S:
            yield event
            shown = time.monotonic()


def run_job(job: Job) -> Iterator[Frame]:
    """Frames of a stylization, the first at once, the last always, and then again with its distances.

    Close the generator to stop the job. Divergence ends it with its last good image and `Frame.trouble`. Raises what
    `stylize_steps` raises.
    """
    inputs, config = job.inputs, job.config
    frame = Frame(job, initial_image(inputs.content, inputs.styles, config, job.size))
    yield frame
    measuring = _Measuring(job)
    waiting: list[Losses] = []
    shown = time.monotonic()
    try:
        for step in stylize_steps(inputs.content, inputs.styles, config):
            waiting.append(step.losses)
            if step.index == step.total or time.monotonic() - shown >= FRAME_INTERVAL_S:
                frame = measuring.add_if_cheap(_following(frame, step, waiting))
                waiting.clear()
                yield frame
                shown = time.monotonic()
        if waiting:  # it ended before its last step was due
            frame = _following(frame, step, waiting)
    except DivergenceError as error:
        image = frame.image if error.last_good is None else resize_image(error.last_good.cpu(), *job.size)
        frame = replace(frame, image=image, trouble=str(error))
    yield measuring.add(frame)


def _following(frame: Frame, step: Step, losses: list[Losses]) -> Frame:
    """The frame at `step`, given the losses of all steps since."""
    image = resize_image(step.image.cpu(), *frame.job.size)  # a coarser stage's is smaller
    # Fetched from the device at once: each fetch waits for it.
    rows = torch.stack([torch.stack([each.total, each.content, each.style]) for each in losses]).tolist()
    points = tuple(LossPoint(frame.step + i, *row) for i, row in enumerate(rows, start=1))
    return replace(frame, image=image, step=step.index, seconds=step.seconds, losses=frame.losses + points)


class _Measuring:
    """The yardstick beside a running job, for at most `MEASURING_SHARE` of its time."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.seconds = 0.0

    @cached_property
    def yardstick(self) -> Yardstick:
        inputs, config = self.job.inputs, self.job.config
        return Yardstick(inputs.content, inputs.styles, self.job.size, config.style_weights, find_device(config.device))

    def add_if_cheap(self, frame: Frame) -> Frame:
        """The frame, measured if time allows."""
        begins_in_time = frame.seconds >= MEASURE_AFTER_S and self.seconds <= MEASURING_SHARE * frame.seconds
        return self.add(frame) if begins_in_time else frame

    def add(self, frame: Frame) -> Frame:
        """The frame with its distances at the end of the curve."""
        started = time.perf_counter()
        distances = self.yardstick.measure(frame.image)
        self.seconds += time.perf_counter() - started
        point = DistancePoint(frame.step, distances.content, distances.style)
        return replace(frame, distances=(*frame.distances, point))
