"""The engine: the schedule over scales and the loop of the optimiser, as a generator that anyone can watch or stop."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylecore.color import match_colors, transfer_luminance
from stylecore.config import MIN_SIZE_PX, StylizeConfig
from stylecore.devices import find_device, find_dtype, synchronize
from stylecore.encoders.vgg import Encoder, Pooling, check_resolution, load_encoder
from stylecore.errors import DivergenceError, NotEnoughMemoryError, OptionError
from stylecore.images import LEVELS, ImageTensor, fit_image, image_size, resize_image, save_image
from stylecore.memory import check_memory
from stylecore.metrics import Distances, Yardstick
from stylecore.objective import Losses, Objective, style_shares
from stylecore.optimizers import make_optimizer
from stylecore.presets import DEFAULT_PRESET, make_config
from stylecore.schedule import PlannedStage, TimeBudget, plan_stages

MutableFitted = dict[str, dict[str, Tensor]]

MEMORY_FULL = re.compile("out of memory|can't allocate memory|ALLOC_FAILED|could not create a memory")
CHECK_EVERY = 10  # steps between looks at a GPU's divergence flag: each look waits for the device
# L-BFGS without a line search may leave the displayable range and come back; from here it does not.
DIVERGED = 100 * LEVELS


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
class Result:
    """A finished stylization: the image, what made it, and (computed when asked for) how good it is."""

    image: ImageTensor  # (1, 3, H, W) in [0, 1], on the CPU
    config: StylizeConfig
    seconds: float  # targets, all stages and the device's own work; not the loading of images and encoder
    num_steps: int  # evaluations made: fewer than planned when stopped early
    content: ImageTensor = field(repr=False)
    styles: tuple[ImageTensor, ...] = field(repr=False)

    @cached_property
    def distances(self) -> Distances:
        """By the one yardstick (`metrics`), on the 8-bit image."""
        return Yardstick(self.content, self.styles, image_size(self.image), self.config.style_weights).measure(
            self.image
        )

    @property
    def style_distance(self) -> float:
        return self.distances.style

    @property
    def content_distance(self) -> float:
        return self.distances.content

    def save(self, path: str | Path) -> Path:
        """Write a PNG with the config inside. Raises an ImageError where that is impossible."""
        return save_image(self.image, path, {"config": self.config.to_dict()})


def stylize(
    content: ImageTensor,
    style: ImageTensor | Sequence[ImageTensor],
    config: StylizeConfig | None = None,
    *,
    encoder: Encoder | None = None,
    **options: Any,
) -> Result:
    """Paint `content` in the manner of `style`; takes the arguments of `stylize_steps` and runs it to its end.

    Returns:
        the `Result`: image, config, seconds, distances.
    """
    config = _resolve(config, options, encoder)
    encoder = encoder or prepare_encoder(config)
    steps = stylize_steps(content, style, config, encoder=encoder)
    for step in steps:
        last = step
    started = time.perf_counter()
    image = last.image.cpu()  # waits for the device
    seconds = last.seconds + time.perf_counter() - started
    return Result(image, config, seconds, last.index, content, as_styles(style))


def stylize_steps(
    content: ImageTensor,
    style: ImageTensor | Sequence[ImageTensor],
    config: StylizeConfig | None = None,
    *,
    encoder: Encoder | None = None,
    start: ImageTensor | None = None,
    fitted: MutableFitted | None = None,
    **options: Any,
) -> Iterator[Step]:
    """Stylize step by step: yields after each evaluation; abandon the generator to stop.

    Args:
        content: the photo, (1, 3, H, W) in [0, 1].
        style: one such image, or several.
        config: a finished config; or give its fields as options, e.g. `preset="gatys", size=256`.
        encoder: a loaded one, to share between jobs; default: loaded as the config says. Stages that name another
            encoder get a bundled one on the same device and in the same dtype.
        start: an image to go on from instead of `config.init`, of any size.
        fitted: bases and weights by layer and name, as `fitted.load_fitted` reads them. What it holds is used; where
            it is empty, what this job fits is put into it.

    Raises:
        OptionError, NotEnoughMemoryError: before the first step, if the job is impossible; the latter also on the way,
            if memory runs out all the same, for the estimate was low or somebody else took it.
        DivergenceError: the loss left the finite numbers or grew beyond reason; carries the last good image.
    """
    config = _resolve(config, options, encoder)
    styles = as_styles(style)
    if config.style_weights and len(config.style_weights) != len(styles):
        raise OptionError(f"{len(config.style_weights)} style weights were given for {len(styles)} style images.")
    plan = plan_stages(config, image_size(content))
    for stage in plan:
        check_resolution(*stage.size, config.content_layers + config.style_layers)
    encoder = encoder or prepare_encoder(config)
    _check_encoder(encoder, config)
    check_memory(plan[-1].size, [image_size(style) for style in styles], config, encoder)
    encoders = [_stage_encoder(stage.encoder, encoder) for stage in plan]
    steps = _run(content, styles, config, plan, encoders, start, {} if fitted is None else fitted)
    return _answering_full_memory(steps, plan[-1].size)


def _stage_encoder(name: str, encoder: Encoder) -> Encoder:
    """The bundled encoder of that name, or (unnamed) the job's own."""
    if not name:
        return encoder
    return bundled_encoder(name, encoder.pooling, encoder.mean.device, encoder.dtype)


