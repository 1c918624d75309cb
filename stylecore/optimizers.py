"""First-order optimisers of one image, without a line search and without waiting for the device.

The variable is in 8-bit levels, 0..255: steps of the size of a level are then far from float32's rounding, which
swallows them for an image in [0, 1]. An optimiser maps (variable, gradient) to the next variable; one call a step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque

import torch
from torch import Tensor

from stylecore.config import StylizeConfig


class Optimizer(ABC):
    """Keeps what it has learned between steps."""

    @abstractmethod
    def step(self, variable: Tensor, gradient: Tensor) -> Tensor:
        """The next variable, a new tensor; both arguments are of any one shape and stay as they are."""


class LBFGS(Optimizer):
    """Limited-memory BFGS (Nocedal and Wright 2006, algorithm 7.4) with steps of fixed length.

    Differs from `torch.optim.LBFGS` without line search in three ways. The first step moves each value by one level on
    average, where torch's sums to one level over the whole image and is lost to rounding. A step is shortened to
    `MAX_STEP` levels on average: the Gram loss is a quartic, and where its curvature is next to nothing, as on small
    images of strong styles, a quasi-Newton step goes thousands of levels too far. And s is the step that was really
    made, after rounding and clamping, so that the curvature is that of points visited.
    """

    MAX_STEP = 16.0  # levels on average; undisturbed runs stay under half of it

    def __init__(self, learning_rate: float = 1.0, history_size: int = 100) -> None:
        self.learning_rate = learning_rate
        self.history: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=history_size)
        self.previous: tuple[Tensor, Tensor] | None = None
        self.scale = torch.zeros(())  # of the initial inverse Hessian: (s.y) / (y.y) of the newest pair; 0: none yet

    def step(self, variable: Tensor, gradient: Tensor) -> Tensor:
        x, g = variable.detach().flatten(), gradient.flatten()
        if self.previous is None:
            self.scale = self.scale.to(g)
        else:
            self._remember(x - self.previous[0], g - self.previous[1])
        self.previous = (x, g)
        direction = self._direction(g)
        shortened = direction * (self.MAX_STEP / direction.abs().mean().clamp_min(self.MAX_STEP))
        return (x + self.learning_rate * shortened).view_as(variable)

    def _remember(self, s: Tensor, y: Tensor) -> None:
        curvature = s.dot(y)
        # A pair without positive curvature is kept with weight 0: skipping it would need to ask the device.
        usable = curvature > 1e-10
        weight = torch.where(usable, 1 / curvature, 0)
        self.scale = torch.where(usable, curvature / y.dot(y), self.scale)
        self.history.append((s, y, weight))

    def _direction(self, gradient: Tensor) -> Tensor:
        """-H g by the two-loop recursion."""
        q = gradient.neg()
        alphas = []
        for s, y, weight in reversed(self.history):
            alpha = weight * s.dot(q)
            alphas.append(alpha)
            q = q.addcmul(y, -alpha)
        one_level = 1 / gradient.abs().mean().clamp_min(torch.finfo(gradient.dtype).tiny)
        q = q * torch.where(self.scale > 0, self.scale, one_level)
        for (s, y, weight), alpha in zip(self.history, reversed(alphas), strict=True):
            q = q.addcmul(s, alpha - weight * y.dot(q))
        return q


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1); `learning_rate` in levels a step."""

    BETAS = (0.9, 0.999)
    EPSILON = 1e-8

    def __init__(self, learning_rate: float = 1.0) -> None:
        self.learning_rate = learning_rate
        self.num_steps = 0
        self.mean: Tensor | None = None
        self.square: Tensor | None = None

    def step(self, variable: Tensor, gradient: Tensor) -> Tensor:
        first, second = self.BETAS
        if self.mean is None or self.square is None:
            self.mean, self.square = torch.zeros_like(gradient), torch.zeros_like(gradient)
        self.num_steps += 1
        self.mean = torch.lerp(self.mean, gradient, 1 - first)
        self.square = torch.lerp(self.square, gradient.square(), 1 - second)
        mean = self.mean / (1 - first**self.num_steps)
        spread = (self.square / (1 - second**self.num_steps)).sqrt() + self.EPSILON
        return variable.detach() - self.learning_rate * mean / spread


def make_optimizer(config: StylizeConfig) -> Optimizer:
    """A fresh optimiser of the config's kind."""
    if config.optimizer == "lbfgs":
        return LBFGS(config.learning_rate, config.history_size)
    return Adam(config.learning_rate)
