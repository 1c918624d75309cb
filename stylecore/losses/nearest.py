"""Style as a collection of feature vectors: each position of the result should be like one of the style's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from stylecore.losses.base import LayerStyles, Scalar, Target, style_loss
from stylecore.losses.basis import project
from stylecore.losses.positions import PositionLoss, PositionOptions
from stylecore.losses.statistics import Features, PositionWeights, Sample, WeightedFeatures

STRENGTH = 2.0  # what makes it as strong as the Gram loss on the same picture, by eye and by content distance
CHUNK = 1024  # positions that are compared with all candidates at a time


@style_loss("nnfm")
class NearestFeatureLoss(PositionLoss):
    """Mean cosine distance of each position from the style's nearest (Kolkin et al. 2022; "feature splitting":
    each layer finds its own). Nearest within the basis; the distance itself is of all channels.

    Directions are those from the style's mean. Matches are found anew with the positions. Several styles give
    candidates by their shares, and each position has the nearest of all.
    """

    def __init__(self, styles: LayerStyles, options: PositionOptions) -> None:
        super().__init__(styles, options)
        self.unit = STRENGTH * styles.gram.square().mean()
        self.matches: Int[Tensor, " P"] | None = None
        candidates = [
            self._candidates(style, round(share * options.num_positions))
            for style, share in zip(styles.whole, styles.shares, strict=True)
            if share
        ]
        self.num_samples = options.num_positions
        points = torch.cat(candidates, 1)
        self.center = points.mean(1, keepdim=True)
        self.targets = [Target(Sample(points))]

    def _candidates(self, style: WeightedFeatures, number: int) -> Float[Tensor, "N Q"]:
        self.num_samples = max(1, number)
        return self.sample_of(*style).points

    def summarize(self, features: Features, weights: PositionWeights | None = None) -> Sample:
        if self.drawn is None:
            self.matches = None  # which were those of other positions
        return super().summarize(features, weights)

    def distance(self, summary: Sample, target: Sample) -> Scalar:
        if self.matches is None:
            self.matches = self._nearest(summary.points.detach(), target.points)
        wanted = (target.points - self.center)[:, self.matches]
        return self.unit * (1 - F.cosine_similarity(summary.points - self.center, wanted, dim=0)).mean()

    def _nearest(self, points: Float[Tensor, "N P"], candidates: Float[Tensor, "N Q"]) -> Int[Tensor, " P"]:
        """By cosine within the basis, each image about its own mean: a photo of other colours has likenesses too."""
        found, known = (self._directions(each) for each in (points, candidates))
        return torch.cat([(chunk.mT @ known).argmax(1) for chunk in found.split(CHUNK, 1)])

    def _directions(self, points: Float[Tensor, "N P"]) -> Float[Tensor, "K P"]:
        centered = points - points.mean(1, keepdim=True)
        return F.normalize(project(centered[None], self.components)[0], dim=0)
