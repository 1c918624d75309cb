"""How long jobs take on this server: by its own last runs, what a recipe will take at a size."""

from __future__ import annotations

import math
from collections import deque
from statistics import mean

from stylecore.config import StylizeConfig
from stylecore.schedule import plan_stages

NUM_WAITS = 8  # jobs whose mean is what one of them takes
PHOTO = (3000, 4000)  # height and width of one that nobody has chosen yet
# What an evaluation costs, by encoder, against the full one's: docs/benchmarks/bench.md, "One evaluation".
COSTS = {"vgg16": 1.0, "vgg16-x2": 0.65, "vgg16-x3": 0.5}


class Timings:
    """Remembers the pace of every preset's last run, and how long the last jobs took."""

    def __init__(self, num_workers: int = 1) -> None:
        self.num_workers = num_workers
        self._paces: dict[str, float] = {}  # by preset: seconds for each unit of `work`
        self._jobs: deque[float] = deque(maxlen=NUM_WAITS)

    def note(self, config: StylizeConfig, sides: tuple[int, int], seconds: float) -> None:
        """A whole run on a photo of such sides has taken so long."""
        self._paces.pop(config.preset, None)  # the last one goes to the end
        self._paces[config.preset] = seconds / work(config, sides)

    def estimate(self, config: StylizeConfig, sides: tuple[int, int] = PHOTO) -> float | None:
        """Seconds of a run, by the last of its preset, or (roughly) by the last of any; None before the first."""
        if not self._paces:
            return None
        pace = self._paces.get(config.preset, next(reversed(self._paces.values())))
        return pace * work(config, sides)

    def note_job(self, seconds: float) -> None:
        """A job of any kind was at work for so long."""
        self._jobs.append(seconds)

    def wait(self, num_before: int) -> float | None:
        """Seconds until a worker is free for who has that many jobs before; None before the first."""
        return num_before * mean(self._jobs) / self.num_workers if self._jobs else None


def work(config: StylizeConfig, sides: tuple[int, int]) -> float:
    """Pixels that a run evaluates, each by what its encoder costs; `sides` are of the photo (height, width)."""
    stages = plan_stages(config, sides)
    return sum(
        stage.num_steps * math.prod(stage.size) * COSTS.get(stage.encoder or config.encoder, 1.0) for stage in stages
    )
