"""Extractors as files: they say what they are, hold nothing of this machine, and compute what torch computes."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from paths import ROOT
from stylecore_export import quantize
from stylecore_export.cli import main
from stylecore_export.extractor import ExtractorOptions, build_extractor
from stylecore_export.precisions import PRECISIONS
from stylecore_export.quantize import (
    LARGEST_IN_7_BITS,
    RescaledEncoder,
    convolutions,
    half_precision,
    round_weights,
    rounded_to_int8,
)
from stylecore_export.sessions import read_metadata, session_on
from stylecore_export.tracing import write_model
from stylecore_export.verify import verify
from torch import Tensor

from stylecore.encoders import STYLE_LAYERS, Encoder
from stylecore.errors import OptionError
from stylecore.images import resize_image

Refused = Callable[..., str]
MakeImage = Callable[..., Tensor]
LAYERS = (*STYLE_LAYERS, "relu4_2")
tiny = pytest.mark.usefixtures("tiny_everywhere")


def test_the_real_encoder_passes_at_three_sizes(real_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(real_file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [output["name"] for output in found["outputs"]] == list(LAYERS)
    assert all(output["error"] < found["tolerance"] == 1e-4 for output in found["outputs"])


def test_a_file_says_what_it_is(real_file: Path, vgg16: Encoder) -> None:
    found = read_metadata(session_on(real_file))
    assert found["weights_checksum"] == vgg16.checksum
    assert found["encoder"] == "vgg16"
    assert found["normalization"] == "caffe"
    assert "CC BY 4.0" in found["licence"]
    assert set(found) > {"version", "layers", "precision", "opset"}
    assert ExtractorOptions.from_metadata(found) == ExtractorOptions()


def test_height_and_width_are_dynamic_by_name(real_file: Path) -> None:
    model = onnx.load(real_file)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == [1, 3, "height", "width"]
    assert [output.name for output in model.graph.output] == list(LAYERS)


def test_no_path_of_this_machine_is_in_the_file(real_file: Path) -> None:
    """The exporter writes a stack trace with absolute paths into every node."""
    content = real_file.read_bytes()
    for trace in (str(ROOT), str(Path.home()), "site-packages", ".py"):
        assert trace.encode() not in content


@tiny
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("outputs", ["features", "gram"])
def test_every_precision_keeps_its_tolerance(precision: str, outputs: str, tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    assert main(["extractor", "-o", str(path), "--precision", precision, "--outputs", outputs, "--size", "128"]) == 0
    limit = max(PRECISIONS[precision].tolerance, 0.2 * (precision == "int8"))  # 6 random channels average nothing out
    assert all(check.error < limit for check in verify(path).checks)


@tiny
def test_pixels_and_projected_bases_go_in_by_name(tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    assert main(["extractor", "-o", str(path), "--pixels", "--layers", "relu1_1,relu2_1"]) == 0
    (node,) = session_on(path).get_inputs()
    assert (node.name, node.type, node.shape) == ("image", "tensor(uint8)", [1, "height", "width", 3])
    assert verify(path).passed


def test_a_projected_file_takes_a_basis_for_each_layer(vgg16: Encoder, make_image: MakeImage) -> None:
    options = ExtractorOptions(layers=("relu1_1", "relu2_1"), outputs="projected", components=100)
    session = ort.InferenceSession(build_extractor(options, vgg16).SerializeToString())
    assert [node.shape for node in session.get_inputs()[1:]] == [[64, 64], [128, 100]]
    outputs = session.run(None, options.feeds(make_image()))
    for value, same in zip(outputs, options.reference(vgg16)(make_image()), strict=True):
        assert np.allclose(value, same, rtol=1e-3, atol=1e-4 * np.abs(same).max())


@tiny
def test_the_mobile_format_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["extractor", "-o", str(tmp_path / "tiny.onnx"), "--ort", "--size", "64"]) == 0
    said = capsys.readouterr().out
    for provider in ("NNAPI", "CoreML"):
        assert re.search(rf"{provider}: expected to do well, (\d+) of \1 nodes in 1 partition\.", said)
    assert verify(tmp_path / "tiny.ort").passed
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.onnx", "tiny.ort"}


def test_rescaling_changes_nothing_outside(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    scales = {name: torch.rand(conv.out_channels) + 0.5 for name, conv in convolutions(tiny_encoder)}
    rescaled = RescaledEncoder(tiny_encoder, scales)(make_image(), LAYERS)
    for layer, value in tiny_encoder(make_image(), LAYERS).items():
        assert torch.allclose(rescaled[layer], value, rtol=1e-3, atol=1e-4 * float(value.max()))


def test_half_precision_never_overflows(vgg16: Encoder, astronaut: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers have mean activation 1; the bundled encoder's own features reach the thousands, their Grams millions."""
    monkeypatch.setattr(quantize, "FITTING", ["chelsea", "coffee", "grass"])
    half = half_precision(vgg16)
    inside = half.encoder(resize_image(astronaut, 96, 96), LAYERS)
    assert all(0.2 < float(value.float().mean()) < 5 for value in inside.values())
    assert all(bool((value.float().square().sum() / value.shape[2]).isfinite()) for value in inside.values())
    assert max(float(value.max()) for value in inside.values()) < 1000


