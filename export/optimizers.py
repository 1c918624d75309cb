"""The library's optimisers inside a traced step: their memory goes in as inputs and comes out as outputs, by name.

What they compute stays the library's code. Only operations that onnxruntime lacks or is slow at are replaced.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from stylecore.config import StylizeConfig
from stylecore.errors import OptionError
from stylecore.optimizers import Adam, History, Optimizer, ProjectedLBFGS, is_usable

Image = Float[Tensor, "1 3 H W"]  # in 8-bit levels, 0..255, and whatever has its shape: gradients, differences
Side = Any  # an int; while a graph is traced, torch's symbol for one
State = Mapping[str, Tensor]  # by input name: tensors like `Image`, and scalars ()


@dataclass(frozen=True)
class StateSlot:
    """Where one input of a step gets its value from."""

    next: str  # at the next step: the name of an output, or of another input, whose value then moves on without a copy
    start: Literal["image", "zeros"] = "zeros"  # at the first step


class StepOptimizer(Optimizer):
    """An optimiser of the library whose memory is set before a step and read after it, by name."""

    slots: dict[str, StateSlot]  # every input that changes from step to step
    scalars: tuple[str, ...]  # prefixes of the names of those that are numbers and not of the image's shape

    def start(self, image: Image) -> dict[str, Tensor]:
        """The state before the first step, the image included."""
        return {name: self._first_value(name, slot, image) for name, slot in self.slots.items()}

    def _first_value(self, name: str, slot: StateSlot, image: Image) -> Float[Tensor, "*shape"]:
        if slot.start == "image":
            return image.clone()  # or the exporter would take two inputs of one tensor for one
        return image.new_zeros(()) if name.startswith(self.scalars) else torch.zeros_like(image)

    @property
    def output_names(self) -> list[str]:
        """The values of the next state that a step computes; the others are inputs that move on."""
        return [slot.next for slot in self.slots.values() if slot.next not in self.slots]

    def advance(self, state: State, gradient: Image, loss: Float[Tensor, ""]) -> dict[str, Tensor]:
        """One step of the library's `step` from `state`: the values of `output_names`, by name."""
        self._load(state)
        return {"next_image": self.step(state["image"], gradient, loss)} | self._memory()

    @abstractmethod
    def _load(self, state: State) -> None:
        """Set the memory to `state`, whatever was there before."""

    @abstractmethod
    def _memory(self) -> dict[str, Tensor]:
        """The memory after a step that was not there before it, by output name."""


class AdamStep(StepOptimizer, Adam):
    """`Adam`: running means of the gradient and of its square, and a count."""

    EPSILON = 1.000001e-8  # torch's exporter takes what is within 1e-8 of 0 for 0, and drops adding it
    scalars = ("num_steps",)

    def __init__(self, learning_rate: float) -> None:
        super().__init__(learning_rate)
        self.slots = {"image": StateSlot("next_image", "image")}
        self.slots |= {name: StateSlot(f"next_{name}") for name in ("running_mean", "running_square", "num_steps")}

    def _load(self, state: State) -> None:
        # The library's step changes its memory in place, and inputs stay as they are.
        made, mean, square = (state[name].clone() for name in ("num_steps", "running_mean", "running_square"))
        self.state = made, mean, square

    def _memory(self) -> dict[str, Tensor]:
        assert self.state is not None
        return dict(zip(("next_num_steps", "next_running_mean", "next_running_square"), self.state, strict=True))


class PairHistory(History):
    """Pairs by themselves, from the oldest to the newest, and H by the two loops over them (Nocedal and Wright 2006,
    algorithm 7.4): ONNX has no triangular systems."""

    def __init__(self, x: Image, g: Image, scale: Tensor, pairs: Sequence[tuple[Image, Image, Tensor]]) -> None:
        self.x, self.g, self.scale, self.pairs = x, g, scale, list(pairs)

    def advance(self, x: Image, g: Image) -> tuple[Image, Image]:
        s, y = x - self.x, g - self.g
        self.x, self.g = x, g
        return s, y

    def remember(self, s: Image, y: Image, py: Image) -> None:
        """As s, y and rho, 1 / s.y or 0."""
        curvature = _dot(s, y)
        usable = is_usable(curvature, _dot(s, s), _dot(y, y))
        self.scale = torch.where(usable, curvature / _dot(y, py), self.scale)
        self.pairs.append((s, y, torch.where(usable, 1 / curvature, 0)))

    def product(self, v: Image, precondition: Callable[[Tensor], Tensor], scale: Callable[[Tensor], Tensor]) -> Image:
        alphas = []
        for s, y, rho in reversed(self.pairs):
            alphas.append(rho * _dot(s, v))
            v = v.addcmul(y, -alphas[-1])
        v = precondition(v)
        v = v * scale(v)
        for (s, y, rho), alpha in zip(self.pairs, reversed(alphas), strict=True):
            v = v.addcmul(s, alpha - rho * _dot(y, v))
        return v


