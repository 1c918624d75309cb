"""What a style is, as numbers: sums over the positions of feature maps (B, N, H, W), N channels at M = H*W positions.

A `Summary` adds up over positions: the summary of a picture is the sum of its tiles' summaries, and one of a region is
that of positions weighted by a mask. `Moments` holds sums of powers, `Sample` positions themselves.

All are float32 or better. Outer products of bfloat16 features are multiplied as they are, which takes a third of the
time: the products are summed in float32 and each entry is rounded once, by 0.4 % at most.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import starmap
from operator import add
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

AnySummary = TypeVar("AnySummary", bound="Summary")
Features = Float[Tensor, "B N _ _"]  # H and W unnamed: several images of one signature differ in size
PositionWeights = Float[Tensor, "B 1 _ _"]  # a soft mask over a layer's positions, in [0, 1]
WeightedFeatures = tuple[Features, PositionWeights | None]
# Of an image: all of them, or pieces with weights, such as tiles, which may be computed while they are iterated.
LayerFeatures = Features | Iterable[WeightedFeatures]
Summarize = Callable[[Features, PositionWeights | None], AnySummary]
# Of positions. SymFloat: while a graph is traced for images of any size, M is a symbol; float() would freeze it.
Count = float | torch.SymFloat | Float[Tensor, ""]


class Summary(ABC):
    """What a style loss keeps of an image's features at one layer; `a + b` is that of all positions of both."""

    @abstractmethod
    def __add__(self: AnySummary, other: AnySummary) -> AnySummary: ...

    def tensors(self) -> dict[str, Tensor]:
        """The tensors in it by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def detach(self: AnySummary) -> AnySummary:
        """The same values without their graph."""
        return self._mapped(Tensor.detach)

    def double(self: AnySummary) -> AnySummary:
        """The same values in float64."""
        return self._mapped(Tensor.double)

    def _mapped(self: AnySummary, function: Callable[[Tensor], Tensor]) -> AnySummary:
        values = {name: function(value) for name, value in self.tensors().items()}
        return dataclasses.replace(self, **values)  # type: ignore[type-var]


@dataclass(frozen=True)
class Moments(Summary):
    """Sums over positions x with weights w(x); a loss has those that it asks for."""

    count: Count  # sum of w: M without weights
    first: Float[Tensor, "B N"] | None = None  # sum of w x
    squares: Float[Tensor, "B N"] | None = None  # sum of w x^2, each channel by itself
    second: Float[Tensor, "B N N"] | None = None  # sum of w x x^T

    def __add__(self, other: Moments) -> Moments:
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("first", "squares", "second"))
        sums = [None if a is None or b is None else a + b for a, b in pairs]
        return Moments(self.count + other.count, *sums)

    def per_position(self, total: Tensor | None) -> Tensor:
        """One of the sums over the count."""
        assert total is not None, "this loss did not ask for that moment"
        return total if isinstance(self.count, float) and self.count == 1 else total / self.count  # type: ignore[return-value]

    def normalized(self) -> Moments:
        """The same per position, of count 1."""
        sums = (getattr(self, name) for name in ("first", "squares", "second"))
        return Moments(1.0, *(None if total is None else self.per_position(total) for total in sums))

    @property
    def mean(self) -> Float[Tensor, "B N"]:
        """E x."""
        return self.per_position(self.first)

    @property
    def gram(self) -> Float[Tensor, "B N N"]:
        """E x x^T, the Gram matrix divided by the number of positions."""
        assert self.second is not None, "this loss did not ask for that moment"
        if isinstance(self.count, float) and self.count == 1:
            return self.second
        return _SymmetricMean.apply(self.second, self.count)

    @property
    def covariance(self) -> Float[Tensor, "B N N"]:
        """E x x^T - E x E x^T."""
        return self.gram - self.mean.unsqueeze(2) * self.mean.unsqueeze(1)

    @property
    def std(self) -> Float[Tensor, "B N"]:
        """The (biased) standard deviation of each channel, at least 1e-6."""
        return (self.per_position(self.squares) - self.mean.square()).clamp_min(1e-12).sqrt()


@dataclass(frozen=True)
class Sample(Summary):
    """Some of the positions themselves."""

    points: Float[Tensor, "N P"]

    def __add__(self, other: Sample) -> Sample:
        return Sample(torch.cat([self.points, other.points], 1))


def summed(summarize: Summarize[AnySummary], features: LayerFeatures) -> AnySummary:
    """The summary of an image's features, or the sum of its tiles'."""
    return reduce(add, starmap(summarize, weighted_pieces(features)))


def weighted_pieces(features: LayerFeatures) -> Iterable[WeightedFeatures]:
    """What there is of an image's features, with the weights of their positions."""
    return [(features, None)] if isinstance(features, Tensor) else features


