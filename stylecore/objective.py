"""What is minimised: style terms, content terms and total variation of an image at one size, and their gradient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stylecore.config import StylizeConfig
from stylecore.encoders import Encoder
from stylecore.images import LEVELS, ImageTensor, image_size
from stylecore.losses import LayerStyles, Scalar, StyleLoss, Target, content_loss, find_loss, total_variation
from stylecore.losses.statistics import Features, PositionWeights, Summary
from stylecore.memory import needs_recomputing

SMALLEST = 1e-12  # square of a target that a relative term is divided by: a black picture's is 0

# What was fitted to images, by layer and then by name: bases and trained weights.
Fitted = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class Losses:
    """The weighted terms of one evaluation, scalars on the device; `total` is their sum."""

    total: Scalar
    content: Scalar
    style: Scalar
    tv: Scalar

    def stacked(self) -> Tensor:
        """As one tensor (4,)."""
        return torch.stack([self.total, self.content, self.style, self.tv])

    @classmethod
    def unstacked(cls, values: Tensor) -> Losses:
        """What `stacked` made one."""
        return cls(*values.unbind())


@dataclass(frozen=True)
class Evaluation:
    """One loss-and-gradient evaluation."""

    losses: Losses
    gradient: Tensor  # of the total with respect to the variable
    changed: bool  # whether the objective is another one since the last evaluation


@dataclass(frozen=True)
class StyleTerm:
    """One comparison of the image with a style. A layer may have several: of other losses, targets or regions."""

    layer: str
    loss: StyleLoss
    target: Target
    weight: float
    unit: Tensor | float = 1.0  # what the distance is divided by
    region: PositionWeights | None = None  # a soft mask over the layer's positions; None: all of them


@dataclass(frozen=True)
class ContentTerm:
    """One comparison of the image with the photo."""

    layer: str
    target: Features
    weight: float
    unit: Tensor | float = 1.0
    is_half_sum: bool = False  # half the sum of the squares, as papers print it, instead of their mean

    def distance(self, features: Features) -> Scalar:
        """Of features (1, N, H, W) of the target's size."""
        mean = content_loss(features, self.target)
        return 0.5 * features.numel() * mean if self.is_half_sum else mean


class Objective:
    """The loss of an image against targets that are computed once.

    Args:
        encoder: compares the images, in its own dtype.
        content_terms, style_terms: each adds weight / unit * distance.
        config: the weights of content, style and total variation, and how often losses adapt.
        recompute: compute features twice rather than keep them, for large images.
    """

    def __init__(
        self,
        encoder: Encoder,
        content_terms: Sequence[ContentTerm],
        style_terms: Sequence[StyleTerm],
        config: StylizeConfig,
        *,
        recompute: bool = False,
    ) -> None:
        self.encoder = encoder
        self.content_terms = content_terms
        self.style_terms = style_terms
        self.config = config
        self.recompute = recompute
        layers = [term.layer for term in content_terms] + [term.layer for term in style_terms]
        self.layers = tuple(dict.fromkeys(layers))
        self.num_evaluations = 0

    @property
    def adapts(self) -> bool:
        """Whether a loss changes on the way."""
        return any(term.loss.refreshes or term.loss.refreshes_always for term in self.style_terms)

    def features(self, image: ImageTensor) -> dict[str, Features]:
        """Of an image in [0, 1] at every term's layer (values outside are allowed: an optimiser may pass them)."""
        return self.encoder(image, self.layers, recompute=self.recompute)

    def losses(self, image: ImageTensor, features: Mapping[str, Features]) -> Losses:
        """The weighted losses of an image whose features at `layers` are known."""
        config, zero = self.config, image.new_zeros(())
        contents = (term.weight / term.unit * term.distance(features[term.layer]) for term in self.content_terms)
        content = sum(contents, start=zero)
        style = sum(self._style_losses(features), start=zero)
        content, style = config.content_weight * content, config.style_weight * style
        tv = config.tv_weight * total_variation(image) if config.tv_weight else zero
        return Losses(content + style + tv, content, style, tv)

    def _style_losses(self, features: Mapping[str, Features]) -> Iterable[Scalar]:
        """Of each term; those of one loss and region share a summary."""
        summaries: dict[tuple[int, int], Summary] = {}
        for term in self.style_terms:
            key = (id(term.loss), id(term.region))
            if key not in summaries:
                summaries[key] = term.loss.summarize(features[term.layer], term.region)
            yield term.weight / term.unit * term.loss.distance(summaries[key], term.target.summary)

    def evaluate(self, variable: Tensor) -> Evaluation:
        """Losses of the image `variable` / 255 and the gradient of their total with respect to `variable`.

        Counts evaluations: style losses that adapt do so before the one that is due.
        """
        variable = variable.detach().requires_grad_(True)
        image = variable / LEVELS
        features = self.features(image)
        changed = self.refresh(features)
        losses = self.losses(image, features)
        (gradient,) = torch.autograd.grad(losses.total, variable)
        terms = (losses.total, losses.content, losses.style, losses.tv)
        self.num_evaluations += 1
        return Evaluation(Losses(*(term.detach() for term in terms)), gradient, changed)

    @torch.no_grad()
    def refresh(self, features: Mapping[str, Features]) -> bool:
        """Let the style losses that are due adapt to the features; whether the objective is then another one."""
        due = self.num_evaluations % self.config.refresh_every == 0
        adapting = {id(term.loss): term for term in self.style_terms if self._adapts(term.loss, due)}.values()
        for term in adapting:
            term.loss.refresh(term.loss.survey(features[term.layer].detach(), term.region))
        return any(term.loss.restarts_optimizer for term in adapting)

    @staticmethod
    def _adapts(loss: StyleLoss, due: bool) -> bool:
        return loss.refreshes_always or (loss.refreshes and due)

    def fitted(self) -> dict[str, dict[str, Tensor]]:
        """Bases and weights in use, which `given` of another job takes."""
        return {term.layer: found for term in self.style_terms if (found := term.loss.fitted())}


