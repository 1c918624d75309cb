"""First-order optimisers of one image, without a line search and without waiting for the device.

The variable is in 8-bit levels, 0..255: steps of the size of a level are then far from float32's rounding, which
swallows them for an image in [0, 1]. An optimiser maps (variable, gradient) to the next variable; one call a step.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from functools import lru_cache

import torch
from torch import Tensor

from stylecore.config import StylizeConfig
from stylecore.images import LEVELS

SMALLEST_COSINE = 1e-8  # between a step and the change of gradient along it, for their curvature to be believed
DECAY_AFTER_DETAIL = 0.5  # of the preconditioner with frequency; 0, 0.25, 0.75 and 1 are no better on fitting pairs
SMALLEST = 1e-30  # mean of a gradient that a step is divided by: it is 0 where content and style are one picture


class Optimizer(ABC):
    """Keeps what it has learned between steps."""

    @abstractmethod
    def step(self, variable: Tensor, gradient: Tensor, loss: Tensor | float = math.inf) -> Tensor:
        """The next variable, a new tensor; the arguments stay as they are.

        Args:
            variable, gradient: of any one shape.
            loss: at the variable, which cannot fall below 0; infinite where it is not known.
        """


class LBFGS(Optimizer):
    """Limited-memory BFGS (Nocedal and Wright 2006, algorithm 7.4) with steps of fixed length.

    Differs from `torch.optim.LBFGS` without line search in three ways. The first step moves each value by one level on
    average, where torch's sums to one level over the whole image and is lost to rounding. A step is shortened to
    `MAX_STEP` levels on average: the Gram loss is a quartic, and where its curvature is next to nothing, as on small
    images of strong styles, a quasi-Newton step goes thousands of levels too far. And s is the step that was really
    made, after rounding and clamping, so that the curvature is that of points visited.
    """

    FIRST_STEP = 1.0  # levels on average
    MAX_STEP = 16.0  # levels on average; undisturbed runs stay under half of it

    def __init__(self, learning_rate: float = 1.0, history_size: int = 100) -> None:
        self.learning_rate = learning_rate
        self.history: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=history_size)
        self.previous: tuple[Tensor, Tensor] | None = None
        self.loss: Tensor | float = math.inf
        self.scale = torch.zeros(())  # of the initial inverse Hessian: (s.y) / (y.y) of the newest pair; 0: none yet

    def step(self, variable: Tensor, gradient: Tensor, loss: Tensor | float = math.inf) -> Tensor:
        self.loss = loss
        x, g = variable.detach(), gradient.contiguous()
        if self.previous is None:
            self.scale = self.scale.to(g)
        else:
            self._remember(x - self.previous[0], g - self.previous[1])
        self.previous = (x, g)
        direction = self._direction(x, g)
        shortened = direction * (self.MAX_STEP / direction.abs().mean().clamp_min(self.MAX_STEP))
        return x + self.learning_rate * shortened

    def _remember(self, s: Tensor, y: Tensor) -> None:
        curvature = self._dot(s, y)
        # A pair without positive curvature is kept with weight 0: skipping it would need to ask the device.
        usable = curvature > SMALLEST_COSINE * s.norm() * y.norm()
        weight = torch.where(usable, 1 / curvature, 0)
        self.scale = torch.where(usable, curvature / self._dot(y, self._precondition(y)), self.scale)
        self.history.append((s, y, weight))

    def _direction(self, variable: Tensor, gradient: Tensor) -> Tensor:  # noqa: ARG002 - bounds would ask for it
        """-H g."""
        return self._two_loops(gradient)

    def _two_loops(self, gradient: Tensor) -> Tensor:
        q = gradient.neg()
        alphas = []
        for s, y, weight in reversed(self.history):
            alpha = weight * self._dot(s, q)
            alphas.append(alpha)
            q = q.addcmul(y, -alpha)
        q = self._precondition(q)
        q = q * torch.where(self.scale > 0, self.scale, self._first_scale(q, gradient))
        for (s, y, weight), alpha in zip(self.history, reversed(alphas), strict=True):
            q = q.addcmul(s, alpha - weight * self._dot(y, q))
        return q

    @staticmethod
    def _dot(a: Tensor, b: Tensor) -> Tensor:
        return a.flatten().dot(b.flatten())

    def _precondition(self, values: Tensor) -> Tensor:
        """The initial inverse Hessian times `values`, up to its scale: here the identity."""
        return values

    def _first_scale(self, direction: Tensor, gradient: Tensor) -> Tensor:  # noqa: ARG002 - bounds would ask for it
        """What makes a step of the direction while nothing is known of the curvature."""
        return self.FIRST_STEP / direction.abs().mean().clamp_min(SMALLEST)


class ProjectedLBFGS(LBFGS):
    """L-BFGS for an image: within 0..255 at every step, and with an inverse Hessian that knows what images are like.

    What is saved is clamped to 8 bits, so an optimum outside the range is none. A value at a bound whose gradient
    points out of the range is left out of the step (the two-metric projection of Bertsekas 1982), and the step is
    clamped. The initial inverse Hessian is 1 / frequency instead of the identity: between white (0) and the power
    spectrum of natural images (1 / frequency^2, Field 1987), the best of 0, 0.5, 0.7, 1, 1.3 and 2 on fitting photos.
    Of an image whose large shapes were painted at a lower resolution what is wrong is finer, and half of that decay is
    the best.
    """

    FIRST_STEP = 10.0  # the best of 1, 4, 6, 8 and 10 on fitting photos

    def __init__(self, learning_rate: float = 1.0, history_size: int = 100, decay: float = 1.0) -> None:
        super().__init__(learning_rate, history_size)
        self.decay = decay  # d of 1 / frequency^d

    def step(self, variable: Tensor, gradient: Tensor, loss: Tensor | float = math.inf) -> Tensor:
        return super().step(variable, gradient, loss).clamp(0, LEVELS)

    def _direction(self, variable: Tensor, gradient: Tensor) -> Tensor:
        free = ~(((variable <= 0) & (gradient > 0)) | ((variable >= LEVELS) & (gradient < 0)))
        return self._two_loops(gradient * free) * free

    def _first_scale(self, direction: Tensor, gradient: Tensor) -> Tensor:
        # Polyak's step (1987), loss / slope, would end at 0 on a straight line: further is never meant, however good
        # the start is.
        slope = self._dot(direction, gradient).abs().clamp_min(SMALLEST)
        return torch.minimum(super()._first_scale(direction, gradient), self.loss / slope)

    def _precondition(self, values: Tensor) -> Tensor:
        height, width = values.shape[-2:]
        spectrum = torch.fft.rfft2(values) * inverse_frequencies(height, width, values.device, self.decay)
        return torch.fft.irfft2(spectrum, s=(height, width))


@lru_cache(maxsize=4)
def inverse_frequencies(height: int, width: int, device: torch.device, decay: float = 1.0) -> Tensor:
    """1 / frequency^decay of each coefficient of `rfft2`, 1 at half a cycle a pixel; the mean counts as one cycle."""
    vertical = torch.fft.fftfreq(height, dtype=torch.float32)
    horizontal = torch.fft.rfftfreq(width, dtype=torch.float32)
    frequency = (vertical[:, None].square() + horizontal.square()).sqrt()
    return (0.5 / frequency.clamp_min(1 / max(height, width))).pow(decay).to(device)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1); `learning_rate` in levels a step."""

    BETAS = (0.9, 0.999)
    EPSILON = 1e-8

    def __init__(self, learning_rate: float = 1.0) -> None:
        self.learning_rate = learning_rate
        self.num_steps: Tensor | int = 0
        self.mean: Tensor | None = None
        self.square: Tensor | None = None

    def step(self, variable: Tensor, gradient: Tensor, loss: Tensor | float = math.inf) -> Tensor:  # noqa: ARG002
        first, second = self.BETAS
        if self.mean is None or self.square is None:
            self.mean, self.square = torch.zeros_like(gradient), torch.zeros_like(gradient)
        self.num_steps = self.num_steps + 1
        self.mean = torch.lerp(self.mean, gradient, 1 - first)
        self.square = torch.lerp(self.square, gradient.square(), 1 - second)
        mean = self.mean / (1 - first**self.num_steps)
        spread = (self.square / (1 - second**self.num_steps)).sqrt() + self.EPSILON
        return variable.detach() - self.learning_rate * mean / spread


def make_optimizer(config: StylizeConfig, *, is_detailed: bool = False) -> Optimizer:
    """A fresh optimiser of the config's kind; `is_detailed`: for a start that was painted coarsely and given detail."""
    if config.optimizer == "adam":
        return Adam(config.learning_rate)
    if config.optimizer == "projected":
        decay = DECAY_AFTER_DETAIL if is_detailed else 1.0
        return ProjectedLBFGS(config.learning_rate, config.history_size, decay)
    return LBFGS(config.learning_rate, config.history_size)
