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
from jaxtyping import Bool, Float
from torch import Tensor

from stylecore.errors import ImageError, OptionError
from stylecore.images import ImageNote, ImageSource, ImageTensor, check_aspect, fit_image, image_size, load_image

Mask = Float[Tensor, "1 1 _ _"]  # in [0, 1]: 0 outside the region, 1 inside
DEEPEST_STRIDE = 16  # of relu5_1
SMALLEST_AREA = 1e-4  # of an image: less is no region


@dataclass(frozen=True)
class MaskImage:
    """A picture whose greys say how much of each place is meant: white all of it, black nothing.

    Raises:
        ImageError: when made, where it is black everywhere.
    """

    image: ImageTensor
    name: object = None  # what it was loaded from

    def __post_init__(self) -> None:
        if float(self.image.amax()) < 1 / 255:
            raise ImageError(f"{self._words} is black everywhere: paint white what is meant.")

    @classmethod
    def load(cls, source: ImageSource) -> MaskImage:
        """Of what `load_image` takes; it remembers the path. Raises an ImageError where it is no picture."""
        return cls(load_image(source), source)

    def check(self, size: tuple[int, int], whose: str) -> None:
        """Raise an ImageError unless it fits a picture of `size`; note that it will be resized to `whose`."""
        found = image_size(self.image)
        check_aspect(found, size, self._words, whose)
        if found != size:
            warnings.warn(
                f"{self._words} of {found[1]}x{found[0]} px is resized to {whose} size.", ImageNote, stacklevel=2
            )

    def at(self, size: tuple[int, int]) -> Mask:
        """At (height, width) px."""
        return resized_mask(self.image.mean(1, keepdim=True), size)

    @property
    def _words(self) -> str:
        return f"The mask '{self.name}'" if isinstance(self.name, str | os.PathLike) else "The mask"


@dataclass(frozen=True)
class Region:
    """A part of the photo.

    Raises:
        OptionError: when made, where the weight is negative, or a style mask has no style.
    """

    mask: MaskImage
    style: ImageTensor | None = None  # None: the job's own styles
    weight: float = 1.0  # times the job's style weight; 0 keeps the photo there
    style_mask: MaskImage | None = None  # of the style: what counts of it
    style_name: object = None  # what the style was loaded from

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise OptionError(f"A region's weight must be 0 or more, not {self.weight:g}.")
        if self.style_mask is not None and self.style is None:
            raise OptionError("A region without a style of its own has no style mask: leave it out.")

    @classmethod
    def load(
        cls,
        mask: ImageSource,
        style: ImageSource | None = None,
        weight: float = 1.0,
        style_mask: ImageSource | None = None,
    ) -> Region:
        """Of what `load_image` takes; it remembers the paths. Raises an ImageError where one is no picture."""
        own = None if style is None else load_image(style)
        return cls(MaskImage.load(mask), own, weight, None if style_mask is None else MaskImage.load(style_mask), style)

    def check(self, size: tuple[int, int]) -> None:
        """Raise an ImageError unless the masks fit a photo of `size`, and the style; note that they will be resized."""
        self.mask.check(size, "the photo's")
        if self.style is not None and self.style_mask is not None:
            self.style_mask.check(image_size(self.style), "the style's")

    @property
    def names(self) -> list[object]:
        """What its pictures were loaded from."""
        return [self.mask.name, self.style_name, *([] if self.style_mask is None else [self.style_mask.name])]


