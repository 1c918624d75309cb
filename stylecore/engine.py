"""The engine: a job's stages and the loop of the optimiser, as a generator that anyone can watch or stop."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from stylecore.allocator import return_freed_memory
from stylecore.color import transfer_luminance
from stylecore.config import StylizeConfig
from stylecore.detail import add_detail
from stylecore.devices import find_device, find_dtype, synchronize
from stylecore.encoders import Encoder, Pooling, fetch_weights, load_encoder
from stylecore.errors import DivergenceError, OptionError
from stylecore.files import changed_ns
from stylecore.images import (
    LEVELS,
    ImageSource,
    ImageTensor,
    check_aspect,
    image_size,
    load_image,
    resize_image,
    save_image,
)
from stylecore.isolation import isolated, isolated_steps
from stylecore.job import Job
from stylecore.loop import optimize
from stylecore.memory import MemoryPlan, answering_full_memory, plan_memory
from stylecore.metrics import Distances, Yardstick
from stylecore.objective import Fitted, Losses, make_objective
from stylecore.optimizers import make_optimizer
from stylecore.presets import DEFAULT_PRESET, make_config
from stylecore.regions import StyledRegion, blended
from stylecore.schedule import PlannedStage, TimeBudget, plan_stages, resume_plan
from stylecore.start import JobImages, StageImages, initial_image, job_images, stage_images
from stylecore.temporal import Anchor


@dataclass(frozen=True)
class Step:
    """One loss-and-gradient evaluation and the image after the step it led to."""

    index: int  # 1 .. total, over all stages
    total: int  # evaluations planned
    scale: float  # of this stage, 1 for the result's own size
    image: ImageTensor  # (1, 3, H, W) in [0, 1], on the device
    losses: Losses  # before the step, scalars on the device
    seconds: float  # the engine's own time so far; what the consumer does between steps is not in it


@dataclass(frozen=True)
class Ending:
    """What a job leaves besides its image."""

    reason: Literal["finished", "target", "budget"] = "finished"  # all steps made; distance reached; time spent
    fitted: Fitted = field(default_factory=dict)  # bases and trained weights


Steps = Generator[Step, None, Ending]


@dataclass(frozen=True)
class Result:
    """A finished stylization: the image, what made it, and (computed when asked for) how good it is."""

    image: ImageTensor  # (1, 3, H, W) in [0, 1], on the CPU
    job: Job
    seconds: float  # targets, all stages and the device's own work; not the loading of images and encoder
    num_steps: int  # evaluations made: fewer than planned when stopped early
    ending: Ending

    @property
    def config(self) -> StylizeConfig:
        """How it was made."""
        return self.job.config

    @cached_property
    def distances(self) -> Distances:
        """By the one yardstick (`metrics`), on the 8-bit image."""
        return job_yardstick(self.job).measure(self.image)

    @property
    def style_distance(self) -> float:
        """0 for the style itself, near 0.15 for a finished work."""
        return self.distances.style

    @property
    def content_distance(self) -> float:
        """0 for the photo itself."""
        return self.distances.content

    def save(self, path: str | Path, *, bits: int = 8, profile: bytes | None = None) -> Path:
        """Write it with the settings inside, as `save_image` does. Raises an OutputError where that is impossible."""
        return save_image(self.image, path, self.job.settings(), self.job.result_alpha(), bits=bits, profile=profile)


def stylize(
    content: ImageSource,
    style: ImageSource | Iterable[ImageSource],
    config: StylizeConfig | None = None,
    *,
    encoder: Encoder | None = None,
    **options: Any,
) -> Result:
    """Paint `content` in the manner of `style`; takes the arguments of `stylize_steps` and runs it to its end.

    Returns:
        the `Result`: image, config, seconds, distances.
    """
    job = Job.load(content, style, _resolve(config, options, encoder))
    return run_to_end(job, job_steps(job, encoder=encoder))


def run_to_end(job: Job, steps: Steps) -> Result:
    """Drain a job's steps."""
    ending = Ending()

    def watched() -> Iterator[Step]:
        nonlocal ending
        ending = yield from steps

    for step in watched():
        last = step
    started = time.perf_counter()
    image = last.image.cpu()  # waits for the device
    seconds = last.seconds + time.perf_counter() - started
    return Result(image, job, seconds, last.index, ending)


