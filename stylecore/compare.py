"""Several variants of one job, from the same start, into one folder of images and one table of records."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from stylecore.config import LOSSES_WITH_BASIS, StylizeConfig
from stylecore.devices import environment, find_device, synchronize
from stylecore.encoders.vgg import Encoder, num_channels
from stylecore.engine import Step, prepare_encoder, stylize_steps
from stylecore.errors import DivergenceError, ImageError, OptionError
from stylecore.files import write_json
from stylecore.images import ImageTensor, fit_size, image_size, load_image, resize_image, save_image
from stylecore.losses.basis import Components
from stylecore.metrics import Distances, Yardstick, high_frequency_energy
from stylecore.presets import DEFAULT_PRESET, make_config
from stylecore.profiling import seconds_by_stage, warm_up

NUM_CURVE_POINTS = 12


@dataclass(frozen=True)
class Variant:
    """One way to do the job."""

    name: str  # unique in a comparison
    config: StylizeConfig

    @property
    def file_name(self) -> str:
        """Of its image: the name in letters that every file system takes."""
        return re.sub(r"[^\w.]+", "-", self.name.replace("%", "pct")) + ".png"


@dataclass(frozen=True)
class Record:
    """What came of a variant; JSON-ready."""

    name: str
    loss: str
    preset: str
    config: dict[str, Any]
    seconds: float  # the engine's own: targets and all evaluations, the yardstick in none of it
    seconds_by_stage: dict[str, float]  # medians of one evaluation, by `profiling.STAGES`
    style_distance: float
    content_distance: float
    witness_distance: float
    detail: float | None  # high-frequency energy over that of the same preset's `gram`; None without one
    curve: list[list[float]]  # [seconds, style distance] at about `NUM_CURVE_POINTS` steps, log-spaced
    num_steps: int  # evaluations made
    diverged: bool  # then the image is the last good one
    encoder_checksum: str
    image: str  # file name in the folder


@dataclass(frozen=True)
class Progress:
    """A step of a variant, or (step None) a variant that is done, with its record."""

    variant: Variant
    step: Step | None = None
    record: Record | None = None


def make_variants(
    options: Mapping[str, Any],
    losses: Sequence[str] = (),
    presets: Sequence[str] = (),
    components: Sequence[str] = (),
) -> list[Variant]:
    """The product losses x presets x components over `options` (fields of `StylizeConfig`); empty lists take theirs.

    A loss without components comes once, whatever the list. All variants get the `init` of the first, so that they
    share a start as well as a seed. A name tells what differs: `pca 12.5%`, or `gatys pca 12.5%` of several presets.

    Raises:
        OptionError: an unknown name (the nearest is suggested) or a value out of range.
    """
    base = {key: value for key, value in options.items() if key not in ("loss", "preset", "components")}
    losses = list(dict.fromkeys(losses)) or [options.get("loss", StylizeConfig.loss)]
    presets = list(dict.fromkeys(presets)) or [options.get("preset", DEFAULT_PRESET)]
    components = list(dict.fromkeys(components)) or [options.get("components", StylizeConfig.components)]
    variants: list[Variant] = []
    for preset, loss in itertools.product(presets, losses):
        for kept in components if loss in LOSSES_WITH_BASIS else components[:1]:
            config = make_config(preset, **base, loss=loss, components=kept)
            _check_components(config)
            words = [preset] * (len(presets) > 1) + [loss]
            words += [kept] * (loss in LOSSES_WITH_BASIS and len(components) > 1)
            variants.append(Variant(" ".join(words), config))
    return same_start(variants)


def same_start(variants: Sequence[Variant]) -> list[Variant]:
    """All variants with the init and the seed of the first."""
    first = variants[0].config
    return [
        Variant(variant.name, dataclasses.replace(variant.config, init=first.init, seed=first.seed))
        for variant in variants
    ]


def _check_components(config: StylizeConfig) -> None:
    """Refuse a count that a layer does not have now, not after the variants before this one have run."""
    if config.loss in LOSSES_WITH_BASIS:
        for layer in config.style_layers:
            Components.parse(config.components).number(torch.zeros(num_channels(layer)), layer)


def curve_steps(num_steps: int, num_points: int = NUM_CURVE_POINTS) -> set[int]:
    """At most `num_points` of the steps 1 .. num_steps, log-spaced, the first and the last always."""
    return {round(num_steps ** (index / (num_points - 1))) for index in range(num_points)}


class Comparison:
    """Runs variants into a folder and keeps their records; what is there already is not run again.

    `results_name` holds {environment, inputs, records}; it and the images are written as each variant finishes. A
    stored record counts if its config, its encoder's weights, all inputs' checksums and the environment are equal:
    seconds of two machines do not belong into one table.

    Args:
        content, styles: (1, 3, H, W) in [0, 1].
        variants: with unique names.
        folder: exists already.
        inputs: {name, checksum} of content and styles, as saved PNGs carry them.
        weights: an encoder's file, for all variants.
        results_name: the table's file in the folder.

    Raises:
        OptionError, NotEnoughMemoryError, WeightsError: before anything runs, if a variant is impossible.
    """

    def __init__(
        self,
        content: ImageTensor,
        styles: Sequence[ImageTensor],
        variants: Sequence[Variant],
        folder: str | Path,
        *,
        inputs: Sequence[Mapping[str, str]] = (),
        weights: str | Path | None = None,
        results_name: str = "results.json",
    ) -> None:
        if len({variant.file_name.lower() for variant in variants}) < len(variants):
            raise OptionError("Every variant of a comparison needs its own name.")
        self.content = content
        self.styles = tuple(styles)
        self.variants = list(variants)
        self.folder = Path(folder)
        self.inputs = [dict(record) for record in inputs]
        self.weights = weights
        self.results = self.folder / results_name
        self.device = find_device(variants[0].config.device)
        self._encoders: dict[tuple[str, ...], Encoder] = {}
        self._yardsticks: dict[tuple[int, int], Yardstick] = {}
        self._finished: dict[str, Record] = {}
        self._energies: dict[str, float] = {}  # of finished images, by variant
        for variant in variants:
            self._steps(variant)

    @cached_property
    def environment(self) -> dict[str, str | int]:
        """What the seconds were measured on."""
        return environment(self.device)

    @property
    def records(self) -> list[Record]:
        """Of the variants that are done, in the variants' order."""
        done = [self._finished[variant.name] for variant in self.variants if variant.name in self._finished]
        return [dataclasses.replace(record, detail=self._detail(record)) for record in done]

    def run(self) -> Iterator[Progress]:
        """Run what is missing, and yield every step and every finished variant; abandon the generator to stop."""
        stored = self._read()
        for variant in self.variants:
            record = stored.get(variant.name)
            if record is None or not self._adopt(variant, record):
                warm_up(self._encoder(variant.config), variant.config)
                yield from self._run_variant(variant)
            self.write()
            yield Progress(variant, record=self._finished[variant.name])

    def image(self, record: Record) -> ImageTensor:
        """The result as it was saved."""
        return load_image(self.folder / record.image)

    def _run_variant(self, variant: Variant) -> Iterator[Progress]:
        watch = _Watch(self._yardstick(variant.config), curve_steps(variant.config.num_steps))
        diverged = False
        try:
            for step in self._steps(variant):
                watch.look(step)
                yield Progress(variant, step)
            watch.finish(step)
        except DivergenceError as error:
            diverged = True
            watch.measure(error.last_good)
        image, config = watch.image.cpu(), variant.config
        encoder = self._encoder(config)
        settings = {"version": self.environment["stylecore"], "config": config.to_dict(), "inputs": self.inputs}
        stages = seconds_by_stage(image, self.content, self.styles, config, encoder)
        save_image(image, self.folder / variant.file_name, settings)
        self._finished[variant.name] = Record(
            name=variant.name,
            loss=config.loss,
            preset=config.preset,
            config=config.to_dict(),
            seconds=round(watch.seconds, 4),
            seconds_by_stage={stage: round(seconds, 6) for stage, seconds in stages.items()},
            style_distance=round(watch.distances.style, 5),
            content_distance=round(watch.distances.content, 5),
            witness_distance=round(watch.distances.witness, 5),
            detail=None,
            curve=watch.curve,
            num_steps=watch.num_steps,
            diverged=diverged,
            encoder_checksum=encoder.checksum,
            image=variant.file_name,
        )
        self._energies[variant.name] = high_frequency_energy(image)

    def _steps(self, variant: Variant) -> Iterator[Step]:
        return stylize_steps(self.content, self.styles, variant.config, encoder=self._encoder(variant.config))

    def _encoder(self, config: StylizeConfig) -> Encoder:
        key = (config.encoder, config.pooling, config.dtype)
        if key not in self._encoders:
            self._encoders[key] = prepare_encoder(config, self.weights)
        return self._encoders[key]

    def _yardstick(self, config: StylizeConfig) -> Yardstick:
        """At the size of the config's result, on the job's device."""
        size = fit_size(image_size(self.content), config.size)
        if size not in self._yardsticks:
            self._yardsticks[size] = Yardstick(self.content, self.styles, size, config.style_weights, self.device)
        return self._yardsticks[size]

    def _detail(self, record: Record) -> float | None:
        for other in self._finished.values():
            if other.loss == "gram" and other.preset == record.preset:
                return round(self._energies[record.name] / max(self._energies[other.name], 1e-12), 4)
        return None

    def _adopt(self, variant: Variant, record: Record) -> bool:
        """Take over a stored record if it is of this very job and its image is there."""
        expected = (variant.config.to_dict(), self._encoder(variant.config).checksum)
        if (record.config, record.encoder_checksum) != expected:
            return False
        try:
            self._energies[variant.name] = high_frequency_energy(self.image(record))
        except ImageError:
            return False
        self._finished[variant.name] = record
        return True

    def _read(self) -> dict[str, Record]:
        """Stored records by name; none if they are of other images or another machine, or unreadable."""
        try:
            stored = json.loads(self.results.read_text(encoding="utf-8"))
            records = [Record(**record) for record in stored["records"]]
            checksums = [record["checksum"] for record in stored["inputs"]]
            same = stored["environment"] == self.environment
        except (OSError, ValueError, TypeError, KeyError):
            return {}
        same &= checksums == [record["checksum"] for record in self.inputs]
        return {record.name: record for record in records} if same else {}

    def write(self, **more: Any) -> None:
        """Write the table, with further entries beside the records; an old one is replaced by a complete new one."""
        results = {
            "environment": self.environment,
            "inputs": self.inputs,
            "records": [dataclasses.asdict(record) for record in self.records],
            **more,
        }
        write_json(self.results, results)


