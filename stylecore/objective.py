"""What is minimised: style terms, content terms and total variation of an image at one size, and their gradient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from stylecore.allocator import return_freed_memory
from stylecore.config import StylizeConfig
from stylecore.encoders import Encoder, Layer
from stylecore.errors import OptionError
from stylecore.images import LEVELS, ImageTensor, image_size
from stylecore.losses import (
    LayerStyles,
    Scalar,
    StyleLoss,
    Target,
    at_once,
    content_loss,
    find_loss,
    style_losses,
    summary_gradient,
    total_variation,
)
from stylecore.losses.statistics import (
    Features,
    KeptSums,
    LayerFeatures,
    PositionWeights,
    Summary,
)
from stylecore.regions import Mask, MaskedStyle, StyledRegion, pooled
from stylecore.reuse import known_of
from stylecore.temporal import Anchor
from stylecore.tiles import Box, Tile, encode, layer_features, plan_tiles

SMALLEST = 1e-12  # square of a target that a relative term is divided by: a black picture's is 0

# What was fitted to images, by layer and then by name: bases and trained weights.
Fitted = Mapping[str, Mapping[str, Tensor]]
SummaryKey = tuple[int, int]  # a loss and a region


@dataclass(frozen=True)
class Losses:
    """The weighted terms of one evaluation, scalars on the device; `total` is their sum, and an anchor's."""

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
    box: Box | None = None  # of positions, outside of which the region has none
    number: int = 0  # of the job's region, from 1; 0: of what they leave

    @property
    def key(self) -> SummaryKey:
        """Terms of one loss and region share a summary."""
        return id(self.loss), id(self.region)

    def seen(self, features: Features, tile: Tile | None = None) -> tuple[Features, PositionWeights | None]:
        """Which of the features, and how much of each: all of a tile's, of an image's those in the region's box."""
        if self.region is None:
            return features, None
        if tile is not None:
            return features, tile.at(self.layer).of(self.region)
        return (features, self.region) if self.box is None else (self.box.of(features), self.box.of(self.region))


@dataclass(frozen=True)
class ContentTerm:
    """One comparison of the image with the photo."""

    layer: str
    target: Features
    weight: float
    unit: Tensor | float = 1.0
    is_half_sum: bool = False  # half the sum of the squares, as papers print it, instead of their mean
    weights: PositionWeights | None = None  # of the squares by position, in [0, 1]; None: 1 everywhere

    def distance(self, features: Features) -> Scalar:
        """Of features (1, N, H, W) of the target's size."""
        mean = content_loss(features, self.target, self.weights)
        return 0.5 * features.numel() * mean if self.is_half_sum else mean

    def part(self, features: Features, tile: Tile) -> Scalar:
        """What a tile's features add to the distance."""
        if not features.numel():  # a narrow one at the edge may have no position so deep
            return features.sum()
        box = tile.at(self.layer)
        weights = None if self.weights is None else box.of(self.weights)
        sum_of_squares = features.numel() * content_loss(features, box.of(self.target), weights)
        return sum_of_squares * (0.5 if self.is_half_sum else 1 / self.target.numel())


