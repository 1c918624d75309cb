"""What a large job will take, said before it starts."""

from __future__ import annotations

import math

from stylecore.cli.console import messages
from stylecore.encoders import Encoder
from stylecore.engine import StagePlan, plan_job
from stylecore.job import Job
from stylecore.profiling import seconds_per_pixel
from stylecore.tiles import margins_share, plan_tiles

TWO_PASSES = 4 / 3  # forward, and forward and backward: of three parts, one more


def say_plan(job: Job, encoder: Encoder, num_made: int) -> None:
    """Stages, tiles, memory and time on stderr, of a job that is computed in tiles; of others nothing."""
    stages = [stage for stage in plan_job(job, encoder, num_made) if stage.planned.num_left]
    if any(stage.memory.tile_px for stage in stages):
        messages.print(f"Plan: {', '.join(_in_words(job, stage) for stage in stages)}; {_costs(job, stages)}.")


def _in_words(job: Job, stage: StagePlan) -> str:
    height, width = stage.planned.size
    words = f"{stage.planned.num_left} evaluations at {width}x{height} px"
    if not stage.memory.tile_px:
        return words
    tiles = plan_tiles(stage.planned.size, stage.memory.tile_px, stage.encoder, _layers(job))
    return f"{words} in {len(tiles)} tiles (margins add {margins_share(tiles):.0%})"


def _costs(job: Job, stages: list[StagePlan]) -> str:
    gib = max(stage.memory.mib for stage in stages) / 1024
    pairs = stages[-1].memory.num_pairs
    disk = max(stage.memory.disk_mib(stage.planned.size) for stage in stages) / 1024
    where = f", which take {disk:.1f} GiB of the disk" if disk else ""
    return f"about {gib:.1f} GiB with up to {pairs} pairs of L-BFGS{where}, about {_minutes(job, stages):.0f} min"


def _minutes(job: Job, stages: list[StagePlan]) -> float:
    seconds = 0.0
    for stage in stages:
        pixels = float(math.prod(stage.planned.size))
        if stage.memory.tile_px:
            tiles = plan_tiles(stage.planned.size, stage.memory.tile_px, stage.encoder, _layers(job))
            pixels *= TWO_PASSES * (1 + margins_share(tiles))
        seconds += stage.planned.num_left * pixels * seconds_per_pixel(stage.encoder, job.config)
    return max(1.0, seconds / 60)


def _layers(job: Job) -> tuple[str, ...]:
    return (*job.config.content_layers, *job.config.style_layers)
