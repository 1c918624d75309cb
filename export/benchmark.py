"""`stylecore export bench`: latency of extractors beside their error. This module measures; `report` shows.

The rules follow single-stream benchmarks: one image at a time, a warm-up, then at least so many runs and so many
seconds of each variant, in turns, so that a machine that slows down slows all of them. Every sample is kept.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import onnxruntime as ort
import torch

from stylecore.devices import environment, has_fast_bfloat16
from stylecore.encoders import ARCHITECTURES, architecture_of, load_encoder
from stylecore.images import ImageTensor, resize_image
from stylecore.isolation import isolated
from stylecore.measured_run import in_turns
from stylecore.sample_images import EVALUATION, load_photo, photo_path, style_path

from . import footprint, runtime
from .bundle import bundle_config, export_bundle
from .energy import EnergyMeter
from .extractor import ExtractorOptions, export_extractor, open_extractor
from .graphs import Extractor
from .precisions import variants
from .progress import Track, untracked
from .quantize import crops
from .record import Record, Row
from .runtime import Bundle, ModelError, load_image, run_session
from .sessions import (
    PROVIDERS,
    busiest_provider,
    check_provider,
    is_built_in,
    profile_providers,
    session_environment,
    session_on,
)
from .verify import relative_error

WARM_UP_RUNS = 5
TURN = 8  # runs of one variant before the next has its turn
ENERGY_SECONDS = 3.0  # of runs that energy is counted over
STYLE = "flow_strokes"  # of whole stylizations, beside the first evaluation photo
CASES: dict[str, dict[str, Any]] = {"pixels": {"pixels": True}, "batch4": {"batch": 4}}  # of `--all`: what else goes in
UNTIMED = [1.0]  # milliseconds of a row until it has its own
CUDA_MODES = ("bound", "graph")  # besides "arrays": buffers kept on the device; the same, replayed as a CUDA graph


@dataclass(frozen=True)
class Rules:
    """What makes a figure; a variant is done when it has both."""

    num_runs: int = 1024
    seconds: float = 60.0
    num_stylizations: int = 9  # whole ones, where seconds do not count
    size_px: int = 256  # of dynamic files and stylizations; fixed ones have their own
    sustained_minutes: float = 0.0  # without a pause, of each file after the turns; 0: none


QUICK = Rules(num_runs=64, seconds=6.0, num_stylizations=3)


class Timed(ABC):
    """Something that can be run again and again, each time on the next of the same images, in a circle."""

    row: Row

    @abstractmethod
    def run(self) -> Any:
        """One inference."""


class TimedFile(Timed):
    """An ONNX file under onnxruntime."""

    def __init__(self, path: Path, provider: str, num_threads: int, rules: Rules) -> None:
        file = open_extractor(path, provider, num_threads)
        self.session, options = file.session, file.options
        size = options.size or rules.size_px
        images = bench_images(size)
        self.feeds = [options.feeds(image) for image in images]
        self.next_feeds = itertools.cycle(self.feeds)
        error = _error(self.session, options, images)
        microseconds = profile_providers(path, provider, self.feeds[0])
        self.row = Row(
            name=path.stem,
            precision=options.precision,
            encoder=options.encoder,
            input="uint8" if options.pixels else "float32",
            batch=options.batch,
            num_threads=num_threads,
            provider=provider,
            actual=busiest_provider(microseconds),
            microseconds_by_provider=microseconds,
            provider_options=self.session.get_provider_options(),
            size_px=size,
            file_mib=path.stat().st_size / 2**20,
            error=error,
            milliseconds=UNTIMED,
            **_footprint(path, provider, num_threads, size),
        )

    def run(self) -> Any:
        return self.session.run(None, next(self.next_feeds))


class TimedStylization(Timed):
    """All of a stylization by a bundle: colours, targets, every step."""

    def __init__(self, folder: Path, num_threads: int, rules: Rules) -> None:
        self.bundle, self.size = Bundle(folder, num_threads), rules.size_px
        pictures = (photo_path(next(iter(EVALUATION))), style_path(STYLE))
        self.content, self.style = map(load_image, pictures)
        self.row = Row(
            name=folder.name,
            task="stylization",
            encoder=self.bundle.config["encoder"],
            num_threads=num_threads,
            provider="cpu",
            provider_options=self.bundle.step.get_provider_options(),
            size_px=self.size,
            file_mib=sum(file.stat().st_size for file in folder.iterdir() if file.is_file()) / 2**20,
            milliseconds=UNTIMED,
            **_stylization_footprint(folder, pictures, num_threads, self.size),
        )

    def run(self) -> Any:
        *_, last = self.bundle.stylize_steps(self.content, self.style, size=self.size)
        return last.image


class TimedOnDevice(Timed):
    """A file on CUDA whose inputs and outputs stay on the device; in mode "graph", replayed as a CUDA graph."""

    def __init__(self, arrays: TimedFile, path: Path, mode: str) -> None:
        graph = {"enable_cuda_graph": "1"} if mode == "graph" else {}
        self.session = session_on(path, "cuda", arrays.row.num_threads, graph)
        self.row = replace(arrays.row, mode=mode, provider_options=self.session.get_provider_options())
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
        self.row = Row(
            name=f"torch-{dtype_name}",
            precision=dtype_name,
            encoder=encoder,
            num_threads=num_threads,
            provider="torch",
            size_px=rules.size_px,
            milliseconds=UNTIMED,
        )
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
        relative_error(outputs[layer], full)
        for image in images
        for outputs in [run_session(session, options.layers, options.feeds(image))]
        for layer, full in zip(options.layers, reference(image), strict=True)
    )


def _footprint(path: Path, provider: str, num_threads: int, size_px: int) -> dict[str, Any]:
    """`footprint.measure` in a fresh process, and the seconds from its start to its first result."""
    started = time.time()
    found = _in_fresh_process(footprint.__name__, path.resolve(), provider, num_threads, size_px)
    return {"cold_start_seconds": found.pop("first_result_at") - started, **found}


def _stylization_footprint(folder: Path, pictures: Sequence[Path], num_threads: int, size_px: int) -> dict[str, Any]:
    """Of the bundle's program: seconds from its start to the picture, and what it holds."""
    with tempfile.TemporaryDirectory() as temporary:
        options = ["--models", folder.resolve(), "--size", size_px, "--threads", num_threads, "--json"]
        started = time.time()
        found = _in_fresh_process(runtime.__name__, *pictures, "-o", Path(temporary) / "out.png", *options)
        return {"cold_start_seconds": time.time() - started, "peak_memory_mib": found["peak_memory_mib"]}


