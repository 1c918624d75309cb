"""Multiplications and bytes of one round of the loop, layer by layer, and the least time that a card takes for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stylecore.encoders import Encoder, Layer
from stylecore.loop import Rounds
from stylecore.objective import make_objective
from stylecore.optimizers import make_optimizer
from stylecore.presets import make_config

FEATURE_BYTES, PIXEL_BYTES = 2, 4  # bfloat16 features; the image and the optimiser's memory are float32
LAUNCH_S = 5e-6  # of one kernel by a host that does nothing else


@dataclass(frozen=True)
class Card:
    """What a card's maker says of it."""

    name: str  # as torch tells it, or its beginning
    flops: float  # a second, dense, bfloat16 with float32 sums
    bytes_per_second: float  # of its memory


CARDS = (
    Card("NVIDIA H100", 989e12, 3.35e12),
    Card("NVIDIA H200", 989e12, 4.8e12),
    Card("NVIDIA A100", 312e12, 2.04e12),
    Card("NVIDIA L4", 121e12, 0.3e12),
    Card("NVIDIA GeForce RTX 4060 Laptop GPU", 29e12, 0.256e12),
)


@dataclass(frozen=True)
class Work:
    """Of one part of a round, forward and backward: each value is read and written once where it has to be."""

    part: str
    multiplications: float
    bytes: float

    def seconds(self, card: Card) -> float:
        """At least: whichever of arithmetic and memory takes longer."""
        return max(2 * self.multiplications / card.flops, self.bytes / card.bytes_per_second)


def encoder_work(encoder: Encoder, side_px: int) -> Iterator[Work]:
    """Of each convolution with its ReLU, and of the pooling after each block, for a square image.

    Backward there is a gradient for the image alone: as many multiplications as forward.
    """
    convs = [Layer.parse(name) for name in encoder.convs]
    for layer in convs:
        positions = (side_px // layer.stride) ** 2
        for number, conv in enumerate(_convolutions(encoder.convs[str(layer)])):
            narrow, wide = conv.in_channels, conv.out_channels
            weights = conv.weight.numel()
            read, written = positions * narrow, positions * wide
            # Forward: input, weights, result. Backward: the result for ReLU's sign, its gradient, weights, the input's.
            moved = (2 * read + 3 * written + 2 * weights) * FEATURE_BYTES
            yield Work(f"{layer}{' (second)' if number else ''}", 2 * positions * weights, moved)
        if layer != convs[-1] and encoder.architecture.convs[convs.index(layer) + 1].block > layer.block:
            # Forward a read and a quarter written; backward as much, and the input once more for who was the largest.
            yield Work(f"pooling {layer.block}", 0, positions * layer.num_channels * 3.5 * FEATURE_BYTES)


def _convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [each for each in module.modules() if isinstance(each, nn.Conv2d)]


def gram_work(layers: list[str], side_px: int) -> Iterator[Work]:
    """F F^T of each style layer, and G F backward."""
    for name in layers:
        layer = Layer.parse(name)
        positions, channels = (side_px // layer.stride) ** 2, layer.num_channels
        moved = 3 * positions * channels * FEATURE_BYTES  # the features twice, their gradient once
        yield Work(f"Gram {name}", 2 * positions * channels**2, moved)


def optimizer_work(side_px: int, num_pairs: int) -> Work:
    """L-BFGS: its memory of two vectors a pair is read twice; twenty passes over the image beside."""
    values = 3 * side_px**2
    return Work("optimiser", 4 * num_pairs * values, (4 * num_pairs + 20) * values * PIXEL_BYTES)


def round_work(encoder: Encoder, side_px: int, preset: str = "standard") -> list[Work]:
    """One round of a preset's last stage, its optimiser's memory full."""
    config = make_config(preset)
    pairs = min(config.history_size, config.num_steps) - 1
    grams = gram_work(list(config.style_layers), side_px)
    return [*encoder_work(encoder, side_px), *grams, optimizer_work(side_px, pairs)]


def least_seconds(work: list[Work], card: Card) -> float:
    """Of parts one after the other."""
    return sum(part.seconds(card) for part in work)


class _Launches(TorchDispatchMode):
    """Counts operations that compute: a launch each on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returns = function._schema.returns
        is_view = bool(returns) and all(each.alias_info and not each.alias_info.is_write for each in returns)
        makes_nothing = function._schema.name in ("aten::empty", "aten::empty_like", "aten::empty_strided")
        made = function(*args, **(kwargs or {}))
        on_device = any(isinstance(value, Tensor) and value.is_meta for value in tree_leaves(made))
        self.number += on_device and not is_view and not makes_nothing
        return made


def count_launches(encoder: Encoder, side_px: int, preset: str = "standard") -> int:
    """Kernels that the eager loop launches in one round, counted on torch's `meta` device: without a GPU.

    Args:
        encoder: on `meta`.
    """
    config = make_config(preset, size=side_px)
    image = torch.empty(1, 3, side_px, side_px, device="meta")
    objective = make_objective(encoder, image, [image], config)
    rounds = Rounds(objective, image, lambda: make_optimizer(config, config.num_steps))
    for _ in range(2):  # L-BFGS begins to remember
        rounds.make_one()
    with _Launches() as launches:
        rounds.make_one()
    return launches.number
