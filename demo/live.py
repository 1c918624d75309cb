"""One stylization as the page shows it: frames at a pace that people can follow."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import torch
from PIL import Image

from stylecore.devices import Fetched
from stylecore.engine import Step
from stylecore.images import ImageTensor, image_size, resize_image, to_uint8
from stylecore.job import Job
from stylecore.measured_run import CurvePoint, MeasuredRun
from stylecore.objective import Losses
from stylecore.schedule import plan_stages
from stylecore.start import initial_image, job_images

FRAME_INTERVAL_S = 0.4  # at least, between two frames: smooth to watch, light on the line
MEASURE_AFTER_S, MEASURING_SHARE = 5.0, 0.1  # distances are measured on the way in long jobs, for a tenth of the time

JPEG_QUALITY = 92  # of the pictures on the way; results are PNG

T = TypeVar("T")


class Point(NamedTuple):
    """A point of two curves: what belongs to the content and to the style after some steps."""

    step: int
    content: float
    style: float


@dataclass(frozen=True)
class Frame:
    """A moment of a job: enough to show it, and to save it as a result if the job ends here."""

    job: Job
    image: ImageTensor  # (1, 3, H, W) in [0, 1], on the CPU, of the result's size
    step: int = 0  # evaluations made; 0: where the optimisation starts
    seconds: float = 0.0  # the engine's own time so far
    losses: tuple[Point, ...] = ()  # weighted terms of the loss at every step
    distances: tuple[Point, ...] = ()  # the yardstick's, after some steps
    trouble: str = ""  # why the job ended early, for the user
    is_last: bool = False  # the image is the result
    jpeg: bytes = b""  # the image as `frame_jpeg` makes it, where that was made elsewhere

    @property
    def share_done(self) -> float:
        """Of the job's work."""
        return pixels_evaluated(self.job, self.step) / pixels_evaluated(self.job)

    @property
    def seconds_left(self) -> float | None:
        """By the pace so far; None while there is none."""
        return self.seconds * (1 / self.share_done - 1) if self.step else None


def pixels_evaluated(job: Job, num_steps: int | None = None) -> int:
    """The work of a job's first steps, or of all: a step at half the size takes about a quarter of the time."""
    stages = plan_stages(job.config, image_size(job.content))
    left, pixels = job.config.num_steps if num_steps is None else num_steps, 0
    for stage in stages:
        made = min(left, stage.num_steps)
        left, pixels = left - made, pixels + made * math.prod(stage.size)
    return pixels


def frame_jpeg(image: ImageTensor) -> bytes:
    """An image as the page shows it while a job runs."""
    file = io.BytesIO()
    Image.fromarray(to_uint8(image)).save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()


def throttle(events: Iterable[T], must_show: Callable[[T], bool]) -> Iterator[T]:
    """The events that must be shown, and of the others as many as people can follow."""
    shown = time.monotonic()
    for event in events:
        if must_show(event) or time.monotonic() - shown >= FRAME_INTERVAL_S:
            yield event
            shown = time.monotonic()


def run_job(
    job: Job,
    image: ImageTensor | None = None,
    num_made: int = 0,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Frame]:
    """Frames of a stylization, the first at once, the last always, and then again with its distances.

    Close the generator to stop the job. Divergence ends it with its last good image and `Frame.trouble`.

    Args:
        image: one to go on from.
        num_made: evaluations that were made until then.
        is_stopped: asked after every evaluation; once it says so, there are no more, and no more frames.

    Raises:
        OptionError, NotEnoughMemoryError: now, before the first frame, if the job is impossible; all that
            `stylize_steps` raises on the way.
    """
    shown = initial_image(job_images(job), job.config, job.size) if image is None else resize_image(image, *job.size)
    return _frames(Frame(job, shown), MeasuredRun(job, start=image, num_made=num_made), is_stopped)


def _frames(start: Frame, run: MeasuredRun, is_stopped: Callable[[], bool]) -> Iterator[Frame]:
    yield start
    losses = _LossCurve()
    for step, image in _seen(run, losses, is_stopped):
        if run.seconds >= MEASURE_AFTER_S and run.seconds_measuring <= MEASURING_SHARE * run.seconds:
            run.measure()
        yield _frame(run, step.index, image, losses, run.curve)
    if is_stopped():
        return
    if not run.num_steps:
        yield replace(start, trouble=run.trouble, is_last=True)
        return
    image = run.image
    end = replace(_frame(run, run.num_steps, image, losses, run.curve), is_last=True)
    yield end
    last = run.measure()
    measured = run.curve if last in run.curve else [*run.curve, last]
    yield replace(end, seconds=run.seconds, distances=_points(measured))


def _seen(run: MeasuredRun, losses: _LossCurve, is_stopped: Callable[[], bool]) -> Iterator[tuple[Step, ImageTensor]]:
    """As many steps as people can follow, but for the last, with their images; a GPU goes on while they come over."""
    shown = time.monotonic()
    coming: tuple[Step, Fetched] | None = None
    for step in losses.watch(run):
        if is_stopped():
            return
        if coming is None and time.monotonic() - shown >= FRAME_INTERVAL_S:
            losses.fetch()
            coming = step, Fetched(step.image)
        if coming is not None and coming[1].is_here and step.index < step.total:
            yield coming[0], run.as_result(coming[1].values)
            coming, shown = None, time.monotonic()


def _frame(
    run: MeasuredRun, step: int, image: ImageTensor, losses: _LossCurve, measured: Sequence[CurvePoint]
) -> Frame:
    return Frame(run.job, image, step, run.seconds, losses.points(step), _points(measured), run.trouble)


def _points(measured: Sequence[CurvePoint]) -> tuple[Point, ...]:
    return tuple(Point(step, each.content, each.style) for step, _, each in measured)


class _LossCurve:
    """The losses of all steps that went by."""

    def __init__(self) -> None:
        self._points: list[Point] = []
        self._on_device: list[Losses] = []
        self._coming: list[Fetched] = []

    def watch(self, steps: Iterable[Step]) -> Iterator[Step]:
        """The steps, noted."""
        for step in steps:
            self._on_device.append(step.losses)
            yield step

    def fetch(self) -> None:
        """Those noted so far are on their way."""
        if self._on_device:
            rows = torch.stack([torch.stack([each.content, each.style]) for each in self._on_device])
            self._coming.append(Fetched(rows))
            self._on_device.clear()

    def points(self, num_steps: int) -> tuple[Point, ...]:
        """Of the first steps."""
        if num_steps > len(self._points):
            self.fetch()
        for rows in self._coming:
            self._points += [Point(step, *row) for step, row in enumerate(rows.values.tolist(), len(self._points) + 1)]
        self._coming.clear()
        return tuple(self._points[:num_steps])
