"""The measuring: references and presets in turns in one process, every raw sample kept."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from stylecore.bench.baseline import baseline_seconds
from stylecore.bench.pairs import Pair
from stylecore.config import StylizeConfig
from stylecore.devices import environment, find_device, find_dtype, peak_memory_mib, synchronize
from stylecore.encoders import Encoder, load_encoder
from stylecore.engine import job_steps, job_yardstick, prepare_encoder, run_to_end, stylize_steps
from stylecore.errors import NotEnoughMemoryError, OptionError
from stylecore.files import write_json
from stylecore.images import LEVELS, ImageTensor, fit_image
from stylecore.job import Job
from stylecore.measured_run import MeasuredRun, curve_steps, in_turns
from stylecore.metrics import hatching
from stylecore.objective import make_objective
from stylecore.optimizers import make_optimizer
from stylecore.patches import job_patch_yardstick
from stylecore.presets import make_config
from stylecore.profiling import seconds_by_stage, warm_up
from stylecore.start import StageImages, job_images, stage_images

REFERENCE = "gatys"
BASELINE = "baseline"  # the reference as anybody would write it with torch alone
PARTS = ("evaluations", "runs", "losses", "scale")  # of the records
REDUCED_LOSSES = {
    "gram": {"loss": "gram"},
    "pca 25%": {"loss": "pca", "components": "25%"},
    "pca 12.5%": {"loss": "pca", "components": "12.5%"},
    "svd energy:0.95": {"loss": "svd", "threshold": "energy:0.95"},
}
MORE_STEPS = 3  # a variant at equal time may make that many times the preset's evaluations
SCALE_STEPS = 3  # evaluations of which the last two are timed
SCALE_SIZES_PX = (128, 256, 512, 1024, 2048)
ENOUGH_S, MAX_RUNS = 5.0, 3  # a job is repeated until its runs took so long, or so often


@dataclass(frozen=True)
class BenchOptions:
    """What to measure."""

    presets: tuple[str, ...] = ("draft", "preview", "standard", "full")
    size: int = 256  # longer side, px
    num_evaluations: int = 20  # of each preset, one by one, beside the baseline's
    num_reference_pairs: int | None = None  # pairs on which what takes as long as the reference is run; None: all
    reduced_in: tuple[str, ...] = ("draft", "preview")  # presets inside which losses are rows, and race at equal time
    max_scale_px: int = 2048  # 0: no scaling part


@dataclass
class Bench:
    """The records; JSON-ready but for the pairs.

    Running it fills the lists, and yields a sentence about each thing measured, for whoever watches.
    """

    options: BenchOptions
    pairs: Sequence[Pair]
    runs: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    losses: list[dict[str, Any]] = field(default_factory=list)
    scale: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for preset in (*self.options.presets, *self.options.reduced_in):
            make_config(preset, size=self.options.size)
        if not self.pairs:
            raise OptionError("A bench needs at least one pair.")

    @cached_property
    def environment(self) -> dict[str, str | int]:
        """What the seconds were measured on."""
        return environment(find_device())

    def run(self) -> Iterator[str]:
        """Measure everything; what is finished is in the records when this is abandoned."""
        configs = {name: make_config(name, size=self.options.size) for name in (REFERENCE, *self.options.presets)}
        for config in configs.values():
            warm_up(prepare_encoder(config), config)
        yield from self._time_evaluations(configs)
        rows = configs | self._reduced_rows() | self._float32_rows()
        for number, pair in enumerate(self.pairs):
            for name, config in rows.items():
                is_slow = config.num_steps >= configs[REFERENCE].num_steps
                if is_slow and number >= (self.options.num_reference_pairs or len(self.pairs)):
                    continue
                self.runs.append({"preset": name} | run_job(pair, config))
                yield _sentence(name, self.runs[-1])
        for preset in self.options.reduced_in:
            for pair in self.pairs:
                for record in race_losses(pair, configs.get(preset) or make_config(preset, size=self.options.size)):
                    self.losses.append({"preset": preset} | record)
                    yield _sentence(f"{preset} with {record['loss']}", record)
        for size in [size for size in SCALE_SIZES_PX if size <= self.options.max_scale_px]:
            for preset in (REFERENCE, "preview"):
                try:
                    self.scale.append(measure_scale(preset, size))
                except (BrokenProcessPool, NotEnoughMemoryError):
                    yield f"{preset} at {size} px does not fit into memory"
                    continue
                yield f"{preset} at {size} px: {self.scale[-1]['seconds_per_evaluation']:.2f} s an evaluation"

    def _reduced_rows(self) -> dict[str, StylizeConfig]:
        """Presets with a loss in fewer directions, evaluation for evaluation: less detail for less time."""
        return {
            f"{preset}, {name}": make_config(preset, size=self.options.size, **options)
            for preset in self.options.reduced_in
            for name, options in REDUCED_LOSSES.items()
            if options["loss"] == "pca"
        }

    def _float32_rows(self) -> dict[str, StylizeConfig]:
        """The presets as they are where the processor is not quick in bfloat16; none where this one is not."""
        if find_dtype("auto", find_device()) == torch.float32:
            return {}
        presets = [preset for preset in self.options.presets if make_config(preset).dtype == "auto"]
        return {
            f"{preset}, float32": make_config(preset, size=self.options.size, dtype="float32") for preset in presets
        }

    def _time_evaluations(self, configs: Mapping[str, StylizeConfig]) -> Iterator[str]:
        """One evaluation and step of each recipe at the final size, in turns; and where their time goes."""
        pair = self.pairs[0]
        samples = interleaved_evaluations(pair, configs, self.options.num_evaluations)
        for name, seconds in samples.items():
            record: dict[str, Any] = {"preset": name, "seconds": [round(s, 5) for s in seconds]}
            if name in configs:
                image = fit_image(pair.content, self.options.size)
                encoder = prepare_encoder(configs[name])
                parts = seconds_by_stage(image, Job(pair.content, (pair.style,), configs[name]), encoder)
                record["seconds_by_stage"] = {part: round(value, 5) for part, value in parts.items()}
            self.evaluations.append(record)
        yield f"timed {self.options.num_evaluations} evaluations each of {', '.join(samples)}"


def run_job(pair: Pair, config: StylizeConfig, encoder: Encoder | None = None) -> dict[str, Any]:
    """One job, repeated while it is short; the curve is [seconds, style distance], of the first run."""
    encoder = encoder or prepare_encoder(config)
    job = Job(pair.content, (pair.style,), config)
    yardstick = job_yardstick(job)
    first = MeasuredRun(job, encoder=encoder, marks=curve_steps(config.num_steps), yardstick=yardstick).to_end()
    patches = job_patch_yardstick(job).measure(first.image)
    seconds = [first.seconds]
    while sum(seconds) < ENOUGH_S and len(seconds) < MAX_RUNS:
        seconds.append(run_to_end(job, job_steps(job, encoder=encoder)).seconds)
    return {
        "pair": pair.name,
        "seconds": [round(value, 4) for value in seconds],
        "num_steps": first.num_steps,
        **{kind: round(value, 5) for kind, value in dataclasses.asdict(first.distances).items()},
        "patches": round(patches.mean, 5),
        "hatching": round(hatching(first.image, fit_image(pair.style, config.size)), 4),
        "curve": [[round(point.seconds, 4), round(point.distances.style, 4)] for point in first.curve],
    }


def race_losses(pair: Pair, config: StylizeConfig) -> Iterator[dict[str, Any]]:
    """The losses inside a preset, each for the seconds that the preset takes on this pair."""
    budget = min(run_job(pair, config)["seconds"])
    for name, options in REDUCED_LOSSES.items():
        changed: dict[str, Any] = dict(options)
        racer = config.replace(**changed, num_steps=MORE_STEPS * config.num_steps, time_budget=budget)
        yield {"loss": name, "time_budget": round(budget, 4)} | run_job(pair, racer)


def interleaved_evaluations(
    pair: Pair, configs: Mapping[str, StylizeConfig], num_evaluations: int
) -> dict[str, list[float]]:
    """Seconds of single evaluations and steps by preset, in turns, and of the baseline.

    The baseline cannot be interrupted after each evaluation: its turns take several at once.
    """
    config = configs[REFERENCE]
    device = find_device(config.device)
    job = Job(pair.content, (pair.style,), config)
    images = stage_images(job_images(job, device), config, job.size)
    full = load_encoder(device=device)
    steppers = [_Stepper(images, each) for each in configs.values()]
    samples: dict[str, list[float]] = {name: [] for name in (BASELINE, *configs)}
    turns, block = 4, max(1, num_evaluations // 4)
    for _ in range(turns):
        samples[BASELINE] += baseline_seconds(full, images.content, images.styles[0], block)
        for name, seconds in zip(configs, in_turns(steppers, min_runs=block, warm_up=0), strict=True):
            samples[name] += seconds
    return samples


class _Stepper:
    """A recipe's evaluation and optimiser step at the final size; called again and again, it goes on."""

    def __init__(self, images: StageImages, config: StylizeConfig) -> None:
        self.objective = make_objective(prepare_encoder(config), images.content, images.styles, config)
        self.optimizer = make_optimizer(config, config.num_steps)
        self.variable = images.content * LEVELS

    def __call__(self) -> None:
        found = self.objective.evaluate(self.variable)
        self.variable = self.optimizer.step(self.variable, found.gradient, found.losses.total)
        synchronize(self.variable.device)


