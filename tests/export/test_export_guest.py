"""Export in somebody's program: it neither depends on what its host has set for torch, nor changes it."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from stylecore_export.benchmark import Rules, run_bench
from stylecore_export.bundle import bundle_config, export_bundle
from stylecore_export.extractor import ExtractorOptions, export_extractor
from stylecore_export.verify import verify

BRIEF = Rules(num_runs=8, seconds=0.0, size_px=64)
FEW = {"content_layers": ("relu1_1",), "style_layers": ("relu1_1",), "style_layer_weights": (1.0,)}


@contextmanager
def host() -> Iterator[None]:
    """A program that has set everything at once."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
            yield
    finally:
        torch.set_default_dtype(before)


def state() -> tuple[Any, ...]:
    """What a host may have set, and would miss."""
    loggers = [logging.getLogger(name).level for name in ("", "torch.onnx", "onnxscript")]
    return (
        torch.random.get_rng_state().tolist(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_device(),
        list(warnings.filters),
        logging.root.manager.disable,
        loggers,
    )


@pytest.fixture
def work(tmp_path: Path) -> dict[str, Callable[[], Any]]:
    """What export does, by name, each with a result that can be compared."""
    file = tmp_path / "x.onnx"
    extractor = ExtractorOptions(layers=("relu2_1",), precision="int8", size=64)
    recipe = bundle_config(encoder="vgg16", loss="pca", components="50%", history_size=2, **FEW)
    return {
        "extractor": lambda: export_extractor(extractor, file).read_bytes(),
        "verify": lambda: verify(file).checks,
        "bench": lambda: [row.error for row in run_bench([file], threads=[1], rules=BRIEF).rows],
        "bundle": lambda: [path.read_bytes() for path in sorted(export_bundle(recipe, tmp_path / "bundle").iterdir())],
    }


@pytest.mark.usefixtures("tiny_everywhere")
def test_a_host_makes_no_difference_and_sees_none(work: dict[str, Callable[[], Any]]) -> None:
    alone = {name: do() for name, do in work.items()}
    with host():
        before = state()
        for name, do in work.items():
            assert do() == alone[name], name
            assert state() == before, name


@pytest.mark.usefixtures("tiny_everywhere")
def test_the_bench_leaves_the_hosts_threads_as_they_were(work: dict[str, Callable[[], Any]]) -> None:
    work["extractor"]()
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        work["bench"]()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
