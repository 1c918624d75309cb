"""What the tests of export share: a tiny encoder in the place of every named one, and the command line."""

import copy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

import export.benchmark
import export.bundle
import export.extractor
import export.verify
from export.cli import main
from stylecore.encoders.vgg import Encoder

ROOT = Path(__file__).parent.parent


@pytest.fixture
def tiny_everywhere(tiny_encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> Encoder:
    """`load_encoder` gives the tiny encoder, whatever it is asked for; of the photos two are fitted to."""
    tiny_encoder.checksum = "tiny"

    def load(
        name: str = "vgg16", *, pooling: str = "max", dtype: torch.dtype = torch.float32, device: str = "cpu"
    ) -> Encoder:
        loaded = copy.deepcopy(tiny_encoder)
        loaded.pooling, loaded.name = pooling, name
        loaded.convs.to(dtype)
        return loaded.to(device)

    for module in (export.benchmark, export.bundle, export.extractor, export.verify):
        monkeypatch.setattr(module, "load_encoder", load)
    monkeypatch.setattr("export.quantize.FITTING", ["chelsea", "coffee"])
    return tiny_encoder


def refused(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 2) -> str:
    """Run a command that must fail, and return its one line on stderr."""
    assert main([str(argument) for argument in arguments]) == status
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("export: ")
    assert output.err.count("\n") == 1
    return output.err


def without(modules: Sequence[str], script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh process where `modules` cannot be imported."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({list(modules)}))\n"
    command = [sys.executable, "-c", blocked + script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def leaves_nothing_behind(folder: Path) -> bool:
    """Whether no temporary file is left."""
    return not [path for path in folder.iterdir() if path.name.startswith(".") or path.suffix == ".part"]