def stylize_steps(
    content: ImageSource,
    style: ImageSource | Iterable[ImageSource],
    config: StylizeConfig | None = None,
    *,
    encoder: Encoder | None = None,
    start: ImageSource | None = None,
    num_made: int = 0,
    fitted: Fitted | None = None,
    **options: Any,
) -> Steps:
    """Stylize step by step: yields after each evaluation; abandon the generator to stop. Its value is an `Ending`.

    Args:
        content: the photo, as `load_image` takes it: a path, bytes, a PIL image, a NumPy array or a tensor.
        style: one such picture, or several: a list, a generator.
        config: a finished config; or give its fields as options, e.g. `preset="gatys", size=256`.
        encoder: a loaded one, to share between jobs; default: loaded as the config says. Stages that name another
            encoder get a bundled one on the same device and in the same dtype.
        start: an image to go on from instead of `config.init`, of any size and the content's aspect.
        num_made: evaluations that an earlier run of this job made until `start`; this one makes the others.
        fitted: bases and weights to be used as they are, by layer and name, as `fitted.load_fitted` reads them or
            `Ending.fitted` of another job holds them.

    Raises:
        ImageError, OptionError, NotEnoughMemoryError: before the first step, if the job is impossible; the last also on
            the way, if memory runs out all the same, for the estimate was low or somebody else took it.
        DivergenceError: the loss left the finite numbers or grew beyond reason; carries the last good image.
    """
    job = Job.load(content, style, _resolve(config, options, encoder))
    return job_steps(job, encoder=encoder, start=start, num_made=num_made, fitted=fitted)


@isolated()
def job_steps(
    job: Job,
    *,
    encoder: Encoder | None = None,
    start: ImageSource | None = None,
    num_made: int = 0,
    fitted: Fitted | None = None,
    anchor: Anchor | None = None,
) -> Steps:
    """`stylize_steps` of a job; `anchor`, of its result's size, is another image that the last stage is held to."""
    config = job.config
    encoder = encoder or prepare_encoder(config)
    _check_encoder(encoder, config)
    stages = plan_job(job, encoder, num_made)
    image = None if start is None else _start_image(start, stages)
    return answering_full_memory(_Run(job, stages, fitted or {}, anchor).steps(image), stages[-1].planned.size)


@dataclass(frozen=True)
class StagePlan:
    """A stage, and what it is computed with."""

    planned: PlannedStage
    encoder: Encoder
    memory: MemoryPlan


def plan_job(job: Job, encoder: Encoder, num_made: int = 0) -> list[StagePlan]:
    """A job's stages. Raises an OptionError if `num_made` evaluations are all, a NotEnoughMemoryError if one of the
    stages does not fit."""
    sizes = [image_size(style) for style in job.all_styles]
    stages = []
    plan = resume_plan(plan_stages(job.config, image_size(job.content)), num_made)
    for planned in reversed(plan):  # what does not fit is the result, before any coarser stage
        here = _stage_encoder(planned.encoder, encoder)
        config = job.config.replace(num_steps=max(1, planned.num_left))
        stages.append(StagePlan(planned, here, plan_memory(planned.size, sizes, config, here)))
    return stages[::-1]


def _start_image(start: ImageSource, stages: Sequence[StagePlan]) -> ImageTensor:
    """Of a run that goes on, brought to the size at which its last evaluation was made."""
    image = load_image(start)
    check_aspect(image_size(image), stages[-1].planned.size, "The start image")
    reached = [stage.planned.size for stage in stages if stage.planned.num_made]
    return resize_image(image, *reached[-1]) if reached else image


def _stage_encoder(name: str, encoder: Encoder) -> Encoder:
    """The bundled encoder of that name, or (unnamed) the job's own."""
    if not name:
        return encoder
    return kept_encoder(name, encoder.pooling, encoder.device, encoder.dtype)


