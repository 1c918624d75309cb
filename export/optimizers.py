"""The library's optimisers as parts of a traced step: what they keep between steps goes in and comes out by name."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from stylecore.config import StylizeConfig
from stylecore.errors import OptionError
from stylecore.optimizers import Adam, ProjectedLBFGS


@dataclass(frozen=True)
class Kept:
    """What one input of a step is fed with."""

    next: str  # at the next step: the name of an output, or of another input, which then moves on without a copy
    start: Literal["image", "zeros"] = "zeros"  # at the first


class StepOptimizer(ABC):
    """An optimiser of the library between tensors that go in and tensors that come out.

    `kept` says of each input that changes from step to step where its values come from.
    """

    kept: dict[str, Kept]

    def start(self, image: Tensor) -> dict[str, Tensor]:
        """The state before the first step, the image included."""
        zeros = {name: self._zeros(name, image) for name, kept in self.kept.items() if kept.start == "zeros"}
        # Distinct tensors: the exporter takes one that is given twice for one input.
        return {name: zeros[name] if name in zeros else image.clone() for name in self.kept}

    @property
    def output_names(self) -> list[str]:
        """What a step makes anew."""
        return [kept.next for kept in self.kept.values() if kept.next not in self.kept]

    @abstractmethod
    def _zeros(self, name: str, image: Tensor) -> Tensor:
        """Of the shape of this tensor of the state."""

    @abstractmethod
    def step(self, state: Mapping[str, Tensor], gradient: Tensor, loss: Tensor) -> dict[str, Tensor]:
        """The outputs, by their names."""


class AdamStep(StepOptimizer):
    """`stylecore.optimizers.Adam`: running means of the gradient and of its square, and a count."""

    def __init__(self, config: StylizeConfig) -> None:
        self.learning_rate = config.learning_rate
        self.kept = {"image": Kept("next_image", "image")}
        self.kept |= {name: Kept(f"next_{name}") for name in ("running_mean", "running_square", "num_steps")}

    def _zeros(self, name: str, image: Tensor) -> Tensor:
        return image.new_zeros(()) if name == "num_steps" else torch.zeros_like(image)

    def step(self, state: Mapping[str, Tensor], gradient: Tensor, loss: Tensor) -> dict[str, Tensor]:
        adam = TraceableAdam(self.learning_rate)
        adam.mean, adam.square, adam.num_steps = state["running_mean"], state["running_square"], state["num_steps"]
        image = adam.step(state["image"], gradient, loss)
        return dict(zip(self.output_names, (image, adam.mean, adam.square, adam.num_steps), strict=True))


class ProjectedStep(StepOptimizer):
    """`stylecore.optimizers.ProjectedLBFGS`: the last image and gradient, the scale, and pairs s, y with rho = 1 / s.y.

    A step makes one pair, so that one less than `history_size` is kept between steps; the oldest is `s_1`. Pairs that
    do not exist yet are zeros, of which rho makes nothing.
    """

    def __init__(self, config: StylizeConfig) -> None:
        self.config = config
        self.kept = {
            "image": Kept("next_image", "image"),
            "previous_image": Kept("image", "image"),
            "previous_gradient": Kept("gradient"),
            "scale": Kept("next_scale"),
        }
        self.places = range(1, config.history_size)
        for place in self.places:
            newest = place == config.history_size - 1
            self.kept |= {
                f"{part}_{place}": Kept(part if newest else f"{part}_{place + 1}") for part in ("s", "y", "rho")
            }

    def _zeros(self, name: str, image: Tensor) -> Tensor:
        return image.new_zeros(()) if name.startswith(("scale", "rho")) else torch.zeros_like(image)

    def step(self, state: Mapping[str, Tensor], gradient: Tensor, loss: Tensor) -> dict[str, Tensor]:
        optimizer = TraceableLBFGS(self.config.learning_rate, self.config.history_size)
        optimizer.previous = (state["previous_image"], state["previous_gradient"])
        optimizer.scale = state["scale"]
        optimizer.history.extend(
            (state[f"s_{place}"], state[f"y_{place}"], state[f"rho_{place}"]) for place in self.places
        )
        image = optimizer.step(state["image"], gradient, loss)
        s, y, rho = optimizer.history[-1]
        outputs = {"next_image": image, "gradient": gradient, "next_scale": optimizer.scale, "s": s, "y": y, "rho": rho}
        return {name: outputs[name] for name in self.output_names}


class TraceableAdam(Adam):
    """The same, but for a millionth of an epsilon."""

    EPSILON = 1.000001e-8  # torch's exporter takes what is within 1e-8 of 0 for 0, and drops adding it


class TraceableLBFGS(ProjectedLBFGS):
    """The same numbers by operations that onnxruntime has, and is quick at."""

    @staticmethod
    def _dot(a: Tensor, b: Tensor) -> Tensor:
        """Ten times faster there than a product of a row with a column."""
        return (a * b).sum()

    def _precondition(self, values: Tensor) -> Tensor:
        """By Hartley transforms (Hartley 1942), as products with matrices.

        A filter that treats frequencies f and -f alike is diagonal in their real basis, too, and the transform is its
        own inverse but for a factor. torch's exporter writes an inverse real FFT that onnxruntime cannot run.
        """
        height, width = values.shape[-2:]
        vertical, horizontal = hartley_matrix(height), hartley_matrix(width)
        spectrum = vertical @ values @ horizontal * _inverse_frequencies(height, width)
        return vertical @ spectrum @ horizontal / (height * width)


def hartley_matrix(size: int) -> Float[Tensor, "size size"]:
    """cos + sin of 2 pi j k / size: times itself, `size` times the identity."""
    index = torch.arange(size).float()
    product = index[:, None] * index  # exact up to 4096
    turns = (product - (product / size).floor() * size) / size
    return math.sqrt(2) * (2 * math.pi * turns + math.pi / 4).sin()


def _inverse_frequencies(height: int, width: int) -> Float[Tensor, "height width"]:
    """`stylecore.optimizers.inverse_frequencies` of all coefficients, in operations that can be traced."""
    squares = []
    for size in (height, width):
        index = torch.arange(size).float()
        squares.append((torch.minimum(index, size - index) / size).square())
    frequency = (squares[0][:, None] + squares[1]).sqrt()
    lowest = torch.ones(()) / height
    return 0.5 / torch.maximum(frequency, torch.minimum(lowest, torch.ones(()) / width))


STEP_OPTIMIZERS: dict[str, type[ProjectedStep | AdamStep]] = {"projected": ProjectedStep, "adam": AdamStep}


def make_step_optimizer(config: StylizeConfig) -> StepOptimizer:
    """The config's. Raises an OptionError for one that cannot be exported."""
    if config.optimizer not in STEP_OPTIMIZERS:
        raise OptionError(
            f"The optimiser '{config.optimizer}' cannot be exported: choose {' or '.join(STEP_OPTIMIZERS)}."
        )
    return STEP_OPTIMIZERS[config.optimizer](config)
