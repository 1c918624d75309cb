"""One stylization as the page needs it: limits of a shared server, frames at a watchable pace."""

from __future__ import annotations

import dataclasses
import itertools
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

import stylecore
from demo.server.settings import Limits
from stylecore import (
    DivergenceError,
    ImageError,
    ImageNote,
    OptionError,
    Step,
    StylizeConfig,
    Yardstick,
    load_image,
    make_config,
    stylize_steps,
)
from stylecore.compare import Variant, same_start
from stylecore.config import LOSSES_WITH_BASIS, MIN_SIZE_PX
from stylecore.devices import find_device
from stylecore.engine import initial_image
from stylecore.images import ImageTensor, fit_size, image_size, resize_image
from stylecore.job import Inputs, check_style_weights
from stylecore.objective import Losses

FRAME_INTERVAL_S = 0.4  # at least, between two frames: smooth to watch, light on the line
MEASURE_AFTER_S, MEASURING_SHARE = 5.0, 0.1  # distances are measured on the way in long jobs, for a tenth of the time
NUM_VARIANTS = (2, 8)  # of a comparison
MAX_NUM_STEPS = 1000  # one job blocks everybody else's, so the page allows less than the library

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


def read_picture(path: Path, role: str) -> tuple[ImageTensor, list[str]]:
    """A file as a tensor, and notes for the user; `role` says which of the pictures a note or error is about."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ImageNote)
        try:
            # The bytes, not the path: messages would name the server's folders.
            image = load_image(path.read_bytes())
        except FileNotFoundError as error:
            raise ImageError(f"The {role} is not on the server any more: choose it again.") from error
        except ImageError as error:
            raise ImageError(f"The {role} cannot be used. {error}") from error
    return image, [f"About the {role}: {warning.message}" for warning in caught]


def read_config(preset: str, **options: Any) -> StylizeConfig:
    """The preset with options laid over it, as `make_config` does; None leaves a field to the preset.

    Raises:
        OptionError: a value of the wrong kind or out of range, here narrower than the library's.
    """
    return check_limits(make_config(preset, **options))


def allowed_ranges() -> dict[str, tuple[int, int]]:
    """(lowest, highest) of the fields of a config that are narrower here than in the library."""
    return {"size": (MIN_SIZE_PX, Limits.from_environment().job_size_px), "num_steps": (1, MAX_NUM_STEPS)}


def check_limits(config: StylizeConfig) -> StylizeConfig:
    """The config itself. Raises an OptionError where it asks for more than one page for all can do."""
    for field, (low, high) in allowed_ranges().items():
        if not low <= getattr(config, field) <= high:
            raise OptionError(f"{field} must be between {low} and {high} on this page, not {getattr(config, field)}.")
    return config


def at_watchable_pace(events: Iterable[T], must_show: Callable[[T], bool]) -> Iterator[T]:
    """Of a stream of events, those that must be shown, and of the others what people can follow."""
    shown = time.monotonic()
    for event in events:
        if must_show(event) or time.monotonic() - shown >= FRAME_INTERVAL_S:
            yield event
            shown = time.monotonic()


# Comparisons


def make_grid(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """The product of fields' values, as changes to one config; the first field changes fastest, along a row."""
    cells = itertools.product(*reversed(list(axes.values())))
    return [dict(zip(axes, reversed(cell), strict=True)) for cell in cells]


def read_variants(options: Mapping[str, Any], changes: Sequence[Mapping[str, Any]]) -> list[Variant]:
    """One variant for each of `changes` to `options` (preset and fields of a config), all from one start.

    What makes no difference comes once: components of a loss that has none.

    Raises:
        OptionError: a value out of range, or not two to eight variants that differ.
    """
    variants: dict[StylizeConfig, Variant] = {}
    for change in changes:
        config = read_config(**{**options, **change})
        if config.loss not in LOSSES_WITH_BASIS:
            config = dataclasses.replace(config, components=StylizeConfig.components)
        variants.setdefault(config, Variant(_variant_name(change, config), config))
    low, high = NUM_VARIANTS
    if not low <= len(variants) <= high:
        differ = f"{len(variants)} that differ" if variants else "none"
        raise OptionError(f"Choose {low} to {high} variants: there {'is' if len(variants) == 1 else 'are'} {differ}.")
    return same_start(list(variants.values()))


def _variant_name(change: Mapping[str, Any], config: StylizeConfig) -> str:
    """What was changed: `pca 12.5%`, `weight 3`."""
    told = [field for field in change if field != "components" or config.loss in LOSSES_WITH_BASIS]
    return (
        " ".join(f"weight {config.style_weight:g}" if field == "style_weight" else str(change[field]) for field in told)
        or config.loss
    )


# One job


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