class Objective:
    """The loss of an image against targets that are computed once.

    Args:
        encoder: compares the images, in its own dtype.
        content_terms, style_terms: each adds weight / unit * distance.
        config: the weights of content, style and total variation, and how often losses adapt.
        anchor: another image that this one is held to.
    """

    def __init__(
        self,
        encoder: Encoder,
        content_terms: Sequence[ContentTerm],
        style_terms: Sequence[StyleTerm],
        config: StylizeConfig,
        *,
        anchor: Anchor | None = None,
    ) -> None:
        self.encoder = encoder
        self.content_terms = content_terms
        self.style_terms = style_terms
        self.config = config
        self.anchor = anchor
        layers = [term.layer for term in content_terms] + [term.layer for term in style_terms]
        self.layers = tuple(dict.fromkeys(layers))
        self.num_evaluations = 0

    @property
    def adapts(self) -> bool:
        """Whether a loss changes on the way."""
        return any(term.loss.refreshes or term.loss.refreshes_always for term in self.style_terms)

    def features(self, image: ImageTensor) -> dict[str, Features]:
        """Of an image in [0, 1] at every term's layer (values outside are allowed: an optimiser may pass them)."""
        return self.encoder(image, self.layers)

    def losses(self, image: ImageTensor, features: Mapping[str, Features]) -> Losses:
        """The weighted losses of an image whose features at `layers` are known."""
        config, zero = self.config, image.new_zeros(())
        contents = (term.weight / term.unit * term.distance(features[term.layer]) for term in self.content_terms)
        content = sum(contents, start=zero)
        summaries = self.summaries(features)
        style = sum(self._style_distances(summaries), start=zero)
        content, style = config.content_weight * content, config.style_weight * style
        tv = config.tv_weight * total_variation(image) if config.tv_weight else zero
        return Losses(content + style + tv, content, style, tv)

    def summaries(self, features: Mapping[str, Features], tile: Tile | None = None) -> dict[SummaryKey, Summary]:
        """What the style terms' losses keep of the features, which may be a tile's."""
        found: dict[SummaryKey, Summary] = {}
        for term in self.style_terms:
            if term.key not in found:
                found[term.key] = term.loss.summarize(*term.seen(features[term.layer], tile))
        return found

    def _style_distances(self, summaries: Mapping[SummaryKey, Summary]) -> Iterable[Scalar]:
        """Of each term."""
        for term in self.style_terms:
            yield term.weight / term.unit * term.loss.distance(summaries[term.key], term.target.summary)

    def evaluate(self, variable: Tensor) -> Evaluation:
        """Losses of the image `variable` / 255 and the gradient of their total with respect to `variable`.

        Counts evaluations: style losses that adapt do so before the one that is due.
        """
        evaluation = self._evaluate(variable)
        if self.anchor is None:
            return evaluation
        loss, gradient = self.anchor.loss_and_gradient(variable.detach())
        losses = replace(evaluation.losses, total=evaluation.losses.total + loss)
        return replace(evaluation, losses=losses, gradient=evaluation.gradient + gradient)

    def _evaluate(self, variable: Tensor) -> Evaluation:
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
        adapting = self._adapting()
        for term in adapting:
            term.loss.refresh(term.loss.survey(*term.seen(features[term.layer].detach())))
        return any(term.loss.restarts_optimizer for term in adapting)

    def _adapting(self) -> list[StyleTerm]:
        """A term of each loss that is due."""
        due = self.num_evaluations % self.config.refresh_every == 0
        losses = {id(term.loss): term for term in self.style_terms}
        return [term for term in losses.values() if term.loss.refreshes_always or (term.loss.refreshes and due)]

    def fitted(self) -> dict[str, dict[str, Tensor]]:
        """Bases and weights in use, which `given` of another job takes. A region's names end with its number."""
        found: dict[str, dict[str, Tensor]] = {}
        for term in self.style_terms:
            for name, tensor in term.loss.fitted().items():
                found.setdefault(term.layer, {})[_of_region(name, term.number)] = tensor
        return found


