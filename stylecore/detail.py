"""The style's own fine detail for an image that has been painted at a lower resolution.

An enlarged image lacks what lies above the resolution it was painted at, and an optimiser has to grow it out of noise.
The style has it: where a place of the coarse image looks like a place of the style at the same resolution, the style
also knows what is finer there. Example-based super-resolution (Freeman et al. 2002, "Example-Based Super-Resolution")
with features of the encoder instead of pixels, compared in the style's principal components. Only the band that the
enlargement lacks is taken from the style; all that was painted so far, the photo's shapes among it, stays. (Whole
patches of the style, as in Elad and Milanfar 2017, bring the Grams nearer and lose the photo.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from stylecore.encoders.vgg import Encoder, Layer
from stylecore.images import ImageTensor, fit_image, image_size, resize_image
from stylecore.losses.basis import Components, fit_basis, project
from stylecore.losses.statistics import Features, all_moments
from stylecore.metrics import LEAST_SIDE_PX
from stylecore.regions import Mask, mostly, resized_mask
from stylecore.reuse import per_picture
from stylecore.tiles import encode, tile_px_of

LAYER = "relu3_1"  # of relu1_1 .. relu4_1 the best after as many evaluations, on fitting pairs
STRIDE = Layer.parse(LAYER).stride
SIDE = 3  # positions of a patch, and of the piece of detail that it stands for
NUM_COMPONENTS = 64  # of 256 channels; 32 and 128 find as good patches
MAX_CANDIDATES = 4096  # places of the styles that are compared with: more than a style of 256 px has
SHARPNESS = 8  # power of the window that blends neighbours: their mean alone would blur what is to be sharp
CHUNK = 4096  # places of the image compared at a time
MAX_FOLDED = 1 << 16  # and painted at a time
SMALLEST = 1e-5  # standard deviation of a channel


@dataclass(frozen=True)
class Examples:
    """Places of one style: how each looks at the coarse resolution, and what is finer there."""

    features: Features  # (1, N, h, w) of the style at the coarse resolution
    band: Float[Tensor, "1 3 H W"]  # what the enlargement lacks, `cell` px for each position and a margin around
    places: Int[Tensor, " P"]  # the positions that may be taken


@torch.no_grad()
def add_detail(
    image: ImageTensor,
    styles: Sequence[ImageTensor],
    shares: Sequence[float],
    encoder: Encoder,
    size: tuple[int, int],
    style_side: int | None = None,
    masks: Sequence[Mask | None] = (),
) -> ImageTensor:
    """`image` enlarged, with the styles' own detail above the resolution that it has.

    Args:
        image: (1, 3, h, w) in [0, 1], painted at this size.
        styles: (1, 3, H_i, W_i) in [0, 1], of their own sizes.
        shares: of the places that each style may give, summing to 1; at least one positive.
        encoder: compares places, on its device and in its dtype.
        size: (H, W) in px of the result, with the image's aspect. Where it is no whole multiple of the image's, the
            image is enlarged to the next one and resampled.
        style_side: longer side of the styles in px beside a result of `size`; None: the result's.
        masks: of the styles' sizes: only places that are at least half white are taken; none: all.

    Returns:
        (1, 3, H, W) in [0, 1] on the encoder's device; only resampled where `size` is not larger.
    """
    image = image.to(encoder.device)
    factor = math.ceil((max(size) - 1) / max(image_size(image)))  # the 1: odd sizes are halved to a rounded one
    if factor <= 1:
        return resize_image(image, *size)
    multiple = (image.shape[2] * factor, image.shape[3] * factor)
    is_whole = all(abs(side - wanted) <= factor for side, wanted in zip(multiple, size, strict=True))
    enlarged = resize_image(image, *(size if is_whole else multiple))
    chosen = [each for each in zip(styles, masks or [None] * len(styles), shares, strict=True) if each[2]]
    longer = max(image_size(enlarged))
    side = longer if style_side is None else round(longer * style_side / max(size))
    examples = [_examples(style.to(encoder.device), mask, encoder, side, factor) for style, mask, _ in chosen]
    painted = _painted(_features(encoder, image), examples, [share for *_, share in chosen], factor * STRIDE)
    height, width = image_size(enlarged)
    painted = F.pad(painted, (0, max(0, width - painted.shape[3]), 0, max(0, height - painted.shape[2])))
    return resize_image((enlarged + painted[:, :, :height, :width]).clamp(0, 1), *size)


@per_picture
def _examples(style: ImageTensor, mask: Mask | None, encoder: Encoder, longer_side: int, factor: int) -> Examples:
    fine = fit_image(style, longer_side, LEAST_SIDE_PX)
    height, width = image_size(fine)
    coarse = resize_image(fine, math.ceil(height / factor), math.ceil(width / factor))
    features = _features(encoder, coarse)
    cell, margin = factor * STRIDE, factor * STRIDE * (SIDE // 2)
    band = fine - resize_image(coarse, height, width)
    rows, columns = (number * cell for number in features.shape[2:])
    band = F.pad(band, (margin, margin + columns - width, margin, margin + rows - height))
    return Examples(features, band, _places(mask, (features.shape[2], features.shape[3])).to(features.device))


def _places(mask: Mask | None, size: tuple[int, int]) -> Int[Tensor, " P"]:
    """Indices of the positions that a mask lets through, of (height, width) of them."""
    if mask is None:
        return torch.arange(size[0] * size[1])
    return mostly(resized_mask(mask, size).flatten()).nonzero()[:, 0].cpu()


def _features(encoder: Encoder, image: ImageTensor) -> Features:
    """At `LAYER`, of every place: (1, N, ceil(h / stride), ceil(w / stride)), each channel of mean 0 and variance 1."""
    height, width = image_size(image)
    whole = F.pad(image, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
    features = encode(encoder, whole, [LAYER], tile_px_of(image))[LAYER].float()
    mean, deviation = features.mean((2, 3), keepdim=True), features.std((2, 3), keepdim=True, correction=0)
    return (features - mean) / (deviation + SMALLEST)


def _painted(
    features: Features, examples: Sequence[Examples], shares: Sequence[float], cell: int
) -> Float[Tensor, "1 3 H W"]:
    """The detail of the nearest places, `cell` px for each position of `features`, neighbours blended."""
    moments = [all_moments(each.features) for each in examples]
    basis = fit_basis(moments, shares, Components(count=min(NUM_COMPONENTS, features.shape[1]))).components
    places = [_spread(each.places, share) for each, share in zip(examples, shares, strict=True)]
    patches = [_patches(each.features, basis)[:, place] for each, place in zip(examples, places, strict=True)]
    candidates = F.normalize(torch.cat(patches, 1), dim=0)
    pieces = torch.cat([_pieces(each, place, cell) for each, place in zip(examples, places, strict=True)])
    asked = _patches(features, basis)
    nearest = torch.cat([(candidates.mT @ chunk).argmax(0) for chunk in asked.split(CHUNK, dim=1)])

    side = SIDE * cell
    window = torch.hann_window(side + 2, dtype=torch.float32, device=features.device)[1:-1] ** SHARPNESS
    window = window[:, None] * window
    rows, columns = features.shape[2:]
    band = max(1, MAX_FOLDED // columns)
    bands = ((start, min(rows, start + band)) for start in range(0, rows, band))
    nearest = nearest.view(rows, columns)
    return torch.cat([_folded(pieces, window, nearest, rows_here, cell) for rows_here in bands], 2)


def _folded(
    pieces: Float[Tensor, "P 3 S S"],
    window: Float[Tensor, "S S"],
    nearest: Int[Tensor, "h w"],
    rows: tuple[int, int],
    cell: int,
) -> Float[Tensor, "1 3 H W"]:
    """A band of rows of `nearest`, painted with their pieces and those of the rows around that reach into it."""
    start, stop = max(0, rows[0] - SIDE // 2), min(len(nearest), rows[1] + SIDE // 2)
    numbers = nearest[start:stop].flatten()
    size = ((stop - start) * cell, nearest.shape[1] * cell)
    layout = {"kernel_size": SIDE * cell, "padding": cell * (SIDE // 2), "stride": cell}
    total = F.fold(window.flatten()[None, :, None].expand(1, -1, len(numbers)).contiguous(), size, **layout)
    painted = F.fold((pieces * window)[numbers].flatten(1).mT[None], size, **layout) / total
    return painted[:, :, (rows[0] - start) * cell : (rows[1] - start) * cell]


def _spread(places: Int[Tensor, " P"], share: float) -> Int[Tensor, " Q"]:
    """At most the share of `MAX_CANDIDATES` of them, evenly spread."""
    kept = min(len(places), max(1, round(share * MAX_CANDIDATES)))
    return places[torch.linspace(0, len(places) - 1, kept, dtype=torch.float64).round().long().to(places.device)]


def _patches(features: Features, basis: Float[Tensor, "N K"]) -> Float[Tensor, "D M"]:
    """Of every position with its neighbours, D = 9 K."""
    projected = project(features.flatten(2), basis).unflatten(2, features.shape[2:])
    around = (SIDE // 2,) * 4
    return F.unfold(F.pad(projected, around, mode="replicate"), SIDE)[0]


def _pieces(examples: Examples, places: Tensor, cell: int) -> Float[Tensor, "P 3 S S"]:
    """The band around each of the places, S = 3 cells."""
    side = SIDE * cell
    windows = examples.band[0].unfold(1, side, cell).unfold(2, side, cell)  # a view: (3, h, w, S, S)
    columns = windows.shape[2]
    return windows[:, places // columns, places % columns].transpose(0, 1)
