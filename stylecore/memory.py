"""How much memory a job takes, estimated before it runs, and what is said when it runs out all the same."""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Sequence
from typing import TypeVar

import torch

from stylecore.config import MIN_SIZE_PX, StylizeConfig
from stylecore.devices import available_memory_mib
from stylecore.encoders.vgg import Encoder
from stylecore.errors import NotEnoughMemoryError
from stylecore.images import fit_size

# Activations, gradients and workspace of one evaluation, bytes a pixel, measured with tools/measure_memory.py:
# with everything kept for the backward pass, and with only the blocks' results kept.
BYTES_PER_PIXEL = {torch.float32: 3000, torch.bfloat16: 1900}
RECOMPUTING_BYTES_PER_PIXEL = {torch.float32: 2300, torch.bfloat16: 1400}
STYLE_SHARE = 0.4  # of an evaluation's memory that the targets of a style of as many pixels take
RECOMPUTE_FROM_PX = 1200 * 1200
# torch.OutOfMemoryError is the GPU's alone: the CPU's allocator and oneDNN raise plain RuntimeErrors.
MEMORY_FULL = re.compile("out of memory|can't allocate memory|ALLOC_FAILED|could not create a memory")

Y = TypeVar("Y")
R = TypeVar("R")


def needs_recomputing(height: int, width: int) -> bool:
    """Whether an image is so large that features are computed twice rather than kept: 2048 px within 8 GiB."""
    return height * width >= RECOMPUTE_FROM_PX


def estimate_memory_mib(
    size: tuple[int, int], style_sizes: Sequence[tuple[int, int]], config: StylizeConfig, encoder: Encoder
) -> float:
    """Peak memory of a job beyond what the process holds already, in MiB.

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
    pairs = min(config.history_size, config.num_steps) if config.optimizer != "adam" else 1
    history = pixels * 2 * pairs * 3 * torch.float32.itemsize
    return (max(evaluation, targets) + history) / 2**20


def check_memory(
    size: tuple[int, int], style_sizes: Sequence[tuple[int, int]], config: StylizeConfig, encoder: Encoder
) -> None:
    """Raise a NotEnoughMemoryError that names the size that would fit, if this one would not."""
    needed = estimate_memory_mib(size, style_sizes, config, encoder)
    available = available_memory_mib(encoder.device)
    if needed <= available:
        return
    fitting = 0
    for longer in range(MIN_SIZE_PX, max(size), 16):
        if estimate_memory_mib(fit_size(size, longer), style_sizes, config, encoder) <= available:
            fitting = longer
    advice = f"choose --size {fitting}" if fitting else "free some memory"
    height, width = size
    raise NotEnoughMemoryError(
        f"{width}x{height} px needs about {needed / 1024:.1f} GiB, and {available / 1024:.1f} GiB are free: {advice}."
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
