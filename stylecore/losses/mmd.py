"""Style as a distribution of feature vectors (Li et al. 2017, Demystifying Neural Style Transfer).

The Gram loss is the maximum mean discrepancy (MMD) between the positions' feature vectors with the kernel (x.y)^2.
Other kernels and statistics make other style losses. Each is scaled by a constant of the style so that it is of the
size of mean((G - A)^2) where its own distance is of order one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Any

import pydantic
import torch
from jaxtyping import Float
from torch import Tensor

from stylecore.fields import CONFIG, Whole, about
from stylecore.losses.base import (
    LayerStyles,
    RefreshOptions,
    SampledStyleLoss,
    Scalar,
    SeedOptions,
    StyleLoss,
    Target,
    style_loss,
)
from stylecore.losses.statistics import Features, Moments, PositionWeights, Sample, channel_moments

Kernel = Callable[[Float[Tensor, "N P"], Float[Tensor, "N Q"]], Float[Tensor, "P Q"]]


@pydantic.dataclasses.dataclass(frozen=True, config=CONFIG)
class SampleOptions(RefreshOptions, SeedOptions):
    """Of losses that draw positions."""

    num_samples: Annotated[Whole, about("Positions that the mmd kernels draw from each image.", low=2, high=16384)] = (
        512
    )


class MomentsLoss(StyleLoss):
    """Differences of a vector of moments t(F): 2 |t_s|^2 |t - t_s|^2 / N^2, which is of the size of the Gram's change
    when its features change by as much."""

    def __init__(self, styles: LayerStyles, options: Any) -> None:  # noqa: ARG002 - there are none
        summaries = styles.summaries(self.summarize)
        pairs = list(zip(styles.shares, summaries, strict=True))
        mean = torch.stack([share * each.mean for share, each in pairs]).sum(0)
        # Each style's own spread: a mixture's would count the distance of the means as spread.
        std = torch.stack([share * each.std for share, each in pairs]).sum(0)
        self.targets = [Target(Moments(1.0, first=mean, squares=mean.square() + std.square()))]

    def summarize(self, features: Features, weights: PositionWeights | None = None) -> Moments:
        return channel_moments(features, weights)

    @abstractmethod
    def vector(self, summary: Moments) -> Float[Tensor, "1 D"]:
        """What is compared, as one row."""

    def distance(self, summary: Moments, target: Moments) -> Scalar:
        found, wanted = self.vector(summary), self.vector(target)
        num_channels = summary.mean.shape[1]
        return 2 * wanted.square().sum() * (found - wanted).square().sum() / num_channels**2


@style_loss("mmd-linear")
class LinearMMDLoss(MomentsLoss):
    """MMD with k(x, y) = x.y: the squared distance of the means (Li et al. 2017, table 1)."""

    def vector(self, summary: Moments) -> Float[Tensor, "1 D"]:
        return summary.mean


@style_loss("bn")
class BatchNormLoss(MomentsLoss):
    """Means and standard deviations of the channels (Li et al. 2017, "Batch Normalization Statistics Matching")."""

    def vector(self, summary: Moments) -> Float[Tensor, "1 D"]:
        return torch.cat([summary.mean, summary.std], dim=1)


def kernel_mmd(result: Float[Tensor, "N P"], style: Float[Tensor, "N Q"], kernel: Kernel) -> Scalar:
    """MMD^2 = E k(f, f') + E k(s, s') - 2 E k(f, s) over all pairs (Gretton et al. 2012, eq. 5, biased)."""
    return kernel(result, result).mean() + kernel(style, style).mean() - 2 * kernel(result, style).mean()


class KernelMMDLoss(SampledStyleLoss):
    """MMD with any kernel, on positions drawn without replacement: new ones every `refresh_every` evaluations."""

    Options = SampleOptions

    def __init__(self, styles: LayerStyles, options: SampleOptions) -> None:
        self.num_samples = options.num_samples
        self.generator = torch.Generator().manual_seed(options.seed)
        samples = []
        for features, weights in styles.whole:
            samples.append(self.summarize(features, weights))
            self.drawn = None  # the next image has positions of its own
        self.targets = [Target(sample, share) for sample, share in zip(samples, styles.shares, strict=True)]
        self.scale = float(styles.gram.square().mean())
        self.kernel = self.make_kernel(torch.cat([sample.points for sample in samples], 1))

    @abstractmethod
    def make_kernel(self, style: Float[Tensor, "N Q"]) -> Kernel:
        """The kernel, which may be fitted to the style's samples; the loss is `scale` times the MMD^2."""

    def distance(self, summary: Sample, target: Sample) -> Scalar:
        return self.scale * kernel_mmd(summary.points, target.points, self.kernel)


@style_loss("mmd-poly")
class PolynomialMMDLoss(KernelMMDLoss):
    """MMD with k(x, y) = (x.y)^2, over N^2: with every position drawn it equals the Gram loss, up to a constant where
    several styles are blended."""

    def make_kernel(self, style: Float[Tensor, "N Q"]) -> Kernel:
        self.scale = 1 / len(style) ** 2
        return lambda x, y: (x.mT @ y).square()


@style_loss("mmd-gaussian")
class GaussianMMDLoss(KernelMMDLoss):
    """MMD with k(x, y) = exp(-|x - y|^2 / (2 s^2)), s^2 the mean squared distance of the style's positions."""

    def make_kernel(self, style: Float[Tensor, "N Q"]) -> Kernel:
        # E |x - y|^2 = 2 tr(cov); a style of one colour has none, and any width serves.
        width = 2 * style.var(1, correction=0).sum().clamp_min(1e-6 * style.square().sum(0).mean() + 1e-12)

        def kernel(x: Float[Tensor, "N P"], y: Float[Tensor, "N Q"]) -> Float[Tensor, "P Q"]:
            squared = x.square().sum(0)[:, None] + y.square().sum(0)[None] - 2 * x.mT @ y
            return (-squared.clamp_min(0) / (2 * width)).exp()

        return kernel
