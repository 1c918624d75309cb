"""How much memory a job takes, estimated before it runs, and what is said when it runs out all the same."""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from stylecore.config import FIRST_ORDER, MIN_SIZE_PX, StylizeConfig
from stylecore.devices import available_memory_mib
from stylecore.encoders.vgg import Encoder, Layer
from stylecore.errors import NotEnoughMemoryError
from stylecore.images import fit_size
from stylecore.losses import at_once
from stylecore.scratch import free_disk_mib
from stylecore.tiles import margin_px

FIRST_USE_MIB = 128.0  # what libraries set up with the first evaluation, and keep
# Activations, gradients and workspace of one evaluation, bytes a pixel, measured with tools/measure_memory.py. (Keeping
# the blocks' results alone and computing the rest twice took no less on the CPU, where freed memory is kept in pieces
# of other sizes, and 1.4 times the time.)
BYTES_PER_PIXEL = {torch.float32: 3200, torch.bfloat16: 2050}
STYLE_SHARE = 0.4  # of an evaluation's memory that the targets of a style of as many pixels take
CONVERTED_LENGTH = 1 << 20  # values of a rounded pair that are made float32 at a time
COMFORTABLE = 0.8  # of the free memory: estimates waver, and other programs want some
TILES = {1152: 40, 768: 40, 512: 10, 256: 4}  # sides in px, and the pairs of L-BFGS that go with them in memory
PAIRS_ON_DISK = 40
# What is as large as the image in float32: photo, start, variable, the last good one, those that are shown, the last
# gradients; then what is made beside a tile, and by a step of L-BFGS, of which one is there at a time.
KEPT_IMAGES, IMAGES_OF_TILES, IMAGES_OF_STEP = 11, 3, 13
# torch.OutOfMemoryError is the GPU's alone: the CPU's allocator and oneDNN raise plain RuntimeErrors.
MEMORY_FULL = re.compile("out of memory|can't allocate memory|ALLOC_FAILED|could not create a memory")

Y = TypeVar("Y")
R = TypeVar("R")


@dataclass(frozen=True)
class MemoryPlan:
    """How a stage is computed in the memory there is."""

    mib: float  # that it takes, estimated
    tile_px: int = 0  # side of the tiles that images are encoded in; 0: in one piece
    num_pairs: int = 0  # that L-BFGS remembers at most
    history_dtype: torch.dtype = torch.float32  # of these pairs
    history_on_disk: bool = False

    def disk_mib(self, size: tuple[int, int]) -> float:
        """What the history takes of the disk at (height, width) px."""
        return math.prod(size) * _history_bytes(self.num_pairs) / 2**20 if self.history_on_disk else 0.0


def plan_memory(
    size: tuple[int, int], style_sizes: Sequence[tuple[int, int]], config: StylizeConfig, encoder: Encoder
) -> MemoryPlan:
    """In one piece where that leaves some of the free memory, else in tiles, with the pairs of L-BFGS in bfloat16; with
    the pairs on the disk, where it has room for them, or in smaller tiles with fewer pairs, the less memory there is.

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
    tiled = [] if at_once(config) else _tiled_plans(size, config, encoder)
    fitting = (plan for plan in (whole, *tiled) if plan.mib <= COMFORTABLE * available)
    return next(fitting, min((whole, *tiled), key=lambda plan: plan.mib))


def _tiled_plans(size: tuple[int, int], config: StylizeConfig, encoder: Encoder) -> list[MemoryPlan]:
    """From the fastest to what takes the least memory."""
    in_memory = [_tiled_plan(size, config, encoder, side) for side in TILES]
    if encoder.device.type != "cpu" or config.optimizer in FIRST_ORDER:
        return in_memory
    on_disk = [_tiled_plan(size, config, encoder, side, on_disk=True) for side in TILES]
    free = free_disk_mib()
    on_disk = [plan for plan in on_disk if plan.disk_mib(size) <= free]
    return [*in_memory[:2], *on_disk[:3], in_memory[2], *on_disk[3:], in_memory[3]]


def _tiled_plan(
    size: tuple[int, int], config: StylizeConfig, encoder: Encoder, tile_px: int, *, on_disk: bool = False
) -> MemoryPlan:
    pairs = min(_num_pairs(config), PAIRS_ON_DISK if on_disk else TILES[tile_px])
    mib = _tiled_mib(size, config, encoder, tile_px, pairs, on_disk)
    return MemoryPlan(mib, tile_px, pairs, torch.bfloat16, on_disk)


def _num_pairs(config: StylizeConfig) -> int:
    return min(config.history_size, config.num_steps) if config.optimizer not in FIRST_ORDER else 1


def _history_bytes(num_pairs: int) -> int:
    """A pixel, of pairs in bfloat16."""
    return 2 * 3 * num_pairs * torch.bfloat16.itemsize


def _tiled_mib(
    size: tuple[int, int], config: StylizeConfig, encoder: Encoder, tile_px: int, num_pairs: int, on_disk: bool
) -> float:
    """Peak memory in tiles: what there is of the whole image, and beside it one tile's evaluation or one step."""
    layers = (*config.content_layers, *config.style_layers)
    side = tile_px + 2 * margin_px(encoder, layers)
    tile = min(side, size[0]) * min(side, size[1]) * BYTES_PER_PIXEL[encoder.dtype]
    targets = sum(Layer.parse(layer).num_channels / Layer.parse(layer).stride ** 2 for layer in config.content_layers)
    history = 0 if on_disk else _history_bytes(num_pairs)
    image, pixels = 3 * torch.float32.itemsize, math.prod(size)
    style = image * config.style_side(max(size)) ** 2 / max(size) ** 2
    kept = KEPT_IMAGES * image + targets * encoder.dtype.itemsize + history + style
    converted = num_pairs * CONVERTED_LENGTH * torch.float32.itemsize
    by_turns = max(tile + pixels * IMAGES_OF_TILES * image, converted + pixels * IMAGES_OF_STEP * image)
    return FIRST_USE_MIB + (pixels * kept + by_turns) / 2**20


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
    evaluation = pixels * BYTES_PER_PIXEL[encoder.dtype]
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
