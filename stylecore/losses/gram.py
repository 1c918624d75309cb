"""The full Gram loss: the baseline that every reduction is compared with."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from stylecore.losses.base import LayerStyles, Scalar, StyleLoss, Target, style_loss
from stylecore.losses.statistics import Features, Moments, PositionWeights, gram_matrix, second_moments


def gram_loss(features: Features, target: Float[Tensor, "1 N N"]) -> Scalar:
    """mean((G - A)^2) over the N^2 entries, G the Gram of `features` and A the target (Gatys et al. 2016, eq. 4)."""
    return (gram_matrix(features) - target).square().mean()


@style_loss("gram")
class GramLoss(StyleLoss):
    """mean((G - A)^2), several styles blended into one target."""

    def __init__(self, styles: LayerStyles, options: Any) -> None:  # noqa: ARG002 - there are none
        self.targets = [Target(Moments(1.0, second=styles.gram))]

    def summarize(self, features: Features, weights: PositionWeights | None = None) -> Moments:
        return second_moments(features, weights)

    def distance(self, summary: Moments, target: Moments) -> Scalar:
        return (summary.gram - target.gram).square().mean()
