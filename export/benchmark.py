"""`python -m export bench`: latency of extractors beside their error. This module measures; `report` shows.

The rules follow single-stream benchmarks: one image at a time, a warm-up, then at least so many runs and so many
seconds of each variant, in turns, so that a machine that slows down slows all of them. Every sample is kept.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch

from export.extractor import ExtractorOptions
from export.graphs import Extractor
from export.quantize import crops
from export.runtime import ModelError
from export.sessions import PROVIDERS, actual_provider, check_provider, extractor_facts, is_built_in, ran_on, session_on
from export.verify import relative_error
from stylecore.devices import environment
from stylecore.encoders.vgg import architecture_of, load_encoder
from stylecore.images import ImageTensor, resize_image
from stylecore.sample_images import EVALUATION, load_photo

WARM_UP_RUNS = 5
TURN = 8  # runs of one variant before the next has its turn
CUDA_MODES = ("arrays", "bound", "graph")  # numpy in and out; buffers kept on the device; the same, replayed as a graph


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
    mode: str = "arrays"
    actual: str = "torch"  # the provider that did most of the work, by onnxruntime's profile
    microseconds_by_provider: dict[str, int] = field(default_factory=dict)
    size_px: int = 256
    file_mib: float | None = None
    error: float = float("nan")  # largest over layers and images, against the full encoder in torch, float32
    session_seconds: float | None = None
    first_run_seconds: float | None = None
    peak_memory_mib: float | None = None
    milliseconds: list[float] = field(default_factory=list)


class Variant(ABC):
    """Something that can be run again and again on the same images."""

    row: Row

    @abstractmethod
    def run(self, index: int) -> Any:
        """One inference of the image of that index, modulo their number."""


class FileVariant(Variant):
    """An ONNX file under onnxruntime."""

    def __init__(self, path: Path, provider: str, num_threads: int, rules: Rules) -> None:
        self.session = session_on(path, provider, num_threads)
        options = ExtractorOptions.from_metadata(extractor_facts(self.session, path))
        size = options.size or rules.size_px
        images = bench_images(size)
        self.feeds = [options.feeds(image) for image in images]
        spent = ran_on(path, provider, self.feeds[0])
        self.row = Row(
            name=path.stem,
            precision=options.precision,
            encoder=options.encoder,
            num_threads=num_threads,
            provider=provider,
            actual=actual_provider(spent),
            microseconds_by_provider=spent,
            size_px=size,
            file_mib=path.stat().st_size / 2**20,
            error=_error(self.session, options, images),
            **_footprint(path, provider, num_threads, size),
        )

    def run(self, index: int) -> Any:
        return self.session.run(None, self.feeds[index % len(self.feeds)])


class BoundVariant(Variant):
    """A file on CUDA whose inputs and outputs stay on the device; with `graph`, replayed as a CUDA graph."""

    def __init__(self, arrays: FileVariant, path: Path, mode: str) -> None:
        graph = {"enable_cuda_graph": "1"} if mode == "graph" else {}
        self.session = session_on(path, "cuda", arrays.row.num_threads, graph)
        self.row = Row(**asdict(arrays.row) | {"mode": mode, "milliseconds": []})
        self.feeds = arrays.feeds
        self.inputs = {
            name: ort.OrtValue.ortvalue_from_numpy(value, "cuda", 0) for name, value in self.feeds[0].items()
        }
        self.binding = self.session.io_binding()
        for name, value in self.inputs.items():
            self.binding.bind_ortvalue_input(name, value)
        # A graph needs outputs at fixed addresses, so they are given shapes here.
        for node, value in zip(self.session.get_outputs(), arrays.run(0), strict=True):
            self.binding.bind_ortvalue_output(node.name, ort.OrtValue.ortvalue_from_numpy(value, "cuda", 0))

    def run(self, index: int) -> Any:
        for name, value in self.feeds[index % len(self.feeds)].items():
            self.inputs[name].update_inplace(value)
        self.session.run_with_iobinding(self.binding)
        self.binding.synchronize_outputs()


class TorchVariant(Variant):
    """The full encoder in torch eager, the yardstick."""

    def __init__(self, encoder: str, dtype: torch.dtype, num_threads: int, rules: Rules) -> None:
        options = ExtractorOptions(encoder=encoder)
        name = str(dtype).removeprefix("torch.")
        self.images = bench_images(rules.size_px)
        self.module = Extractor(load_encoder(encoder, dtype=dtype), options.layers)
        self.row = Row(f"torch-{name}", name, encoder, num_threads, "torch", size_px=rules.size_px)
        reference = options.reference(load_encoder(encoder))
        self.row.error = max(
            relative_error(value.float().numpy(), same)
            for index, image in enumerate(self.images)
            for value, same in zip(self.run(index), reference(image), strict=True)
        )

    def run(self, index: int) -> Any:
        if torch.get_num_threads() != self.row.num_threads:
            torch.set_num_threads(self.row.num_threads)
        with torch.inference_mode():
            return self.module(self.images[index % len(self.images)])


@lru_cache(maxsize=4)
def bench_images(size_px: int) -> list[ImageTensor]:
    """The evaluation photos, whole and in parts: eight different real images (1, 3, size, size)."""
    return [resize_image(crop, size_px, size_px) for name in EVALUATION for crop in crops(load_photo(name))]


def _error(session: ort.InferenceSession, options: ExtractorOptions, images: Sequence[ImageTensor]) -> float:
    reference = options.reference(load_encoder(architecture_of(options.encoder)))
    return max(
        relative_error(value, full)
        for image in images
        for value, full in zip(session.run(None, options.feeds(image)), reference(image), strict=True)
    )


def _footprint(path: Path, provider: str, num_threads: int, size_px: int) -> dict[str, Any]:
    """`footprint.measure` in a fresh process."""
    arguments = [str(path.resolve()), provider, str(num_threads), str(size_px)]
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "export.footprint", *arguments], capture_output=True, text=True, check=False, cwd=root
    )
    if done.returncode:
        raise ModelError(f"'{path}' could not be run in a process of its own: {done.stderr.strip()[-200:]}")
    return dict(json.loads(done.stdout))


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
    variants = [
        variant for provider in providers for variant in _variants(paths, provider, threads, rules, allow_fallback)
    ]
    encoders = {architecture_of(variant.row.encoder) for variant in variants}
    variants += [
        TorchVariant(encoder, dtype, number, rules)
        for encoder in sorted(encoders)
        for dtype in (torch.float32, torch.bfloat16)
        for number in threads
    ]
    _measure(variants, rules)
    return {
        "kind": "export-bench",
        "environment": environment(torch.device("cpu")) | {"onnxruntime": ort.__version__, "numpy": np.__version__},
        "rules": asdict(rules),
        "rows": [asdict(variant.row) for variant in variants],
        "not_run": not_run,
    }


def _why_not(provider: str) -> dict[str, str]:
    reason = "not asked for" if is_built_in(provider) else "this onnxruntime was built without it"
    return {"provider": provider, "reason": reason}


def _variants(
    paths: Sequence[Path], provider: str, threads: Sequence[int], rules: Rules, allow_fallback: bool
) -> list[Variant]:
    check_provider(provider)
    variants: list[Variant] = []
    for path in paths:
        for number in threads:
            arrays = FileVariant(path, provider, number, rules)
            if arrays.row.actual != provider and not allow_fallback:
                raise ModelError(
                    f"'{path}' was asked to run on {provider} but ran on {arrays.row.actual}: install what {provider} "
                    "needs, or allow it with --allow-fallback."
                )
            variants.append(arrays)
            if arrays.row.actual == "cuda":
                variants += [BoundVariant(arrays, path, mode) for mode in CUDA_MODES[1:]]
    return variants


def _measure(variants: Sequence[Variant], rules: Rules) -> None:
    """Fill the rows' samples, in turns."""
    for variant in variants:
        for index in range(WARM_UP_RUNS):
            variant.run(index)
    waiting = list(variants)
    while waiting:
        for variant in waiting:
            samples = variant.row.milliseconds
            for _ in range(TURN):
                started = time.perf_counter()
                variant.run(len(samples))
                samples.append((time.perf_counter() - started) * 1e3)
        waiting = [variant for variant in waiting if not _is_done(variant.row, rules)]


def _is_done(row: Row, rules: Rules) -> bool:
    return len(row.milliseconds) >= rules.num_runs and sum(row.milliseconds) >= rules.seconds * 1e3
