"""How a job's evaluations are divided: over the stages of its config, and within a budget of seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stylecore.config import StylizeConfig
from stylecore.errors import OptionError
from stylecore.images import fit_size

# What the last steps, the saving of the image and a pace that wavers may take of a budget.
RESERVE = 0.05


# On the shorter side: below, four poolings leave relu5_1 a handful of positions, and its Gram is noise.
MIN_STAGE_PX = 64


@dataclass(frozen=True)
class PlannedStage:
    """A stage of the config with what a job makes of it."""

    scale: float  # of the result's size
    size: tuple[int, int]  # (height, width) in px
    num_steps: int  # evaluations planned
    encoder: str  # a key of encoder.ENCODERS, or empty: the job's own
    num_made: int = 0  # of its evaluations, before the run was stopped that now goes on

    @property
    def num_left(self) -> int:
        """Evaluations to make."""
        return self.num_steps - self.num_made


def plan_stages(config: StylizeConfig, content_size: tuple[int, int]) -> list[PlannedStage]:
    """What a job does, coarse to fine, for a content image of (height, width) px.

    Stages before the last that would be too small to tell a style are left out, and the next one has their shares.
    `num_steps` is divided by the shares, with at least one evaluation for the last; who gets none is left out too.
    """
    longer = [max(1, round(config.size * stage.scale)) for stage in config.stages]
    sizes = [fit_size(content_size, side) for side in longer]
    used = [i for i, size in enumerate(sizes) if min(size) >= MIN_STAGE_PX or i == len(sizes) - 1]
    begins = [0, *(i + 1 for i in used[:-1])]
    shares = [sum(stage.share for stage in config.stages[a : b + 1]) for a, b in zip(begins, used, strict=True)]
    steps = plan_steps(config.num_steps, shares)
    return [
        PlannedStage(config.stages[i].scale, sizes[i], number, config.stages[i].encoder)
        for i, number in zip(used, steps, strict=True)
        if number
    ]


def resume_plan(plan: Sequence[PlannedStage], num_made: int) -> list[PlannedStage]:
    """The plan of which `num_made` evaluations were made already.

    Raises:
        OptionError: none would be left.
    """
    total = sum(stage.num_steps for stage in plan)
    if not 0 <= num_made < total:
        raise OptionError(f"{num_made} of {total} evaluations are made: nothing is left to resume.")
    resumed = []
    for stage in plan:
        here = min(stage.num_steps, num_made)
        resumed.append(replace(stage, num_made=here))
        num_made -= here
    return resumed


def plan_steps(num_steps: int, shares: Sequence[float]) -> list[int]:
    """`num_steps` divided by the shares, at least one for the last."""
    bounds = [round(num_steps * sum(shares[: i + 1]) / sum(shares)) for i in range(len(shares))]
    bounds[:-1] = [min(bound, num_steps - 1) for bound in bounds[:-1]]
    return [end - begin for begin, end in zip([0, *bounds], bounds, strict=False)]


class TimeBudget:
    """Decides, from the pace so far, when a stage has had its part of the seconds.

    What is left of the budget when a stage begins is divided by the work that is left, counted in pixels evaluated: all
    stages of one encoder are then shortened by about the same factor.

    Args:
        seconds: for the whole job; 0: no limit.
        plan: the job's stages.
    """

    def __init__(self, seconds: float, plan: Sequence[PlannedStage]) -> None:
        self.seconds = seconds * (1 - RESERVE)
        self.work = [stage.num_left * math.prod(stage.size) for stage in plan]  # pixels to evaluate

    def is_spent(self, stage: int, steps_made: int, stage_began: float, now: float) -> bool:
        """Whether the stage should end after `steps_made` of its evaluations.

        Args:
            stage: index of the stage.
            steps_made: in this stage, at least 1.
            stage_began, now: seconds since the job began, the stage's targets counted with the stage.
        """
        if not self.seconds:
            return False
        pace = (now - stage_began) / steps_made
        share = self.work[stage] / sum(self.work[stage:])
        return now + pace > stage_began + (self.seconds - stage_began) * share
