"""The engine: the schedule over scales and the loop of the optimiser, as a generator that anyone can watch or stop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylecore.color import match_colors, transfer_luminance
from stylecore.config import StylizeConfig
from stylecore.devices import find_device, find_dtype
from stylecore.encoder import Encoder, Pooling, check_resolution, load_encoder
from stylecore.errors import DivergenceError, OptionError
from stylecore.images import LEVELS, ImageTensor, fit_image, fit_size, image_size, resize_image, save_image
from stylecore.memory import check_memory
from stylecore.metrics import Distances, Yardstick
from stylecore.objective import Losses, Objective, style_shares
from stylecore.optimizers import make_optimizer
from stylecore.presets import DEFAULT_PRESET, make_config

MutableFitted = dict[str, dict[str, Tensor]]

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
    config = _resolve(config, options)
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
        encoder: a loaded one, to share between jobs; default: loaded as the config says.
        start: an image to go on from instead of `config.init`, of any size.
        fitted: bases and weights by layer and name, as `fitted.load_fitted` reads them. What it holds is used; where
            it is empty, what this job fits is put into it.

    Raises:
        OptionError, NotEnoughMemoryError: before the first step, if the job is impossible.
        DivergenceError: the loss left the finite numbers or grew beyond reason; carries the last good image.
    """
    config = _resolve(config, options)
    styles = as_styles(style)
    if config.style_weights and len(config.style_weights) != len(styles):
        raise OptionError(f"{len(config.style_weights)} style weights were given for {len(styles)} style images.")
    sizes = [fit_size(image_size(content), max(1, round(config.size * stage.scale))) for stage in config.stages]
    for height, width in sizes:
        check_resolution(height, width, config.content_layers + config.style_layers)
    encoder = encoder or prepare_encoder(config)
    _check_encoder(encoder, config)
    check_memory(*sizes[-1], config, encoder)
    return _run(content, styles, config, encoder, start, sizes, {} if fitted is None else fitted)


def prepare_encoder(config: StylizeConfig, weights: str | Path | None = None) -> Encoder:
    """The encoder that a config asks for, on its device and in its dtype. Raises what `load_encoder` raises."""
    device = find_device(config.device)
    dtype = find_dtype(config.dtype, device)
    return load_encoder(config.encoder, weights=weights, pooling=config.pooling, device=device, dtype=dtype)


def as_styles(style: ImageTensor | Sequence[ImageTensor]) -> tuple[ImageTensor, ...]:
    """One style or several, as a tuple of at least one."""
    styles = (style,) if isinstance(style, Tensor) else tuple(style)
    if not styles:
        raise OptionError("At least one style image is needed.")
    return styles


def _resolve(config: StylizeConfig | None, options: dict[str, Any]) -> StylizeConfig:
    if config is not None and options:
        raise OptionError("Give either a config or its fields, not both.")
    return config or make_config(options.pop("preset", None) or DEFAULT_PRESET, **options)


def _check_encoder(encoder: Encoder, config: StylizeConfig) -> None:
    pooling: Pooling = config.pooling
    if (encoder.architecture, encoder.pooling) != (config.encoder, pooling):
        raise OptionError(
            f"The config asks for {config.encoder} with {pooling} pooling, but the encoder given is "
            f"{encoder.architecture} with {encoder.pooling} pooling."
        )


def plan_steps(config: StylizeConfig) -> list[int]:
    """Evaluations of each stage: `num_steps` divided by the shares, at least one for the last stage."""
    shares = [stage.share for stage in config.stages]
    bounds = [round(config.num_steps * sum(shares[: i + 1]) / sum(shares)) for i in range(len(shares))]
    bounds[:-1] = [min(bound, config.num_steps - 1) for bound in bounds[:-1]]
    return [end - begin for begin, end in zip([0, *bounds], bounds, strict=False)]


def _run(
    content: ImageTensor,
    styles: tuple[ImageTensor, ...],
    config: StylizeConfig,
    encoder: Encoder,
    start: ImageTensor | None,
    sizes: list[tuple[int, int]],
    fitted: MutableFitted,
) -> Iterator[Step]:
    given = dict(fitted)
    clock = _Clock()
    device = encoder.mean.device
    photo = content  # its colours are kept; the styles may be recoloured to it
    if config.keep_colors == "match":
        styles = tuple(match_colors(style, photo) for style in styles)
    image = start if start is not None else initial_image(content, styles, config, sizes[0])
    index = 0
    for stage, size, num_steps in zip(config.stages, sizes, plan_steps(config), strict=True):
        content_here = resize_image(content, *size).to(device)
        styles_here = [fit_image(style, max(size)).to(device) for style in styles]
        objective = Objective(encoder, content_here, styles_here, config, given)
        variable = resize_image(image.cpu(), *size).to(device) * LEVELS
        try:
            for losses, following in _optimize(objective, variable, config, num_steps):
                index, variable = index + 1, following
                shown = _displayed(variable, content_here, config)
                yield Step(index, config.num_steps, stage.scale, shown, losses, clock.pause())
                clock.resume()
        except DivergenceError as error:
            error.last_good = _displayed(error.last_good, content_here, config)
            raise
        image = (variable / LEVELS).clamp(0, 1)
        fitted.update(objective.fitted())


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
        following = optimizer.step(variable, evaluation.gradient)
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
    return match_colors(content, styles[0]) if len(styles) == 1 else match_colors(content, _mosaic(styles, config))


def _mosaic(styles: Sequence[ImageTensor], config: StylizeConfig) -> ImageTensor:
    """All styles' pixels in one row, each style with as many as its weight asks for."""
    shares = style_shares(config, len(styles))
    rows = [resize_image(s, 64, max(1, round(4096 * w))) for s, w in zip(styles, shares, strict=True) if w]
    return torch.cat([row.cpu() for row in rows], dim=3)


class _Clock:
    """Seconds of the engine's own work: stands still while the consumer has a step in hand."""

    def __init__(self) -> None:
        self.spent = 0.0
        self.started = time.perf_counter()

    def pause(self) -> float:
        self.spent += time.perf_counter() - self.started
        return self.spent

    def resume(self) -> None:
        self.started = time.perf_counter()
