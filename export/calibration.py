"""What an `Int8Encoder` has to know beforehand: how far features and gradients reach, on fitting pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice

from torch import Tensor, nn

from stylecore.config import StylizeConfig
from stylecore.encoders import Encoder
from stylecore.images import LEVELS
from stylecore.objective import make_objective
from stylecore.sample_images import FITTING, FITTING_STYLES, load_photo, load_style
from stylecore.start import JobImages, initial_image, stage_images

from .convolutions import Int8Encoder, convolutions, weight_steps
from .progress import Track, untracked
from .quantize import channel_statistics, fitting_images

EVERY = 3  # so many of the fitting images tell the ranges: all of them reach hardly farther
PAIRS, PAIR_PX = 4, 128  # of photo and style, whose gradients are looked at where the optimisation starts


def calibrated(encoder: Encoder, config: StylizeConfig, track: Track = untracked) -> Int8Encoder:
    """The encoder in eight bits for such a recipe."""
    images = track(fitting_images()[::EVERY], "Measuring features")
    largest = channel_statistics(encoder, images, lambda values: values.amax(1))
    return Int8Encoder(
        encoder, {name: float(rows.max()) for name, rows in largest.items()}, _gains(encoder, config, track)
    )


def _gains(encoder: Encoder, config: StylizeConfig, track: Track) -> dict[str, float]:
    """The largest ratio of magnitudes behind and before each convolution's adjoint."""
    gains = {name: 0.0 for name, _ in convolutions(encoder)}
    with _watched(encoder, gains):
        pairs = list(islice(zip(FITTING, cycle(FITTING_STYLES), strict=False), PAIRS))
        for photo, style in track(pairs, "Measuring gradients"):
            size = (PAIR_PX, PAIR_PX)
            pictures = JobImages(load_photo(photo), (load_style(style),))
            images = stage_images(pictures, config, size)
            objective = make_objective(encoder, images.content, images.styles, config)
            objective.evaluate(initial_image(pictures, config, size) * LEVELS)
    return gains


@contextmanager
def _watched(encoder: Encoder, gains: dict[str, float]) -> Iterator[None]:
    """Every gradient that passes a convolution is looked at."""
    scaled: dict[str, Tensor] = {}

    def watch(name: str, conv: nn.Conv2d, given: Tensor, output: Tensor) -> None:
        if not output.requires_grad:  # a target
            return
        steps = weight_steps(conv.weight).view(-1, 1, 1)
        output.register_hook(lambda gradient: scaled.update({name: gradient * steps}))
        given.register_hook(lambda gradient: note(name, gradient))

    def note(name: str, behind: Tensor) -> None:
        reach = scaled[name].max() - scaled[name].min()
        gains[name] = max(gains[name], float(2 * behind.abs().max() / reach.clamp_min(1e-30)))

    handles = []
    for name, conv in convolutions(encoder):
        # A view of its own: what else the gradient of the same features is made of is not the convolution's.
        handles.append(conv.register_forward_pre_hook(lambda _, given: (given[0].view_as(given[0]),)))
        handles.append(
            conv.register_forward_hook(lambda conv, given, output, name=name: watch(name, conv, given[0], output))
        )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
