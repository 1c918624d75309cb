"""Other people's runtimes: what they compute is what onnxruntime does, and one that is missing is said to be."""

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from stylecore_export.cli import main
from stylecore_export.runtime import ModelError
from stylecore_export.runtimes import RUNTIMES, MissingRuntimeError, run_on
from stylecore_export.verify import relative_error

Refused = Callable[..., str]
FEEDS = [{"image": np.random.default_rng(seed).random((1, 3, 48, 64), np.float32)} for seed in range(2)]


PACKAGES = {"openvino": "openvino", "litert": "litert_torch"}


def is_there(name: str) -> bool:
    if name in PACKAGES:
        return importlib.util.find_spec(PACKAGES[name]) is not None
    return name != "web" or bool(shutil.which("node") and Path("node_modules/onnxruntime-web").exists())


@pytest.mark.usefixtures("tiny_everywhere")
@pytest.mark.parametrize("name", RUNTIMES)
def test_every_runtime_that_is_there_computes_the_same(name: str, tiny_file: Path) -> None:
    if not is_there(name):
        with pytest.raises(MissingRuntimeError, match=r"install"):
            run_on(name, tiny_file, FEEDS)
        return
    expected, ran = run_on("onnxruntime", tiny_file, FEEDS), run_on(name, tiny_file, FEEDS, 2)
    assert len(ran.outputs) == 2
    assert len(ran.milliseconds) == 4
    for found, wanted in zip(ran.outputs, expected.outputs, strict=True):
        assert max(map(relative_error, found, wanted)) < 1e-5


@pytest.mark.usefixtures("tiny_everywhere")
def test_verify_takes_another_runtimes_numbers(tiny_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tiny_file), "--runtime", "reference"]) == 0
    assert "within" in capsys.readouterr().out


def test_a_runtime_that_is_unknown_or_does_not_run_the_file_is_said_in_one_line(
    tiny_file: Path, tmp_path: Path, refused: Refused
) -> None:
    assert "did you mean 'openvino'?" in refused("verify", tiny_file, "--runtime", "openvin")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(tiny_file.read_bytes()[:200])
    with pytest.raises(ModelError, match="ONNX reference evaluator does not run"):
        run_on("reference", broken, FEEDS)
