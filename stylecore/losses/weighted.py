"""The paper's weighted Gram, which it never built: some feature maps matter more for a style than others."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, cast

import pydantic
import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor

from stylecore.errors import OptionError
from stylecore.fields import CONFIG, about
from stylecore.losses.base import LayerStyles, RefreshOptions, Scalar, StyleLoss, Target, style_loss
from stylecore.losses.statistics import Features, Moments, PositionWeights, gram_matrix, second_moments

WeightsFrom = Literal["adversarial", "fisher"]

PHOTO_STATISTICS = Path(__file__).parent.parent / "weights" / "photo_grams.safetensors"
ASCENT_RATE = 0.05  # eta of the multiplicative ascent
MAX_WEIGHT = 10.0  # no map may silence the others: weights are clipped here before they are normalised
CROPS_PER_SIDE = 3


@pydantic.dataclasses.dataclass(frozen=True, config=CONFIG)
class WeightedOptions(RefreshOptions):
    """Of the weighted Gram losses."""

    weights_from: Annotated[WeightsFrom, about("How the weighted losses find their weights.", common=True)] = (
        "adversarial"
    )


def weighted_gram_loss(
    features: Features, target: Float[Tensor, "1 N N"], gram_weights: Float[Tensor, "N 1"] | Float[Tensor, "N N"]
) -> Scalar:
    """Sum_ij w_ij (G - A)_ij^2 / N^2; a column (N, 1) weighs rows, sum_i w_i |(G - A)_i|^2. w = 1 gives `gram_loss`.

    The paper prints w (G - A), a 1 x n vector and no loss; the weighted sum of squares is what it describes.
    """
    return (gram_weights * (gram_matrix(features) - target).square()).mean()


@style_loss("weighted")
class WeightedGramLoss(StyleLoss):
    """Weights per feature map, mean 1, trained or given.

    adversarial: every `refresh_every` evaluations, w_i grows with the loss of its row, w_i ~ w_i exp(eta d_i / mean d):
    the paper's adversary, who looks for the maps that tell result and style apart.
    fisher: once, in closed form, how well a row tells crops of the style from the photo and from other photos.
    """

    Options = WeightedOptions
    fits = "gram_weights"
    fitted_by = ("weights_from",)

    @classmethod
    def needs_content(cls, options: WeightedOptions) -> bool:
        return options.weights_from == "fisher"

    @classmethod
    def adds_up(cls, options: WeightedOptions) -> bool:
        """Fisher's weights come from crops of the style."""
        return options.weights_from != "fisher"

    def __init__(self, styles: LayerStyles, options: WeightedOptions) -> None:
        self.target = styles.gram
        self.targets = [Target(Moments(1.0, second=self.target))]
        given = styles.given.get("gram_weights")
        if given is not None and given.shape != self.initial_weights(self.target).shape:
            raise OptionError(f"The weights given for {styles.layer} are of the other kind of weighted loss.")
        self.refreshes = self.restarts_optimizer = given is None and options.weights_from == "adversarial"
        if given is None:
            given = self.initial_weights(self.target) if self.refreshes else self.fisher_weights(styles)
        self.gram_weights = given

    def initial_weights(self, target: Float[Tensor, "1 N N"]) -> Tensor:
        """Of the shape that this loss has, all alike."""
        return torch.ones_like(target[0, :, :1])

    def excess(self, gram: Float[Tensor, "1 N N"]) -> Tensor:
        """The loss that each weight weighs."""
        return (gram - self.target)[0].square().mean(1, keepdim=True)

    def fisher_weights(self, styles: LayerStyles) -> Tensor:
        """Fisher's ratio of each row: squared distance of the class means over the scatter within the classes."""
        crops = torch.cat([_crop_grams(*style) for style in styles.whole])
        others, scatter = (statistic.to(crops) for statistic in photo_statistics(styles.layer))
        if styles.content is not None:
            # The photo itself counts as much as all the others together.
            others = (others + gram_matrix(cast(Tensor, styles.content))[0]) / 2
        between = self._pooled((crops.mean(0) - others).square())
        within = self._pooled(crops.var(0, correction=0) + scatter)
        return normalize_weights(between / within.clamp_min(1e-12 * float(within.max()) + 1e-30))

    def _pooled(self, squares: Float[Tensor, "N N"]) -> Tensor:
        return squares.mean(1, keepdim=True)

    def summarize(self, features: Features, weights: PositionWeights | None = None) -> Moments:
        return second_moments(features, weights)

    def distance(self, summary: Moments, target: Moments) -> Scalar:
        return (self.gram_weights * (summary.gram - target.gram).square()).mean()

    def refresh(self, survey: Moments) -> None:
        """One step of the adversary's ascent."""
        excess = self.excess(survey.gram)
        step = (ASCENT_RATE * excess / excess.mean().clamp_min(1e-30)).clamp_max(1.0)
        self.gram_weights = normalize_weights(self.gram_weights * step.exp())

    def fitted(self) -> dict[str, Tensor]:
        return {"gram_weights": self.gram_weights}


@style_loss("weighted-element")
class ElementWeightedGramLoss(WeightedGramLoss):
    """The same with a weight for every entry of the Gram."""

    def initial_weights(self, target: Float[Tensor, "1 N N"]) -> Tensor:
        return torch.ones_like(target[0])

    def excess(self, gram: Float[Tensor, "1 N N"]) -> Tensor:
        return (gram - self.target)[0].square()

    def _pooled(self, squares: Float[Tensor, "N N"]) -> Tensor:
        return squares


def normalize_weights(weights: Tensor) -> Tensor:
    """Mean 1, none above `MAX_WEIGHT` times the mean before it."""
    weights = weights / weights.mean()
    weights = weights.clamp_max(MAX_WEIGHT)
    return weights / weights.mean()


def _crop_grams(features: Features, weights: PositionWeights | None) -> Float[Tensor, "C N N"]:
    """Grams of a grid of crops (fewer where the map is small): how much a style varies within itself. Crops without
    weight are left out."""
    side = min(CROPS_PER_SIDE, features.shape[2], features.shape[3])
    if weights is None:
        return torch.cat([gram_matrix(part) for part in _crops(features, side)])
    pairs = zip(_crops(features, side), _crops(weights, side), strict=True)
    return torch.cat([second_moments(*pair).gram for pair in pairs if float(pair[1].sum())])


def _crops(values: Tensor, side: int) -> list[Tensor]:
    return [part for row in values.tensor_split(side, 2) for part in row.tensor_split(side, 3)]


@lru_cache(maxsize=1)
def _photo_file() -> dict[str, Tensor]:
    return load_file(PHOTO_STATISTICS)


def photo_statistics(layer: str) -> tuple[Float[Tensor, "N N"], Float[Tensor, "N N"]]:
    """Mean and variance of the Gram's entries over the fitting photos, for the bundled encoder's relu*_1.

    Raises:
        OptionError: a layer without such statistics.
    """
    tensors = _photo_file()
    if f"{layer}.mean" not in tensors:
        raise OptionError(f"There are no photo statistics for {layer}: --set weights_from=adversarial works anywhere.")
    return tensors[f"{layer}.mean"].float(), tensors[f"{layer}.variance"].float()