class _Watch:
    """Measures some of a run's steps, outside the engine's seconds."""

    def __init__(self, yardstick: Yardstick, marks: set[int]) -> None:
        self.yardstick = yardstick
        self.marks = marks
        self.curve: list[list[float]] = []
        self.seconds = 0.0
        self.num_steps = 0
        self._waited = 0.0
        self.image: ImageTensor  # the last one measured, at the result's size
        self.distances: Distances

    def look(self, step: Step) -> None:
        """Note a step; measure it if it is one of the marks."""
        if step.index in self.marks:
            # A GPU may still be at work on this step: the wait for it is the engine's time, not the yardstick's.
            started = time.perf_counter()
            synchronize(step.image.device)
            self._waited += time.perf_counter() - started
        self.num_steps = step.index
        self.seconds = step.seconds + self._waited
        if step.index in self.marks:
            self.measure(step.image)
            self.curve.append([round(self.seconds, 4), round(self.distances.style, 5)])

    def finish(self, step: Step) -> None:
        """Measure the last step, if a budget or a goal ended the run between two marks."""
        if step.index not in self.marks:
            self.marks.add(step.index)
            self.look(step)

    def measure(self, image: ImageTensor) -> None:
        """Measure an image, brought to the result's size if it comes from a coarser scale."""
        self.image = resize_image(image, *self.yardstick.size)
        self.distances = self.yardstick.measure(self.image)
