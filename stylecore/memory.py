"""How much memory a job takes, estimated before it runs, and what is said when it runs out all the same."""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from stylecore.config import MIN_SIZE_PX, StylizeConfig
from stylecore.devices import available_memory_mib
from stylecore.encoders.vgg import Encoder, Layer
from stylecore.errors import NotEnoughMemoryError
from stylecore.images import fit_size
from stylecore.losses import at_once
from stylecore.tiles import margin_px

# Activations, gradients and workspace of one evaluation, bytes a pixel, measured with tools/measure_memory.py:
# with everything kept for the backward pass, and with only the blocks' results kept.
BYTES_PER_PIXEL = {torch.float32: 3000, torch.bfloat16: 1900}
RECOMPUTING_BYTES_PER_PIXEL = {torch.float32: 2300, torch.bfloat16: 1400}
STYLE_SHARE = 0.4  # of an evaluation's memory that the targets of a style of as many pixels take
RECOMPUTE_FROM_PX = 1200 * 1200
COMFORTABLE = 0.8  # of the free memory: estimates waver, and other programs want some
TILES = {768: 40, 512: 10, 256: 4}  # sides in px, and the pairs of L-BFGS that go with them
# What is as large as the image in float32: variable, gradient, photo, the last good one, what an L-BFGS step makes.
WHOLE_IMAGES = 16
# torch.OutOfMemoryError is the GPU's alone: the CPU's allocator and oneDNN raise plain RuntimeErrors.
MEMORY_FULL = re.compile("out of memory|can't allocate memory|ALLOC_FAILED|could not create a memory")

Y = TypeVar("Y")
R = TypeVar("R")


def needs_recomputing(height: int, width: int) -> bool:
    """Whether an image is so large that features are computed twice rather than kept: 2048 px within 8 GiB."""
    return height * width >= RECOMPUTE_FROM_PX


@dataclass(frozen=True)
class MemoryPlan:
    """How a stage is computed in the memory there is."""

    mib: float  # that it takes, estimated
    tile_px: int = 0  # side of the tiles that images are encoded in; 0: in one piece
    num_pairs: int = 0  # that L-BFGS remembers at most
    history_dtype: torch.dtype = torch.float32  # of these pairs


def plan_memory(
    size: tuple[int, int], style_sizes: Sequence[tuple[int, int]], config: StylizeConfig, encoder: Encoder
) -> MemoryPlan:
    """In one piece where that leaves some of the free memory, else in tiles, with the pairs of L-BFGS in bfloat16; in
    smaller tiles with fewer pairs, the less memory there is.

    Args:
        size: (height, width) of the stage in px.
        style_sizes, config, encoder: as `estimate_memory_mib` has them.

    Raises:
        NotEnoughMemoryError: names the size that would fit, if this one would not.
    """
    available = available_memory_mib(encoder.device)
    plan = _fitting_plan(size, style_sizes, config, encoder, available)
    if plan.mib > available:
        raise _not_enough(plan, available, size, style_sizes, config, encoder)
    return plan


def _fitting_plan(
    size: tuple[int, int],
    style_sizes: Sequence[tuple[int, int]],
    config: StylizeConfig,
    encoder: Encoder,
    available: float,
) -> MemoryPlan:
    """The first that leaves some of the memory, or the last there is."""
    pairs = _num_pairs(config)
    whole = MemoryPlan(estimate_memory_mib(size, style_sizes, config, encoder), num_pairs=pairs)
    tiled = not at_once(config)
    plans = [whole, *(_tiled_plan(size, config, encoder, side) for side in TILES if tiled)]
    return next((plan for plan in plans if plan.mib <= COMFORTABLE * available), plans[-1])


def _tiled_plan(size: tuple[int, int], config: StylizeConfig, encoder: Encoder, tile_px: int) -> MemoryPlan:
    pairs = min(_num_pairs(config), TILES[tile_px])
    return MemoryPlan(_tiled_mib(size, config, encoder, tile_px, pairs), tile_px, pairs, torch.bfloat16)