@torch.no_grad()
def make_objective(
    encoder: Encoder,
    content: ImageTensor,
    styles: Sequence[ImageTensor],
    config: StylizeConfig,
    given: Fitted | None = None,
) -> Objective:
    """The objective of a config: one loss on every style layer, and the photo's features.

    Args:
        encoder: compares the images.
        content: (1, 3, H, W) in [0, 1], of the size that will be optimised.
        styles: (1, 3, H_i, W_i) in [0, 1]; their own sizes.
        config: layers, weights, the style loss's name and options.
        given: bases and weights fitted earlier, to be used as they are.
    """
    content_layers = config.content_layers if config.content_weight else ()
    loss = find_loss(config.loss)
    asked = (*content_layers, *config.style_layers) if loss.needs_content(config) else content_layers
    of_content = encoder(content, asked) if asked else {}
    of_styles = [encoder(style, config.style_layers) for style in styles]
    shares = config.style_shares(len(styles))
    style_terms: list[StyleTerm] = []
    for layer, weight in zip(config.style_layers, config.style_layer_weights, strict=True):
        features = [of_style[layer] for of_style in of_styles]
        layer_styles = LayerStyles(layer, features, shares, of_content.get(layer), (given or {}).get(layer, {}))
        style_terms += _style_terms(loss(layer_styles, config), layer_styles, weight, config)
    content_weights = dict(zip(config.content_layers, config.content_layer_weights, strict=True))
    content_terms = [
        _content_term(layer, of_content[layer], content_weights[layer], config) for layer in content_layers
    ]
    recompute = needs_recomputing(*image_size(content))
    return Objective(encoder, content_terms, style_terms, config, recompute=recompute)


def _style_terms(loss: StyleLoss, styles: LayerStyles, weight: float, config: StylizeConfig) -> list[StyleTerm]:
    """A term for each target of the loss, in units of the style's own Gram if terms are relative."""
    unit = styles.gram.square().mean().clamp_min(SMALLEST) if config.terms == "relative" else 1.0
    return [StyleTerm(styles.layer, loss, target, weight * target.share, unit) for target in loss.targets]


def _content_term(layer: str, target: Features, weight: float, config: StylizeConfig) -> ContentTerm:
    is_half_sum = config.content_reduction == "half_sum"
    term = ContentTerm(layer, target, weight, is_half_sum=is_half_sum)
    if config.terms == "absolute":
        return term
    unit = term.distance(torch.zeros_like(target)).clamp_min(SMALLEST)
    return ContentTerm(layer, target, weight, unit, is_half_sum)
