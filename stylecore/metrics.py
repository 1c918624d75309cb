"""The one yardstick: how far an image, as it was saved, is from the style and from the content.

Always measured with the bundled VGG-16, max pooling, float32, on 8-bit values, whatever made the image: a job that
optimises another network, layers or loss is judged by the same distances as all others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from stylecore.color import LUMA
from stylecore.encoders import Encoder, Layer, load_encoder
from stylecore.errors import ImageError, OptionError
from stylecore.images import (
    ImageSource,
    ImageTensor,
    fit_size,
    image_size,
    load_image,
    load_images,
    load_result,
    quantize,
    resize_image,
)
from stylecore.isolation import isolated
from stylecore.losses.statistics import Moments, second_moments
from stylecore.regions import Mask, MaskedStyle, MaskImage, Region, StyledRegion, styled_regions
from stylecore.reuse import per_picture
from stylecore.tiles import Tile, joined, plan_tiles, tile_px_of

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")  # of the yardstick, whatever a job compares
CONTENT_LAYER = "relu4_2"
WITNESS_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
DETAIL_SIGMA_PX = 2.0  # what a Gaussian of this width removes counts as detail
LAYERS = (*STYLE_LAYERS, *WITNESS_LAYERS, CONTENT_LAYER)
DEEPEST_LAYER = max(LAYERS, key=lambda layer: Layer.parse(layer).stride)
LEAST_SIDE_PX = Layer.parse(DEEPEST_LAYER).stride  # a narrower picture has no position there, and cannot be measured


@dataclass(frozen=True)
class Distances:
    """Relative distances, 0 for equal: `style` over relu*_1, `content` at relu4_2, `witness` over layers that no
    preset optimises."""

    style: float
    content: float
    witness: float


@lru_cache(maxsize=2)
def yardstick_encoder(device: torch.device) -> Encoder:
    """The bundled VGG-16 in float32 with max pooling, kept in memory once a device."""
    return load_encoder("vgg16", device=device)


def yardstick_features(image: ImageTensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Of an image in one piece, on its device, as exact as the yardstick's own."""
    # cuDNN would round float32 convolutions to TF32's ten bits.
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        return yardstick_encoder(image.device)(image, layers)


def check_sizes(content: tuple[int, int], styles: Sequence[tuple[int, int]], size: int) -> None:
    """Refuse, before anything is computed, a picture that is too thin to be measured at the result's size.

    Args:
        content, styles: (height, width) in px of the pictures as they are given.
        size: longer side of the result in px, to which all of them are brought.

    Raises:
        OptionError: the shorter side of one would be under `LEAST_SIDE_PX`, one position of the deepest layer.
    """
    many = [f"Style {number}" for number in range(1, len(styles) + 1)]
    roles = ["The content", *(["The style"] if len(styles) == 1 else many)]
    for role, (height, width) in zip(roles, (content, *styles), strict=True):
        if min(fit_size((height, width), size)) < LEAST_SIDE_PX:
            wider = math.ceil(LEAST_SIDE_PX * max(height, width) / min(height, width))
            raise OptionError(
                f"{role} of {width}x{height} px is too thin at --size {size} for {DEEPEST_LAYER}, which sees one "
                f"position every {LEAST_SIDE_PX} px: choose --size {wider} or more, or crop the picture."
            )


def check_weights(weights: Sequence[float] | None, num_styles: int) -> None:
    """Raise an OptionError unless there is a weight for each style, or none at all."""
    if weights and len(weights) != num_styles:
        raise OptionError(f"{len(weights)} style weights were given for {num_styles} style images.")