def economical_plan(size: tuple[int, int], config: StylizeConfig, encoder: Encoder) -> MemoryPlan:
    """That in the largest tiles, whatever memory there is."""
    return _tiled_plan(size, config, encoder, max(TILES))


def _num_pairs(config: StylizeConfig) -> int:
    return min(config.history_size, config.num_steps) if config.optimizer not in ("adam", "pyramid") else 1


def _tiled_mib(size: tuple[int, int], config: StylizeConfig, encoder: Encoder, tile_px: int, num_pairs: int) -> float:
    """Peak memory in tiles: one tile's evaluation, and what there is of the whole image."""
    layers = (*config.content_layers, *config.style_layers)
    side = tile_px + 2 * margin_px(encoder, layers)
    tile = min(side, size[0]) * min(side, size[1]) * BYTES_PER_PIXEL[encoder.dtype]
    targets = sum(Layer.parse(layer).num_channels / Layer.parse(layer).stride ** 2 for layer in config.content_layers)
    history = 2 * 3 * num_pairs * torch.bfloat16.itemsize
    style = 3 * torch.float32.itemsize * config.style_side(max(size)) ** 2 / max(size) ** 2
    a_pixel = WHOLE_IMAGES * 3 * torch.float32.itemsize + targets * encoder.dtype.itemsize + history + style
    return (tile + math.prod(size) * a_pixel) / 2**20


def estimate_memory_mib(
    size: tuple[int, int], style_sizes: Sequence[tuple[int, int]], config: StylizeConfig, encoder: Encoder
) -> float:
    """Peak memory of a stage in one piece beyond what the process holds already, in MiB.

    Args:
        size: (height, width) of the result in px.
        style_sizes: of the styles as they are given; the job brings their longer sides to what the config says.
        config: size of the styles, optimiser and number of evaluations.
        encoder: its dtype.
    """
    pixels = math.prod(size)
    table = RECOMPUTING_BYTES_PER_PIXEL if needs_recomputing(*size) else BYTES_PER_PIXEL
    evaluation = pixels * table[encoder.dtype]
    side = config.style_side(max(size))
    style_pixels = sum(math.prod(fit_size(style, side)) for style in style_sizes)
    targets = STYLE_SHARE * style_pixels * BYTES_PER_PIXEL[encoder.dtype]
    history = pixels * 2 * _num_pairs(config) * 3 * torch.float32.itemsize
    return (max(evaluation, targets) + history) / 2**20


def _not_enough(
    plan: MemoryPlan,
    available: float,
    size: tuple[int, int],
    style_sizes: Sequence[tuple[int, int]],
    config: StylizeConfig,
    encoder: Encoder,
) -> NotEnoughMemoryError:
    fitting = 0
    for longer in range(MIN_SIZE_PX, max(size), 16):
        if _fitting_plan(fit_size(size, longer), style_sizes, config, encoder, available).mib <= available:
            fitting = longer
    advice = f"choose --size {fitting}" if fitting else "free some memory"
    height, width = size
    return NotEnoughMemoryError(
        f"{width}x{height} px needs about {plan.mib / 1024:.1f} GiB, and {available / 1024:.1f} GiB are free: {advice}."
    )


def answering_full_memory(steps: Generator[Y, None, R], size: tuple[int, int]) -> Generator[Y, None, R]:
    """The same steps; where memory runs out, a NotEnoughMemoryError that names a size that may fit."""
    try:
        return (yield from steps)
    except (MemoryError, RuntimeError) as error:
        if not _is_memory_full(error):
            raise
    # Out here nothing holds the tensors of the evaluation that failed. Half the pixels take half the memory.
    fitting = max(MIN_SIZE_PX, int(max(size) * 0.5**0.5) // 16 * 16)
    advice = f"choose --size {fitting}" if fitting < max(size) else "free some memory"
    raise NotEnoughMemoryError(f"The memory ran out at {size[1]}x{size[0]} px: {advice}.")


def _is_memory_full(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or bool(MEMORY_FULL.search(str(error)))
