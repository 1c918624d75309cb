"""Manifests that are broken in every way: one sentence, before anything is computed."""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from stylecore_export import runtime
from stylecore_export.manifest import FORMAT, Manifest, Recipe, find_fault
from stylecore_export.runtime import Bundle, ModelError

Refused = Callable[..., str]
NONSENSE = [None, True, -1, 0.5, 10**30, float("nan"), "", "x" * 300, [], [None], {}, {"": None}]


@pytest.fixture
def folder(make_bundle: Callable[[str], Path], tmp_path: Path) -> Path:
    """A bundle with everything in its recipe, to be spoilt."""
    return Path(shutil.copytree(make_bundle("pca"), tmp_path / "bundle"))


@pytest.fixture
def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def changed(manifest: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """A copy with another value at `config.stages.0.scale`; the value `...` takes it out."""
    made = json.loads(json.dumps(manifest))
    *path, last = place.split(".", 1) if place.startswith("files.") else place.split(".")
    inside = made
    for part in path:
        inside = inside[int(part) if isinstance(inside, list) else part]
    if value is ...:
        del inside[last]
    else:
        inside[int(last) if isinstance(inside, list) else last] = value
    return made


def test_a_manifest_as_it_is_written_has_no_fault(manifest: dict[str, Any]) -> None:
    assert find_fault(manifest, Manifest, "it") is None


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("files", ..., "'files' must be an object"),
        ("files.../secret", "0" * 64, "the name of a file"),
        ("files.step.onnx", "0", "SHA-256"),
        ("files", {}, "names targets.onnx and step.onnx"),
        ("config", [], "'config' must be an object"),
        ("config.loss", "mmd", "'loss' must be one of gram, pca"),
        ("config.size", 99_999_999, "'size' must be between 64 and 8192"),
        ("config.size", True, "'size' must be a whole number"),
        ("config.num_steps", 2.5, "'num_steps' must be a whole number"),
        ("config.stages", [], "a list of stages"),
        ("config.stages.0", "0.5:1", "an item of 'stages' must be an object"),
        ("config.stages.0.share", 0, "'share' must be between"),
        ("config.style_weight", float("nan"), "'style_weight' must be between"),
        ("config.style_layer_weights", [1.0], "a weight for each"),
        ("config.style_layers", [], "names of layers"),
        ("num_components.relu1_1", 0, "'relu1_1' in 'num_components'"),
        ("state.image.start", "ones", "'start' must be one of image, zeros"),
        ("state.image", None, "'image' in 'state' must be an object"),
    ],
)
def test_a_fault_is_named(place: str, value: Any, said: str, folder: Path, manifest: dict[str, Any]) -> None:
    (folder / "manifest.json").write_text(json.dumps(changed(manifest, place, value)))
    with pytest.raises(ModelError, match=r"is damaged \(.*\): make the bundle again") as error:
        Bundle(folder)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("config.style_layers", ["relu1_1", "relu9_9"]),
        ("config.loss", "gram"),
        ("num_components", {}),
        ("state", {}),
        ("state.image", {"next": "next_image", "start": "zeros"}),
        ("state.image.next", "nowhere"),
        ("state.previous_gradient", ...),
        ("state.nobody", {"next": "loss", "start": "zeros"}),
        ("state.gram_relu1_1", {"next": "loss", "start": "zeros"}),
    ],
)
def test_a_manifest_of_other_graphs_is_noticed(place: str, value: Any, folder: Path, manifest: dict[str, Any]) -> None:
    (folder / "manifest.json").write_text(json.dumps(changed(manifest, place, value)))
    with pytest.raises(ModelError, match="not what its manifest says"):
        Bundle(folder)


@pytest.mark.parametrize("name", [*Manifest.__annotations__, *(f"config.{name}" for name in Recipe.__annotations__)])
def test_nonsense_in_any_field_is_no_traceback(
    name: str, folder: Path, manifest: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nonsense is a value that the field may have, the bundle opens."""
    monkeypatch.setattr(runtime, "open_session", lambda *_, **__: None)
    monkeypatch.setattr(Bundle, "_check_graphs", lambda _: None)
    for value in (..., *NONSENSE):
        (folder / "manifest.json").write_text(json.dumps(changed(manifest, name, value)))
        with suppress(ModelError):
            Bundle(folder)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", "null", f'{{"format": {FORMAT}}}', "[" * 100_000, '"\\ud800"', "1" * 5000]
)
def test_a_file_that_is_no_manifest_is_refused_by_the_command(text: str, folder: Path, refused: Refused) -> None:
    (folder / "manifest.json").write_text(text)
    for picture in ("photo.png", "style.png"):
        runtime.save_png(runtime.np.zeros((1, 3, 64, 64), "float32"), folder / picture)
    output = folder / "out.png"
    error = refused("stylize", folder / "photo.png", folder / "style.png", "--models", folder, "-o", output)
    assert "make" in error
    assert not output.exists()


def test_bytes_that_are_no_text_are_no_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b'{"format": "\xff"}')
    with pytest.raises(ModelError, match="no bundle"):
        Bundle(folder)
