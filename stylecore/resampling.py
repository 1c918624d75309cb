"""Lanczos resampling of a picture that is on a device: Pillow's weights as two matrices, without a way to the host."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

LOBES = 3  # of the window, as Pillow has it


def resample(image: Float[Tensor, "1 3 h w"], height: int, width: int) -> Float[Tensor, "1 3 H W"]:
    """`image` at height x width px, as Pillow's Lanczos has it to float32's rounding; not clamped."""
    rows, columns = (
        lanczos_weights(*sides).to(image.device, image.dtype)
        for sides in ((image.shape[2], height), (image.shape[3], width))
    )
    return rows @ (image @ columns.mT)


@lru_cache(maxsize=16)
def lanczos_weights(side: int, new_side: int) -> Float[Tensor, "N O"]:
    """What each of `new_side` pixels takes of each of `side`: rows sum to 1. When shrinking, the window grows."""
    scale = side / new_side
    stretch = max(scale, 1.0)
    centers = (np.arange(new_side) + 0.5) * scale
    support = LOBES * stretch
    first = np.maximum(np.floor(centers - support + 0.5), 0)
    last = np.minimum(np.floor(centers + support + 0.5), side)  # the first beyond the window
    places = np.arange(side)
    distances = (places + 0.5 - centers[:, None]) / stretch
    weights = np.sinc(distances) * np.sinc(distances / LOBES)
    weights[(places < first[:, None]) | (places >= last[:, None]) | (np.abs(distances) >= LOBES)] = 0
    return torch.from_numpy((weights / weights.sum(1, keepdims=True)).astype(np.float32))
