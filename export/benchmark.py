"""`stylecore export bench`: latency of extractors beside their error. This module measures; `report` shows.

The rules follow single-stream benchmarks: one image at a time, a warm-up, then at least so many runs and so many
seconds of each variant, in turns, so that a machine that slows down slows all of them. Every sample is kept.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import onnxruntime as ort
import torch

from stylecore.devices import environment, has_fast_bfloat16
from stylecore.encoders import architecture_of, load_encoder
from stylecore.images import ImageTensor, resize_image
from stylecore.isolation import isolated
from stylecore.measured_run import in_turns
from stylecore.sample_images import EVALUATION, load_photo

from . import footprint
from .extractor import ExtractorOptions, export_extractor
from .graphs import Extractor
from .precisions import variants
from .quantize import crops
from .runtime import ModelError
from .sessions import (
    PROVIDERS,
    busiest_provider,
    check_provider,
    is_built_in,
    profile_providers,
    read_extractor_metadata,
    session_environment,
    session_on,
)
from .verify import relative_error

WARM_UP_RUNS = 5
TURN = 8  # runs of one variant before the next has its turn
CUDA_MODES = ("bound", "graph")  # besides "arrays": buffers kept on the device; the same, replayed as a CUDA graph


@dataclass(frozen=True)
class Rules:
    """What makes a figure; a variant is done when it has both."""

    num_runs: int = 1024
    seconds: float = 60.0
    size_px: int = 256  # of dynamic files; fixed ones have their own


QUICK = Rules(num_runs=64, seconds=6.0)


@dataclass
class Row:
    """One variant: what was asked, what ran, and every sample."""

    name: str
    precision: str
    encoder: str
    num_threads: int
    provider: str  # asked for; "torch" for the yardstick rows
    mode: str = "arrays"  # numpy arrays in and out, or one of CUDA_MODES
    actual: str = "torch"  # the provider that did most of the work, by onnxruntime's profile
    microseconds_by_provider: dict[str, int] = field(default_factory=dict)
    size_px: int = 256
    file_mib: float | None = None
    error: float = float("nan")  # largest over layers and images, against the full encoder in torch, float32
    session_seconds: float | None = None
    first_run_seconds: float | None = None
    peak_memory_mib: float | None = None
    milliseconds: list[float] = field(default_factory=list)


class Timed(ABC):
    """Something that can be run again and again, each time on the next of the same images, in a circle."""

    row: Row

    @abstractmethod
    def run(self) -> Any:
        """One inference."""


class TimedFile(Timed):
    """An ONNX file under onnxruntime."""

    def __init__(self, path: Path, provider: str, num_threads: int, rules: Rules) -> None:
        self.session = session_on(path, provider, num_threads)
        options = ExtractorOptions.from_metadata(read_extractor_metadata(self.session, path))
        size = options.size or rules.size_px
        images = bench_images(size)
        self.feeds = [options.feeds(image) for image in images]
        self.next_feeds = itertools.cycle(self.feeds)
        microseconds = profile_providers(path, provider, self.feeds[0])
        self.row = Row(
            name=path.stem,
            precision=options.precision,
            encoder=options.encoder,
            num_threads=num_threads,
            provider=provider,
            actual=busiest_provider(microseconds),
            microseconds_by_provider=microseconds,
            size_px=size,
            file_mib=path.stat().st_size / 2**20,
            error=_error(self.session, options, images),
            **_footprint(path, provider, num_threads, size),
        )

    def run(self) -> Any:
        return self.session.run(None, next(self.next_feeds))


class TimedOnDevice(Timed):
    """A file on CUDA whose inputs and outputs stay on the device; in mode "graph", replayed as a CUDA graph."""

    def __init__(self, arrays: TimedFile, path: Path, mode: str) -> None:
        graph = {"enable_cuda_graph": "1"} if mode == "graph" else {}
        self.session = session_on(path, "cuda", arrays.row.num_threads, graph)
        self.row = replace(arrays.row, mode=mode, milliseconds=[])
        self.next_feeds = itertools.cycle(arrays.feeds)
        self.inputs = {
            name: ort.OrtValue.ortvalue_from_numpy(value, "cuda", 0) for name, value in arrays.feeds[0].items()
        }
        self.binding = self.session.io_binding()
        for name, value in self.inputs.items():
            self.binding.bind_ortvalue_input(name, value)
        # A graph needs outputs at fixed addresses, so they are given shapes here.
        for node, value in zip(self.session.get_outputs(), arrays.run(), strict=True):
            self.binding.bind_ortvalue_output(node.name, ort.OrtValue.ortvalue_from_numpy(value, "cuda", 0))

    def run(self) -> Any:
        for name, value in next(self.next_feeds).items():
            self.inputs[name].update_inplace(value)
        self.session.run_with_iobinding(self.binding)
        self.binding.synchronize_outputs()


class TimedTorch(Timed):
    """The full encoder in torch eager, the yardstick."""

    def __init__(self, encoder: str, dtype: torch.dtype, num_threads: int, rules: Rules) -> None:
        options = ExtractorOptions(encoder=encoder)
        images = bench_images(rules.size_px)
        self.next_image = itertools.cycle(images)
        self.module = Extractor(load_encoder(encoder, dtype=dtype), options.layers)
        dtype_name = str(dtype).removeprefix("torch.")
        self.row = Row(f"torch-{dtype_name}", dtype_name, encoder, num_threads, "torch", size_px=rules.size_px)
        reference = options.reference(load_encoder(encoder))
        self.row.error = max(
            relative_error(value.float().numpy(), same)
            for image in images
            for value, same in zip(self.run(), reference(image), strict=True)
        )

    def run(self) -> Any:
        if torch.get_num_threads() != self.row.num_threads:
            torch.set_num_threads(self.row.num_threads)
        with torch.inference_mode():
            return self.module(next(self.next_image))


@lru_cache(maxsize=4)
def bench_images(size_px: int) -> list[ImageTensor]:
    """The evaluation photos, whole and in parts: eight different real images (1, 3, size, size)."""
    return [resize_image(crop, size_px, size_px) for name in EVALUATION for crop in crops(load_photo(name))]


def _error(session: ort.InferenceSession, options: ExtractorOptions, images: Sequence[ImageTensor]) -> float:
    reference = options.reference(load_encoder(architecture_of(options.encoder).name))
    return max(
        relative_error(value, full)
        for image in images
        for value, full in zip(session.run(None, options.feeds(image)), reference(image), strict=True)
    )


def _footprint(path: Path, provider: str, num_threads: int, size_px: int) -> dict[str, Any]:
    """`footprint.measure` in a fresh process."""
    arguments = [str(path.resolve()), provider, str(num_threads), str(size_px)]
    command = [sys.executable, "-m", footprint.__name__, *arguments]
    beside = Path(__file__).parents[1]  # where this package is found, whatever it is called
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=beside)
    if done.returncode:
        raise ModelError(f"'{path}' could not be run in a process of its own: {done.stderr.strip()[-200:]}")
    return dict(json.loads(done.stdout))


def export_variants(folder: Path) -> list[Path]:
    """Every encoder of `precisions.variants` in every precision, as a file each."""
    return [
        export_extractor(ExtractorOptions(encoder=encoder, precision=precision), folder / f"{name}.onnx")
        for name, (encoder, precision) in variants().items()
    ]


@contextmanager
def _keeping_threads() -> Iterator[None]:
    """Torch's number of threads is the whole process's: put back as it was."""
    number = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(number)


@isolated()
@_keeping_threads()
def run_bench(
    paths: Sequence[Path],
    *,
    providers: Sequence[str] = ("cpu",),
    threads: Sequence[int] = (1, 2),
    rules: Rules | None = None,
    allow_fallback: bool = False,
) -> dict[str, Any]:
    """Measure every file on every provider with every number of threads, and torch beside them.

    Returns:
        the record, ready for JSON: `environment`, `rules`, `rows` with raw samples, and `not_run` with reasons.

    Raises:
        ModelError: a file that is no extractor, an unknown provider, or one that did not really run.
    """
    rules = rules or Rules()
    not_run = [_why_not(provider) for provider in PROVIDERS if provider not in providers]
    timed = [each for provider in providers for each in _timed_files(paths, provider, threads, rules, allow_fallback)]
    encoders = {architecture_of(each.row.encoder).name for each in timed}
    dtypes = [torch.float32]
    if has_fast_bfloat16(torch.device("cpu")):
        dtypes.append(torch.bfloat16)
    else:  # emulated, it takes ten times as long as float32, and nobody would use it
        not_run.append({"provider": "torch bfloat16", "reason": "this CPU multiplies it no faster than float32"})
    timed += [
        TimedTorch(encoder, dtype, number, rules)
        for encoder in sorted(encoders)
        for dtype in dtypes
        for number in threads
    ]
    runs = [each.run for each in timed]
    samples = in_turns(runs, min_runs=rules.num_runs, min_seconds=rules.seconds, warm_up=WARM_UP_RUNS, turn=TURN)
    for each, seconds in zip(timed, samples, strict=True):
        each.row.milliseconds = [1e3 * value for value in seconds]
    return {
        "kind": "export-bench",
        "environment": environment(torch.device("cpu")) | session_environment(),
        "rules": asdict(rules),
        "rows": [asdict(each.row) for each in timed],
        "not_run": not_run,
    }


def _why_not(provider: str) -> dict[str, str]:
    reason = "not asked for" if is_built_in(provider) else "this onnxruntime was built without it"
    return {"provider": provider, "reason": reason}


def _timed_files(
    paths: Sequence[Path], provider: str, threads: Sequence[int], rules: Rules, allow_fallback: bool
) -> list[Timed]:
    check_provider(provider)
    timed: list[Timed] = []
    for path in paths:
        for number in threads:
            arrays = TimedFile(path, provider, number, rules)
            if arrays.row.actual != provider and not allow_fallback:
                raise ModelError(
                    f"'{path}' was asked to run on {provider} but ran on {arrays.row.actual}: install what {provider} "
                    "needs, or allow it with --allow-fallback."
                )
            timed.append(arrays)
            if arrays.row.actual == "cuda":
                timed += [TimedOnDevice(arrays, path, mode) for mode in CUDA_MODES]
    return timed
