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