@lru_cache(maxsize=4)
def bundled_encoder(name: str, pooling: Pooling, device: torch.device, dtype: torch.dtype) -> Encoder:
    """`load_encoder` without a file; kept in memory, for all jobs read it and none changes it."""
    return load_encoder(name, pooling=pooling, device=device, dtype=dtype)


def prepare_encoder(config: StylizeConfig, weights: str | Path | None = None) -> Encoder:
    """The encoder that a config asks for, on its device and in its dtype. Raises what `load_encoder` raises."""
    device = find_device(config.device)
    dtype = find_dtype(config.dtype, device)
    if weights is None:
        return bundled_encoder(config.encoder, config.pooling, device, dtype)
    return load_encoder(config.encoder, weights=weights, pooling=config.pooling, device=device, dtype=dtype)


def as_styles(style: ImageTensor | Sequence[ImageTensor]) -> tuple[ImageTensor, ...]:
    """One style or several, as a tuple of at least one."""
    styles = (style,) if isinstance(style, Tensor) else tuple(style)
    if not styles:
        raise OptionError("At least one style image is needed.")
    return styles


def _resolve(config: StylizeConfig | None, options: dict[str, Any], encoder: Encoder | None) -> StylizeConfig:
    if config is not None and options:
        raise OptionError("Give either a config or its fields, not both.")
    if encoder is not None:
        options = {"encoder": encoder.name, "pooling": encoder.pooling} | options
    return config or make_config(options.pop("preset", None) or DEFAULT_PRESET, **options)


def _check_encoder(encoder: Encoder, config: StylizeConfig) -> None:
    pooling: Pooling = config.pooling
    if (encoder.name, encoder.pooling) != (config.encoder, pooling):
        raise OptionError(
            f"The config asks for {config.encoder} with {pooling} pooling, but the encoder given is "
            f"{encoder.name} with {encoder.pooling} pooling."
        )


def _run(
    content: ImageTensor,
    styles: tuple[ImageTensor, ...],
    config: StylizeConfig,
    plan: Sequence[PlannedStage],
    encoders: Sequence[Encoder],
    start: ImageTensor | None,
    fitted: MutableFitted,
) -> Iterator[Step]:
    given = dict(fitted)
    clock = _Clock()
    device = encoders[0].mean.device
    budget = TimeBudget(config.time_budget, plan)
    originals = styles
    if config.keep_colors == "match":
        styles = tuple(match_colors(style, content) for style in originals)
    image = start if start is not None else initial_image(content, styles, config, plan[0].size)
    index = 0
    for number, (stage, encoder) in enumerate(zip(plan, encoders, strict=True)):
        began = clock.read()
        content_here = resize_image(content, *stage.size).to(device)
        styles_here = [fit_image(style, max(stage.size)).to(device) for style in styles]
        # What was fitted earlier is of the result's own size; a coarser stage fits its own, as it did then.
        objective = Objective(encoder, content_here, styles_here, config, given if stage is plan[-1] else {})
        goal = _Goal(config, stage, content, originals, device) if stage is plan[-1] else None
        variable = resize_image(image.cpu(), *stage.size).to(device) * LEVELS
        try:
            for made, (losses, following) in enumerate(_optimize(objective, variable, config, stage.num_steps), 1):
                index, variable = index + 1, following
                shown = _displayed(variable, content_here, config)
                reached = goal is not None and goal.is_reached(shown, made)
                if config.time_budget:
                    synchronize(device)
                spent = budget.is_spent(number, made, began, clock.read())
                yield Step(index, config.num_steps, stage.scale, shown, losses, clock.pause())
                clock.resume()
                if reached or spent:
                    break
        except DivergenceError as error:
            error.last_good = _displayed(error.last_good, content_here, config)
            raise
        image = (variable / LEVELS).clamp(0, 1)
        fitted.update(objective.fitted())


