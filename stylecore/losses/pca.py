"""The paper's PCA with one basis shared by both images.

`pca` compares U^T G U, K x K, instead of G, N x N. Features are projected first, so an evaluation costs K/N + (K/N)^2
of the full Gram's arithmetic.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import pydantic
import torch
from jaxtyping import Float
from torch import Tensor

from stylecore.fields import CONFIG, Options, about, parsed_by
from stylecore.losses.base import LayerStyles, Scalar, StyleLoss, Target, style_loss
from stylecore.losses.basis import Components, fit_basis, project
from stylecore.losses.statistics import (
    Features,
    Moments,
    PositionWeights,
    all_moments,
    count_positions,
    flatten_positions,
    outer_sum,
)

# Above this share of N, the full Gram projected afterwards is cheaper: K/N + (K/N)^2 = 1 at 0.618.
PROJECT_FIRST_UP_TO = 0.618


@pydantic.dataclasses.dataclass(frozen=True, config=CONFIG)
class PCAOptions(Options):
    """Of the losses in a basis of principal components."""

    components: Annotated[
        Components,
        parsed_by(Components.parse),
        about("Kept by pca, w2, swd and the like: 64, 12.5% of the channels, var:0.95 of the variance.", common=True),
    ] = Components(share=0.125)
    basis: Annotated[
        Literal["joint", "style"],
        about("pca: directions of photo and style pooled, or of the style alone, which miss what the photo has more."),
    ] = "style"
    centered: Annotated[bool, about("pca: directions of the covariance (true) or of the second moment (false).")] = True


def projected_moments(
    features: Features, components: Float[Tensor, "N K"], weights: PositionWeights | None = None
) -> Moments:
    """Count and second moment of U^T x, (1, K, K), by whichever order is cheaper."""
    flat = (features if weights is None else features * weights.to(features.dtype).sqrt()).flatten(2)
    if components.shape[1] <= PROJECT_FIRST_UP_TO * components.shape[0]:
        second = outer_sum(project(flat, components))
    else:
        second = components.mT @ outer_sum(flat) @ components
    return Moments(count_positions(features, weights), second=second)


def projected_gram(features: Features, components: Float[Tensor, "N K"]) -> Float[Tensor, "1 K K"]:
    """U^T G U."""
    return projected_moments(features, components).gram


def pca_loss(features: Features, components: Float[Tensor, "N K"], target: Float[Tensor, "1 K K"]) -> Scalar:
    """|U^T G U - target|_F^2 / N^2: the Gram loss within the span of U. K = N gives `gram_loss`, whatever the rotation.

    With D = G - A, P = U U^T and Q = I - P, the Gram loss exceeds it by (2 |P D Q|^2 + |Q D Q|^2) / N^2.
    """
    return (projected_gram(features, components) - target).square().sum() / components.shape[0] ** 2


class BasisLoss(StyleLoss):
    """A style loss in a basis that is fitted once and shared by both images."""

    Options: ClassVar[type[Options]] = PCAOptions
    fits = "components"
    fitted_by = ("components", "basis", "centered")

    @classmethod
    def needs_content(cls, options: PCAOptions) -> bool:
        return options.basis == "joint"

    def __init__(self, styles: LayerStyles, options: PCAOptions) -> None:
        self.components = _basis(styles, options)

    def fitted(self) -> dict[str, Tensor]:
        return {"components": self.components}


@style_loss("pca")
class PCALoss(BasisLoss):
    """The Gram loss in a basis that is fitted once to the style and shared by both images, where the paper takes a new
    one from each image at every step and so compares coordinates in two different bases."""

    def __init__(self, styles: LayerStyles, options: PCAOptions) -> None:
        super().__init__(styles, options)
        self.targets = [Target(Moments(1.0, second=self.components.mT @ styles.gram @ self.components))]

    def summarize(self, features: Features, weights: PositionWeights | None = None) -> Moments:
        return projected_moments(features, self.components, weights)

    def distance(self, summary: Moments, target: Moments) -> Scalar:
        return (summary.gram - target.gram).square().sum() / len(self.components) ** 2


@style_loss("pca-covariance")
class PCACovarianceLoss(BasisLoss):
    """Mean and covariance apart, both in the basis: |U^T (S - S_s) U|^2 + 2 |v|^2 |u - v|^2 over N^2, with u and v the
    projected means. The second term has the size of |u u^T - v v^T|^2, the mean's part in a Gram, but is convex in u
    and knows the mean's sign."""

    def __init__(self, styles: LayerStyles, options: PCAOptions) -> None:
        super().__init__(styles, options)
        summaries = styles.summaries(self.summarize)
        pairs = list(zip(styles.shares, summaries, strict=True))
        # Each style's spread about its own mean: a mixture's would count the distance of the means as spread.
        mean = torch.stack([share * each.mean for share, each in pairs]).sum(0)
        covariance = torch.stack([share * each.covariance for share, each in pairs]).sum(0)
        self.targets = [Target(Moments(1.0, first=mean, second=covariance + mean.unsqueeze(2) * mean.unsqueeze(1)))]

    def summarize(self, features: Features, weights: PositionWeights | None = None) -> Moments:
        projected = project(flatten_positions(features), self.components)
        return all_moments(projected.unflatten(2, features.shape[2:]), weights)

    def distance(self, summary: Moments, target: Moments) -> Scalar:
        of_mean = 2 * target.mean.square().sum() * (summary.mean - target.mean).square().sum()
        of_covariance = (summary.covariance - target.covariance).square().sum()
        return (of_mean + of_covariance) / len(self.components) ** 2


def _basis(styles: LayerStyles, options: PCAOptions) -> Float[Tensor, "N K"]:
    if "components" in styles.given:
        return styles.given["components"]
    moments, shares = styles.exact_moments, styles.shares
    if options.basis == "joint" and styles.content is not None:
        photo = LayerStyles(styles.layer, [styles.content], (1.0,)).exact_moments
        moments, shares = [*moments, *photo], [*(share / 2 for share in shares), 0.5]
    return fit_basis(moments, shares, options.components, centered=options.centered, layer=styles.layer).components