def _dot(a: Image, b: Image) -> Float[Tensor, ""]:
    """Under onnxruntime ten times faster than a product of a row with a column; in two sums, as the style loss has it,
    of which a GPU computes the first row by row."""
    return (a * b).sum(3).sum()


class ProjectedStep(StepOptimizer, ProjectedLBFGS):
    """`ProjectedLBFGS`: the last image and gradient, the scale, and pairs s, y with rho = 1 / s.y.

    A step makes one pair, so that one less than `history_size` is kept between steps; the oldest is `s_1`. Pairs that
    do not exist yet are zeros, and change nothing.
    """

    scalars = ("scale", "rho")

    def __init__(self, learning_rate: float, history_size: int) -> None:
        super().__init__(learning_rate, history_size)
        self.num_kept = history_size - 1
        self.slots = {
            "image": StateSlot("next_image", "image"),
            "previous_image": StateSlot("image", "image"),
            "previous_gradient": StateSlot("gradient"),
            "scale": StateSlot("next_scale"),
        }
        for place in range(1, history_size):
            suffix = "" if place == self.num_kept else f"_{place + 1}"
            self.slots |= {f"{part}_{place}": StateSlot(f"{part}{suffix}") for part in ("s", "y", "rho")}

    def _load(self, state: State) -> None:
        places = range(1, self.num_kept + 1)
        pairs = [(state[f"s_{place}"], state[f"y_{place}"], state[f"rho_{place}"]) for place in places]
        self.history = PairHistory(state["previous_image"], state["previous_gradient"], state["scale"], pairs)

    def _memory(self) -> dict[str, Tensor]:
        assert isinstance(self.history, PairHistory)
        s, y, rho = self.history.pairs[-1]
        return {"gradient": self.history.g, "next_scale": self.history.scale, "s": s, "y": y, "rho": rho}

    def _precondition(self, values: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The library's filter by 1 / frequency, with Hartley transforms (Hartley 1942) as products with matrices.

        A filter that treats frequencies f and -f alike is diagonal in their real basis, too, and the transform is its
        own inverse but for a factor. torch's exporter writes an inverse real FFT that onnxruntime cannot run.
        """
        height, width = values.shape[-2:]
        vertical, horizontal = hartley_matrix(height), hartley_matrix(width)
        spectrum = vertical @ values @ horizontal * _inverse_frequencies(height, width)
        return vertical @ spectrum @ horizontal / (height * width)


def hartley_matrix(size: Side) -> Float[Tensor, "size size"]:
    """cos + sin of 2 pi j k / size: times itself, `size` times the identity."""
    index = torch.arange(size, dtype=torch.float32)
    product = index[:, None] * index  # exact up to 4096
    turns = (product - (product / size).floor() * size) / size
    return math.sqrt(2) * (2 * math.pi * turns + math.pi / 4).sin()


def _inverse_frequencies(height: Side, width: Side) -> Float[Tensor, "height width"]:
    """`stylecore.optimizers.inverse_frequencies` of all coefficients, in operations that can be traced."""
    squares = []
    for size in (height, width):
        index = torch.arange(size, dtype=torch.float32)
        squares.append((torch.minimum(index, size - index) / size).square())
    frequency = (squares[0][:, None] + squares[1]).sqrt()
    lowest = torch.ones((), dtype=torch.float32) / height
    return 0.5 / torch.maximum(frequency, torch.minimum(lowest, torch.ones((), dtype=torch.float32) / width))


def make_step_optimizer(config: StylizeConfig) -> StepOptimizer:
    """The config's. Raises an OptionError for one that cannot be exported."""
    if config.optimizer == "adam":
        return AdamStep(config.learning_rate)
    if config.optimizer == "projected":
        return ProjectedStep(config.learning_rate, config.history_size)
    raise OptionError(f"The optimiser '{config.optimizer}' cannot be exported: choose projected or adam.")