def test_rounding_makes_good_what_it_loses() -> None:
    """Correlated inputs let later columns make up for earlier ones: less error than rounding each weight alone."""
    torch.manual_seed(0)
    weight = torch.randn(16, 40)
    x = torch.randn(40, 8) @ torch.randn(8, 500) + 0.1 * torch.randn(40, 500)
    rounded = round_weights(weight, x @ x.mT)
    step = weight.abs().amax(1, keepdim=True) / LARGEST_IN_7_BITS
    alone = (weight / step).round() * step
    assert ((rounded - weight) @ x).norm() < 0.5 * ((alone - weight) @ x).norm()
    assert torch.allclose(rounded / step, (rounded / step).round(), atol=1e-3)


@tiny
def test_int8_weights_reach_the_file_as_they_were_rounded(tiny_encoder: Encoder) -> None:
    """onnxruntime's quantiser finds the scale again, so that nothing is rounded twice; the first and the last
    convolution stay in float32."""
    _, *rounded, _ = [conv.weight.data.numpy() for _, conv in convolutions(rounded_to_int8(tiny_encoder).encoder)]
    model = build_extractor(ExtractorOptions(precision="int8", size=64), tiny_encoder)
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert arrays.keys() <= {name for node in model.graph.node for name in node.input}, "none that nothing reads"
    found = [
        arrays[node.input[0]] * arrays[node.input[1]].reshape(-1, 1, 1, 1)
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in arrays and arrays[node.input[0]].ndim == 4
    ]
    assert len(found) == len(rounded)
    weights = [value.astype(int) for value in arrays.values() if value.dtype == np.int8 and value.ndim == 4]
    assert max(abs(value).max() for value in weights) <= LARGEST_IN_7_BITS, "else pairs of products overflow 16 bits"
    for value in found:
        assert any(value.shape == other.shape and np.allclose(value, other, atol=1e-5) for other in rounded)


@pytest.mark.parametrize(
    "options",
    [
        {"outputs": "grams"},
        {"precision": "fp8"},
        {"layers": ("relu9_1",)},
        {"layers": ()},
        {"size": 8},
        {"components": 0},
        {"batch": 0},
        {"batch": 4, "outputs": "projected"},
    ],
)
def test_impossible_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        ExtractorOptions(**options)


