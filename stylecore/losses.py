"""The terms of the objective: content, total variation, and the family of style losses, found by name.

A style loss is made once per layer from the style images' features and then called with the result's features. It
returns a scalar in the units of mean((G - A)^2) over the N^2 entries, so that one set of layer weights serves all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from stylecore.errors import unknown
from stylecore.statistics import Features, gram_matrix

Scalar = Float[Tensor, ""]


def content_loss(features: Float[Tensor, "B N H W"], target: Float[Tensor, "B N H W"]) -> Scalar:
    """Mean of (F - C)^2 over all entries (Gatys et al. 2016, eq. 1, as a mean), in float32."""
    return (features.float() - target.float()).square().mean()


def total_variation(image: Float[Tensor, "B 3 H W"]) -> Scalar:
    """Mean squared difference of neighbouring pixels, both directions added (Mahendran and Vedaldi 2015, beta 2)."""
    vertical = image[:, :, 1:] - image[:, :, :-1]
    horizontal = image[:, :, :, 1:] - image[:, :, :, :-1]
    return vertical.square().mean() + horizontal.square().mean()


def gram_loss(features: Features, target: Float[Tensor, "1 N N"]) -> Scalar:
    """mean((G - A)^2) over the N^2 entries, G the Gram of `features` and A the target (Gatys et al. 2016, eq. 4)."""
    return (gram_matrix(features) - target).square().mean()


class StyleLoss(nn.Module, ABC):
    """One layer's style term: built from the styles' features at that layer, called with the result's."""

    @abstractmethod
    def forward(self, features: Features) -> Scalar:
        """The loss of features (1, N, H, W)."""


class GramLoss(StyleLoss):
    """The full Gram loss. Several styles blend their Grams: sum_i w_i |G - A_i|^2 has the same gradient as
    |G - sum_i w_i A_i|^2, since the weights sum to 1."""

    target: Tensor

    def __init__(self, styles: Sequence[Features], weights: Sequence[float]) -> None:
        super().__init__()
        grams = [weight * gram_matrix(style) for style, weight in zip(styles, weights, strict=True)]
        self.register_buffer("target", torch.stack(grams).sum(0))

    def forward(self, features: Features) -> Scalar:
        return gram_loss(features, self.target)


# Made from the styles' features, (1, N, H_i, W_i) each, and the styles' weights, which sum to 1.
MakeStyleLoss = Callable[[Sequence[Features], Sequence[float]], StyleLoss]

STYLE_LOSSES: dict[str, MakeStyleLoss] = {"gram": GramLoss}


def find_style_loss(name: str) -> MakeStyleLoss:
    """The style loss of that name; an OptionError suggests the nearest."""
    if name not in STYLE_LOSSES:
        raise unknown("loss", name, STYLE_LOSSES)
    return STYLE_LOSSES[name]
