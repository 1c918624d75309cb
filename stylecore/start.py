"""Where the optimisation starts, and the pictures as each of its stages needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from stylecore.color import match_colors
from stylecore.config import StylizeConfig
from stylecore.devices import send, send_image
from stylecore.images import ImageTensor, resize_image
from stylecore.job import Job
from stylecore.regions import Mask, MaskedStyle, MaskImage, Region, StyledRegion, blended, kept_mask, styled_regions

CPU = torch.device("cpu")


@dataclass(frozen=True)
class JobImages:
    """A job's pictures, at sizes of their own, on one device but for the regions' and masks."""

    content: ImageTensor  # (1, 3, height, width)
    styles: tuple[ImageTensor, ...]
    regions: tuple[Region, ...] = ()
    style_masks: tuple[MaskImage | None, ...] = ()  # none at all, or one a style
    content_mask: MaskImage | None = None

    def masked(self, longer_side: int | None = None) -> list[MaskedStyle]:
        """The styles with their masks, of that longer side; None: as they are."""
        masks = self.style_masks or (None,) * len(self.styles)
        return [MaskedStyle.fitted(*pair, longer_side) for pair in zip(self.styles, masks, strict=True)]


@dataclass(frozen=True)
class StageImages:
    """A job's pictures at one size, on the device."""

    content: ImageTensor  # (1, 3, height, width)
    styles: tuple[ImageTensor, ...]  # all with the same longer side, which decides how large their strokes are
    regions: tuple[StyledRegion, ...]  # with their own styles resized as the others; none: all is one, without masks
    kept: Mask | None  # where the photo stays
    content_mask: Mask | None  # how much of the content counts where; None: all of it everywhere


def job_images(job: Job, device: torch.device = CPU) -> JobImages:
    """The pictures as they were given, the styles in the colours that the result shall have."""
    content = send_image(job.content, device)
    styles = tuple(send_image(style, device) for style in job.styles)
    if job.config.keep_colors == "match":
        styles = tuple(match_colors(style, content) for style in styles)
    return JobImages(content, styles, tuple(job.all_regions), job.style_masks, job.content_mask)


def stage_images(images: JobImages, config: StylizeConfig, size: tuple[int, int]) -> StageImages:
    """The pictures resized for a stage of (height, width) px: the styles so that their longer sides are what the config
    says, or longer where a thin one would leave the deepest layer without a position."""
    side, device = config.style_side(max(size)), images.content.device
    fitted, styled = images.masked(side), list[StyledRegion]()
    if images.regions or any(images.style_masks):
        styled = styled_regions(images.regions, size, fitted, config.style_shares(len(fitted)), side)
    kept = kept_mask(images.regions, size)
    content_mask = None if images.content_mask is None else images.content_mask.at(size)
    return StageImages(
        resize_image(images.content, *size),
        tuple(style.image for style in fitted),
        tuple(_on(region, device) for region in styled),
        *(None if mask is None else mask.to(device) for mask in (kept, content_mask)),
    )


def _on(region: StyledRegion, device: torch.device) -> StyledRegion:
    return replace(
        region,
        mask=None if region.mask is None else region.mask.to(device),
        styles=[style.to(device) for style in region.styles],
    )


def initial_image(images: JobImages, config: StylizeConfig, size: tuple[int, int]) -> ImageTensor:
    """Where `config.init` says the optimisation starts, (1, 3, height, width) on the content's device, each region with
    its own style."""
    content = resize_image(images.content, *size)
    if config.init == "content":
        return content
    if config.init == "noise":
        # Drawn on the CPU, so that a seed means the same image on every device.
        noise = torch.randn(content.shape, dtype=torch.float32, generator=torch.Generator().manual_seed(config.seed))
        return (0.5 + 0.25 * send(noise, content.device)).clamp(0, 1)
    side, shares = config.style_side(max(size)), config.style_shares(len(images.styles))
    parts = styled_regions(images.regions, size, images.masked(), shares, side)
    return blended(parts, lambda part: _in_colors_of(part, content))


def _in_colors_of(part: StyledRegion, content: ImageTensor) -> ImageTensor:
    weighted = [(style.colors, share) for style, share in zip(part.styles, part.shares, strict=True) if share]
    return match_colors(content, weighted[0][0] if len(weighted) == 1 else _mosaic(weighted))


def _mosaic(weighted: Sequence[tuple[ImageTensor, float]]) -> ImageTensor:
    """All styles' pixels in one row, each style with as many as its share asks for."""
    rows = [resize_image(style, 64, max(1, round(4096 * share))) for style, share in weighted]
    return torch.cat(rows, dim=3)
