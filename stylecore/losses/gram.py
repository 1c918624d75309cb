"""The full Gram loss: the baseline that every reduction is compared with."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from stylecore.losses.base import LayerTargets, Scalar, StyleLoss
from stylecore.losses.statistics import Features, gram_matrix


def gram_loss(features: Features, target: Float[Tensor, "1 N N"]) -> Scalar:
    """mean((G - A)^2) over the N^2 entries, G the Gram of `features` and A the target (Gatys et al. 2016, eq. 4)."""
    return (gram_matrix(features) - target).square().mean()


def blended_gram(targets: LayerTargets) -> Float[Tensor, "1 N N"]:
    """sum_i w_i A_i. For losses quadratic in G, sum_i w_i |G - A_i|^2 has the gradient of |G - sum_i w_i A_i|^2."""
    pairs = zip(targets.styles, targets.weights, strict=True)
    return torch.stack([weight * gram_matrix(style) for style, weight in pairs]).sum(0)


class GramLoss(StyleLoss):
    """mean((G - A)^2), several styles blended into one target."""

    target: Tensor

    def __init__(self, targets: LayerTargets) -> None:
        super().__init__()
        self.register_buffer("target", blended_gram(targets))

    def forward(self, features: Features) -> Scalar:
        return gram_loss(features, self.target)
