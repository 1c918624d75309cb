"""What every style loss has in common: two halves, `summarize` and `distance`, and the options that it owns.

`summarize` goes over positions and gives a `Summary`, which adds up; `distance` compares a summary with a target. Tiles
are partial summaries, regions weighted ones, several styles several targets: none of them needs a loss of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, TypeVar

import pydantic
import torch
from jaxtyping import Float
from torch import Tensor

from stylecore.devices import send
from stylecore.fields import CONFIG, Options, Whole, about
from stylecore.losses.statistics import (
    AnySummary,
    Features,
    KeptSums,
    LayerFeatures,
    Moments,
    PositionWeights,
    Sample,
    Summarize,
    Summary,
    WeightedFeatures,
    all_moments,
    blend,
    exact_moments,
    summed,
    weighted_pieces,
)

Scalar = Float[Tensor, ""]
AnyLoss = TypeVar("AnyLoss", bound="StyleLoss")
MAX_REFRESH = 100_000


@pydantic.dataclasses.dataclass(frozen=True, config=CONFIG)
class RefreshOptions(Options):
    """Of losses that adapt to the result as it grows."""

    refresh_every: Annotated[
        Whole,
        about(
            "Evaluations between new svd projectors, trained weights, samples or matches.",
            low=1,
            high=MAX_REFRESH,
            common=True,
        ),
    ] = 10


@pydantic.dataclasses.dataclass(frozen=True, config=CONFIG)
class SeedOptions(Options):
    """Of all that draws."""

    seed: Annotated[Whole, about("Of a noise start and of any sampling.", low=0, high=2**63 - 1, common=True)] = 0


@dataclass(frozen=True)
class LayerStyles:
    """What one layer's style loss is fitted to."""

    layer: str
    features: Sequence[LayerFeatures]  # of each style, (1, N, H_i, W_i); sizes may differ
    shares: Sequence[float]  # one a style, summing to 1
    content: LayerFeatures | None = None  # of the photo
    given: Mapping[str, Tensor] = field(default_factory=dict)  # fitted earlier, by the names of `StyleLoss.fitted`

    @cached_property
    def moments(self) -> list[Moments]:
        """Of each style, first and second."""
        return [_moments(all_moments, features) for features in self.features]

    @cached_property
    def exact_moments(self) -> list[Moments]:
        """The same of float32 features, for the weakest directions."""
        if all(features.dtype != torch.bfloat16 for features in self.features):  # type: ignore[union-attr]
            return self.moments
        return [_moments(exact_moments, features) for features in self.features]

    @property
    def whole(self) -> list[WeightedFeatures]:
        """The features and weights, for losses that do not add up: their images never come in tiles."""
        return [next(iter(weighted_pieces(features))) for features in self.features]

    def summaries(self, summarize: Summarize[AnySummary]) -> list[AnySummary]:
        """Of each style."""
        return [summed(summarize, features) for features in self.features]

    @property
    def gram(self) -> Float[Tensor, "1 N N"]:
        """sum_i w_i A_i. For losses quadratic in G, sum_i w_i |G - A_i|^2 has the gradient of |G - sum_i w_i A_i|^2."""
        return blend(self.moments, self.shares).gram


def _moments(summarize: Summarize[Moments], features: LayerFeatures) -> Moments:
    return features.summed(summarize) if isinstance(features, KeptSums) else summed(summarize, features)


@dataclass(frozen=True)
class Target:
    """What a summary is compared with, and its share of the loss."""

    summary: Summary
    share: float = 1.0


STYLE_LOSSES: dict[str, type[StyleLoss]] = {}  # by name, filled by `style_loss`


def style_loss(name: str) -> Callable[[type[AnyLoss]], type[AnyLoss]]:
    """Make a class known as a style loss of this name: it is then in the command line, the page and the bench."""

    def register(kind: type[AnyLoss]) -> type[AnyLoss]:
        STYLE_LOSSES[name] = kind
        return kind

    return register


