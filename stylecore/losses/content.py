"""The terms beside the style: content and total variation."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from stylecore.losses.base import Scalar


def content_loss(
    features: Float[Tensor, "B N H W"],
    target: Float[Tensor, "B N H W"],
    weights: Float[Tensor, "B 1 H W"] | None = None,
) -> Scalar:
    """Mean of (F - C)^2 over all entries (Gatys et al. 2016, eq. 1, as a mean), in float32 or better; each times its
    position's weight, where there are weights."""
    dtype = torch.promote_types(features.dtype, torch.float32)
    squares = (features.to(dtype) - target.to(dtype)).square()
    return squares.mean() if weights is None else (squares * weights).mean()


def total_variation(image: Float[Tensor, "B 3 H W"]) -> Scalar:
    """Mean squared difference of neighbouring pixels, both directions added (Mahendran and Vedaldi 2015, beta 2)."""
    vertical = image[:, :, 1:] - image[:, :, :-1]
    horizontal = image[:, :, :, 1:] - image[:, :, :, :-1]
    return vertical.square().mean() + horizontal.square().mean()
