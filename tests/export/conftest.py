"""What the tests of export share: tiny encoders in the place of every named one, and files made of them once."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from paths import ROOT
from stylecore_export import benchmark, bundle, extractor, quantize, runtimes, verify, webpage
from stylecore_export.cli import main
from torch import nn

from stylecore.config import StylizeConfig
from stylecore.encoders import Encoder
from stylecore.errors import OptionError

TempPathFactory = pytest.TempPathFactory
Refused = Callable[..., str]
RunWithout = Callable[..., subprocess.CompletedProcess[str]]


@contextmanager
def loading(encoder: Encoder) -> Iterator[Encoder]:
    """Within, `load_encoder` gives that encoder, whatever it is asked for; few pictures are fitted to."""

    def load(
        name: str = "vgg16", *, pooling: str = "max", dtype: torch.dtype = torch.float32, device: str = "cpu"
    ) -> Encoder:
        loaded = copy.deepcopy(encoder)
        loaded.pooling, loaded.name, loaded.checksum = pooling, name, "tiny"
        loaded.convs.to(dtype)
        return loaded.to(device)

    with pytest.MonkeyPatch.context() as patch:
        for module in (benchmark, bundle, extractor, runtimes, verify):
            patch.setattr(module, "load_encoder", load)
        patch.setattr(quantize, "FITTING", ["chelsea", "coffee"])
        patch.setattr(quantize, "NUM_AUGMENTED", 8)
        yield encoder


@pytest.fixture
def tiny_everywhere(tiny_encoder: Encoder) -> Iterator[Encoder]:
    """The tiny encoder in the place of every named one."""
    with loading(tiny_encoder):
        yield tiny_encoder


@pytest.fixture(scope="session")
def factorised(shared_tiny_encoder: Encoder) -> Encoder:
    """The tiny encoder with one convolution in two, as reduced encoders have them. Not to be changed."""
    encoder = copy.deepcopy(shared_tiny_encoder)
    torch.manual_seed(1)
    split = nn.Sequential(nn.Conv2d(6, 3, 3, padding=1, bias=False), nn.Conv2d(3, 6, 1))
    encoder.convs["conv2_2"] = split.requires_grad_(False)
    return encoder


@pytest.fixture(scope="session")
def real_file(tmp_path_factory: TempPathFactory) -> Path:
    """An extractor of the bundled encoder, float32, dynamic, made on the command line."""
    path = tmp_path_factory.mktemp("real") / "vgg16.onnx"
    assert main(["extractor", "-o", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def tiny_file(shared_tiny_encoder: Encoder, tmp_path_factory: TempPathFactory) -> Path:
    """An extractor of the tiny encoder, float32, dynamic."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.onnx"
    with loading(shared_tiny_encoder):
        assert main(["extractor", "-o", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def make_bundle(factorised: Encoder, tmp_path_factory: TempPathFactory) -> Callable[[str], Path]:
    """make_bundle(loss) -> a bundle of the factorised encoder, made at the first call. Not to be changed.

    That of "gram" has the usual layers, that of "pca" few, which are faster to trace.
    """
    made: dict[str, Path] = {}
    few = {"content_layers": ("relu2_2",), "style_layers": ("relu1_1", "relu3_1"), "style_layer_weights": (1.0, 1.0)}
    layers: dict[str, dict[str, Any]] = {"gram": {}, "pca": few}

    def make(loss: str) -> Path:
        if loss not in made:
            recipe = {"size": 64, "num_steps": 12, "components": "50%", "history_size": 3} | layers[loss]
            config = bundle.bundle_config(encoder="vgg16", loss=loss, **recipe)
            with loading(factorised):
                made[loss] = bundle.export_bundle(config, tmp_path_factory.mktemp(loss) / "bundle", "fp32")
        return made[loss]

    return make


@pytest.fixture(scope="session")
def int8_recipe() -> StylizeConfig:
    """Of `int8_bundle`."""
    return bundle.bundle_config(encoder="vgg16", size=64, num_steps=12, history_size=3)


@pytest.fixture(scope="session")
def int8_encoder(factorised: Encoder, int8_recipe: StylizeConfig) -> Encoder:
    """The factorised one in bytes."""
    with loading(factorised):
        return bundle.prepare(int8_recipe, "int8")


@pytest.fixture(scope="session")
def int8_bundle(factorised: Encoder, int8_recipe: StylizeConfig, tmp_path_factory: TempPathFactory) -> Path:
    """A bundle of it. Not to be changed."""
    with loading(factorised):
        return bundle.export_bundle(int8_recipe, tmp_path_factory.mktemp("int8") / "bundle", "int8")


@pytest.fixture(scope="session")
def page_folder(factorised: Encoder, tmp_path_factory: TempPathFactory) -> Path:
    """The static page with that encoder's graphs, which remember less and are faster to trace. Not to be changed."""
    try:
        with loading(factorised), pytest.MonkeyPatch.context() as patch:
            patch.setattr(webpage, "bundle_config", partial(bundle.bundle_config, history_size=3))
            return webpage.export_web(tmp_path_factory.mktemp("web") / "page")
    except OptionError as error:
        if "npm" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def adam_step(factorised: Encoder, tmp_path_factory: TempPathFactory) -> Path:
    """A step alone, by Adam, made on the command line."""
    path = tmp_path_factory.mktemp("adam") / "step.onnx"
    options = ["--encoder", "vgg16", "--pooling", "average", "--optimizer", "adam", "--precision", "fp32"]
    with loading(factorised):
        assert main(["step", "-o", str(path), *options]) == 0
    return path


@pytest.fixture(scope="session")
def read_recipe() -> Callable[[Path], StylizeConfig]:
    """The config in a bundle's manifest."""

    def read(folder: Path) -> StylizeConfig:
        return StylizeConfig.from_dict(json.loads((folder / "manifest.json").read_text())["config"])

    return read


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """refused(*arguments) -> the one line on stderr of a command that must fail."""

    def run(*arguments: object, status: int = 2) -> str:
        assert main([str(argument) for argument in arguments]) == status
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.startswith("export: ")
        assert output.err.count("\n") == 1
        return output.err

    return run


@pytest.fixture
def run_without() -> RunWithout:
    """run_without(modules, script, *arguments): a script in a fresh process where `modules` cannot be imported."""

    def run(modules: Sequence[str], script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        blocked = f"import sys; sys.modules.update(dict.fromkeys({list(modules)}))\n"
        command = [sys.executable, "-c", blocked + script, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

    return run


@pytest.fixture
def leftovers() -> Callable[[Path], list[Path]]:
    """leftovers(folder) -> the temporary files in it."""
    return lambda folder: [path for path in folder.iterdir() if path.name.startswith(".") or path.suffix == ".part"]