@lru_cache(maxsize=4)
def kept_encoder(
    name: str,
    pooling: Pooling,
    device: torch.device,
    dtype: torch.dtype,
    weights: Path | None = None,
    changed: int = 0,  # noqa: ARG001  when the file was: another file is another encoder
) -> Encoder:
    """`load_encoder`, kept in memory: all jobs read it and none changes it."""
    return load_encoder(name, weights=weights, pooling=pooling, device=device, dtype=dtype)


def prepare_encoder(config: StylizeConfig, weights: str | Path | None = None, progress: Any = None) -> Encoder:
    """The encoder that a config asks for, on its device and in its dtype. Raises what `load_encoder` raises.

    Args:
        config: its encoder, pooling, device and dtype count.
        weights: a file to read instead of the encoder's own.
        progress: watches a download, as `fetch_weights` has it.
    """
    device = find_device(config.device)
    dtype = find_dtype(config.dtype, device)
    asked = (config.encoder, config.pooling, device, dtype)
    if weights is not None:
        return kept_encoder(*asked, Path(weights), changed_ns(Path(weights)))
    fetch_weights(config.encoder, progress)
    return kept_encoder(*asked)


def job_yardstick(job: Job, device: torch.device | None = None) -> Yardstick:
    """What measures a job's results."""
    weights = job.config.style_weights
    return Yardstick(job.content, job.styles, job.size, weights, device, job.all_regions, job.style_masks)


def _resolve(config: StylizeConfig | None, options: dict[str, Any], encoder: Encoder | None) -> StylizeConfig:
    if config is not None and options:
        raise OptionError("Give either a config or its fields, not both.")
    if isinstance(encoder, Encoder):
        options = {"encoder": encoder.name, "pooling": encoder.pooling} | options
    if config is None:
        return make_config(options.pop("preset", None) or DEFAULT_PRESET, **options)
    return config


def _check_encoder(encoder: Encoder, config: StylizeConfig) -> None:
    if not isinstance(encoder, Encoder):
        raise OptionError("The encoder is a loaded one: give load_encoder('vgg19'), or name it in the config.")
    pooling: Pooling = config.pooling
    if (encoder.name, encoder.pooling) != (config.encoder, pooling):
        raise OptionError(
            f"The config asks for {config.encoder} with {pooling} pooling, but the encoder given is "
            f"{encoder.name} with {encoder.pooling} pooling."
        )


