"""Bundles: they stylize where there is no torch, as torch would, and say clearly when they cannot."""

import ast
import errno
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from paths import ROOT
from PIL import Image
from stylecore_export import runtime
from stylecore_export.bundle import DEFAULTS, WEIGHTS_FILE, bundle_config, export_bundle, runtime_text
from stylecore_export.cli import main
from stylecore_export.convolutions import with_stored_weights
from stylecore_export.runtime import Bundle, ModelError
from torch import Tensor

from stylecore.config import StylizeConfig
from stylecore.encoders import Encoder
from stylecore.engine import stylize_steps
from stylecore.errors import OptionError
from stylecore.images import load_image, resize_image, save_image
from stylecore.losses.basis import Components, fit_basis
from stylecore.losses.statistics import all_moments
from stylecore.sample_images import style_path
from stylecore.schedule import plan_stages
from stylecore.start import JobImages, initial_image

Refused = Callable[..., str]
RunWithout = Callable[..., Any]
Leftovers = Callable[[Path], list[Path]]

STYLE = style_path("flow_strokes")
HEAVY = ("torch", "stylecore", "safetensors", "matplotlib")


@pytest.fixture
def bundle(request: pytest.FixtureRequest, make_bundle: Callable[[str], Path], tmp_path: Path) -> Path:
    """A bundle of the factorised encoder, to be spoilt; of the Gram loss unless the test asks for another."""
    return Path(shutil.copytree(make_bundle(getattr(request, "param", "gram")), tmp_path / "bundle"))


both_losses = pytest.mark.parametrize("bundle", ["gram", "pca"], indirect=True)


@pytest.fixture
def photo(astronaut: Tensor, tmp_path: Path) -> Path:
    return save_image(resize_image(astronaut, 61, 90), tmp_path / "photo.png")


@both_losses
def test_it_does_what_torch_does_with_the_same_recipe(
    bundle: Path, photo: Path, factorised: Encoder, read_recipe: Callable[[Path], StylizeConfig]
) -> None:
    encoder = with_stored_weights(factorised)
    torchs = list(stylize_steps(load_image(photo), load_image(STYLE), read_recipe(bundle), encoder=encoder))
    ours = list(Bundle(bundle).stylize_steps(runtime.load_image(photo), runtime.load_image(STYLE)))
    assert [step.index for step in ours] == [step.index for step in torchs]
    assert [step.image.shape for step in ours] == [tuple(step.image.shape) for step in torchs]
    assert ours[0].loss == pytest.approx(float(torchs[0].losses.total), rel=2e-3)
    assert ours[-1].loss == pytest.approx(float(torchs[-1].losses.total), rel=0.1)
    assert ours[-1].loss < ours[-4].loss