def count_positions(features: Features, weights: PositionWeights | None = None) -> Count:
    """The sum of the weights: M without any."""
    return torch.sym_float(features.shape[2] * features.shape[3]) if weights is None else weights.sum()


@dataclass(frozen=True)
class KeptSums:
    """One layer's features of a style, computed when somebody goes over them, and its sums, computed once for all who
    share them."""

    encoded: Callable[[], Mapping[str, LayerFeatures]]  # of all layers at once, by layer
    layer: str
    dtype: torch.dtype
    sums: dict[Summarize[Moments], Moments]  # by what sums: a function of this module

    def __iter__(self) -> Iterator[WeightedFeatures]:
        return iter(weighted_pieces(self.encoded()[self.layer]))

    def summed(self, summarize: Summarize[Moments]) -> Moments:
        """What `summed` returns of the features."""
        if summarize not in self.sums:
            self.sums[summarize] = summed(summarize, self.encoded()[self.layer])
        return self.sums[summarize]


def second_moments(features: Features, weights: PositionWeights | None = None) -> Moments:
    """Count and second moment: what a Gram matrix is made of."""
    flat = features.flatten(2) if weights is None else (features * weights.to(features.dtype).sqrt()).flatten(2)
    return Moments(count_positions(features, weights), second=outer_sum(flat))


def all_moments(features: Features, weights: PositionWeights | None = None) -> Moments:
    """Count, first and second moment."""
    moments = second_moments(features, weights)
    return dataclasses.replace(moments, first=_weighted_sum(flatten_positions(features), weights))


def exact_moments(features: Features, weights: PositionWeights | None = None) -> Moments:
    """`all_moments` of float32 features: of bfloat16 its rounding would be all that the weakest directions show."""
    return all_moments(features.float(), weights)


def channel_moments(features: Features, weights: PositionWeights | None = None) -> Moments:
    """Count, first moment and squares of each channel by itself."""
    flat = flatten_positions(features)
    sums = (_weighted_sum(values, weights) for values in (flat, flat.square()))
    return Moments(count_positions(features, weights), *sums)


def _weighted_sum(flat: Float[Tensor, "B N M"], weights: PositionWeights | None) -> Float[Tensor, "B N"]:
    return flat.sum(2) if weights is None else (flat * weights.flatten(2)).sum(2)


def blend(summaries: Sequence[Moments], shares: Sequence[float]) -> Moments:
    """The mixture of several styles, of count 1: their moments per position, weighted by shares that sum to 1."""
    pairs = list(zip(summaries, shares, strict=True))

    def mixed(name: str) -> Tensor | None:
        if getattr(summaries[0], name) is None:
            return None
        return torch.stack([share * each.per_position(getattr(each, name)) for each, share in pairs]).sum(0)

    return Moments(1.0, *map(mixed, ("first", "squares", "second")))


def flatten_positions(features: Features) -> Float[Tensor, "B N M"]:
    """F of the paper: (B, N, H, W) -> (B, N, M) in float32 (float64 stays)."""
    flat = features.flatten(2)
    return flat if flat.dtype == torch.float64 else flat.float()


def gram_matrix(features: Features, merge_batch: bool = False) -> Float[Tensor, "B1 N1 N1"]:
    """G = F F^T / M (Gatys et al. 2016, eq. 3, divided by the number of positions).

    Args:
        features: (B, N, H, W).
        merge_batch: treat the batch as further channels, as the paper's F(a*b, c*d) does; the result is then
            (1, B*N, B*N) with the correlations between the images in it. Default: one Gram an image, (B, N, N).
    """
    if merge_batch:
        features = features.flatten(0, 1).unsqueeze(0)
    return second_moments(features).gram


def outer_sum(flat: Float[Tensor, "B N M"]) -> Float[Tensor, "B N N"]:
    """F F^T of flattened features, in float32 (float64 stays)."""
    return _OuterSum.apply(flat)


class _OuterSum(torch.autograd.Function):
    """Autograd would take F F^T for a product of two matrices, and its backward for two; by symmetry it is one,
    (D + D^T) F, with one temporary of F's size. Positions are rows, as a channels-last memory has them."""

    @staticmethod
    def forward(flat: Tensor) -> Tensor:
        product = flat @ flat.mT
        return product.to(torch.promote_types(product.dtype, torch.float32))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:  # noqa: ARG004 - torch's signature
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (flat,) = ctx.saved_tensors
        return (flat.mT @ (gradient + gradient.mT).to(flat.dtype)).mT


class _SymmetricMean(torch.autograd.Function):
    """A symmetric matrix over a number, and the symmetric part of the gradient: rounded once for both halves."""

    @staticmethod
    def forward(total: Tensor, count: Count) -> Tensor:
        return total / count  # type: ignore[return-value]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Count], output: Tensor) -> None:  # noqa: ARG004
        ctx.count = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return (gradient + gradient.mT) / ctx.count / 2, None
