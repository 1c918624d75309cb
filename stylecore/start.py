"""Where the optimisation starts, and the pictures as each of its stages needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from stylecore.color import match_colors
from stylecore.config import StylizeConfig
from stylecore.images import ImageTensor, fit_image, resize_image
from stylecore.job import Job
from stylecore.metrics import LEAST_SIDE_PX
from stylecore.regions import Mask, Region, StyledRegion, kept_mask, styled_regions


@dataclass(frozen=True)
class StageImages:
    """A job's pictures at one size, on the device."""

    content: ImageTensor  # (1, 3, height, width)
    regions: tuple[StyledRegion, ...]  # with their own styles resized as the others; none: the image is one
    kept: Mask | None  # where the photo stays
    styles: tuple[ImageTensor, ...]  # all with the same longer side, which decides how large their strokes are


def wanted_styles(job: Job) -> tuple[ImageTensor, ...]:
    """The styles in the colours that the result shall have."""
    if job.config.keep_colors != "match":
        return job.styles
    return tuple(match_colors(style, job.content) for style in job.styles)


def stage_images(
    content: ImageTensor,
    styles: Sequence[ImageTensor],
    config: StylizeConfig,
    size: tuple[int, int],
    device: torch.device,
    regions: Sequence[Region] = (),
) -> StageImages:
    """The pictures resized for a stage of (height, width) px: the styles so that their longer sides are what the config
    says, or longer where a thin one would leave the deepest layer without a position."""
    side = config.style_side(max(size))
    fitted = [fit_image(style, side, LEAST_SIDE_PX) for style in styles]
    own = [_with_style(region, side) for region in regions]
    styled = styled_regions(own, size, fitted, config.style_shares(len(fitted))) if regions else []
    kept = kept_mask(regions, size)
    return StageImages(
        resize_image(content, *size).to(device),
        tuple(_on(region, device) for region in styled),
        None if kept is None else kept.to(device),
        tuple(style.to(device) for style in fitted),
    )


def _with_style(region: Region, side: int) -> Region:
    return region if region.style is None else replace(region, style=fit_image(region.style, side, LEAST_SIDE_PX))


def _on(region: StyledRegion, device: torch.device) -> StyledRegion:
    return replace(
        region,
        mask=None if region.mask is None else region.mask.to(device),
        styles=[style.to(device) for style in region.styles],
    )


def initial_image(
    content: ImageTensor,
    styles: Sequence[ImageTensor],
    config: StylizeConfig,
    size: tuple[int, int],
    shares: Sequence[float] | None = None,
) -> ImageTensor:
    """Where `config.init` says the optimisation starts, (1, 3, height, width) on the CPU."""
    content = resize_image(content, *size)
    if config.init == "content":
        return content
    if config.init == "noise":
        # Drawn on the CPU, so that a seed means the same image on every device.
        noise = torch.randn(content.shape, dtype=torch.float32, generator=torch.Generator().manual_seed(config.seed))
        return (0.5 + 0.25 * noise).clamp(0, 1)
    weighted = [pair for pair in zip(styles, shares or config.style_shares(len(styles)), strict=True) if pair[1]]
    return match_colors(content, weighted[0][0] if len(weighted) == 1 else _mosaic(weighted))


def _mosaic(weighted: Sequence[tuple[ImageTensor, float]]) -> ImageTensor:
    """All styles' pixels in one row, each style with as many as its share asks for."""
    rows = [resize_image(style, 64, max(1, round(4096 * share))) for style, share in weighted]
    return torch.cat([row.cpu() for row in rows], dim=3)
