"""Low-dimensional bases of a style's features, fitted once and shared by both sides of a comparison."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from stylecore.errors import OptionError
from stylecore.losses.statistics import Moments, blend


@dataclass(frozen=True)
class Components:
    """How many components to keep: exactly one of a count, a share of the channels, or a share of the variance."""

    count: int | None = None
    share: float | None = None  # of N, in (0, 1]
    variance: float | None = None  # explained, in (0, 1]

    @classmethod
    def parse(cls, value: Components | str | int) -> Components:
        """`64`, `12.5%` (of N, per layer) or `var:0.95`. Raises an OptionError for anything else."""
        if isinstance(value, Components):
            return value
        text = str(value)
        if re.fullmatch(r"\d+", text):
            return cls(count=int(text))
        match = re.fullmatch(r"(?:(?P<share>[\d.]+)%|var:(?P<variance>[\d.]+))", text)
        try:
            share = float(match["share"]) / 100 if match and match["share"] else None
            variance = float(match["variance"]) if match and match["variance"] else None
        except ValueError:
            share = variance = None
        if not 0 < (share or variance or 0) <= 1:
            raise OptionError(
                f"components cannot be '{text}': give a count such as 64, a share of the channels such as 12.5%, or a "
                "share of the variance such as var:0.95."
            )
        return cls(share=share, variance=variance)

    def __str__(self) -> str:
        if self.count is not None:
            return str(self.count)
        return f"var:{self.variance}" if self.share is None else f"{100 * self.share:.12g}%"

    def number(self, eigenvalues: Float[Tensor, " N"], layer: str = "this layer") -> int:
        """K for a layer whose eigenvalues, in descending order, are given; at least 1.

        Raises:
            OptionError: a count outside 1..N.
        """
        channels = len(eigenvalues)
        if self.count is not None:
            if not 1 <= self.count <= channels:
                raise OptionError(
                    f"components must be between 1 and the {channels} channels of {layer}, not {self.count}: "
                    "choose fewer, or a share such as 12.5%."
                )
            return self.count
        if self.share is not None:
            return max(1, round(self.share * channels))
        assert self.variance is not None
        explained = eigenvalues.clamp_min(0).cumsum(0) / eigenvalues.clamp_min(0).sum().clamp_min(1e-30)
        # A style of one colour has no variance at all: one component stands for it.
        reached = (explained >= self.variance - 1e-9).nonzero()
        return int(reached[0]) + 1 if len(reached) else (channels if float(explained[-1]) > 0 else 1)


@dataclass(frozen=True)
class Basis:
    """An orthonormal basis U_K of a layer's features, as scikit-learn's PCA would name its parts."""

    components: Float[Tensor, "N K"]  # orthonormal columns, strongest first
    eigenvalues: Float[Tensor, " N"]  # all of them, descending: the variance along each direction

    @property
    def num_components(self) -> int:
        return self.components.shape[1]

    @property
    def explained_variance_ratio(self) -> float:
        """The kept share of the eigenvalues' sum, in [0, 1]."""
        values = self.eigenvalues.clamp_min(0)
        return float(values[: self.num_components].sum() / values.sum().clamp_min(1e-30))


def fit_basis(
    moments: Sequence[Moments],
    shares: Sequence[float],
    components: Components,
    *,
    centered: bool = True,
    layer: str = "this layer",
) -> Basis:
    """The top eigenvectors of the styles' covariance (`centered`) or second moment, several styles pooled by share.

    Args:
        moments: first and second of each style, (1, N) and (1, N, N), float32 or better.
        shares: one a style, summing to 1.
        components: how many to keep.
        centered: whether the mean is removed before directions are chosen; it concerns only the choice.
        layer: named in errors.
    """
    pooled = blend([each.normalized().double() for each in moments], shares)
    moment = (pooled.covariance if centered else pooled.gram)[0]
    eigenvalues, vectors = torch.linalg.eigh(moment.cpu())
    eigenvalues, vectors = eigenvalues.flip(0), vectors.flip(1)
    number = components.number(eigenvalues, layer)
    kept = vectors[:, :number].contiguous().to(moments[0].gram)
    return Basis(kept, eigenvalues.to(kept))


def project(features: Float[Tensor, "B N M"], components: Float[Tensor, "N K"]) -> Float[Tensor, "B K M"]:
    """U_K^T F: the coordinates of each position in the basis, in the features' dtype."""
    return (features.mT @ components.to(features.dtype)).mT