def load_weighted(
    styles: ImageSource | Iterable[ImageSource],
    style_weights: Sequence[float] | None,
    size: tuple[int, int],
    style_masks: Sequence[MaskImage | None] = (),
) -> tuple[list[MaskedStyle], list[float]]:
    """Styles beside a result of (height, width) px, with its longer side, and their shares. Raises what `Yardstick`
    does."""
    pictures = list(load_images(styles))
    check_sizes(size, [image_size(picture) for picture in pictures], max(size))
    check_weights(style_weights, len(pictures))
    weights = style_weights or (1.0,) * len(pictures)
    masks = style_masks or [None] * len(pictures)
    own = [MaskedStyle.fitted(*pair, max(size)) for pair in zip(pictures, masks, strict=True)]
    return own, [weight / sum(weights) for weight in weights]


def as_saved(image: ImageSource, size: tuple[int, int]) -> ImageTensor:
    """An image to be measured, in 8 bits. Raises an ImageError unless it is of (height, width) px."""
    picture = load_result(image)
    if image_size(picture) != size:
        raise ImageError(f"This yardstick measures images of {size} px, not {image_size(picture)}.")
    return quantize(picture)


class Yardstick:
    """Measures images of one size against one content and its styles.

    Args:
        content: the photo, as `load_image` takes it.
        styles: one such picture or several; Lanczos-resized here so that the longer side is the result's.
        size: (height, width) in px of the images to be measured.
        style_weights: of the mean over several styles, any positive scale; None: all alike.
        device: where to measure.
        regions: of the photo; the style distance is then the mean of the regions' by area, each of its own statistics.
        style_masks: what counts of each style; none: all of all.

    Raises:
        ImageError: a picture is none.
        OptionError: one is too thin to be measured at that size, or there are not as many weights as styles.
    """

    @isolated()
    def __init__(
        self,
        content: ImageSource,
        styles: ImageSource | Iterable[ImageSource],
        size: tuple[int, int],
        style_weights: Sequence[float] | None = None,
        device: torch.device | None = None,
        regions: Sequence[Region] = (),
        style_masks: Sequence[MaskImage | None] = (),
    ) -> None:
        self.device = device or torch.device("cpu")
        self.size = size
        photo = load_image(content)
        own, shares = load_weighted(styles, style_weights, size, style_masks)
        self.parts = styled_regions(regions, size, own, shares, max(size))
        self.content = _encode(resize_image(photo, *size), (), self.device)[1]
        self.targets = [[_grams(style.image, style.mask, self.device) for style in part.styles] for part in self.parts]

    @isolated()
    def measure(self, image: ImageSource) -> Distances:
        """Distances of `image` as it would be saved, in 8 bits. Raises an ImageError for another size."""
        grams, content = _encode(as_saved(image, self.size), self.parts, self.device)
        return Distances(
            style=self._gram_distance(grams, STYLE_LAYERS),
            content=_relative(content, self.content),
            witness=self._gram_distance(grams, WITNESS_LAYERS),
        )

    def _gram_distance(self, grams: Sequence[dict[str, Tensor]], layers: Sequence[str]) -> float:
        """Mean over layers of |G - A|_F / |A|_F, then over styles by their weights and over regions by their areas."""
        total = 0.0
        for part, found, targets in zip(self.parts, grams, self.targets, strict=True):
            for share, target in zip(part.shares, targets, strict=True):
                distance = sum(_relative(found[layer], target[layer]) for layer in layers) / len(layers)
                total += part.area * share * distance
        return total / sum(part.area for part in self.parts)


@per_picture
def _grams(style: ImageTensor, mask: Mask | None, device: torch.device) -> dict[str, Tensor]:
    """Of what counts of a style, by layer."""
    return _encode(style, [StyledRegion(mask, [], [])], device)[0][0]


