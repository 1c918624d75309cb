"""From a torch module to an ONNX file: traced, cleaned of the exporting machine, described, and written whole."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

import stylecore
from stylecore.encoders import Encoder
from stylecore.files import write_file

from .runtime import ModelError
from .sessions import METADATA_PREFIX

OPSET = 20
SEAL = f"{METADATA_PREFIX}content_checksum"
LICENCES = (
    "Graph: MIT. Weights of VGG-16 and VGG-19: Visual Geometry Group, University of Oxford, CC BY 4.0 "
    "(https://creativecommons.org/licenses/by/4.0/), changed as the project's NOTICE says."
)


@dataclass(frozen=True)
class TraceInputs:
    """What a module is traced with."""

    values: tuple[Any, ...]  # as its forward takes them: tensors, and dictionaries of tensors
    names: Sequence[str]  # of all tensors in `values`, dictionaries flattened
    axes: tuple[Any, ...]  # like `values`, with {axis: name} of the dynamic axes in the place of each tensor


def trace(module: nn.Module, inputs: TraceInputs, output_names: Sequence[str]) -> onnx.ModelProto:
    """The module as an ONNX graph that names nothing of this machine."""
    with _quiet_exporter():
        program = torch.onnx.export(
            module.eval(),
            (*inputs.values, {}),  # or a last dictionary would be taken for keyword arguments
            input_names=inputs.names,
            output_names=output_names,
            dynamic_shapes=inputs.axes,
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _strip_traces(model)
    return model


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without the exporter's warnings about axis names that several inputs share, and about its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _strip_traces(model: onnx.ModelProto) -> None:
    """Remove what the exporter noted for debugging: stack traces with absolute paths, modules, FX nodes."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")


def add_metadata(model: onnx.ModelProto, encoder: Encoder, metadata: Mapping[str, str]) -> None:
    """Say in the model itself what it is: the encoder's properties and `metadata`, each key after METADATA_PREFIX."""
    of_encoder = {
        "version": stylecore.__version__,
        "opset": str(OPSET),
        "encoder": encoder.name,
        "pooling": encoder.pooling,
        "normalization": encoder.normalization,
        "weights_checksum": encoder.checksum,
        "licence": LICENCES,
    }
    properties = of_encoder | dict(metadata)
    onnx.helper.set_model_props(model, {f"{METADATA_PREFIX}{key}": value for key, value in properties.items()})


def tidy(model: onnx.ModelProto) -> None:
    """Remove what no runtime needs: constants that no node reads any more, and the shapes of inner values.

    Whoever wants those infers them; tract, told of what size an image is, refuses a step that has them.
    """
    read = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    del model.graph.value_info[:]


def spell_out(model: onnx.ModelProto) -> None:
    """Write And, Or, Min and Max with other operators: WebGPU has kernels for none of them, and what it lacks is
    computed on the CPU, for which every step would wait."""
    nodes = [part for node in model.graph.node for part in _spelled(node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _spelled(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The node, or those that compute the same: of booleans as numbers, of two numbers by comparing them."""
    output = node.output[0] if node.output else ""

    def make(operator: str, inputs: Sequence[str], name: str = output, **attributes: Any) -> onnx.NodeProto:
        return onnx.helper.make_node(operator, inputs, [name], name, **attributes)

    if node.op_type in ("And", "Or"):
        numbers = [f"{output}_{place}" for place in ("a", "b")]
        casts = [make("Cast", [x], y, to=onnx.TensorProto.FLOAT) for x, y in zip(node.input, numbers, strict=True)]
        both = make("Mul" if node.op_type == "And" else "Add", numbers, f"{output}_number")
        return [*casts, both, make("Cast", [f"{output}_number"], to=onnx.TensorProto.BOOL)]
    if node.op_type in ("Min", "Max") and len(node.input) == 2:
        first, second = node.input
        is_first = make("Less" if node.op_type == "Min" else "Greater", [first, second], f"{output}_is_first")
        return [is_first, make("Where", [f"{output}_is_first", first, second])]
    return [node]


def sealed(model: onnx.ModelProto) -> bytes:
    """The model as a file, with a checksum of all its bytes as its last entry of metadata."""
    model = _without_seal(model)
    body = model.SerializeToString()
    return body + _seal(body)


def check_seal(path: Path) -> None:
    """Raise a ModelError if a file is not, byte for byte, what `sealed` made."""
    data = path.read_bytes()
    body = data[: -len(_seal(b""))]
    if data != body + _seal(body):
        raise ModelError(f"'{path}' is not as it was written, damaged or changed by another program: export it again.")


def _seal(body: bytes) -> bytes:
    """A model that has one entry of metadata and nothing else: appended, it is merged into the one before it."""
    model = onnx.ModelProto()
    model.metadata_props.add(key=SEAL, value=hashlib.sha256(body).hexdigest())
    return model.SerializeToString()


def _without_seal(model: onnx.ModelProto) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.metadata_props[:]
    made.metadata_props.extend(entry for entry in model.metadata_props if entry.key != SEAL)
    return made


def write_model(model: onnx.ModelProto, path: Path) -> Path:
    """Write one file, whole or not at all. Raises an OutputError where that is impossible."""
    return write_file(path, sealed(model))
