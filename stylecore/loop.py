"""The loop of one stage: evaluation, the optimiser's step and a guard, without asking the device anything.

All that lasts from round to round is in tensors that stay where they are, so that CUDA can capture one round as a graph
and replay it: a launch instead of hundreds.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from stylecore.errors import DivergenceError
from stylecore.images import LEVELS
from stylecore.objective import Losses, Objective
from stylecore.optimizers import Optimizer

CHECK_EVERY = 10  # rounds between looks at a GPU's divergence flag: each look waits for the device
# L-BFGS without a line search may leave the displayable range and come back; from here it does not.
DIVERGED = 100 * LEVELS
EAGER_ROUNDS = 3  # before a capture: libraries set themselves up in the first, and L-BFGS begins to remember
LEAST_REPLAYS = 8  # a capture takes as long as a few rounds


def optimize(
    objective: Objective, variable: Tensor, new_optimizer: Callable[[], Optimizer], num_steps: int
) -> Iterator[tuple[Losses, Tensor]]:
    """Losses and the next variable of each evaluation of one stage.

    Args:
        objective: what is minimised.
        variable: (1, 3, H, W) in 8-bit levels; stays as it is.
        new_optimizer: makes one, at the start and whenever the objective has become another.
        num_steps: evaluations.

    Yields:
        the losses before the step, and the variable after it: one tensor, which the next round overwrites.

    Raises:
        DivergenceError: the loss or the variable left the finite numbers or grew beyond reason; carries the last good
            variable.
    """
    rounds = Rounds(objective, variable, new_optimizer)
    make_round = rounds.make_one
    look_every = 1 if variable.device.type == "cpu" else CHECK_EVERY
    for number in range(1, num_steps + 1):
        if number == EAGER_ROUNDS + 1 and rounds.can_be_captured and num_steps - EAGER_ROUNDS >= LEAST_REPLAYS:
            make_round = rounds.captured()
        losses = make_round()
        if number % look_every == 0 or number == num_steps:
            rounds.guard.check()
        yield losses, rounds.variable


class Rounds:
    """What the rounds of a stage have in common, all of it changed in place."""

    def __init__(self, objective: Objective, variable: Tensor, new_optimizer: Callable[[], Optimizer]) -> None:
        self.objective, self.new_optimizer = objective, new_optimizer
        self.variable = variable.clone()
        self.optimizer = new_optimizer()
        self.guard = _Guard(self.variable)

    def make_one(self) -> Losses:
        """Evaluate, and move the variable."""
        evaluation = self.objective.evaluate(self.variable)
        if evaluation.changed:
            self.optimizer = self.new_optimizer()  # what it remembers is of another objective
        following = self.optimizer.step(self.variable, evaluation.gradient, evaluation.losses.total)
        if self.objective.config.clamp:
            following = following.clamp(0, LEVELS)
        self.guard.update(evaluation.losses, self.variable, following)
        self.variable.copy_(following)
        return evaluation.losses

    @property
    def can_be_captured(self) -> bool:
        """Losses that adapt on the way do so on the host."""
        return self.variable.device.type == "cuda" and not self.objective.adapts

    def captured(self) -> Callable[[], Losses]:
        """`make_one` as a graph that is replayed; as it is, with a warning, where CUDA refuses to capture it."""
        self.optimizer.fix_shapes()
        try:
            replay, losses = capture(lambda: self.make_one().stacked(), self.variable.device)
        except RuntimeError as error:
            warnings.warn(f"The steps run without a CUDA graph, which makes them slower: {error}", stacklevel=2)
            return self.make_one

        def make_one() -> Losses:
            replay()
            return Losses.unstacked(losses.clone())  # the next replay overwrites them

        return make_one


def capture(function: Callable[[], Tensor], device: torch.device) -> tuple[Callable[[], None], Tensor]:
    """What does the function's work on the device once more, and the tensor that its result is then in.

    The function is called once, and nothing of it is computed before the first replay.
    """
    graph = torch.cuda.CUDAGraph()
    # Other threads may go on with jobs of their own.
    with torch.cuda.device(device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = function()
    return graph.replay, result


class _Guard:
    """Notices divergence on the device, keeps the last good variable there, and asks the host only in `check`."""

    def __init__(self, variable: Tensor) -> None:
        self.good = variable.clone()
        self.diverged = torch.zeros((), dtype=torch.bool, device=variable.device)

    def update(self, losses: Losses, variable: Tensor, following: Tensor) -> None:
        # NaN fails both comparisons' "sound" side, so it needs no look of its own in the image.
        sound = losses.total.isfinite() & (following.abs().amax() < DIVERGED)
        self.diverged.logical_or_(~sound)
        self.good.copy_(torch.where(self.diverged, self.good, variable))

    def check(self) -> None:
        if bool(self.diverged):
            raise DivergenceError(
                "The optimisation diverged; the last good image was kept. "
                "Lower --style-weight or the learning rate, or choose --set optimizer=adam.",
                last_good=self.good,
            )