@both_losses
def test_it_runs_where_torch_cannot_be_imported(
    bundle: Path, photo: Path, tmp_path: Path, run_without: RunWithout, leftovers: Leftovers
) -> None:
    """Both ways in: this project's command, and the copy that the bundle carries."""
    out = [tmp_path / "command.png", tmp_path / "copy.png"]
    command = "from stylecore_export.cli import main; sys.exit(main(sys.argv[1:]))"
    done = run_without(HEAVY, command, "stylize", photo, STYLE, "-o", out[0], "--models", bundle, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["size_px"] == [43, 64]
    assert record["num_steps"] == record["config"]["num_steps"] == 12
    known = "output seconds seconds_setup num_steps device dtype encoder loss size_px peak_memory_mib config"
    assert set(record) == set(known.split())
    script = (
        f"import runpy; sys.argv[0] = 'runtime.py'; runpy.run_path({str(bundle / 'runtime.py')!r}, run_name='__main__')"
    )
    absent = (*HEAVY, "stylecore_export", "onnx", "typer", "rich")
    done = run_without(absent, script, photo, STYLE, "-o", out[1], "--steps", "12")
    assert done.returncode == 0, done.stderr
    pictures = [np.asarray(Image.open(path), np.float32) for path in out]
    assert pictures[0].shape == (43, 64, 3)
    assert np.abs(pictures[0] - pictures[1]).mean() < 1
    assert not leftovers(tmp_path)


def test_both_graphs_share_one_file_of_weights(bundle: Path) -> None:
    places = [
        {tuple(entry.value for entry in tensor.external_data) for tensor in model.graph.initializer} - {()}
        for model in (onnx.load(bundle / name, load_external_data=False) for name in ("targets.onnx", "step.onnx"))
    ]
    assert places[0]
    assert places[0] <= places[1]
    assert {place[0] for place in places[1]} == {WEIGHTS_FILE}
    for name in ("targets.onnx", "step.onnx"):
        onnx.checker.check_model(str(bundle / name), full_check=True)
        graph = onnx.load(bundle / name, load_external_data=False).graph
        assert not graph.value_info, "tract, told the sizes, refuses a step that has them"
        assert {tensor.name for tensor in graph.initializer} <= {name for node in graph.node for name in node.input}
        assert str(ROOT).encode() not in (bundle / name).read_bytes()


def test_a_bundle_carries_its_licences(bundle: Path) -> None:
    text = (bundle / "LICENSE").read_text()
    assert "MIT" in text
    assert "CC BY 4.0" in text


def test_its_runtime_is_one_file_that_imports_nothing_of_ours(bundle: Path) -> None:
    text = (bundle / "runtime.py").read_text()
    assert text == runtime_text()
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    imported = {getattr(node, "module", None) or node.names[0].name for node in nodes}
    foreign = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names
    assert foreign == {"numpy", "onnxruntime", "PIL"}
    assert not any(isinstance(node, ast.ImportFrom) and node.level for node in nodes)


@pytest.mark.parametrize("name", ["weights.bin", "step.onnx", "runtime.py"])
def test_a_changed_file_is_noticed(name: str, bundle: Path, photo: Path, refused: Refused) -> None:
    with (bundle / name).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\0" if name != "runtime.py" else b"#")
    error = refused("stylize", photo, STYLE, "--models", bundle, "-o", photo.parent / "x.png")
    assert "checksum" in error
    (bundle / name).unlink()
    error = refused("stylize", photo, STYLE, "--models", bundle, "-o", photo.parent / "x.png")
    assert f"lacks '{name}'" in error
    assert not (photo.parent / "x.png").exists()


def test_bad_input_is_said_in_one_line(bundle: Path, photo: Path, refused: Refused) -> None:
    folder = photo.parent
    text = folder / "text.jpg"
    text.write_text("not an image")
    output, models = ["-o", folder / "x.png"], ["--models", bundle]
    for arguments, reason in [
        ([photo, text, *output, *models], "no image"),
        ([photo, "none.png", *output, *models], "no file"),
        ([photo, STYLE, *output, "--models", folder], "no bundle"),
        ([photo, STYLE, "-o", folder / "x.jpg", *models], "x.png"),
        ([photo, STYLE, "-o", folder / "none" / "x.png", *models], "no folder"),
        ([photo, STYLE, *output, *models, "--size", 3], "--size"),
        ([photo, STYLE, *output, *models, "--steps", 0], "--steps"),
        ([photo, STYLE, *output, *models, "--style-weight", -1], "--style-weight"),
    ]:
        assert reason in refused("stylize", *arguments)
    assert not (folder / "x.png").exists()


@pytest.mark.usefixtures("tiny_everywhere")
def test_a_bundle_replaces_a_bundle_and_nothing_else(
    bundle: Path,
    photo: Path,
    refused: Refused,
    leftovers: Leftovers,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = {"content_layers": ("relu1_1",), "style_layers": ("relu1_1",), "style_layer_weights": (1.0,)}
    monkeypatch.setitem(DEFAULTS, "adam", DEFAULTS["adam"] | small)
    arguments = ["--encoder", "vgg16", "--optimizer", "adam", "--precision", "fp32"]
    (bundle / "weights.bin").write_bytes(b"damaged")
    shutil.copy(photo, bundle / "painted.png")
    (photo.parent / "link").symlink_to(bundle)
    assert main(["bundle", "-o", str(photo.parent / "link"), *arguments]) == 0
    Bundle(bundle)
    assert (bundle / "painted.png").is_file()
    assert "MB" in capsys.readouterr().out
    other = photo.parent / "photos"
    other.mkdir()
    shutil.copy(photo, other)
    assert "no bundle" in refused("bundle", "-o", other, *arguments)
    assert [path.name for path in other.iterdir()] == [photo.name]
    assert not leftovers(photo.parent)


@pytest.mark.usefixtures("tiny_everywhere")
def test_a_full_disk_leaves_the_old_bundle_and_is_told_of_that_folder(
    bundle: Path, refused: Refused, leftovers: Leftovers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = {path: path.read_bytes() for path in bundle.iterdir()}
    monkeypatch.setattr("stylecore_export.bundle.share_weights", full)
    monkeypatch.setattr("stylecore_export.bundle.build_targets", lambda *_: onnx.ModelProto())
    monkeypatch.setattr("stylecore_export.bundle.build_step", lambda *_: onnx.ModelProto())
    assert f"'{bundle}' could not be written: No space left" in refused("bundle", "-o", bundle, "--encoder", "vgg16")
    assert {path: path.read_bytes() for path in bundle.iterdir()} == before
    assert not leftovers(bundle.parent)


def test_a_step_alone_is_one_file_with_its_recipe(adam_step: Path) -> None:
    session = ort.InferenceSession(adam_step)
    metadata = session.get_modelmeta().custom_metadata_map
    recipe = StylizeConfig.from_dict(json.loads(metadata["stylecore.config"]))
    assert (recipe.pooling, recipe.optimizer, recipe.num_steps) == ("average", "adam", 120)
    shapes = {node.name: node.shape for node in session.get_inputs()}
    assert shapes["image"] == [1, 3, "height", "width"]
    slots = json.loads(metadata["stylecore.state"])
    assert list(slots) == ["image", "running_mean", "running_square", "num_steps"]
    assert {slot["next"] for slot in slots.values()} <= {node.name for node in session.get_outputs()}


def test_the_manifest_says_what_every_changing_input_is_fed_with(bundle: Path) -> None:
    """All else is made once for a stage; of the history only the newest pair comes out of the graph."""
    slots, model = Bundle(bundle).slots, onnx.load(bundle / "step.onnx", load_external_data=False)
    inputs, outputs = ({node.name for node in nodes} for nodes in (model.graph.input, model.graph.output))
    assert {slot["next"] for slot in slots.values()} <= inputs | outputs
    assert slots["image"] == {"next": "next_image", "start": "image"}
    assert slots["previous_image"] == {"next": "image", "start": "image"}
    assert [slots[f"s_{place}"]["next"] for place in (1, 2)] == ["s_2", "s"]
    assert inputs - slots.keys() == {name for name in inputs if name.startswith(("content_", "gram_", "weight_"))}


@pytest.mark.usefixtures("tiny_everywhere")
def test_what_the_runtime_does_not_know_is_refused(tmp_path: Path) -> None:
    for options, reason in (
        ({"stages": ["0.5:1:vgg16-x3", "1:1"]}, "one encoder"),
        ({"time_budget": 3.0}, "all its steps"),
        ({"target_distance": 0.2}, "all its steps"),
        ({"optimizer": "lbfgs"}, "projected or adam"),
        ({"enlarge": "detail"}, "resamples"),
        ({"loss": "pca", "basis": "joint"}, "style alone"),
    ):
        with pytest.raises(OptionError, match=reason):
            export_bundle(bundle_config(encoder="vgg16", **options), tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("tiny_everywhere")
def test_a_share_of_the_variance_cannot_be_bundled(tmp_path: Path) -> None:
    config = bundle_config(encoder="vgg16", loss="pca", components="var:0.9")
    with pytest.raises(OptionError, match="count or a share"):
        export_bundle(config, tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("centered", [True, False])
def test_the_runtimes_basis_is_the_librarys(centered: bool) -> None:
    features = torch.rand(1, 12, 9, 7)
    flat = features.flatten(2)
    gram, mean = (flat @ flat.mT / 63)[0].numpy(), flat.mean(2)[0].numpy()
    ours = torch.from_numpy(runtime.fit_basis(gram, mean, 4, centered))
    library = fit_basis([all_moments(features)], [1.0], Components(count=4), centered=centered).components
    assert torch.allclose(ours @ ours.mT, library @ library.mT, atol=1e-4)  # signs are free


def test_the_runtime_plans_as_the_library_does() -> None:
    for stages in ("1:1", "0.5:2,1:1", "0.25:1,0.5:1,1:0.01", "0.5:0.01,1:1"):
        for number, size in ((1, 64), (2, 160), (7, 256), (90, 512)):
            config = bundle_config(encoder="vgg16", stages=stages.split(","), num_steps=number, size=size)
            library = [(max(stage.size), stage.num_steps) for stage in plan_stages(config, (300, 451))]
            assert runtime.plan_stages(config.to_dict()["stages"], (1, 3, 300, 451), size, number) == library


@pytest.mark.parametrize("init", ["content", "style_statistics"])
def test_the_runtime_starts_where_the_library_does(
    init: str, bundle: Path, astronaut: Tensor, flow_strokes: Tensor
) -> None:
    """Of the first stage's size, in the colours of the whole style; also where an image has but one colour."""
    ours = Bundle(bundle)
    ours.config["init"] = init
    config = bundle_config(init=init)
    for content, style in ((astronaut, flow_strokes), (torch.full_like(astronaut, 0.5), astronaut[..., :3, :2])):
        library = initial_image(JobImages(content, (style,)), config, (48, 48))
        found = ours._first_image(runtime.fit(content.numpy(), 48), style.numpy(), seed=0)
        assert np.abs(found - library.numpy()).max() < 1e-4


def test_the_runtime_reads_and_resizes_as_the_library_does(photo: Path, tmp_path: Path) -> None:
    clear = Image.open(photo).convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    clear.save(tmp_path / "clear.png")
    for path in (photo, tmp_path / "clear.png", STYLE):
        ours, library = runtime.load_image(path), load_image(path)
        assert np.abs(ours - library.numpy()).max() < 2 / 255
        assert np.allclose(
            runtime.resize(ours, 40, 30), resize_image(torch.from_numpy(ours), 40, 30).numpy(), atol=1e-6
        )


def test_the_runtime_fails_kindly_on_another_format(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text()) | {"format": 99}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="another format"):
        Bundle(bundle)
