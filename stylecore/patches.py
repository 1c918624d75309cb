"""A second yardstick, which favours no style loss: how far patches are from the nearest patch of the other picture.

In both directions (bidirectional similarity, Simakov et al. 2008): a result may hold what the style has not, and lack
what the style has. Patches are squares of pixels and, at the witness layers, what one position of the bundled VGG-16
sees. It takes as long as a few evaluations, and is for where losses are compared; `metrics` judges every result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from stylecore.encoders import Layer
from stylecore.images import (
    ImageSource,
    ImageTensor,
    fit_size,
    resize_image,
)
from stylecore.isolation import isolated
from stylecore.job import Job
from stylecore.metrics import WITNESS_LAYERS, as_saved, load_weighted, yardstick_features
from stylecore.regions import Mask, MaskedStyle, MaskImage, Region, StyledRegion, mostly, styled_regions

SIDE_PX = 8  # of a square of pixels: a stroke's width at 256 px
MAX_PATCHES = 2048  # of a picture, in a regular grid
MAX_SIDE_PX = 1024  # larger pictures are compared at this size
CHUNK = 1024  # patches compared with all others at a time

Patches = Float[Tensor, "_ _"]  # D x P: a column each; the spaces differ in D


@dataclass(frozen=True)
class PatchDistances:
    """Relative distances, 0 for equal, 1 for patches that are all the mean of the style's."""

    to_style: float  # of the result's patches from the style's nearest: what is foreign to the style
    from_style: float  # of the style's patches from the result's nearest: what is missing of it

    @property
    def mean(self) -> float:
        """Of both."""
        return (self.to_style + self.from_style) / 2


class PatchYardstick:
    """Measures images of one size against their styles.

    Args:
        styles: one picture or several, as `load_image` takes it, resized here so that the longer side is the result's.
        size: (height, width) in px of the images to be measured.
        style_weights: of several styles, any positive scale; None: all alike.
        device: where to measure.
        regions: of the photo; the distances are then the mean of the regions' by area.
        style_masks: what counts of each style; none: all of all.

    Raises:
        ImageError, OptionError: as `metrics.Yardstick` does.
    """

    @isolated()
    def __init__(
        self,
        styles: ImageSource | Iterable[ImageSource],
        size: tuple[int, int],
        style_weights: Sequence[float] | None = None,
        device: torch.device | None = None,
        regions: Sequence[Region] = (),
        style_masks: Sequence[MaskImage | None] = (),
    ) -> None:
        self.device, self.size = device or torch.device("cpu"), size
        self.compared_size = compared = fit_size(size, min(max(size), MAX_SIDE_PX))
        own, shares = load_weighted(styles, style_weights, compared, style_masks)
        self.parts = styled_regions(regions, compared, own, shares, max(compared))
        self.known = [[self._of_style(style) for style in part.styles] for part in self.parts]

    @isolated()
    def measure(self, image: ImageSource) -> PatchDistances:
        """Distances of `image` as it would be saved, in 8 bits. Raises an ImageError for another size."""
        small = resize_image(as_saved(image, self.size), *self.compared_size)
        total = sum(part.area for part in self.parts)
        to_style = from_style = 0.0
        for part, known in zip(self.parts, self.known, strict=True):
            there, back = _compared(self._spaces(small, part), known, part.shares)
            to_style += part.area / total * there
            from_style += part.area / total * back
        return PatchDistances(to_style, from_style)

    def _of_style(self, style: MaskedStyle) -> list[Patches]:
        """What counts of it."""
        return self._spaces(style.image, StyledRegion(style.mask, [], []))

    def _spaces(self, image: ImageTensor, part: StyledRegion) -> list[Patches]:
        """The patches of an image, or of a part of it, in pixels and at each witness layer."""
        image = image.to(self.device, torch.float32)
        features = yardstick_features(image, WITNESS_LAYERS)
        found = [_squares(image, part.mask)]
        for layer in WITNESS_LAYERS:
            found.append(_positions(features[layer], part.mask_at(Layer.parse(layer).stride)))
        return found


def job_patch_yardstick(job: Job, device: torch.device | None = None) -> PatchYardstick:
    """What measures a job's results."""
    return PatchYardstick(job.styles, job.size, job.config.style_weights, device, job.all_regions, job.style_masks)


def _squares(image: ImageTensor, mask: Mask | None) -> Patches:
    stride = _grid_step(image.shape[2] - SIDE_PX + 1, image.shape[3] - SIDE_PX + 1)
    patches = F.unfold(image, SIDE_PX, stride=stride)[0]
    return patches if mask is None else patches[:, mostly(F.unfold(mask.to(image), SIDE_PX, stride=stride)[0].mean(0))]


def _positions(features: Float[Tensor, "1 N H W"], mask: Mask | None) -> Patches:
    step = _grid_step(features.shape[2], features.shape[3])
    patches = features[0, :, ::step, ::step].flatten(1)
    return patches if mask is None else patches[:, mostly(mask.to(features)[0, 0, ::step, ::step].flatten())]


def _grid_step(height: int, width: int) -> int:
    """The least that leaves no more than `MAX_PATCHES` places."""
    step = max(1, math.isqrt(height * width // MAX_PATCHES))
    while -(-height // step) * -(-width // step) > MAX_PATCHES:
        step += 1
    return step


def _compared(
    found: Sequence[Patches], known: Sequence[Sequence[Patches]], shares: Sequence[float]
) -> tuple[float, float]:
    """Means over the spaces of the distances there and back; several styles are one collection on the way there."""
    there, back = [], []
    for result, *styles in zip(found, *known, strict=True):
        chosen = [(style, share) for style, share in zip(styles, shares, strict=True) if share]
        together = torch.cat([style for style, _ in chosen], 1)
        spread = float((together - together.mean(1, keepdim=True)).square().sum(0).mean().sqrt())
        spread = max(spread, torch.finfo(torch.float32).tiny)
        there.append(_distance(result, together) / spread)
        back.append(sum(share * _distance(style, result) for style, share in chosen) / spread)
    return fmean(there), fmean(back)


def _distance(patches: Patches, others: Patches) -> float:
    """Root mean square distance of each patch from the nearest of the others."""
    # The nearest by |b|^2 - 2 a.b; its distance from the difference, which is 0 for equal patches.
    squares = others.square().sum(0)
    total = 0.0
    for chunk in patches.split(CHUNK, 1):
        nearest = (squares - 2 * chunk.mT @ others).argmin(1)
        total += float((chunk - others[:, nearest]).square().sum())
    return math.sqrt(total / patches.shape[1])