def _encode(
    image: ImageTensor, parts: Sequence[StyledRegion], device: torch.device
) -> tuple[list[dict[str, Tensor]], Tensor]:
    """Grams of each part by layer, and the features of the content's layer; of a large image tile by tile."""
    encoder, image = yardstick_encoder(device), image.to(device, torch.float32)
    tiles = plan_tiles(image_size(image), tile_px_of(image), encoder, LAYERS)
    # cuDNN would round float32 convolutions to TF32's ten bits.
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        totals: list[dict[str, Moments]] = [{} for _ in parts]
        contents = []
        for tile in tiles:
            features = tile.features(encoder, tile.outer.of(image), LAYERS)
            contents.append(features[CONTENT_LAYER].clone())
            for part, total in zip(parts, totals, strict=True):
                for layer, moments in _moments(features, part, tile).items():
                    total[layer] = total[layer] + moments if layer in total else moments
    return [{layer: moments.gram for layer, moments in total.items()} for total in totals], joined(contents, tiles)


def _moments(features: Mapping[str, Tensor], part: StyledRegion, tile: Tile) -> dict[str, Moments]:
    found = {}
    for layer in (*STYLE_LAYERS, *WITNESS_LAYERS):
        mask = part.mask_at(Layer.parse(layer).stride)
        weights = None if mask is None else tile.at(layer).of(mask).to(features[layer])
        found[layer] = second_moments(features[layer], weights)
    return found


def _relative(value: Float[Tensor, ...], target: Float[Tensor, ...]) -> float:
    return float((value - target).norm() / target.norm().clamp_min(torch.finfo(target.dtype).tiny))


def style_distance(
    image: ImageSource, styles: ImageSource | Iterable[ImageSource], style_weights: Sequence[float] | None = None
) -> float:
    """Mean over relu1_1 .. relu5_1 of |G - A|_F / |A|_F: 0 for the style itself, near 0.15 for a finished work."""
    picture = load_result(image)
    return Yardstick(picture, styles, image_size(picture), style_weights, _device_of(image)).measure(picture).style


def content_distance(image: ImageSource, content: ImageSource) -> float:
    """|F - C|_F / |C|_F at relu4_2, C of `content` resized to the image's size: 0 for the photo itself."""
    picture = load_result(image)
    return Yardstick(content, picture, image_size(picture), None, _device_of(image)).measure(picture).content


def _device_of(image: ImageSource) -> torch.device | None:
    """Where a picture is measured: where it is."""
    return image.device if isinstance(image, Tensor) else None


@isolated()
def high_frequency_energy(image: ImageTensor, sigma_px: float = DETAIL_SIGMA_PX) -> float:
    """Mean square of what a Gaussian blur of `sigma_px` removes from the luma (Rec. 601) of the 8-bit image.

    0 for one colour; grows with the square of the contrast of strokes and grain finer than a few pixels.
    """
    from torchvision.transforms.v2.functional import gaussian_blur  # takes a second: only where detail is measured

    luma = _luma(image)
    width = 2 * math.ceil(3 * sigma_px) + 1
    blurred = gaussian_blur(luma, [width, width], [sigma_px, sigma_px])
    return float((luma - blurred).square().mean())


@isolated()
def hatching(image: ImageTensor, reference: ImageTensor) -> float:
    """Energy of the finest grid that an image can show, every other pixel light in both directions, over that of
    `reference`: mean square of (a - b - c + d) / 4 over all 2x2 blocks of the 8-bit luma. Above 1 is hatched.
    """
    return _grid_energy(image) / max(_grid_energy(reference), 1e-12)


def _grid_energy(image: ImageTensor) -> float:
    luma = _luma(image)
    return float((luma.diff(dim=2).diff(dim=3) / 4).square().mean())


def _luma(image: ImageTensor) -> Float[Tensor, "1 1 H W"]:
    """Rec. 601, of the 8-bit image."""
    weights = torch.tensor(LUMA, dtype=torch.float32, device=image.device).view(1, 3, 1, 1)
    return (quantize(image) * weights).sum(1, keepdim=True)


def detail(image: ImageTensor, reference: ImageTensor, sigma_px: float = DETAIL_SIGMA_PX) -> float:
    """`high_frequency_energy` of `image` over that of `reference`: below 1 is smoother, with less detail."""
    return high_frequency_energy(image, sigma_px) / max(high_frequency_energy(reference, sigma_px), 1e-12)
