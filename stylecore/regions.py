"""Regions: parts of the photo with a style of their own, or none (Gatys et al. 2017, "Controlling Perceptual Factors in
Neural Style Transfer", section 4: guided sums).

A region's statistics are those of the positions that its mask, pooled to each layer, lets through, over their number.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from stylecore.errors import ImageError, OptionError
from stylecore.images import ImageNote, ImageSource, ImageTensor, check_aspect, image_size, load_image

Mask = Float[Tensor, "1 1 _ _"]  # in [0, 1]: 0 outside the region, 1 inside
DEEPEST_STRIDE = 16  # of relu5_1
SMALLEST_AREA = 1e-4  # of an image: less is no region


@dataclass(frozen=True)
class Region:
    """A part of the photo.

    Raises:
        ImageError: when made, where mask or style is no picture, or the mask is black everywhere.
        OptionError: when made, where the weight is negative.
    """

    mask: ImageTensor  # of whatever `load_image` takes; its greys are how much of the region a pixel is
    style: ImageTensor | None = None  # None: the job's own styles
    weight: float = 1.0  # times the job's style weight; 0 keeps the photo there
    names: tuple[object, object] = (None, None)  # what mask and style were loaded from

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise OptionError(f"A region's weight must be 0 or more, not {self.weight:g}.")
        object.__setattr__(self, "mask", load_image(self.mask))
        if self.style is not None:
            object.__setattr__(self, "style", load_image(self.style))
        if float(self.mask.amax()) < 1 / 255:
            raise ImageError(f"{self._mask_name} is black everywhere: paint the region white.")

    @classmethod
    def load(cls, mask: ImageSource, style: ImageSource | None = None, weight: float = 1.0) -> Region:
        """Of what `load_image` takes; it remembers the paths."""
        return cls(load_image(mask), None if style is None else load_image(style), weight, (mask, style))

    def check(self, size: tuple[int, int]) -> None:
        """Raise an ImageError unless the mask fits a photo of `size`; note that it will be resized."""
        found = image_size(self.mask)
        check_aspect(found, size, self._mask_name)
        if found != size:
            warnings.warn(
                f"{self._mask_name} of {found[1]}x{found[0]} px is resized to the photo's.", ImageNote, stacklevel=2
            )

    @property
    def _mask_name(self) -> str:
        name = self.names[0]
        return f"The mask '{name}'" if isinstance(name, str | os.PathLike) else "The mask"


@dataclass(frozen=True)
class StyledRegion:
    """A region at one size, and what it is to look like."""

    mask: Mask | None  # None: all of it
    styles: Sequence[ImageTensor]
    shares: Sequence[float]  # of the styles, summing to 1
    weight: float

    @property
    def area(self) -> float:
        """Of the image, in [0, 1]."""
        return 1.0 if self.mask is None else float(self.mask.mean())

    @property
    def is_seen(self) -> bool:
        """Whether the deepest layer has positions in it, beside which nothing can be compared."""
        deepest = self.mask_at(DEEPEST_STRIDE)
        return deepest is None or float(deepest.sum()) / deepest.numel() > SMALLEST_AREA

    def mask_at(self, stride: int) -> Mask | None:
        """At a layer's positions: how much of what each stands for is in the region."""
        return self.mask if self.mask is None or stride == 1 else F.avg_pool2d(self.mask, stride)


def masks_at(regions: Sequence[Region], size: tuple[int, int]) -> tuple[list[Mask], Mask]:
    """Each region's mask at (height, width) px, and that of what no region has. Where regions overlap, they share."""
    masks = [resized_mask(region.mask.mean(1, keepdim=True), size) for region in regions]
    total = torch.stack(masks).sum(0)
    return [mask / total.clamp_min(1) for mask in masks], (1 - total).clamp_min(0)


def resized_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """At (height, width) px."""
    return F.interpolate(mask, size, mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)


def styled_regions(
    regions: Sequence[Region],
    size: tuple[int, int],
    styles: Sequence[ImageTensor],
    shares: Sequence[float],
) -> list[StyledRegion]:
    """All that is painted, at (height, width) px: the regions of positive weight, and the rest with the job's own
    styles. Their own styles are as they were given."""
    if not regions:
        return [StyledRegion(None, styles, shares, 1.0)]
    masks, rest = masks_at(regions, size)
    own = (styles, shares)
    found = [
        StyledRegion(mask, *(own if region.style is None else ([region.style], [1.0])), region.weight)
        for region, mask in zip(regions, masks, strict=True)
        if region.weight
    ]
    return [each for each in (*found, StyledRegion(rest, *own, 1.0)) if each.is_seen]


def blended(parts: Sequence[StyledRegion], paint: Callable[[StyledRegion], ImageTensor]) -> ImageTensor:
    """What `paint` makes of each part, by the parts' masks."""
    if len(parts) == 1:
        return paint(parts[0])
    images = [paint(part) for part in parts]
    masks = torch.stack([part.mask.to(images[0]) for part in parts if part.mask is not None])
    shares = (masks + SMALLEST_AREA) / (masks + SMALLEST_AREA).sum(0)
    return (shares * torch.stack(images)).sum(0)


def kept_mask(regions: Sequence[Region], size: tuple[int, int]) -> Mask | None:
    """Where the photo stays, at (height, width) px; None: nowhere."""
    if not regions:
        return None
    kept = [mask for region, mask in zip(regions, masks_at(regions, size)[0], strict=True) if not region.weight]
    return torch.stack(kept).sum(0).clamp(0, 1) if kept else None