def _in_fresh_process(module: str, *arguments: object) -> dict[str, Any]:
    """The JSON object that a module of this package prints."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    beside = Path(__file__).parents[1]  # where this package is found, whatever it is called
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=beside)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it was stopped, perhaps for want of memory"]
        raise ModelError(f"A process of its own could not run '{arguments[0]}': {said[-1][:200]}.")
    return dict(json.loads(done.stdout))


def bench_files() -> dict[str, ExtractorOptions]:
    """What `--all` makes, by name: every encoder in every precision, and the full one in all of `CASES`."""
    files = {
        name: ExtractorOptions(encoder=encoder, precision=precision)
        for name, (encoder, precision) in variants().items()
    }
    full = {name: options for name, options in files.items() if options.encoder in ARCHITECTURES}
    cases = {
        f"{name}-{case}": replace(options, **change) for name, options in full.items() for case, change in CASES.items()
    }
    return files | cases


def export_bench_files(folder: Path, track: Track = untracked) -> list[Path]:
    """All of `bench_files`, and the default bundle."""
    files = [export_extractor(options, folder / f"{name}.onnx", track) for name, options in bench_files().items()]
    return [*files, export_bundle(bundle_config(), folder / "bundle")]


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
) -> Record:
    """Measure every file on every provider with every number of threads, and torch beside them.

    Args:
        paths: of extractors, and of bundles' folders, which stylize on the CPU.

    Raises:
        ModelError: a file that is neither, an unknown provider, or one that did not really run.
    """
    rules = rules or Rules()
    bundles = [path for path in paths if path.is_dir()]
    files = [path for path in paths if path not in bundles]
    not_run = [_why_not(provider) for provider in PROVIDERS if provider not in providers]
    timed = [each for provider in providers for each in _timed_files(files, provider, threads, rules, allow_fallback)]
    timed += _timed_torch({each.row.encoder for each in timed}, threads, rules, not_run)
    timed += [TimedStylization(folder, number, rules) for folder in bundles for number in threads]
    _measure(timed, rules)
    return Record(
        kind="export-bench",
        environment=environment(torch.device("cpu")) | session_environment() | {"counts_energy": _counts_energy()},
        rules=asdict(rules),
        rows=[each.row for each in timed],
        not_run=not_run,
    )


def _counts_energy() -> bool:
    return EnergyMeter().joules is not None


def _timed_torch(
    encoders: Collection[str], threads: Sequence[int], rules: Rules, not_run: list[dict[str, str]]
) -> list[Timed]:
    dtypes = [torch.float32]
    if has_fast_bfloat16(torch.device("cpu")):
        dtypes.append(torch.bfloat16)
    else:  # emulated, it takes ten times as long as float32, and nobody would use it
        not_run.append({"provider": "torch bfloat16", "reason": "this CPU multiplies it no faster than float32"})
    full = sorted({architecture_of(encoder).name for encoder in encoders})
    return [TimedTorch(encoder, dtype, number, rules) for encoder in full for dtype in dtypes for number in threads]


def _measure(timed: Sequence[Timed], rules: Rules) -> None:
    """Fill the rows: in turns, what takes milliseconds apart from what takes seconds; then one after the other."""
    quick = [each for each in timed if each.row.task == "features"]
    whole = [each for each in timed if each.row.task == "stylization"]
    samples = in_turns(
        [each.run for each in quick],
        min_runs=rules.num_runs,
        min_seconds=rules.seconds,
        warm_up=WARM_UP_RUNS,
        turn=TURN,
    ) + in_turns([each.run for each in whole], min_runs=rules.num_stylizations)
    for each, seconds in zip([*quick, *whole], samples, strict=True):
        each.row.milliseconds = [1e3 * value for value in seconds]
        each.row.joules = _joules(each.run)
    if rules.sustained_minutes:
        for each in (each for each in timed if each.row.provider != "torch"):
            (seconds,) = in_turns([each.run], min_runs=1, min_seconds=60 * rules.sustained_minutes)
            each.row.sustained_milliseconds = [1e3 * value for value in seconds]


def _joules(run: Callable[[], object]) -> float | None:
    """Of one run, alone for a few seconds: what runs in turns cannot be told apart."""
    meter = EnergyMeter()
    if meter.joules is None:
        return None
    (seconds,) = in_turns([run], min_runs=1, min_seconds=ENERGY_SECONDS, warm_up=0)
    joules = meter.joules
    return None if joules is None else joules / len(seconds)


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
