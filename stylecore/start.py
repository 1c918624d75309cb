"""Where the optimisation starts, and the pictures as each of its stages needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from stylecore.color import match_colors
from stylecore.config import StylizeConfig
from stylecore.devices import send, send_image
from stylecore.images import ImageTensor, fit_image, resize_image
from stylecore.job import Job
from stylecore.metrics import LEAST_SIDE_PX

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Images:
    """A job's pictures, at sizes of their own or at a stage's, on one device."""

    content: ImageTensor  # (1, 3, height, width)
    styles: tuple[ImageTensor, ...]


def job_images(job: Job, device: torch.device = CPU) -> Images:
    """The pictures as they were given, the styles in the colours that the result shall have."""
    content = send_image(job.content, device)
    styles = tuple(send_image(style, device) for style in job.styles)
    if job.config.keep_colors == "match":
        styles = tuple(match_colors(style, content) for style in styles)
    return Images(content, styles)


def stage_images(images: Images, size: tuple[int, int]) -> Images:
    """The pictures resized for a stage of (height, width) px: the styles so that their longer sides are the stage's, or
    longer where a thin one would leave the deepest layer without a position."""
    fitted = tuple(fit_image(style, max(size), LEAST_SIDE_PX) for style in images.styles)
    return Images(resize_image(images.content, *size), fitted)


def initial_image(images: Images, config: StylizeConfig, size: tuple[int, int]) -> ImageTensor:
    """Where `config.init` says the optimisation starts, (1, 3, height, width) on the images' device."""
    content = resize_image(images.content, *size)
    if config.init == "content":
        return content
    if config.init == "noise":
        # Drawn on the CPU, so that a seed means the same image on every device.
        noise = torch.randn(content.shape, dtype=torch.float32, generator=torch.Generator().manual_seed(config.seed))
        return (0.5 + 0.25 * send(noise, content.device)).clamp(0, 1)
    shares = config.style_shares(len(images.styles))
    weighted = [pair for pair in zip(images.styles, shares, strict=True) if pair[1]]
    return match_colors(content, weighted[0][0] if len(weighted) == 1 else _mosaic(weighted))


def _mosaic(weighted: Sequence[tuple[ImageTensor, float]]) -> ImageTensor:
    """All styles' pixels in one row, each style with as many as its share asks for."""
    rows = [resize_image(style, 64, max(1, round(4096 * share))) for style, share in weighted]
    return torch.cat(rows, dim=3)