@dataclass(frozen=True)
class MaskedStyle:
    """A style at one size, and how much of each place counts."""

    image: ImageTensor
    mask: Mask | None = None  # of the image's size; None: all of it

    @classmethod
    def fitted(cls, style: ImageTensor, mask: MaskImage | None, longer_side: int | None = None) -> MaskedStyle:
        """Both so that the longer side is that long, or longer where a thin one would leave the deepest layer without
        a position; None: as long as it is. A mask that this layer would not see lets all through."""
        image = style if longer_side is None else fit_image(style, longer_side, DEEPEST_STRIDE)
        resized = None if mask is None else mask.at(image_size(image))
        return cls(image, resized if is_seen(resized) else None)

    @property
    def colors(self) -> ImageTensor:
        """The pixels that count, as a picture of one row."""
        if self.mask is None:
            return self.image
        found = self.image[0, :, mostly(self.mask[0, 0])]
        return found[None, :, None]

    def to(self, device: torch.device) -> MaskedStyle:
        """The same on a device."""
        return MaskedStyle(self.image.to(device), None if self.mask is None else self.mask.to(device))


@dataclass(frozen=True)
class StyledRegion:
    """A region at one size, and what it is to look like."""

    mask: Mask | None  # None: all of it
    styles: Sequence[MaskedStyle]
    shares: Sequence[float]  # of the styles, summing to 1
    weight: float = 1.0
    number: int = 0  # of the job's regions, from 1; 0: what they leave

    @property
    def area(self) -> float:
        """Of the image, in [0, 1]."""
        return 1.0 if self.mask is None else float(self.mask.mean())

    def mask_at(self, stride: int) -> Mask | None:
        """At a layer's positions: how much of what each stands for is in the region."""
        return pooled(self.mask, stride)


def mostly(mask: Float[Tensor, "*places"]) -> Bool[Tensor, "*places"]:
    """Where a mask lets at least half through; of one that is thin everywhere, where it lets most."""
    return mask >= min(0.5, float(mask.amax()))


def pooled(mask: Mask | None, stride: int) -> Mask | None:
    """A mask at the positions of a layer."""
    return mask if mask is None or stride == 1 else F.avg_pool2d(mask, stride)


def is_seen(mask: Mask | None) -> bool:
    """Whether the deepest layer has positions in it, beside which nothing can be compared."""
    deepest = pooled(mask, DEEPEST_STRIDE)
    return deepest is None or float(deepest.sum()) / deepest.numel() > SMALLEST_AREA


def masks_at(regions: Sequence[Region], size: tuple[int, int]) -> tuple[list[Mask], Mask]:
    """Each region's mask at (height, width) px, and that of what no region has. Where regions overlap, they share."""
    masks = [region.mask.at(size) for region in regions]
    total = torch.stack(masks).sum(0)
    return [mask / total.clamp_min(1) for mask in masks], (1 - total).clamp_min(0)


def resized_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """At (height, width) px."""
    return F.interpolate(mask, size, mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)


def styled_regions(
    regions: Sequence[Region],
    size: tuple[int, int],
    styles: Sequence[MaskedStyle],
    shares: Sequence[float],
    style_side: int,
) -> list[StyledRegion]:
    """All that is painted, at (height, width) px: the regions of positive weight, and the rest with the job's own
    styles. The regions' own are brought to a longer side of `style_side` px."""
    if not regions:
        return [StyledRegion(None, styles, shares)]
    masks, rest = masks_at(regions, size)

    def styled(number: int, region: Region, mask: Mask) -> StyledRegion:
        if region.style is None:
            return StyledRegion(mask, styles, shares, region.weight, number)
        own = MaskedStyle.fitted(region.style, region.style_mask, style_side)
        return StyledRegion(mask, [own], [1.0], region.weight, number)

    numbered = enumerate(zip(regions, masks, strict=True), 1)
    found = [styled(number, region, mask) for number, (region, mask) in numbered if region.weight and is_seen(mask)]
    return [*found, StyledRegion(rest, styles, shares)] if is_seen(rest) else found


def is_all_kept(regions: Sequence[Region], size: tuple[int, int]) -> bool:
    """Whether nothing is left to be painted, at (height, width) px."""
    if not regions:
        return False
    masks, rest = masks_at(regions, size)
    painted = [mask for region, mask in zip(regions, masks, strict=True) if region.weight]
    return not any(map(is_seen, [*painted, rest]))


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
