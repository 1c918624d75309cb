"""How much memory a job takes, told before it runs."""

from __future__ import annotations

import math

import torch

from stylecore.config import MIN_SIZE_PX, StylizeConfig
from stylecore.devices import available_memory_mib
from stylecore.encoder import Encoder
from stylecore.errors import NotEnoughMemoryError

# Activations, gradients and workspace of one evaluation, bytes a pixel, measured with scripts/measure_memory.py.
BYTES_PER_PIXEL = {torch.float32: 3100, torch.bfloat16: 2100}


def estimate_memory_mib(height: int, width: int, config: StylizeConfig, encoder: Encoder) -> float:
    """Peak memory of a job at its final size beyond what the process holds already, in MiB."""
    evaluation = BYTES_PER_PIXEL[encoder.dtype]
    pairs = min(config.history_size, config.num_steps) if config.optimizer == "lbfgs" else 1
    history = 2 * pairs * 3 * torch.float32.itemsize
    return height * width * (evaluation + history) / 2**20


def check_memory(height: int, width: int, config: StylizeConfig, encoder: Encoder) -> None:
    """Raise a NotEnoughMemoryError that names the size that would fit, if this one would not."""
    needed = estimate_memory_mib(height, width, config, encoder)
    available = available_memory_mib(encoder.mean.device)
    if needed <= available:
        return
    fitting = math.floor(max(height, width) * math.sqrt(available / needed) / 16) * 16
    advice = f"choose --size {fitting}" if fitting >= MIN_SIZE_PX else "free some memory"
    raise NotEnoughMemoryError(
        f"{width}x{height} px needs about {needed / 1024:.1f} GiB, and {available / 1024:.1f} GiB are free: {advice}."
    )
