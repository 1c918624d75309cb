"""Style as a distribution of feature vectors that is moved onto the style's with the least effort (Wasserstein, W2).

`w2` takes both distributions for Gaussians, where the least effort is known in closed form; `swd` compares their
projections on random directions, where it is found by sorting (Heitz et al. 2021); `histogram` on the principal
components (Risser et al. 2017). All of them within a basis of few components, which makes them affordable.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from stylecore.devices import exact_dtype, send
from stylecore.fields import CONFIG, Whole, about
from stylecore.losses.base import LayerStyles, Scalar, Target, style_loss
from stylecore.losses.basis import project
from stylecore.losses.pca import BasisLoss, PCAOptions
from stylecore.losses.positions import PositionLoss, PositionOptions, transport_unit
from stylecore.losses.statistics import Features, Moments, PositionWeights, Sample, all_moments

# Variance added to every direction of both Gaussians, as a share of the style's largest: what is flat has a root too.
BLUR = 1e-3
ROOT_STEPS = 28  # of Newton-Schulz: from BLUR / 10 to 1 by factors of 1.5, and a few that converge quadratically
# What makes a distance as strong as the Gram's on the same picture, by eye and by content distance.
GAUSSIAN_STRENGTH, SLICED_STRENGTH, HISTOGRAM_STRENGTH = 1.0, 2.0, 6.0


@dataclass(frozen=True)
class Gaussian(Moments):
    """Moments of a style with the root of their covariance, which is found once."""

    root: Float[Tensor, "K K"] | None = None


@style_loss("w2")
class GaussianWassersteinLoss(BasisLoss):
    """W2^2 = |u - v|^2 + tr(S + T - 2 (T^1/2 S T^1/2)^1/2) of means and covariances in the basis (Dowson and Landau
    1982). Several styles are targets of their own: what is nearest to all is their barycentre, not a mixture.

    Departure: `BLUR` is added to both covariances.
    """

    def __init__(self, styles: LayerStyles, options: PCAOptions) -> None:
        super().__init__(styles, options)
        self.unit = GAUSSIAN_STRENGTH * transport_unit(styles)
        moments = [each.normalized() for each in styles.summaries(self.summarize)]
        spread = torch.stack([each.covariance[0].diagonal().amax() for each in moments]).amax()
        flat = torch.stack([each.gram[0].trace() for each in moments]).amax()  # of a style of one colour
        self.blur = (BLUR * spread).clamp_min(1e-6 * flat + 1e-12)
        self.targets = [
            Target(Gaussian(1.0, each.first, second=each.second, root=self._root(each)), share)
            for each, share in zip(moments, styles.shares, strict=True)
        ]

    def _root(self, moments: Moments) -> Float[Tensor, "K K"]:
        covariance = self._blurred(moments)
        values, vectors = torch.linalg.eigh(covariance.double().cpu())
        root = (vectors * values.clamp_min(0).sqrt()) @ vectors.mT
        return root.to(covariance.device, exact_dtype(covariance.device))

    def _blurred(self, moments: Moments) -> Float[Tensor, "K K"]:
        covariance = moments.covariance[0]
        return covariance + self.blur * torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)

    def summarize(self, features: Features, weights: PositionWeights | None = None) -> Moments:
        projected = project(features.flatten(2), self.components)
        exact = projected if projected.dtype == torch.float64 else projected.float()
        return all_moments(exact.unflatten(2, features.shape[2:]), weights)

    def distance(self, summary: Moments, target: Gaussian) -> Scalar:
        assert target.root is not None
        # In float32 the rounding of the product could make its smallest eigenvalues negative, which have no root.
        covariance = self._blurred(summary).to(target.root.dtype)
        overlap = root_trace(target.root @ covariance @ target.root)
        of_covariance = covariance.trace() + target.root.square().sum() - 2 * overlap
        of_mean = (summary.mean - target.mean).square().sum()
        return self.unit * (of_mean + of_covariance.to(of_mean.dtype))


def root_trace(matrix: Float[Tensor, "K K"]) -> Scalar:
    """tr A^1/2 of a symmetric positive matrix, whose gradient is A^-1/2 / 2."""
    return _RootTrace.apply(matrix)[0]


class _RootTrace(torch.autograd.Function):
    """By Newton-Schulz, coupled (Higham 2008, eq. 6.35): products only, as a GPU has no quick eigenvectors of small
    matrices; the inverse root that the gradient asks for comes with it."""

    @staticmethod
    def forward(matrix: Tensor) -> tuple[Tensor, Tensor]:
        norm, identity = matrix.norm(), torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
        root, inverse = matrix / norm, identity
        for _ in range(ROOT_STEPS):
            step = 1.5 * identity - 0.5 * inverse @ root
            root, inverse = root @ step, step @ inverse
        return root.trace() * norm.sqrt(), inverse / norm.sqrt()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:  # noqa: ARG004
        ctx.save_for_backward(output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> Tensor:
        (inverse,) = ctx.saved_tensors
        return gradient * inverse / 2


class SortingLoss(PositionLoss):
    """Squared W2 distance along each of some directions, where it is the distance of the sorted values."""

    strength: float

    def __init__(self, styles: LayerStyles, options: PositionOptions) -> None:
        super().__init__(styles, options)
        self.unit = self.strength * transport_unit(styles)
        self.sorted: dict[int, Tensor] = {}  # values of each target along the directions
        samples = [self.sample_of(*style) for style in styles.whole]
        self.targets = [Target(sample, share) for sample, share in zip(samples, styles.shares, strict=True)]

    @abstractmethod
    def along_directions(self, points: Float[Tensor, "K P"]) -> Float[Tensor, "D P"]:
        """The points' values along each direction, weighted by its root weight."""

    def summarize(self, features: Features, weights: PositionWeights | None = None) -> Sample:
        points = super().summarize(features, weights).points
        return Sample(project(points[None], self.components)[0])

    def distance(self, summary: Sample, target: Sample) -> Scalar:
        if id(target) not in self.sorted:
            self.sorted[id(target)] = self.along_directions(target.points).sort(1).values
        found = self.along_directions(summary.points).sort(1).values
        wanted = quantiles(self.sorted[id(target)], found.shape[1])
        return self.unit * (found - wanted).square().mean(1).sum()