class _Run:
    """One run of a job: what lasts from stage to stage."""

    def __init__(self, job: Job, stages: Sequence[StagePlan], given: Fitted, anchor: Anchor | None) -> None:
        self.job, self.stages, self.given, self.anchor = job, stages, given, anchor
        self.plan = [stage.planned for stage in stages]
        self.clock = _Clock()
        self.budget = TimeBudget(job.config.time_budget, self.plan)
        self.index = sum(stage.num_made for stage in self.plan)
        self.ending = Ending()

    @cached_property
    def images(self) -> JobImages:
        """On the device, once for all stages."""
        return job_images(self.job, self.stages[0].encoder.device)

    @isolated_steps
    def steps(self, start: ImageTensor | None) -> Steps:
        image = initial_image(self.images, self.job.config, self.plan[0].size) if start is None else start
        for number, stage in enumerate(self.plan):
            if stage.num_left:
                image = yield from self._stage_steps(number, self.stages[number].encoder, image)
        return self.ending

    def _stage_steps(self, number: int, encoder: Encoder, image: ImageTensor) -> Generator[Step, None, ImageTensor]:
        """One stage from `image`, of any size; returns the stage's own."""
        job, stage, is_last = self.job, self.plan[number], number == len(self.plan) - 1
        began, device = self.clock.read(), encoder.device
        images = stage_images(self.images, job.config, stage.size)
        # What was fitted earlier is of the result's own size; a coarser stage fits its own, as it did then.
        given, memory = self.given if is_last else {}, self.stages[number].memory
        if memory.tile_px:
            return_freed_memory()  # of the stage before, in blocks of other sizes
        anchor = self.anchor.on(device) if self.anchor is not None and is_last else None
        objective = make_objective(
            encoder,
            images.content,
            images.styles,
            job.config,
            given,
            memory.tile_px,
            images.regions,
            images.content_mask,
            anchor,
        )
        goal = _Goal(job, stage, device) if is_last else None
        variable = _with_photo(self._enlarged(number, encoder, image.to(device), images), images) * LEVELS
        reason = self.ending.reason
        try:
            is_detailed = self._adds_detail(number)
            new_optimizer = partial(
                make_optimizer,
                job.config,
                stage.num_left,
                is_detailed=is_detailed,
                memory=memory,
            )
            evaluated = optimize(objective, variable, new_optimizer, stage.num_left)
            for made, (losses, variable) in enumerate(evaluated, 1):
                self.index += 1
                shown = _displayed(variable, images, job.config)
                reached = goal is not None and goal.is_reached(shown, made)
                spent = self._is_spent(number, made, began, device)
                yield Step(self.index, job.config.num_steps, stage.scale, shown, losses, self.clock.pause())
                self.clock.resume()
                if reached or spent:
                    reason = "target" if reached else "budget"
                    break
        except DivergenceError as error:
            error.last_good = _displayed(error.last_good, images, job.config)
            raise
        self.ending = Ending(reason, objective.fitted())
        return (variable / LEVELS).clamp(0, 1)

    def _adds_detail(self, number: int) -> bool:
        """Whether a stage begins with the style's detail on top of what a coarser one has painted."""
        is_finer = number > 0 and self.plan[number].scale > self.plan[number - 1].scale
        return is_finer and self.job.config.enlarge == "detail"

    def _enlarged(self, number: int, encoder: Encoder, image: ImageTensor, images: StageImages) -> ImageTensor:
        """What a stage begins with: an image of any size brought to the stage's."""
        size = self.plan[number].size
        if self.plan[number].num_made or not self._adds_detail(number):
            return resize_image(image, *size)
        side = self.job.config.style_side(max(size))
        if not images.regions:
            styles = self.images.styles
            return add_detail(image, styles, self.job.config.style_shares(len(styles)), encoder, size, side)

        def paint(part: StyledRegion) -> ImageTensor:
            styles, masks = [style.image for style in part.styles], [style.mask for style in part.styles]
            return add_detail(image, styles, part.shares, encoder, size, side, masks)

        return blended(images.regions, paint)

    def _is_spent(self, number: int, made: int, began: float, device: torch.device) -> bool:
        if self.job.config.time_budget:
            synchronize(device)
        return self.budget.is_spent(number, made, began, self.clock.read())


class _Goal:
    """Looks, at a few points of the last stage, whether the style distance asked for is reached."""

    LOOKS = 8  # at most: each is a float32 pass of the whole encoder, counted in the job's seconds

    def __init__(
        self,
        job: Job,
        stage: PlannedStage,
        device: torch.device,
    ) -> None:
        self.distance = job.config.target_distance
        self.every = math.ceil(stage.num_left / self.LOOKS)
        if self.distance:
            self.yardstick = job_yardstick(job, device)

    def is_reached(self, image: ImageTensor, steps_made: int) -> bool:
        if not self.distance or steps_made % self.every:
            return False
        return self.yardstick.measure(image).style <= self.distance


def _displayed(variable: Tensor, images: StageImages, config: StylizeConfig) -> ImageTensor:
    """The image that a variable stands for, with what is to be kept of the photo: its chroma, regions."""
    image = (variable / LEVELS).clamp(0, 1)
    image = transfer_luminance(image, images.content) if config.keep_colors == "luminance" else image
    return _with_photo(image, images)


def _with_photo(image: ImageTensor, images: StageImages) -> ImageTensor:
    """The image, and the photo where that stays."""
    return image if images.kept is None else torch.lerp(image, images.content, images.kept)


class _Clock:
    """Seconds of the engine's own work: stands still while the consumer has a step in hand."""

    def __init__(self) -> None:
        self.spent = 0.0
        self.started = time.perf_counter()

    def pause(self) -> float:
        self.spent += time.perf_counter() - self.started
        return self.spent

    def read(self) -> float:
        return self.spent + time.perf_counter() - self.started

    def resume(self) -> None:
        self.started = time.perf_counter()