@pytest.mark.parametrize("arguments", [["--encoder", "vgg99"], ["--precision", "fp8"], ["--size", "big"], []])
def test_bad_options_write_nothing(arguments: list[str], tmp_path: Path, refused: Refused) -> None:
    output = tmp_path / ("missing/x.onnx" if not arguments else "x.onnx")
    refused("extractor", "-o", output, *arguments)
    assert not list(tmp_path.iterdir())


@tiny
def test_an_interrupted_export_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leftovers: Callable[[Path], list[Path]]
) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("stylecore_export.extractor.add_metadata", fail)
    assert main(["extractor", "-o", str(path)]) == 130
    assert path.read_bytes() == b"old"
    assert not leftovers(tmp_path)


@tiny
def test_verify_fails_a_file_that_computes_something_else(tiny_file: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny_file)
    bias = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("conv2_1.bias"))
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 5, bias.name))
    write_model(model, tmp_path / "wrong.onnx")
    assert verify(tiny_file).passed
    assert main(["verify", str(tmp_path / "wrong.onnx")]) == 1


def _foreign() -> onnx.ModelProto:
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "foreign", values[:1], values[1:])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)


def with_metadata(model: onnx.ModelProto, **changes: str) -> onnx.ModelProto:
    """A copy whose metadata says something else; the value "" takes an entry out."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    found = {entry.key: entry.value for entry in model.metadata_props}
    found |= {f"stylecore.{key}": value for key, value in changes.items()}
    onnx.helper.set_model_props(made, {key: value for key, value in found.items() if value})
    return made


def with_shape(model: onnx.ModelProto, *shape: int | str) -> onnx.ModelProto:
    """A copy whose input has another shape."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    made.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, shape))
    return made


def renamed(model: onnx.ModelProto, before: str, after: str) -> onnx.ModelProto:
    """A copy with another name for a value."""
    made = onnx.ModelProto.FromString(model.SerializeToString())
    for node in made.graph.node:
        for names in (node.input, node.output):
            names[:] = [after if name == before else name for name in names]
    for value in (*made.graph.input, *made.graph.output):
        value.name = after if value.name == before else value.name
    return made


@pytest.mark.parametrize("command", ["verify", "bench"])
def test_wrong_files_are_said_in_one_line(command: str, tiny_file: Path, tmp_path: Path, refused: Refused) -> None:
    model = onnx.load(tiny_file)
    from_the_future = _foreign()
    from_the_future.opset_import[0].version = 999
    onnx.save(model, tmp_path / "external.onnx", save_as_external_data=True, size_threshold=0, location="weights.bin")
    (tmp_path / "weights.bin").unlink()
    (tmp_path / "truncated.onnx").write_bytes(tiny_file.read_bytes()[:3000])
    (tmp_path / "text.onnx").write_text("not a model")
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "foreign.onnx").write_bytes(_foreign().SerializeToString())
    (tmp_path / "future.onnx").write_bytes(from_the_future.SerializeToString())
    for name, reason in {
        "missing": "There is no model file",
        "truncated": "damaged, cut short or no ONNX model",
        "text": "damaged, cut short or no ONNX model",
        "empty": "damaged, cut short or no ONNX model",
        "foreign": "no extractor of this project",
        "future": "needs a newer onnxruntime",
        "external": "file with its weights is missing",
    }.items():
        assert reason in refused(command, tmp_path / f"{name}.onnx"), name


WRONG_METADATA = {
    "no encoder": {"encoder": ""},
    "an encoder nobody knows": {"encoder": "vgg99"},
    "no layers": {"layers": ""},
    "a layer nobody knows": {"layers": "relu1_1,relu9_9"},
    "no outputs": {"outputs": ""},
    "no size": {"size": ""},
    "a size in words": {"size": "big"},
    "a size for which there is no memory": {"size": "99999999"},
    "a negative size": {"size": "-64"},
    "a precision nobody knows": {"precision": "fp8"},
    "pixels that are neither": {"pixels": "perhaps"},
    "a batch for which there is no memory": {"batch": "99999999"},
    "components that are no number": {"components": "many"},
    "no checksum of the weights": {"weights_checksum": ""},
}


