"""Style as a distribution of feature vectors (Li et al. 2017, Demystifying Neural Style Transfer).

The Gram loss is the maximum mean discrepancy (MMD) between the positions' feature vectors with the kernel (x.y)^2.
Other kernels and statistics make other style losses. Each is scaled by a constant of the style so that it is of the
size of mean((G - A)^2) where its own distance is of order one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from stylecore.losses.base import LayerTargets, LossOptions, Scalar, StyleLoss
from stylecore.losses.gram import blended_gram
from stylecore.losses.statistics import Features, flatten_positions, mean_std

Kernel = Callable[[Float[Tensor, "N P"], Float[Tensor, "N Q"]], Float[Tensor, "P Q"]]


class MomentsLoss(StyleLoss):
    """Differences of a vector of moments t(F): 2 |t_s|^2 |t - t_s|^2 / N^2, which is of the size of the Gram's change
    when its features change by as much."""

    target: Tensor

    def __init__(self, targets: LayerTargets) -> None:
        super().__init__()
        pairs = zip(targets.styles, targets.weights, strict=True)
        self.register_buffer("target", torch.stack([w * self.moments(style) for style, w in pairs]).sum(0))
        self.num_channels = targets.styles[0].shape[1]

    @abstractmethod
    def moments(self, features: Features) -> Float[Tensor, "1 D"]:
        """What is compared, as one row."""

    def forward(self, features: Features) -> Scalar:
        difference = (self.moments(features) - self.target).square().sum()
        return 2 * self.target.square().sum() * difference / self.num_channels**2


class LinearMMDLoss(MomentsLoss):
    """MMD with k(x, y) = x.y: the squared distance of the means (Li et al. 2017, table 1)."""

    def moments(self, features: Features) -> Float[Tensor, "1 D"]:
        return flatten_positions(features).mean(2)


class BatchNormLoss(MomentsLoss):
    """Means and standard deviations of the channels (Li et al. 2017, eq. 13)."""

    def moments(self, features: Features) -> Float[Tensor, "1 D"]:
        return torch.cat(mean_std(features), dim=1)


def kernel_mmd(result: Float[Tensor, "N P"], style: Float[Tensor, "N Q"], kernel: Kernel) -> Scalar:
    """MMD^2 = E k(f, f') + E k(s, s') - 2 E k(f, s) over all pairs (Gretton et al. 2012, eq. 5, biased)."""
    return kernel(result, result).mean() + kernel(style, style).mean() - 2 * kernel(result, style).mean()


class KernelMMDLoss(StyleLoss):
    """MMD with any kernel, on positions drawn without replacement: new ones every `refresh_every` evaluations."""

    refreshes = True
    samples: Tensor

    def __init__(self, targets: LayerTargets, options: LossOptions) -> None:
        super().__init__()
        self.num_samples = options.num_samples
        self.generator = torch.Generator().manual_seed(options.seed)
        self.weights = tuple(targets.weights)
        self.drawn: Tensor | None = None
        flat = [flatten_positions(style)[0] for style in targets.styles]
        self.styles = [positions[:, self._draw(positions.shape[1])] for positions in flat]
        self.scale = float(blended_gram(targets).square().mean())
        self.kernel = self.make_kernel(torch.cat(self.styles, 1))

    @abstractmethod
    def make_kernel(self, style: Float[Tensor, "N Q"]) -> Kernel:
        """The kernel, which may be fitted to the style's samples; the loss is `scale` times the MMD^2."""

    def _draw(self, num_positions: int) -> Tensor:
        """Indices of positions, drawn on the CPU so that a seed means the same everywhere."""
        return torch.randperm(num_positions, generator=self.generator)[: self.num_samples]

    def refresh(self, features: Features) -> bool:
        self.drawn = self._draw(features.shape[2] * features.shape[3]).to(features.device)
        return True

    def forward(self, features: Features) -> Scalar:
        if self.drawn is None:
            self.refresh(features)
        flat = flatten_positions(features)[0][:, self.drawn]
        distances = [
            w * kernel_mmd(flat, style, self.kernel) for style, w in zip(self.styles, self.weights, strict=True)
        ]
        return self.scale * torch.stack(distances).sum()


class PolynomialMMDLoss(KernelMMDLoss):
    """MMD with k(x, y) = (x.y)^2, over N^2: with every position drawn it equals the Gram loss, up to a constant where
    several styles are blended."""

    def make_kernel(self, style: Float[Tensor, "N Q"]) -> Kernel:
        self.scale = 1 / len(style) ** 2
        return lambda x, y: (x.mT @ y).square()


class GaussianMMDLoss(KernelMMDLoss):
    """MMD with k(x, y) = exp(-|x - y|^2 / (2 s^2)), s^2 the mean squared distance of the style's positions."""

    def make_kernel(self, style: Float[Tensor, "N Q"]) -> Kernel:
        # E |x - y|^2 = 2 tr(cov); a style of one colour has none, and any width serves.
        width = 2 * style.var(1, correction=0).sum().clamp_min(1e-6 * style.square().sum(0).mean() + 1e-12)

        def kernel(x: Float[Tensor, "N P"], y: Float[Tensor, "N Q"]) -> Float[Tensor, "P Q"]:
            squared = x.square().sum(0)[:, None] + y.square().sum(0)[None] - 2 * x.mT @ y
            return (-squared.clamp_min(0) / (2 * width)).exp()

        return kernel
