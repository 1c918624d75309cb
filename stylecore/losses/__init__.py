"""The terms of the objective: content, total variation, and the family of style losses, found by name.

A style loss is made once per layer from the style images' features and then called with the result's.
"""

from __future__ import annotations

from collections.abc import Callable

from stylecore.errors import unknown
from stylecore.losses.base import LayerTargets, LossOptions, Scalar, StyleLoss, content_loss, total_variation
from stylecore.losses.gram import GramLoss, gram_loss
from stylecore.losses.mmd import BatchNormLoss, GaussianMMDLoss, LinearMMDLoss, PolynomialMMDLoss
from stylecore.losses.paper import PaperPCALoss, PaperSVDLoss
from stylecore.losses.reduced import PCACovarianceLoss, PCALoss, SVDLoss
from stylecore.losses.weighted import ElementWeightedGramLoss, WeightedGramLoss

STYLE_LOSSES: dict[str, Callable[[LayerTargets, LossOptions], StyleLoss]] = {
    "gram": lambda targets, _: GramLoss(targets),
    "pca": PCALoss,
    "pca-covariance": PCACovarianceLoss,
    "pca-paper": lambda targets, _: PaperPCALoss(targets),
    "svd": SVDLoss,
    "svd-paper": lambda targets, _: PaperSVDLoss(targets),
    "weighted": WeightedGramLoss,
    "weighted-element": ElementWeightedGramLoss,
    "mmd-linear": lambda targets, _: LinearMMDLoss(targets),
    "mmd-poly": PolynomialMMDLoss,
    "mmd-gaussian": GaussianMMDLoss,
    "bn": lambda targets, _: BatchNormLoss(targets),
}


def make_style_loss(name: str, targets: LayerTargets, options: LossOptions) -> StyleLoss:
    """One layer's style loss of that name; an OptionError suggests the nearest."""
    if name not in STYLE_LOSSES:
        raise unknown("loss", name, STYLE_LOSSES)
    return STYLE_LOSSES[name](targets, options)


__all__ = [
    "STYLE_LOSSES",
    "LayerTargets",
    "LossOptions",
    "Scalar",
    "StyleLoss",
    "content_loss",
    "gram_loss",
    "make_style_loss",
    "total_variation",
]
