"""Where the time of one evaluation goes, and what has to happen before a run may be timed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import fmean, median

import torch
from torch import Tensor

from stylecore.config import MIN_SIZE_PX, StylizeConfig
from stylecore.devices import synchronize
from stylecore.encoders import Encoder
from stylecore.engine import job_steps
from stylecore.images import LEVELS, ImageTensor, image_size
from stylecore.isolation import isolated
from stylecore.job import Job
from stylecore.objective import Objective, make_objective
from stylecore.optimizers import Optimizer, make_optimizer
from stylecore.start import job_images, stage_images

# "refresh" is what losses do between evaluations: projectors, trained weights, sampled positions.
STAGES = ("encoder_forward", "refresh", "loss_forward", "loss_backward", "encoder_backward", "optimizer")
PACE_PX = 384  # of an image whose evaluation tells the time of larger ones


def warm_up(encoder: Encoder, config: StylizeConfig) -> None:
    """An evaluation a stage of a small image, so that the timed run meets encoders and kernels that are loaded."""
    stages = tuple(dataclasses.replace(stage, scale=1.0, share=1.0) for stage in config.stages)
    plain = {"loss": "gram", "style_weights": (), "style_size": 0, "time_budget": 0.0, "target_distance": 0.0}
    small = config.replace(**plain, size=MIN_SIZE_PX, stages=stages, num_steps=len(stages))
    image = torch.rand(1, 3, MIN_SIZE_PX, MIN_SIZE_PX, dtype=torch.float32, generator=torch.Generator().manual_seed(0))
    for _ in job_steps(Job(image, (image,), small), encoder=encoder):
        pass


@isolated()
def seconds_per_pixel(encoder: Encoder, config: StylizeConfig) -> float:
    """Of one evaluation in one piece, measured at `PACE_PX`: the second of two, as a run has them."""
    side = {"size": PACE_PX, "style_size": 0, "style_scale": 1.0, "loss": "gram", "style_weights": ()}
    image = torch.rand(1, 3, PACE_PX, PACE_PX, dtype=torch.float32, generator=torch.Generator().manual_seed(0))
    image = image.to(encoder.device)
    objective = make_objective(encoder, image, [image], config.replace(**side))
    for _ in range(2):
        synchronize(encoder.device)
        started = time.perf_counter()
        objective.evaluate(image * LEVELS)
        synchronize(encoder.device)
    return (time.perf_counter() - started) / PACE_PX**2


@isolated()
def seconds_by_stage(image: ImageTensor, job: Job, encoder: Encoder, num_repeats: int = 5) -> dict[str, float]:
    """Median seconds of one evaluation by stage, measured on a job's own objective at `image`; targets not counted.

    The stages are waited for one by one, which a GPU's run does not do, and are scaled to nothing: their sum need not
    equal the run's seconds per evaluation. `refresh` is divided by the evaluations that share it, and L-BFGS has the
    memory that it has in the mean over a run.
    """
    config, device = job.config, encoder.device
    images = stage_images(job_images(job, device), config, image_size(image))
    objective = make_objective(encoder, images.content, images.styles, config)
    variable = image.to(device) * LEVELS
    optimizer = _experienced_optimizer(config, variable, _steps_between_resets(objective, config))
    runs = [_time_evaluation(objective, optimizer, variable) for _ in range(1 + num_repeats)]
    seconds = {stage: median(run[stage] for run in runs[1:]) for stage in STAGES}
    return seconds | {"refresh": seconds["refresh"] / _evaluations_per_refresh(objective)}


class _Stopwatch:
    """Seconds by stage, each waited for."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        synchronize(self.device)
        started = time.perf_counter()
        yield
        synchronize(self.device)
        self.seconds[name] = time.perf_counter() - started


def _time_evaluation(objective: Objective, optimizer: Optimizer, variable: Tensor) -> dict[str, float]:
    """`Objective.evaluate` and the optimiser's step, cut open at the features so that both halves can be timed."""
    watch = _Stopwatch(variable.device)
    variable = variable.detach().requires_grad_(True)
    with watch.stage("encoder_forward"):
        image = variable / LEVELS
        features = objective.features(image)
    leaves = {layer: values.detach().requires_grad_(True) for layer, values in features.items()}
    with watch.stage("refresh"):
        objective.refresh(leaves)
    leaf_image = image.detach().requires_grad_(True)
    with watch.stage("loss_forward"):
        losses = objective.losses(leaf_image, leaves)
    with watch.stage("loss_backward"):
        inputs = [leaf_image, *leaves.values()]
        gradients = torch.autograd.grad(losses.total, inputs, materialize_grads=True)
    with watch.stage("encoder_backward"):
        (gradient,) = torch.autograd.grad([image, *features.values()], variable, gradients)
    with watch.stage("optimizer"):
        optimizer.step(variable, gradient)
    return watch.seconds


def _evaluations_per_refresh(objective: Objective) -> int:
    always = any(term.loss.refreshes_always for term in objective.style_terms)
    return 1 if always else objective.config.refresh_every


def _steps_between_resets(objective: Objective, config: StylizeConfig) -> int:
    """How long the optimiser keeps its memory: trained weights and new samples clear it at every change."""
    restarts = any(term.loss.restarts_optimizer for term in objective.style_terms)
    return min(config.num_steps, config.refresh_every) if restarts else config.num_steps


def _experienced_optimizer(config: StylizeConfig, variable: Tensor, num_steps: int) -> Optimizer:
    """The config's optimiser with as many pairs in memory as it has in the mean over `num_steps`."""
    optimizer = make_optimizer(config, config.num_steps)
    generator = torch.Generator().manual_seed(0)
    for _ in range(1 + round(fmean(min(index, config.history_size) for index in range(num_steps)))):
        noise = torch.randn(variable.shape, dtype=torch.float32, generator=generator).to(variable)
        optimizer.step(variable + noise, noise)
    return optimizer
