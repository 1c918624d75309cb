"""What a style is, as numbers: pure functions of feature maps (B, N, H, W), N channels at M = H*W positions.

All return float32 or better. Grams of bfloat16 features are multiplied as they are, for that takes a third of the
time: the products are summed in float32 and each entry is rounded once, by 0.4 % at most.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

Features = Float[Tensor, "B N _ _"]  # H and W unnamed: several images of one signature differ in size


def flatten_positions(features: Features) -> Float[Tensor, "B N M"]:
    """F of the paper: (B, N, H, W) -> (B, N, M) in float32 (float64 stays)."""
    flat = features.flatten(2)
    return flat if flat.dtype == torch.float64 else flat.float()


def gram_matrix(features: Features, merge_batch: bool = False) -> Float[Tensor, "B1 N1 N1"]:
    """G = F F^T / M (Gatys et al. 2016, eq. 3, divided by the number of positions).

    Args:
        features: (B, N, H, W).
        merge_batch: treat the batch as further channels, as the paper's F(a*b, c*d) does; the result is then
            (1, B*N, B*N) with the correlations between the images in it. Default: one Gram an image, (B, N, N).
    """
    flat = features.flatten(2)
    if merge_batch:
        flat = flat.flatten(0, 1).unsqueeze(0)
    return second_moment(flat)


def second_moment(flat: Float[Tensor, "B N M"]) -> Float[Tensor, "B N N"]:
    """F F^T / M of flattened features, in float32 (float64 stays)."""
    return _SecondMoment.apply(flat)


class _SecondMoment(torch.autograd.Function):
    """Autograd would take F F^T for a product of two matrices, and its backward for two; by symmetry it is one,
    (D + D^T) F / M, with one temporary of F's size. Positions are rows, as a channels-last memory has them."""

    @staticmethod
    def forward(flat: Tensor) -> Tensor:
        product = flat @ flat.mT
        return product.to(torch.promote_types(product.dtype, torch.float32)) / flat.shape[2]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:  # noqa: ARG004 - torch's signature
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (flat,) = ctx.saved_tensors
        return (flat.mT @ ((gradient + gradient.mT) / flat.shape[2]).to(flat.dtype)).mT


def mean_std(features: Features) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N"]]:
    """Mean and (biased) standard deviation of each channel over the positions, each (B, N)."""
    flat = flatten_positions(features)
    return flat.mean(2), flat.var(2, correction=0).clamp_min(1e-12).sqrt()


def covariance(features: Features) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N N"]]:
    """Mean (B, N) and (biased) covariance (B, N, N) of the positions."""
    flat = flatten_positions(features)
    mean = flat.mean(2)
    centred = flat - mean.unsqueeze(2)
    return mean, second_moment(centred)
