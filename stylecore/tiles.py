"""Pictures of any size in bounded memory: encoded tile by tile, with the very features that the whole picture has.

A tile is read with a margin as wide as a feature sees, and begins at a multiple of the deepest layer's stride, so that
its pooling windows are the picture's. Where it ends at the picture's border, it is padded as the picture is. What is
kept of its features are the positions that no other tile has.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from stylecore.encoders.vgg import Encoder, Layer
from stylecore.images import ImageTensor, image_size
from stylecore.losses.statistics import Features, PositionWeights, WeightedFeatures
from stylecore.regions import Mask, pooled

WHOLE_UP_TO_PX, TILE_PX = 1600 * 1600, 768


class Box(NamedTuple):
    """A rectangle of an image or a feature map; the ends are excluded."""

    top: int
    bottom: int
    left: int
    right: int

    def of(self, values: Tensor) -> Tensor:
        """A view of that part of (..., H, W)."""
        return values[..., self.top : self.bottom, self.left : self.right]

    def at(self, stride: int) -> Box:
        """The same in positions of a layer. Poolings drop what is left over at the end."""
        return Box(*(side // stride for side in self))

    @property
    def num_pixels(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)


@dataclass(frozen=True)
class Tile:
    """What is read of an image, and the part of it whose features are kept. In px."""

    outer: Box
    inner: Box

    def at(self, layer: str) -> Box:
        """Its part of the image's positions at a layer."""
        return self.inner.at(Layer.parse(layer).stride)

    def features(self, encoder: Encoder, piece: ImageTensor, layers: Iterable[str]) -> dict[str, Features]:
        """Of `piece`, which `outer` takes from the image: at each layer those that `inner` takes from the image's."""
        features = encoder(piece, layers)
        if self.inner == self.outer:
            return features
        top, left = self.outer.top, self.outer.left
        inner = Box(self.inner.top - top, self.inner.bottom - top, self.inner.left - left, self.inner.right - left)
        # Cloned, in the layout they had: a view would keep the margins, and whatever flattened its positions would copy
        # them out of that layout, which took a tenth of an evaluation.
        return {layer: inner.at(Layer.parse(layer).stride).of(found).clone() for layer, found in features.items()}


def margin_px(encoder: Encoder, layers: Iterable[str]) -> int:
    """How far around a tile its features see, rounded up so that what is read begins at a pooling window too.

    Each 3x3 convolution adds its stride: 58 px for relu5_1 of VGG-16, 70 of VGG-19.
    """
    layers = list(layers)
    radius = sum(conv.stride for conv in encoder.convs_up_to(layers))
    stride = _alignment(layers)
    return math.ceil(radius / stride) * stride


def _alignment(layers: Iterable[str]) -> int:
    return max(Layer.parse(layer).stride for layer in layers)


def plan_tiles(size: tuple[int, int], tile_px: int, encoder: Encoder, layers: Sequence[str]) -> list[Tile]:
    """Tiles of an image of (height, width) px, each of at most about tile_px x tile_px beside its margin; for 0 one.

    Args:
        layers: whose features are asked for; the deepest of them decides on the margin.
    """
    height, width = size
    if not tile_px:
        whole = Box(0, height, 0, width)
        return [Tile(whole, whole)]
    margin, stride = margin_px(encoder, layers), _alignment(layers)
    rows, columns = (_cuts(side, tile_px, stride) for side in size)
    return [
        Tile(
            Box(max(0, top - margin), min(height, bottom + margin), max(0, left - margin), min(width, right + margin)),
            Box(top, bottom, left, right),
        )
        for (top, bottom), (left, right) in itertools.product(rows, columns)
    ]


def _cuts(side: int, tile_px: int, stride: int) -> list[tuple[int, int]]:
    """Beginnings and ends of about equal parts, which begin at multiples of the stride."""
    number = math.ceil(side / tile_px)
    step = math.ceil(side / number / stride) * stride
    return [(start, min(side, start + step)) for start in range(0, side, step)]


def margins_share(tiles: Sequence[Tile]) -> float:
    """How much more is computed for the margins' sake, over the image's own pixels."""
    return sum(tile.outer.num_pixels for tile in tiles) / sum(tile.inner.num_pixels for tile in tiles) - 1


@torch.no_grad()
def encode(encoder: Encoder, image: ImageTensor, layers: Sequence[str], tile_px: int) -> dict[str, Features]:
    """`encoder(image, layers)` without a graph, put together from tiles. For 0 that is what is called."""
    if not tile_px:
        return encoder(image, layers)
    tiles = plan_tiles(image_size(image), tile_px, encoder, layers)
    pieces = [tile.features(encoder, tile.outer.of(image), layers) for tile in tiles]
    return {layer: joined([piece[layer] for piece in pieces], tiles) for layer in layers}


def joined(pieces: Sequence[Features], tiles: Sequence[Tile]) -> Features:
    """One layer's features of an image, put together from its tiles'; what is in one piece is that piece."""
    if len(pieces) == 1:
        return pieces[0]
    by_row = itertools.groupby(zip(tiles, pieces, strict=True), key=lambda pair: pair[0].inner.top)
    return torch.cat([torch.cat([piece for _, piece in row], 3) for _, row in by_row], 2)


def tile_px_of(image: ImageTensor) -> int:
    """Side of the tiles that an image is encoded in where there is no gradient: 0 up to `WHOLE_UP_TO_PX`."""
    return TILE_PX if image.shape[2] * image.shape[3] > WHOLE_UP_TO_PX else 0


@dataclass(frozen=True)
class MaskedFeatures:
    """A layer's features of an image in one piece, of which a mask says how much of each position counts."""

    features: Features
    weights: PositionWeights

    @property
    def dtype(self) -> torch.dtype:
        """Of the features."""
        return self.features.dtype

    def __iter__(self) -> Iterator[WeightedFeatures]:
        yield self.features, self.weights


@dataclass(frozen=True)
class TiledFeatures:
    """A layer's features of an image that is too large for them: each iteration computes them anew, tile by tile."""

    encoder: Encoder
    image: ImageTensor
    layer: str
    tile_px: int
    weights: PositionWeights | None = None  # of all of the image's positions

    @property
    def dtype(self) -> torch.dtype:
        """Of the features."""
        return self.encoder.dtype

    def __iter__(self) -> Iterator[WeightedFeatures]:
        for tile in plan_tiles(image_size(self.image), self.tile_px, self.encoder, [self.layer]):
            with torch.no_grad():
                found = tile.features(self.encoder, tile.outer.of(self.image), [self.layer])[self.layer]
            yield found, None if self.weights is None else tile.at(self.layer).of(self.weights)


def layer_features(
    encoder: Encoder, image: ImageTensor, layers: Sequence[str], tile_px: int, mask: Mask | None = None
) -> Mapping[str, Features | MaskedFeatures | TiledFeatures]:
    """By layer: features, with the weights of their positions where there is a mask of the image; or of an image larger
    than a tile what computes them when it is iterated."""
    weights = {layer: pooled(mask, Layer.parse(layer).stride) for layer in layers}
    if tile_px and max(image_size(image)) > tile_px:
        return {layer: TiledFeatures(encoder, image, layer, tile_px, weights[layer]) for layer in layers}
    found = encoder(image, layers)
    return {layer: _masked(features, weights[layer]) for layer, features in found.items()}


def _masked(features: Features, weights: PositionWeights | None) -> Features | MaskedFeatures:
    return features if weights is None else MaskedFeatures(features, weights)
