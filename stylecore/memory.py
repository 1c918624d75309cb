"""How much memory a job takes, told before it runs."""

from __future__ import annotations

import torch

from stylecore.config import MIN_SIZE_PX, StylizeConfig
from stylecore.devices import available_memory_mib
from stylecore.encoder import Encoder
from stylecore.errors import NotEnoughMemoryError

# Activations, gradients and workspace of one evaluation, bytes a pixel, measured with scripts/measure_memory.py:
# with everything kept for the backward pass, and with only the blocks' results kept.
BYTES_PER_PIXEL = {torch.float32: 2500, torch.bfloat16: 1600}
RECOMPUTING_BYTES_PER_PIXEL = {torch.float32: 2000, torch.bfloat16: 1200}
RECOMPUTE_FROM_PX = 1200 * 1200


def needs_recomputing(height: int, width: int) -> bool:
    """Whether an image is so large that features are computed twice rather than kept: 2048 px within 8 GiB."""
    return height * width >= RECOMPUTE_FROM_PX


def estimate_memory_mib(height: int, width: int, config: StylizeConfig, encoder: Encoder) -> float:
    """Peak memory of a job at its final size beyond what the process holds already, in MiB."""
    table = RECOMPUTING_BYTES_PER_PIXEL if needs_recomputing(height, width) else BYTES_PER_PIXEL
    evaluation = table[encoder.dtype]
    pairs = min(config.history_size, config.num_steps) if config.optimizer != "adam" else 1
    history = 2 * pairs * 3 * torch.float32.itemsize
    return height * width * (evaluation + history) / 2**20


def check_memory(height: int, width: int, config: StylizeConfig, encoder: Encoder) -> None:
    """Raise a NotEnoughMemoryError that names the size that would fit, if this one would not."""
    needed = estimate_memory_mib(height, width, config, encoder)
    available = available_memory_mib(encoder.mean.device)
    if needed <= available:
        return
    longer = max(height, width)
    fitting = 0
    for size in range(MIN_SIZE_PX, longer, 16):
        if estimate_memory_mib(height * size // longer, width * size // longer, config, encoder) <= available:
            fitting = size
    advice = f"choose --size {fitting}" if fitting else "free some memory"
    raise NotEnoughMemoryError(
        f"{width}x{height} px needs about {needed / 1024:.1f} GiB, and {available / 1024:.1f} GiB are free: {advice}."
    )