class TiledObjective(Objective):
    """The same losses and gradient of an image that is encoded tile by tile, in the memory that one tile takes.

    In two passes: the tiles' summaries are added up without a graph; the distances' gradient with respect to the sum is
    then pulled back through each tile. That is exact, for the loss depends on the image through sums over positions.

    Args:
        tile_px: side of a tile without its margin.
    """

    def __init__(self, *args: Any, tile_px: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self.tile_px = tile_px

    def evaluate(self, variable: Tensor) -> Evaluation:
        # A tile and the optimiser's step take as much memory as each other, in blocks of other sizes: kept side by side
        # they would need it twice.
        return_freed_memory()
        evaluation = super().evaluate(variable)
        return_freed_memory()
        return evaluation

    def _evaluate(self, variable: Tensor) -> Evaluation:
        image = variable.detach() / LEVELS
        tiles = plan_tiles(image_size(image), self.tile_px, self.encoder, self.layers)
        changed = self._refresh_tiled(image, tiles)
        summaries = self._summed(image, tiles)
        distances: list[Scalar] = []
        pulls: dict[SummaryKey, Mapping[str, Tensor]] = {}
        for key, summary in summaries.items():
            distance, pulls[key] = summary_gradient(partial(self._weighted_distance, key), summary)
            distances.append(distance)
        gradient, zero = torch.zeros_like(image), image.new_zeros(())
        content = zero.clone()
        for tile in tiles:
            piece = tile.outer.of(image).clone().requires_grad_(True)
            features = tile.features(self.encoder, piece, self.layers)
            of_content = sum(self._content_parts(features, tile), start=zero)
            pulled = sum(self._pulled(features, tile, pulls), start=zero)
            (found,) = torch.autograd.grad(of_content + pulled, piece)
            tile.outer.of(gradient).add_(found)
            content += of_content.detach()
        tv, of_tv = self._total_variation(image)
        style = torch.stack(distances).sum() if distances else zero
        self.num_evaluations += 1
        return Evaluation(Losses(content + style + tv, content, style, tv), (gradient + of_tv) / LEVELS, changed)

    def _weighted_distance(self, key: SummaryKey, summary: Summary) -> Scalar:
        """Of all terms that share a summary."""
        terms = (term for term in self.style_terms if term.key == key)
        distances = (term.weight / term.unit * term.loss.distance(summary, term.target.summary) for term in terms)
        return self.config.style_weight * torch.stack(list(distances)).sum()

    @torch.no_grad()
    def _summed(self, image: ImageTensor, tiles: Sequence[Tile]) -> dict[SummaryKey, Summary]:
        total: dict[SummaryKey, Summary] = {}
        layers = list(dict.fromkeys(term.layer for term in self.style_terms))
        for tile in tiles if layers else ():
            features = tile.features(self.encoder, tile.outer.of(image), layers)
            for key, summary in self.summaries(features, tile).items():
                total[key] = total[key] + summary if key in total else summary
        return total

    @torch.no_grad()
    def _refresh_tiled(self, image: ImageTensor, tiles: Sequence[Tile]) -> bool:
        adapting = self._adapting()
        surveys: dict[int, Summary] = {}
        for tile in tiles if adapting else ():
            features = tile.features(self.encoder, tile.outer.of(image), [term.layer for term in adapting])
            for number, term in enumerate(adapting):
                survey = term.loss.survey(*term.seen(features[term.layer], tile))
                surveys[number] = surveys[number] + survey if number in surveys else survey
        for number, term in enumerate(adapting):
            term.loss.refresh(surveys[number])
        return any(term.loss.restarts_optimizer for term in adapting)

    def _content_parts(self, features: Mapping[str, Features], tile: Tile) -> Iterable[Scalar]:
        for term in self.content_terms:
            yield self.config.content_weight * term.weight / term.unit * term.part(features[term.layer], tile)

    def _pulled(
        self, features: Mapping[str, Features], tile: Tile, pulls: Mapping[SummaryKey, Mapping[str, Tensor]]
    ) -> Iterable[Scalar]:
        """What has the style distances' gradient with respect to the tile's features, with the sum held fixed."""
        for key, summary in self.summaries(features, tile).items():
            tensors = summary.tensors()
            yield from ((pull * tensors[name]).sum() for name, pull in pulls[key].items())

    def _total_variation(self, image: ImageTensor) -> tuple[Scalar, Tensor]:
        """Weighted, and its gradient with respect to the image: a few images' memory."""
        if not self.config.tv_weight:
            return image.new_zeros(()), image.new_zeros(())
        image = image.detach().requires_grad_(True)
        tv = self.config.tv_weight * total_variation(image)
        (gradient,) = torch.autograd.grad(tv, image)
        return tv.detach(), gradient


@torch.no_grad()
def make_objective(
    encoder: Encoder,
    content: ImageTensor,
    styles: Sequence[ImageTensor],
    config: StylizeConfig,
    given: Fitted | None = None,
    tile_px: int = 0,
    regions: Sequence[StyledRegion] = (),
    content_mask: Mask | None = None,
    anchor: Anchor | None = None,
) -> Objective:
    """The objective of a config: its style losses on every style layer, and the photo's features.

    Args:
        encoder: compares the images.
        content: (1, 3, H, W) in [0, 1], of the size that will be optimised.
        styles: (1, 3, H_i, W_i) in [0, 1]; their own sizes.
        config: layers, weights, the style loss's name and options.
        given: bases and weights fitted earlier, to be used as they are; a region without its own is fitted anew.
        tile_px: side of the tiles that images are encoded in; 0: in one piece.
        regions: what is painted, instead of the styles on all of the image; a region's terms count by its area.
        content_mask: of the content's size: how much of the content weight there is where.
        anchor: another image, of the content's size, that the image is held to.

    Raises:
        OptionError: the loss looks at all positions at once, so that the image cannot come in tiles.
    """
    content_layers = config.content_layers if config.content_weight else ()
    losses = {find_loss(name): factor for name, factor in style_losses(config).items()}
    if tile_px and at_once(config):
        alone = " and histogram_weight 0" if config.histogram_weight else ""
        raise OptionError(
            f"{' and '.join(at_once(config))} looks at all positions at once, and the image does not fit into memory "
            f"so: choose a smaller --size or --loss gram{alone}."
        )
    fitted_layers = config.style_layers if any(loss.needs_content(config) for loss in losses) else ()
    of_content, of_photo = _photo_features(encoder, content, content_layers, fitted_layers, tile_px)
    parts = regions or [StyledRegion(None, [*map(MaskedStyle, styles)], config.style_shares(len(styles)))]
    style_terms: list[StyleTerm] = []
    for part in parts:
        of_styles = [_style_features(encoder, style, config.style_layers, tile_px) for style in part.styles]
        for layer, weight in zip(config.style_layers, config.style_layer_weights, strict=True):
            features = [of_style[layer] for of_style in of_styles]
            fitted = _given_to(part.number, (given or {}).get(layer, {}))
            layer_styles = LayerStyles(layer, features, part.shares, of_photo.get(layer), fitted)
            region = part.mask_at(Layer.parse(layer).stride)
            box = None if region is None else _box_of(region)
            for loss, factor in losses.items():
                share = factor * weight * part.weight * part.area
                terms = _style_terms(loss(layer_styles, config), layer_styles, share, config)
                style_terms += [replace(term, region=region, box=box, number=part.number) for term in terms]
    content_weights = dict(zip(config.content_layers, config.content_layer_weights, strict=True))
    content_terms = [
        _content_term(layer, of_content[layer], content_weights[layer], config, content_mask)
        for layer in content_layers
    ]
    if tile_px:
        return TiledObjective(encoder, content_terms, style_terms, config, anchor=anchor, tile_px=tile_px)
    return Objective(encoder, content_terms, style_terms, config, anchor=anchor)


def _of_region(name: str, number: int) -> str:
    """What is fitted for a region has its number behind the name."""
    return f"{name}.{number}" if number else name


def _given_to(number: int, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What was fitted for a region, under the names that losses have."""
    names = {_of_region(name.partition(".")[0], number): name.partition(".")[0] for name in given}
    return {name: given[named] for named, name in names.items() if named in given}


def _box_of(region: PositionWeights) -> Box:
    """The smallest that holds all positions of a region."""
    rows, columns = ((region > 0).any(side)[0, 0].nonzero() for side in (3, 2))
    return Box(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)


def _photo_features(
    encoder: Encoder, content: ImageTensor, content_layers: Sequence[str], fitted_layers: Sequence[str], tile_px: int
) -> tuple[Mapping[str, Features], Mapping[str, LayerFeatures]]:
    """The content terms' targets, and what losses are fitted to; of an image in one piece, from one pass."""
    if tile_px:
        targets = encode(encoder, content, content_layers, tile_px) if content_layers else {}
        return targets, layer_features(encoder, content, fitted_layers, tile_px)
    asked = (*content_layers, *fitted_layers)
    found = encoder(content, asked) if asked else {}
    return found, found


def _style_features(
    encoder: Encoder, style: MaskedStyle, layers: tuple[str, ...], tile_px: int
) -> Mapping[str, LayerFeatures]:
    """By layer; the style is encoded when the first loss asks for more than what is known of it."""
    encoded = cache(partial(layer_features, encoder, style.image, layers, tile_px, style.mask))
    known = known_of(style.image)
    sums = {layer: known.setdefault((layer, layers, encoder, tile_px, style.mask), {}) for layer in layers}
    return {layer: KeptSums(encoded, layer, encoder.dtype, sums[layer]) for layer in layers}


def _style_terms(loss: StyleLoss, styles: LayerStyles, weight: float, config: StylizeConfig) -> list[StyleTerm]:
    """A term for each target of the loss, in units of the style's own Gram if terms are relative."""
    unit = styles.gram.square().mean().clamp_min(SMALLEST) if config.terms == "relative" else 1.0
    return [StyleTerm(styles.layer, loss, target, weight * target.share, unit) for target in loss.targets]


def _content_term(layer: str, target: Features, weight: float, config: StylizeConfig, mask: Mask | None) -> ContentTerm:
    term = ContentTerm(layer, target, weight, is_half_sum=config.content_reduction == "half_sum")
    if config.terms == "relative":
        term = replace(term, unit=term.distance(torch.zeros_like(target)).clamp_min(SMALLEST))
    return replace(term, weights=pooled(mask, Layer.parse(layer).stride))
