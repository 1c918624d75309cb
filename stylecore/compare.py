"""Several variants of one job, from the same start, into one folder of images and one table of records."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from stylecore.config import StylizeConfig
from stylecore.devices import environment, find_device
from stylecore.encoders import Encoder, Layer
from stylecore.engine import Step, job_yardstick, prepare_encoder
from stylecore.errors import ImageError, OptionError, StylecoreError
from stylecore.files import plain_name, write_json
from stylecore.images import ImageTensor, load_image, save_image
from stylecore.job import Job, Source
from stylecore.losses import option_names
from stylecore.measured_run import MeasuredRun, curve_steps
from stylecore.metrics import Yardstick, high_frequency_energy
from stylecore.patches import PatchYardstick, job_patch_yardstick
from stylecore.presets import DEFAULT_PRESET, make_config
from stylecore.profiling import seconds_by_stage, warm_up


@dataclass(frozen=True)
class Variant:
    """One way to do the job."""

    name: str  # unique in a comparison
    config: StylizeConfig
    job: Job | None = None  # of pictures of its own; None: the comparison's

    @property
    def file_name(self) -> str:
        """Of its image: the name in letters that every file system takes."""
        return f"{plain_name(self.name)}.png"


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
    patch_distance: list[float]  # of the result's patches from the style's, and of the style's from the result's
    detail: float | None  # high-frequency energy over that of the same preset's `gram`, at its size; None without one
    curve: list[list[float]]  # [seconds, style distance] of some steps, log-spaced
    num_steps: int  # evaluations made
    diverged: bool  # then the image is the last good one
    encoder_checksum: str
    image: str  # file name in the folder
    inputs: list[dict[str, str]] | None = None  # of a variant with pictures of its own


@dataclass(frozen=True)
class Progress:
    """A step of a variant, or (step None) a variant that has ended: with its record, or with none where it failed."""

    variant: Variant
    step: Step | None = None
    record: Record | None = None


def make_variants(
    options: Mapping[str, Any],
    losses: str | Sequence[str] = (),
    presets: str | Sequence[str] = (),
    components: str | Sequence[str] = (),
    style_scales: Sequence[float] = (),
) -> list[Variant]:
    """The product losses x presets x components x style scales over `options` (fields of `StylizeConfig`); empty lists
    take theirs, and a text is a list of one.

    A loss without components comes once, whatever the list. All variants get the `init` of the first, so that they
    share a start as well as a seed. A name tells what differs: `pca 12.5%`, or `gatys pca 12.5%` of several presets.

    Raises:
        OptionError: an unknown name (the nearest is suggested) or a value out of range.
    """
    listed = {"loss", "preset", "components", "style_scale"}
    base = {key: value for key, value in options.items() if key not in listed}
    if style_scales and options.get("style_size"):
        raise OptionError("style_size fixes the styles' size: leave it out to compare style scales.")
    scales = list(dict.fromkeys(style_scales)) or [options.get("style_scale", StylizeConfig.style_scale)]
    losses = _names(losses) or [options.get("loss", StylizeConfig.loss)]
    presets = _names(presets) or [options.get("preset", DEFAULT_PRESET)]
    components = _names(components) or [options.get("components", StylizeConfig.components)]
    variants: list[Variant] = []
    for preset, loss in itertools.product(presets, losses):
        has_components = "components" in option_names(loss)
        for kept, scale in itertools.product(components if has_components else components[:1], scales):
            config = make_config(preset, **base, loss=loss, components=kept, style_scale=scale)
            check_components(config)
            words = [preset] * (len(presets) > 1) + [loss]
            words += [str(kept)] * (has_components and len(components) > 1)
            words += [f"scale {config.style_scale:g}"] * (len(scales) > 1)
            variants.append(Variant(" ".join(words), config))
    return same_start(variants)


def _names(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(dict.fromkeys(names))


def same_start(variants: Sequence[Variant], fields: Collection[str] = ("init", "seed")) -> list[Variant]:
    """All variants with these fields of the first."""
    first = {field: getattr(variants[0].config, field) for field in fields}
    return [dataclasses.replace(variant, config=variant.config.replace(**first)) for variant in variants]


def check_components(config: StylizeConfig) -> None:
    """Refuse a count that a layer does not have now, not after the variants before this one have run."""
    if "components" in option_names(config.loss):
        for layer in config.style_layers:
            config.components.number(torch.zeros(Layer.parse(layer).num_channels, dtype=torch.float32), layer)


class Comparison:
    """Runs variants into a folder and keeps their records; what is there already is not run again.

    `results_name` holds {environment, inputs, records}; it and the images are written as each variant finishes. A
    stored record counts if its config, its encoder's weights, all inputs' checksums and the environment are equal:
    seconds of two machines do not belong into one table.

    Args:
        job: pictures and sources; its config is the variants' to replace.
        variants: with unique names.
        folder: exists already.
        weights: an encoder's file, for all variants.
        results_name: the table's file in the folder.
        encoder: a loaded one for all variants; default: as each config asks.
        goes_on: a variant that fails leaves its sentence in `troubles`, and the others run.

    Raises:
        OptionError, NotEnoughMemoryError, WeightsError: before anything runs, if a variant is impossible, unless
            the comparison goes on.
    """

    def __init__(
        self,
        job: Job,
        variants: Sequence[Variant],
        folder: str | Path,
        *,
        weights: str | Path | None = None,
        results_name: str = "results.json",
        encoder: Encoder | None = None,
        goes_on: bool = False,
    ) -> None:
        if isinstance(variants, str) or not variants or not all(isinstance(each, Variant) for each in variants):
            raise OptionError("A comparison runs a list of Variants: make it with make_variants().")
        if len({variant.file_name.lower() for variant in variants}) < len(variants):
            raise OptionError("Every variant of a comparison needs its own name.")
        self.job = job
        self.variants = list(variants)
        self.goes_on = goes_on
        self.troubles: dict[str, str] = {}  # by variant: why it has no record
        self.folder = Path(folder)
        self.weights = weights
        self.results = self.folder / results_name
        self.device = find_device(variants[0].config.device)
        self._given_encoder = encoder
        self._yardsticks: dict[tuple[tuple[Source, ...], tuple[int, int]], tuple[Yardstick, PatchYardstick]] = {}
        self._finished: dict[str, Record] = {}
        self._energies: dict[str, float] = {}  # of finished images, by variant
        for variant in variants:
            with self._noting(variant):
                self._make_run(variant)

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
            if variant.name not in self.troubles:
                with self._noting(variant):
                    record = stored.get(variant.name)
                    if record is None or not self._adopt(variant, record):
                        warm_up(self._encoder(variant.config), variant.config)
                        yield from self._run_variant(variant)
                    self.write()
            yield Progress(variant, record=self._finished.get(variant.name))

    @contextmanager
    def _noting(self, variant: Variant) -> Iterator[None]:
        """What goes wrong with a variant, where the others go on."""
        try:
            yield
        except StylecoreError as error:
            if not self.goes_on:
                raise
            self.troubles[variant.name] = str(error)

    def job_of(self, variant: Variant) -> Job:
        """What it does."""
        return (variant.job or self.job).with_config(variant.config)

    def image(self, record: Record) -> ImageTensor:
        """The result as it was saved."""
        return load_image(self.folder / record.image)

    def _run_variant(self, variant: Variant) -> Iterator[Progress]:
        run = self._make_run(variant, curve_steps(variant.config.num_steps))
        for step in run:
            yield Progress(variant, step)
        distances, image = run.distances, run.image
        patches = self._yardsticks_of(run.job)[1].measure(image)
        encoder = self._encoder(variant.config)
        stages = seconds_by_stage(image, run.job, encoder)
        save_image(image, self.folder / variant.file_name, run.job.settings())
        self._energies[variant.name] = high_frequency_energy(image)
        self._finished[variant.name] = Record(
            name=variant.name,
            loss=variant.config.loss,
            preset=variant.config.preset,
            config=variant.config.to_dict(),
            seconds=round(run.seconds, 4),
            seconds_by_stage={stage: round(seconds, 6) for stage, seconds in stages.items()},
            style_distance=round(distances.style, 5),
            content_distance=round(distances.content, 5),
            witness_distance=round(distances.witness, 5),
            patch_distance=[round(patches.to_style, 5), round(patches.from_style, 5)],
            detail=None,
            curve=[[round(point.seconds, 4), round(point.distances.style, 5)] for point in run.curve],
            num_steps=run.num_steps,
            diverged=run.reason == "diverged",
            encoder_checksum=encoder.checksum,
            image=variant.file_name,
            inputs=_own_inputs(variant),
        )

    def _make_run(self, variant: Variant, marks: Collection[int] = ()) -> MeasuredRun:
        job = self.job_of(variant)
        yardstick = self._yardsticks_of(job)[0] if marks else None
        return MeasuredRun(job, encoder=self._encoder(variant.config), marks=marks, yardstick=yardstick)

    def _encoder(self, config: StylizeConfig) -> Encoder:
        return self._given_encoder or prepare_encoder(config, self.weights)

    def _yardsticks_of(self, job: Job) -> tuple[Yardstick, PatchYardstick]:
        """At the size of the job's result, on its device; variants of one size and the same pictures share both."""
        key = (job.sources, job.size)
        if key not in self._yardsticks:
            self._yardsticks[key] = job_yardstick(job, self.device), job_patch_yardstick(job, self.device)
        return self._yardsticks[key]

    def _detail(self, record: Record) -> float | None:
        like = ("gram", record.preset, record.config["size"], record.inputs)
        for other in self._finished.values():
            if (other.loss, other.preset, other.config["size"], other.inputs) == like:
                return round(self._energies[record.name] / max(self._energies[other.name], 1e-12), 4)
        return None

    def _adopt(self, variant: Variant, record: Record) -> bool:
        """Take over a stored record if it is of this very job and its image is there."""
        expected = (variant.config.to_dict(), self._encoder(variant.config).checksum, _own_inputs(variant))
        if (record.config, record.encoder_checksum, record.inputs) != expected:
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
        same &= checksums == [source.checksum for source in self.job.sources]
        return {record.name: record for record in records} if same else {}

    def write(self, **more: Any) -> None:
        """Write the table, with further entries beside the records; an old one is replaced by a complete new one."""
        results = {
            "environment": self.environment,
            "inputs": self.job.inputs(),
            "records": [dataclasses.asdict(record) for record in self.records],
            **more,
        }
        write_json(self.results, results)


def _own_inputs(variant: Variant) -> list[dict[str, str]] | None:
    return None if variant.job is None else variant.job.inputs()
