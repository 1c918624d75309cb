"""Content and total variation, and what every style loss has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from stylecore.losses.statistics import Features

Scalar = Float[Tensor, ""]
WeightsFrom = Literal["adversarial", "fisher"]


def content_loss(features: Float[Tensor, "B N H W"], target: Float[Tensor, "B N H W"]) -> Scalar:
    """Mean of (F - C)^2 over all entries (Gatys et al. 2016, eq. 1, as a mean), in float32."""
    return (features.float() - target.float()).square().mean()


def total_variation(image: Float[Tensor, "B 3 H W"]) -> Scalar:
    """Mean squared difference of neighbouring pixels, both directions added (Mahendran and Vedaldi 2015, beta 2)."""
    vertical = image[:, :, 1:] - image[:, :, :-1]
    horizontal = image[:, :, :, 1:] - image[:, :, :, :-1]
    return vertical.square().mean() + horizontal.square().mean()


@dataclass(frozen=True)
class LossOptions:
    """What the style losses can be told; each reads the fields that concern it."""

    components: str = "12.5%"  # pca: kept, a count, a share of N, or var:SHARE of the variance
    centered: bool = True  # pca: whether directions are those of the covariance or of the second moment
    threshold: str = "mean:1.0"  # svd: singular values below are dropped
    refresh_every: int = 10  # evaluations between new projectors, trained weights or sampled positions
    weights_from: WeightsFrom = "adversarial"  # weighted: how the weights are found
    num_samples: int = 512  # mmd kernels: positions drawn from each image
    seed: int = 0  # of the drawing


@dataclass(frozen=True)
class LayerTargets:
    """What one layer's style loss is made from."""

    layer: str
    styles: Sequence[Features]  # (1, N, H_i, W_i); sizes may differ
    weights: Sequence[float]  # one a style, summing to 1
    content: Features | None = None  # of the photo
    given: Mapping[str, Tensor] = field(default_factory=dict)  # fitted earlier, by the names of `StyleLoss.fitted`


class StyleLoss(nn.Module, ABC):
    """One layer's style term, in the units of mean((G - A)^2) over the N^2 entries of a Gram, so that one set of layer
    weights serves all losses."""

    refreshes: bool = False  # whether `refresh` wants to be called every `LossOptions.refresh_every` evaluations
    refreshes_always: bool = False  # or before every evaluation, as the paper's own versions do

    @abstractmethod
    def forward(self, features: Features) -> Scalar:
        """The loss of features (1, N, H, W)."""

    def refresh(self, features: Features) -> bool:  # noqa: ARG002 - most losses have nothing to adapt
        """Adapt to the features of the image so far (detached).

        Returns:
            whether the objective changed so much that what an optimiser remembers of it is void.
        """
        return False

    def fitted(self) -> dict[str, Tensor]:
        """What was fitted to images and can be given again, by name."""
        return {}
