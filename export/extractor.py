"""`python -m export extractor`: what such a file can be, how it is made, and what it is fed with."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import onnx
import torch

from export.graphs import Extractor, Outputs
from export.onnx_export import Inputs, check_folder, describe, trace, write
from export.quantize import RescaledEncoder, half_precision, quantized, rounded_to_int8
from stylecore.encoders.vgg import STYLE_LAYERS, Encoder, check_layers, check_resolution, load_encoder, num_channels
from stylecore.errors import OptionError, unknown
from stylecore.files import replacing
from stylecore.images import ImageTensor, resize_image, to_uint8
from stylecore.metrics import CONTENT_LAYER

Precision = Literal["fp32", "fp16", "int8"]

TRACED_SIDE_PX = 96  # of dynamic graphs: any size at which every layer has several positions


@dataclass(frozen=True)
class ExtractorOptions:
    """What an extractor computes, and how. An impossible value raises an OptionError."""

    encoder: str = "vgg16"  # a key of stylecore.encoders.vgg.ENCODERS
    layers: tuple[str, ...] = (*STYLE_LAYERS, CONTENT_LAYER)  # in the order of the outputs, which have their names
    outputs: Outputs = "features"
    components: int = 64  # columns of the bases that "projected" takes, at most N of a layer
    size: int | None = None  # height and width in px; None: dynamic
    precision: Precision = "fp32"
    pixels: bool = False  # uint8 NHWC in, instead of float32 NCHW in [0, 1]

    def __post_init__(self) -> None:
        for field, choices in (("outputs", get_args(Outputs)), ("precision", get_args(Precision))):
            if getattr(self, field) not in choices:
                raise unknown(field, getattr(self, field), choices)
        check_layers(self.encoder, self.layers)
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise OptionError("layers must name at least one layer, each once.")
        if self.components < 1:
            raise OptionError(f"components must be at least 1, not {self.components}.")
        if self.size is not None:
            check_resolution(self.size, self.size, self.layers)

    def to_metadata(self) -> dict[str, str]:
        """As text, for a file's metadata."""
        texts = {field: str(value) for field, value in asdict(self).items()}
        return texts | {"kind": "extractor", "layers": ",".join(self.layers), "size": str(self.size or "dynamic")}

    @classmethod
    def from_metadata(cls, facts: Mapping[str, str]) -> ExtractorOptions:
        """The inverse of `to_metadata`."""
        return cls(
            encoder=facts["encoder"],
            layers=tuple(facts["layers"].split(",")),
            outputs=facts["outputs"],  # type: ignore[arg-type]
            components=int(facts["components"]),
            size=None if facts["size"] == "dynamic" else int(facts["size"]),
            precision=facts["precision"],  # type: ignore[arg-type]
            pixels=facts["pixels"] == "True",
        )

    def inputs(self, image: ImageTensor) -> dict[str, torch.Tensor]:
        """What the graph takes for an image, by name; bases, where there are any, are random but always the same."""
        first = torch.from_numpy(to_uint8(image)).unsqueeze(0) if self.pixels else image
        return {"image": first} | (self._bases() if self.outputs == "projected" else {})

    def _bases(self) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        shapes = {layer: (num_channels(layer), min(self.components, num_channels(layer))) for layer in self.layers}
        return {
            f"components_{layer}": torch.linalg.qr(torch.randn(shape, generator=generator)).Q
            for layer, shape in shapes.items()
        }

    def feeds(self, image: ImageTensor) -> dict[str, np.ndarray]:
        """`inputs` as onnxruntime takes them."""
        return {name: value.numpy() for name, value in self.inputs(image).items()}

    def reference(self, encoder: Encoder) -> Callable[[ImageTensor], Sequence[np.ndarray]]:
        """The same outputs of `encoder` by torch: image -> arrays in the order of the layers."""
        module = Extractor(encoder, self.layers, self.outputs, self.pixels)

        def run(image: ImageTensor) -> Sequence[np.ndarray]:
            with torch.inference_mode():
                return [output.numpy() for output in module(*self.inputs(image).values())]

        return run


def export_extractor(options: ExtractorOptions, path: Path) -> Path:
    """Write the extractor as one ONNX file. Raises what `load_encoder` raises, and an OutputError for the place."""
    check_folder(path)
    encoder = load_encoder(options.encoder)
    model = build_extractor(options, encoder)
    return write(model, path)


def build_extractor(options: ExtractorOptions, encoder: Encoder) -> onnx.ModelProto:
    """The extractor with its metadata."""
    if options.precision == "int8":
        model = quantized(
            _traced(options, rounded_to_int8(encoder)), lambda image: options.feeds(_fitted(options, image))
        )
    else:
        model = _traced(options, half_precision(encoder) if options.precision == "fp16" else encoder)
    describe(model, encoder, options.to_metadata())
    return model


def _fitted(options: ExtractorOptions, image: ImageTensor) -> ImageTensor:
    return image if options.size is None else resize_image(image, options.size, options.size)


def _traced(options: ExtractorOptions, encoder: Encoder | RescaledEncoder) -> onnx.ModelProto:
    side = options.size or TRACED_SIDE_PX
    values = options.inputs(torch.rand(1, 3, side, side + (0 if options.size else 32)))
    height, width = (1, 2) if options.pixels else (2, 3)
    moving = {} if options.size else {height: "height", width: "width"}
    module = Extractor(encoder, options.layers, options.outputs, options.pixels)
    bases: list[dict[int, str]] = [{} for _ in range(len(values) - 1)]
    axes = (moving, tuple(bases)) if bases else (moving,)
    return trace(module, Inputs(tuple(values.values()), list(values), axes), options.layers)


def convert_to_ort(path: Path) -> tuple[Path, bool]:
    """Write onnxruntime's mobile format beside an ONNX file.

    Returns:
        its path, and whether onnxruntime's usability checker expects it to do well on NNAPI or CoreML.
    """
    from onnxruntime.tools.convert_onnx_models_to_ort import OptimizationStyle, convert_onnx_models_to_ort
    from onnxruntime.tools.mobile_helpers.usability_checker import analyze_model

    logger = logging.getLogger("export.usability")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        convert_onnx_models_to_ort(path, Path(folder), [OptimizationStyle.Fixed])
        converted = (Path(folder) / path.name).with_suffix(".ort").read_bytes()
        usable = analyze_model(path, logger=logger)
    target = path.with_suffix(".ort")
    with replacing(target) as file:
        file.write(converted)
    return target, bool(usable)
