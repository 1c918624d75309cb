"""What the losses have in common that look at single positions within a basis of few components."""

from __future__ import annotations

from typing import Annotated

import pydantic
import torch

from stylecore.fields import CONFIG, Whole, about
from stylecore.losses.base import LayerStyles, RefreshOptions, SampledStyleLoss, Scalar, SeedOptions
from stylecore.losses.pca import BasisLoss, PCAOptions
from stylecore.losses.statistics import Features, PositionWeights, Sample


@pydantic.dataclasses.dataclass(frozen=True, config=CONFIG)
class PositionOptions(PCAOptions, RefreshOptions, SeedOptions):
    """Of losses that look at positions within a basis."""

    num_positions: Annotated[
        Whole, about("Positions that swd, nnfm and histogram draw from each image.", low=2, high=1 << 16)
    ] = 4096


class PositionLoss(SampledStyleLoss, BasisLoss):
    """A style loss of drawn positions and a basis.

    New positions are another sample of the same distribution, so the optimiser keeps what it remembers: to forget it
    costs more than the few pairs that are off.
    """

    Options = PositionOptions
    restarts_optimizer = False

    def __init__(self, styles: LayerStyles, options: PositionOptions) -> None:
        super().__init__(styles, options)
        self.num_samples = options.num_positions
        self.generator = torch.Generator().manual_seed(options.seed)

    def sample_of(self, features: Features, weights: PositionWeights | None) -> Sample:
        """Of a style, whose positions are its own."""
        sample = self.summarize(features, weights)
        self.drawn = None
        return sample


def transport_unit(styles: LayerStyles) -> Scalar:
    """What turns a squared distance of feature vectors into the units of mean((G - A)^2): that of A over E |x|^2."""
    gram = styles.gram[0]
    return gram.square().mean() / gram.trace().clamp_min(1e-12)