@pytest.mark.parametrize("command", ["verify", "bench"])
@pytest.mark.parametrize("fault", WRONG_METADATA)
def test_metadata_that_no_extractor_has_is_refused(
    fault: str, command: str, tiny_file: Path, tmp_path: Path, refused: Refused
) -> None:
    path = write_model(with_metadata(onnx.load(tiny_file), **WRONG_METADATA[fault]), tmp_path / "wrong.onnx")
    assert "has metadata that no extractor has" in refused(command, path)


WRONG_GRAPHS: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
    "another name of the input": lambda model: renamed(model, "image", "picture"),
    "another name of an output": lambda model: renamed(model, "relu1_1", "relu1_2"),
    "a side for which there is no memory": lambda model: with_shape(model, 1, 3, 99_999_999, 99_999_999),
    "another number of channels": lambda model: with_shape(model, 1, "channels", "height", "width"),
    "another batch": lambda model: with_shape(model, 4, 3, "height", "width"),
    "a fixed size that is said to be dynamic": lambda model: with_shape(model, 1, 3, 64, 64),
    "a dynamic size that is said to be fixed": lambda model: with_metadata(model, size="64"),
    "fewer layers than are said": lambda model: with_metadata(model, layers="relu1_1"),
    "floats that are said to be pixels": lambda model: with_metadata(model, pixels="True"),
    "no bases that are said to be there": lambda model: with_metadata(model, outputs="projected"),
}


@pytest.mark.parametrize("command", ["verify", "bench"])
@pytest.mark.parametrize("fault", WRONG_GRAPHS)
def test_a_graph_that_is_not_what_its_metadata_says_is_refused(
    fault: str, command: str, tiny_file: Path, tmp_path: Path, refused: Refused
) -> None:
    path = write_model(WRONG_GRAPHS[fault](onnx.load(tiny_file)), tmp_path / "wrong.onnx")
    assert "has other inputs or outputs than its metadata says" in refused(command, path)


@pytest.mark.parametrize("command", ["verify", "bench"])
def test_metadata_that_is_no_text_is_refused(command: str, tiny_file: Path, tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "wrong.onnx"
    path.write_bytes(tiny_file.read_bytes().replace(b"Graph: MIT", b"Graph:\xff\xfe\xfd\xfc"))
    assert "metadata is no text" in refused(command, path)


@pytest.mark.parametrize("command", ["verify", "bench"])
@pytest.mark.parametrize("place", [0.3, 0.9])
def test_a_changed_byte_of_the_weights_is_noticed(
    place: float, command: str, tiny_file: Path, tmp_path: Path, refused: Refused
) -> None:
    data, path = bytearray(tiny_file.read_bytes()), tmp_path / "wrong.onnx"
    weights = max(onnx.load(tiny_file).graph.initializer, key=lambda tensor: len(tensor.raw_data)).raw_data
    data[data.index(weights) + int(place * len(weights))] ^= 1
    path.write_bytes(data)
    assert "is not as it was written" in refused(command, path)


@pytest.mark.usefixtures("tiny_everywhere")
def test_a_file_of_other_weights_is_refused(tiny_file: Path, tmp_path: Path, refused: Refused) -> None:
    """By verify alone: timing does not depend on what the weights are."""
    path = write_model(with_metadata(onnx.load(tiny_file), weights_checksum="0"), tmp_path / "other.onnx")
    assert "made from other weights" in refused("verify", path)


@tiny
def test_a_batch_is_computed_image_by_image(tmp_path: Path) -> None:
    path = tmp_path / "four.onnx"
    assert main(["extractor", "-o", str(path), "--batch", "4", "--layers", "relu1_1,relu2_1", "--pixels"]) == 0
    assert session_on(path).get_inputs()[0].shape[0] == 4
    assert verify(path).passed
