"""Weights and models from strangers: nothing in them is run, or read from elsewhere."""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason="models need their extra: pip install -e '.[export]'")

import onnx
from stylecore_export.runtime import FORMAT, Bundle, ModelError, open_session
from stylecore_export.sessions import session_on

from stylecore.encoders import load_encoder
from stylecore.encoders.weights import read_weights
from stylecore.errors import WeightsError


class Planted:
    """Unpickled, it calls `function(*arguments)`."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ".bin"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_no_pickle_is_run_whatever_it_is_called(tmp_path: Path, suffix: str, protocol: int) -> None:
    victim, path = tmp_path / "planted", tmp_path / f"weights{suffix}"
    path.write_bytes(pickle.dumps(Planted(Path.touch, victim), protocol))
    with pytest.raises(WeightsError):
        read_weights(path)
    assert not victim.exists()


@pytest.mark.parametrize("function", [eval, exec, open, getattr, torch.load, torch.hub.load])
def test_no_function_is_called_from_within_a_state_dict(tmp_path: Path, function: Callable[..., object]) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3), "more": Planted(function, "1")}, path)
    with pytest.raises(WeightsError, match="more than tensors"):
        load_encoder(weights=path)


def external_model(path: Path, location: str) -> Path:
    """An ONNX model that adds four numbers, which lie in a file at `location`, to its input."""
    numbers = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[4])
    numbers.data_location = onnx.TensorProto.EXTERNAL
    numbers.external_data.add(key="location", value=location)
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [4]) for name in ("x", "y")]
    node = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "add", ends[:1], ends[1:], [numbers])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


OUTSIDE = {
    "a folder above": "../secret.bin",
    "a folder above, by way of one below": "below/../../secret.bin",
    "an absolute path": "{folder}/secret.bin",
    "a link": "link.bin",
    "a device": "/dev/zero",
    "memory": "*/_ORT_MEM_ADDR_/*",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder, with sound data in it and a secret beside it."""
    folder = tmp_path / "model"
    (folder / "below").mkdir(parents=True)
    numbers = np.arange(4, dtype=np.float32)
    for path in (folder / "data.bin", tmp_path / "secret.bin"):
        path.write_bytes(numbers.tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    return folder


@pytest.mark.parametrize("kind", OUTSIDE)
@pytest.mark.parametrize("opened", [open_session, session_on])
def test_a_model_reads_no_file_outside_its_folder(folder: Path, kind: str, opened: Callable[..., object]) -> None:
    model = external_model(folder / "model.onnx", OUTSIDE[kind].format(folder=folder.parent))
    with pytest.raises(ModelError, match="keep the files of a model in one folder") as error:
        opened(model)
    assert "secret" not in str(error.value)


def test_a_model_reads_the_files_beside_it(folder: Path) -> None:
    session = open_session(external_model(folder / "model.onnx", "data.bin"), num_threads=1)
    np.testing.assert_array_equal(session.run(None, {"x": np.zeros(4, np.float32)})[0], np.arange(4))


def test_a_bundle_names_no_file_that_it_does_not_check(folder: Path) -> None:
    """Checksums in the manifest are its own: what they are of must still be a file in the folder."""
    files = dict.fromkeys(["targets.onnx", "step.onnx", "../secret.bin"], "0" * 64)
    (folder / "manifest.json").write_text(json.dumps({"format": FORMAT, "config": {}, "state": {}, "files": files}))
    with pytest.raises(ModelError, match=r"'\.\./secret\.bin' in 'files' must be the name of a file beside it"):
        Bundle(folder)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state dict's tensors lie in a zip uncompressed: here they are zeros, deflated to a two-hundredth."""
    sound, bomb = tmp_path / "sound.pth", tmp_path / "bomb.pth"
    torch.save({"features.0.weight": torch.zeros(2**22)}, sound)
    with zipfile.ZipFile(sound) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert bomb.stat().st_size < sound.stat().st_size / 200
    assert read_weights(sound)
    monkeypatch.delattr(torch, "load")
    with pytest.raises(WeightsError, match="packed"):
        read_weights(bomb)


def test_a_tensor_that_repeats_one_number_without_end_is_refused(tmp_path: Path) -> None:
    """A stride of 0 makes a file of a few bytes a tensor of terabytes."""
    path = tmp_path / "weights.pth"
    torch.save({"conv1_1.0.weight": torch.zeros(1).expand(2**40, 3, 3, 3)}, path)
    with pytest.raises(WeightsError, match="claims to hold more"):
        load_encoder(weights=path)