def _answering_full_memory(steps: Iterator[Step], size: tuple[int, int]) -> Iterator[Step]:
    try:
        yield from steps
        return
    except (MemoryError, RuntimeError) as error:
        if not _is_memory_full(error):
            raise
    # Out here nothing holds the tensors of the evaluation that failed. Half the pixels take half the memory.
    fitting = max(MIN_SIZE_PX, int(max(size) * 0.5**0.5) // 16 * 16)
    advice = f"choose --size {fitting}" if fitting < max(size) else "free some memory"
    raise NotEnoughMemoryError(f"The memory ran out at {size[1]}x{size[0]} px: {advice}.")


def _is_memory_full(error: Exception) -> bool:
    """torch.OutOfMemoryError is the GPU's alone: the CPU's allocator and oneDNN raise plain RuntimeErrors."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or bool(MEMORY_FULL.search(str(error)))


class _Goal:
    """Looks, at a few points of the last stage, whether the style distance asked for is reached."""

    LOOKS = 8  # at most: each is a float32 pass of the whole encoder, counted in the job's seconds

    def __init__(
        self,
        config: StylizeConfig,
        stage: PlannedStage,
        content: ImageTensor,
        styles: Sequence[ImageTensor],
        device: torch.device,
    ) -> None:
        self.distance = config.target_distance
        self.every = math.ceil(stage.num_steps / self.LOOKS)
        if self.distance:
            self.yardstick = Yardstick(content, styles, stage.size, config.style_weights, device)

    def is_reached(self, image: ImageTensor, steps_made: int) -> bool:
        if not self.distance or steps_made % self.every:
            return False
        return self.yardstick.measure(image).style <= self.distance


def _displayed(variable: Tensor, content: ImageTensor, config: StylizeConfig) -> ImageTensor:
    """The image that a variable stands for, with the photo's chroma if it is to be kept."""
    image = (variable / LEVELS).clamp(0, 1)
    return transfer_luminance(image, content) if config.keep_colors == "luminance" else image


def _optimize(
    objective: Objective, variable: Tensor, config: StylizeConfig, num_steps: int
) -> Iterator[tuple[Losses, Tensor]]:
    """(losses, next variable) for each evaluation of one stage."""
    optimizer = make_optimizer(config)
    guard = _Guard(variable)
    look_every = 1 if variable.device.type == "cpu" else CHECK_EVERY
    for number in range(1, num_steps + 1):
        evaluation = objective.evaluate(variable)
        if evaluation.changed:
            optimizer = make_optimizer(config)  # what it remembers is of another objective
        following = optimizer.step(variable, evaluation.gradient, evaluation.losses.total)
        if config.clamp:
            following = following.clamp(0, LEVELS)
        guard.update(evaluation.losses, variable, following)
        if number % look_every == 0 or number == num_steps:
            guard.check()
        variable = following
        yield evaluation.losses, variable


class _Guard:
    """Notices divergence on the device, keeps the last good image there, and asks the host only in `check`."""

    def __init__(self, variable: Tensor) -> None:
        self.good = variable
        self.diverged = torch.zeros((), dtype=torch.bool, device=variable.device)

    def update(self, losses: Losses, variable: Tensor, following: Tensor) -> None:
        # NaN fails both comparisons' "sound" side, so it needs no look of its own in the image.
        sound = losses.total.isfinite() & (following.abs().amax() < DIVERGED)
        self.diverged = self.diverged | ~sound
        self.good = torch.where(self.diverged, self.good, variable)

    def check(self) -> None:
        if bool(self.diverged):
            raise DivergenceError(
                "The optimisation diverged; the last good image was kept. "
                "Lower --style-weight or the learning rate, or choose --set optimizer=adam.",
                last_good=self.good,
            )


def initial_image(
    content: ImageTensor, styles: Sequence[ImageTensor], config: StylizeConfig, size: tuple[int, int]
) -> ImageTensor:
    """Where `config.init` says the optimisation starts, (1, 3, height, width) on the CPU."""
    content = resize_image(content, *size)
    if config.init == "content":
        return content
    if config.init == "noise":
        # Drawn on the CPU, so that a seed means the same image on every device.
        noise = torch.randn(content.shape, generator=torch.Generator().manual_seed(config.seed))
        return (0.5 + 0.25 * noise).clamp(0, 1)
    weighted = [pair for pair in zip(styles, style_shares(config, len(styles)), strict=True) if pair[1]]
    return match_colors(content, weighted[0][0] if len(weighted) == 1 else _mosaic(weighted))


def _mosaic(weighted: Sequence[tuple[ImageTensor, float]]) -> ImageTensor:
    """All styles' pixels in one row, each style with as many as its share asks for."""
    rows = [resize_image(style, 64, max(1, round(4096 * share))) for style, share in weighted]
    return torch.cat([row.cpu() for row in rows], dim=3)


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
