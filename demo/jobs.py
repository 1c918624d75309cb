"""One stylization as the page needs it: images from uploads, limits of a shared server, frames at a watchable pace."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from stylecore import (
    DivergenceError,
    Encoder,
    ImageError,
    ImageNote,
    OptionError,
    StylizeConfig,
    load_image,
    make_config,
    prepare_encoder,
    stylize_steps,
)
from stylecore.config import MIN_SIZE_PX
from stylecore.images import ImageTensor, fit_size, image_size
from stylecore.objective import Losses
from stylecore.stylize import initial_image

FRAME_INTERVAL_S = 0.4  # at least, between two frames: smooth to watch, light on the line
# One job blocks everybody else's, so the page allows less than the library.
LIMITS = {"size": (MIN_SIZE_PX, 1024), "num_steps": (1, 1000)}


class LossPoint(NamedTuple):
    """The weighted terms of the loss at one step."""

    step: int
    total: float
    content: float
    style: float


@dataclass(frozen=True)
class Frame:
    """A moment of a job: enough to show it, and to save it as a result if the job ends here."""

    name: str  # of the result, from the names of its pictures
    config: StylizeConfig
    image: ImageTensor  # (1, 3, H, W) in [0, 1], on the CPU
    step: int = 0  # evaluations made; 0: where the optimisation starts
    seconds: float = 0.0  # the engine's own time so far
    curve: tuple[LossPoint, ...] = ()  # every step's
    trouble: str = ""  # why the job ended early, for the user

    @property
    def seconds_left(self) -> float | None:
        """By the pace so far; None while there is none."""
        return self.seconds / self.step * (self.config.num_steps - self.step) if self.step else None


def read_picture(path: Path, role: str) -> tuple[ImageTensor, list[str]]:
    """A file as a tensor, and notes for the user; `role` says which of the pictures a note or error is about."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ImageNote)
        try:
            # The bytes, not the path: messages would name the server's folders.
            image = load_image(path.read_bytes())
        except ImageError as error:
            raise ImageError(f"The {role} cannot be used. {error}") from error
    return image, [f"About the {role}: {warning.message}" for warning in caught]


def read_config(preset: str, **options: Any) -> StylizeConfig:
    """The preset with options laid over it, as `make_config` does; None leaves a field to the preset.

    Raises:
        OptionError: a value of the wrong kind or out of range, here narrower than the library's.
    """
    config = make_config(preset, **options)
    for field, (low, high) in LIMITS.items():
        if not low <= getattr(config, field) <= high:
            raise OptionError(f"{field} must be between {low} and {high} on this page, not {getattr(config, field)}.")
    return config


def run_job(content: ImageTensor, style: ImageTensor, config: StylizeConfig, name: str) -> Iterator[Frame]:
    """Frames of a stylization, the first at once and the last always; close the generator to stop the job.

    Divergence ends the job with its last good image and `Frame.trouble`. Raises what `stylize_steps` raises.
    """
    size = fit_size(image_size(content), config.size)
    frame = Frame(name, config, initial_image(content, (style,), config, size))
    yield frame
    encoder = shared_encoder(config.encoder, config.pooling, config.device, config.dtype)
    waiting: list[Losses] = []
    shown = time.monotonic()
    try:
        for step in stylize_steps(content, style, config, encoder=encoder):
            waiting.append(step.losses)
            if step.index == step.total or time.monotonic() - shown >= FRAME_INTERVAL_S:
                curve = frame.curve + _loss_points(waiting, after=frame.step)
                frame = replace(frame, image=step.image.cpu(), step=step.index, seconds=step.seconds, curve=curve)
                waiting.clear()
                yield frame
                shown = time.monotonic()
    except DivergenceError as error:
        image = frame.image if error.last_good is None else error.last_good.cpu()
        yield replace(frame, image=image, trouble=str(error))


def _loss_points(losses: list[Losses], after: int) -> tuple[LossPoint, ...]:
    """Numbers of the steps that follow step `after`, fetched from the device at once: each fetch waits for it."""
    rows = torch.stack([torch.stack([each.total, each.content, each.style]) for each in losses]).tolist()
    return tuple(LossPoint(after + i, *row) for i, row in enumerate(rows, start=1))


@lru_cache(maxsize=2)
def shared_encoder(encoder: str, pooling: str, device: str, dtype: str) -> Encoder:
    """The encoder that every job of such a config uses: loaded once, read only."""
    fields = {"encoder": encoder, "pooling": pooling, "device": device, "dtype": dtype}
    return prepare_encoder(StylizeConfig.from_dict(fields))