def quantiles(ordered: Float[Tensor, "D Q"], number: int) -> Float[Tensor, "D P"]:
    """So many values of each row at equal distances of rank, interpolated; all of them if it has as many."""
    if ordered.shape[1] == number:
        return ordered
    return F.interpolate(ordered[None], number, mode="linear", align_corners=False)[0]


@style_loss("histogram")
class HistogramLoss(SortingLoss):
    """Distance from the values that each component would have with the style's histogram (Risser et al. 2017, section
    4.1). Departure: values are sorted instead of counted in bins, which matches histograms of any number of bins."""

    strength = HISTOGRAM_STRENGTH

    def along_directions(self, points: Float[Tensor, "K P"]) -> Float[Tensor, "D P"]:
        return points


@pydantic.dataclasses.dataclass(frozen=True, config=CONFIG)
class SlicedOptions(PositionOptions):
    """Of the sliced Wasserstein loss."""

    num_directions: Annotated[
        Whole, about("Random directions of swd, or as many as components if those are more.", low=1, high=4096)
    ] = 32


@style_loss("swd")
class SlicedWassersteinLoss(SortingLoss):
    """K times the mean over random directions of the squared W2 distance of the projections (Heitz et al. 2021).

    Departures: directions of the basis instead of the whole feature space, in orthonormal frames, so that whole frames
    have the distance of two means exactly; and new ones with the new positions, not at every evaluation.
    """

    Options = SlicedOptions
    strength = SLICED_STRENGTH

    def __init__(self, styles: LayerStyles, options: SlicedOptions) -> None:
        super().__init__(styles, options)
        self.num_directions = max(options.num_directions, self.components.shape[1])
        self.directions = self._draw_directions()

    def _draw_directions(self) -> Float[Tensor, "D K"]:
        """On the CPU, so that a seed means the same everywhere."""
        size, number = self.components.shape[1], self.num_directions
        noise = torch.randn(math.ceil(number / size), size, size, dtype=torch.float32, generator=self.generator)
        directions = torch.linalg.qr(noise).Q.flatten(0, 1)[:number] * (size / number) ** 0.5
        return send(directions, self.components.device).to(self.components)

    def along_directions(self, points: Float[Tensor, "K P"]) -> Float[Tensor, "D P"]:
        return self.directions @ points

    def refresh(self, survey: Sample) -> None:
        """New positions and directions, along which the targets have to be sorted again."""
        super().refresh(survey)
        self.directions = self._draw_directions()
        self.sorted = {}