def measure_scale(preset: str, size: int) -> dict[str, Any]:
    """Seconds an evaluation and peak memory of a preset's finest stage, in a fresh process."""
    # Not a Pool: it would start a worker that the system kills for its memory again and again.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure_scale, preset, size, torch.get_num_threads()).result()


def _measure_scale(preset: str, size: int, num_threads: int) -> dict[str, Any]:
    torch.set_num_threads(num_threads)
    config = make_config(preset, size=size, num_steps=SCALE_STEPS, stages=("1:1",))
    encoder = prepare_encoder(config)
    warm_up(encoder, config)
    image: ImageTensor = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    moments = []
    for step in stylize_steps(image, image.flip(3), config, encoder=encoder):
        synchronize(step.image.device)
        moments.append(step.seconds)
    return {
        "preset": preset,
        "size_px": size,
        "seconds_per_evaluation": round((moments[-1] - moments[0]) / (SCALE_STEPS - 1), 4),
        "peak_memory_mib": round(peak_memory_mib(encoder.device)),
    }


def _sentence(name: str, record: Mapping[str, Any]) -> str:
    return f"{record['pair']} {name}: {min(record['seconds']):.2f} s, style distance {record['style']:.3f}"


def write_bench(bench: Bench, path: str | Path) -> Path:
    """Write the records as JSON. Raises an OutputError where that is impossible."""
    content = {
        "environment": bench.environment,
        "options": dataclasses.asdict(bench.options),
        "pairs": [pair.name for pair in bench.pairs],
        **{part: getattr(bench, part) for part in PARTS},
    }
    return write_json(Path(path), content)


def read_bench(path: str | Path) -> dict[str, Any]:
    """What `write_bench` wrote. Raises an OptionError if it is no such file."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        records = {key: content[key] for key in ("environment", "options", "pairs", *PARTS)}
        for record in records["evaluations"]:
            if record["preset"] == "plain":  # what the baseline was called in records of 0.1
                record["preset"] = BASELINE
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OptionError(f"'{path}' holds no records of a bench: make them with stylecore bench --json.") from error
    return records