class StyleLoss(ABC):
    """One layer's style term, in the units of mean((G - A)^2) over the N^2 entries of a Gram, so that one set of layer
    weights serves all losses.

    Made from the styles' features and an object that has the fields of `Options`; then its `targets` are fixed.
    """

    Options: ClassVar[type[Options]] = Options
    fits: ClassVar[str] = ""  # the name of what it fits to images, which `fitted` gives
    fitted_by: ClassVar[tuple[str, ...]] = ()  # the options that decide what is fitted
    refreshes: bool = False  # whether `refresh` wants to be called every `refresh_every` evaluations
    refreshes_always: bool = False  # or before every evaluation, as the paper's own versions do
    restarts_optimizer: bool = False  # whether a refresh changes the objective so much that what is remembered is void
    targets: Sequence[Target]

    @abstractmethod
    def __init__(self, styles: LayerStyles, options: Any) -> None: ...

    @classmethod
    def needs_content(cls, options: Any) -> bool:  # noqa: ARG003 - most losses are made from the styles alone
        """Whether it is fitted to the photo's features too."""
        return False

    @classmethod
    def adds_up(cls, options: Any) -> bool:  # noqa: ARG003 - most losses do in any case
        """Whether all that it asks of an image is a sum over positions, so that the image may come in tiles."""
        return True

    @abstractmethod
    def summarize(self, features: Features, weights: PositionWeights | None = None) -> Summary:
        """What `distance` needs of features (1, N, H, W), or of part of them; `weights` (1, 1, H, W) is a soft mask."""

    @abstractmethod
    def distance(self, summary: Any, target: Any) -> Scalar:
        """How far a summary is from a target's: 0 for equal."""

    def __call__(self, features: Features, weights: PositionWeights | None = None) -> Scalar:
        """The loss of features (1, N, H, W): the distances from all targets by their shares."""
        summary = self.summarize(features, weights)
        distances = [target.share * self.distance(summary, target.summary) for target in self.targets]
        return distances[0] if len(distances) == 1 else torch.stack(distances).sum()

    def survey(self, features: Features, weights: PositionWeights | None = None) -> Summary:
        """What `refresh` needs, which adds up over positions too."""
        return self.summarize(features, weights)

    def refresh(self, survey: Any) -> None:  # noqa: B027 - most losses have nothing to adapt
        """Adapt to the image so far."""

    def fitted(self) -> dict[str, Tensor]:
        """What was fitted to images and can be given again, by name."""
        return {}


class SampledStyleLoss(StyleLoss):
    """A style loss that looks at some of the positions: drawn with a seed, anew after each `refresh`.

    Every style has a target of its own: samples cannot be blended.
    """

    refreshes = True
    restarts_optimizer = True
    num_samples: int
    generator: torch.Generator
    drawn: Tensor | None = None

    @classmethod
    def adds_up(cls, options: Any) -> bool:  # noqa: ARG003
        """It draws from all positions at once."""
        return False

    def summarize(self, features: Features, weights: PositionWeights | None = None) -> Sample:
        if self.drawn is None:
            self.drawn = self.draw(features, weights)
        # As rows, which is how a channels-last memory has them: columns would take five times as long.
        points = features.permute(0, 2, 3, 1).flatten(1, 2)[0].index_select(0, self.drawn).mT
        return Sample(points if points.dtype == torch.float64 else points.float())

    def survey(self, features: Features, weights: PositionWeights | None = None) -> Sample:  # noqa: ARG002
        """Nothing is learned from the image: the next summary draws."""
        return Sample(features.new_zeros(features.shape[1], 0))

    def refresh(self, survey: Sample) -> None:  # noqa: ARG002 - the same for every image
        self.drawn = None

    def draw(self, features: Features, weights: PositionWeights | None = None) -> Tensor:
        """Indices of positions without repetition, drawn on the CPU so that a seed means the same everywhere."""
        if weights is None:
            order = torch.randperm(features.shape[2] * features.shape[3], generator=self.generator)
            return send(order[: self.num_samples], features.device)
        likely = weights.flatten().double().cpu()
        number = min(self.num_samples, int(likely.count_nonzero()))
        return send(torch.multinomial(likely, number, generator=self.generator), features.device)


def summary_gradient(
    distance: Callable[[AnySummary], Scalar], summary: AnySummary
) -> tuple[Scalar, Mapping[str, Tensor]]:
    """A distance and its gradient with respect to each tensor of the summary.

    The gradient with respect to features is then that of sum(g * t) over the summary's tensors t, with g held fixed:
    tile by tile, for tiles whose summaries were added up.
    """
    names, leaves = zip(*summary.detach().tensors().items(), strict=True)
    leaves = tuple(leaf.requires_grad_(True) for leaf in leaves)
    value = distance(replace(summary, **dict(zip(names, leaves, strict=True))))  # type: ignore[type-var]
    gradients = torch.autograd.grad(value, leaves, materialize_grads=True)
    return value.detach(), dict(zip(names, gradients, strict=True))
