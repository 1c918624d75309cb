"""`stylecore export extractor`: what such a file can be, how it is made, and what goes in."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx
import onnxruntime as ort
import torch
from torch import Tensor

from stylecore.config import MAX_SIZE_PX
from stylecore.encoders import STYLE_LAYERS, Encoder, Layer, architecture_of, check_resolution, load_encoder
from stylecore.errors import OptionError, unknown
from stylecore.files import check_writable, write_file
from stylecore.images import ImageTensor, resize_image, to_uint8
from stylecore.isolation import isolated
from stylecore.metrics import CONTENT_LAYER

from .graphs import OUTPUTS, Extractor, FeatureMaps
from .precisions import PRECISIONS
from .progress import Track, untracked
from .runtime import Array, ModelError, Values
from .sessions import read_metadata, session_on
from .tracing import TraceInputs, add_metadata, check_seal, tidy, trace, write_model

MAX_BATCH = 64
TRACED_SIDE_PX = 96  # of dynamic graphs: any size at which every layer has several positions


# Of inputs by name the type, as onnxruntime calls it, and the shape, None where it is dynamic; names of outputs.
Signature = tuple[dict[str, tuple[str, list[int | None]]], list[str]]


@dataclass(frozen=True)
class ExtractorOptions:
    """What an extractor computes, and how. An impossible value raises an OptionError."""

    encoder: str = "vgg16"  # a key of stylecore.encoders.ENCODERS
    layers: tuple[str, ...] = (*STYLE_LAYERS, CONTENT_LAYER)  # in the order of the outputs, which have their names
    outputs: str = "features"  # one of OUTPUTS
    components: int = 64  # columns of the bases that "projected" takes, at most N of a layer
    size: int | None = None  # height and width in px; None: dynamic
    precision: str = "fp32"  # a key of PRECISIONS
    pixels: bool = False  # uint8 NHWC in, instead of float32 NCHW in [0, 1]
    batch: int = 1  # images at a time

    def __post_init__(self) -> None:
        for field, choices in (("outputs", OUTPUTS), ("precision", PRECISIONS)):
            if getattr(self, field) not in choices:
                raise unknown(field, getattr(self, field), choices)
        architecture_of(self.encoder).check(self.layers, self.encoder)
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise OptionError("layers must name at least one layer, each once.")
        if self.components < 1:
            raise OptionError(f"components must be at least 1, not {self.components}.")
        if not 1 <= self.batch <= MAX_BATCH:
            raise OptionError(f"batch must be between 1 and {MAX_BATCH}, not {self.batch}.")
        if self.batch > 1 and self.outputs == "projected":
            raise OptionError("Projected outputs are of one image: leave out batch.")
        if self.size is not None:
            check_resolution(self.size, self.size, self.layers)
            if self.size > MAX_SIZE_PX:
                raise OptionError(f"size must be at most {MAX_SIZE_PX} px, or dynamic, not {self.size}.")

    def to_metadata(self) -> dict[str, str]:
        """As text, for a file's metadata."""
        texts = {field: str(value) for field, value in asdict(self).items()}
        return texts | {"kind": "extractor", "layers": ",".join(self.layers), "size": str(self.size or "dynamic")}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> ExtractorOptions:
        """The inverse of `to_metadata`. Raises a KeyError, ValueError or OptionError for what that never writes."""
        return cls(
            encoder=metadata["encoder"],
            layers=tuple(metadata["layers"].split(",")),
            outputs=metadata["outputs"],
            components=int(metadata["components"]),
            size=None if metadata["size"] == "dynamic" else int(metadata["size"]),
            precision=metadata["precision"],
            pixels={"True": True, "False": False}[metadata["pixels"]],
            batch=int(metadata["batch"]),
        )

    def inputs(self, image: ImageTensor) -> dict[str, Tensor]:
        """What the graph takes for an image (1, 3, H, W) in [0, 1], by input name.

        A batch is that image and shifted copies of it. Bases, where there are any, are random but always the same.
        """
        images = [image.roll(index, 3) for index in range(self.batch)]
        batch = torch.stack([torch.from_numpy(to_uint8(each)) for each in images]) if self.pixels else torch.cat(images)
        return {"image": batch} | (self._bases() if self.outputs == "projected" else {})

    @property
    def signature(self) -> Signature:
        """What the graph takes and gives."""
        side = self.size
        image = [self.batch, side, side, 3] if self.pixels else [self.batch, 3, side, side]
        inputs = {"image": (f"tensor({'uint8' if self.pixels else 'float'})", image)}
        if self.outputs == "projected":
            inputs |= {name: ("tensor(float)", list(basis.shape)) for name, basis in self._bases().items()}
        return inputs, list(self.layers)

    def _bases(self) -> dict[str, Tensor]:
        """An orthonormal (N, K) for each layer, by input name."""
        generator = torch.Generator().manual_seed(0)
        channels = {layer: Layer.parse(layer).num_channels for layer in self.layers}
        return {
            f"components_{layer}": torch.linalg.qr(
                torch.randn(n, min(self.components, n), generator=generator, dtype=torch.float32)
            ).Q
            for layer, n in channels.items()
        }

    def feeds(self, image: ImageTensor) -> Values:
        """`inputs` as onnxruntime takes them."""
        return {name: value.numpy() for name, value in self.inputs(image).items()}

    def reference(self, encoder: Encoder) -> Callable[[ImageTensor], Sequence[Array]]:
        """The same outputs of `encoder` by torch: image -> arrays in the order of the layers."""
        module = Extractor(encoder, self.layers, self.outputs, self.pixels)

        def run(image: ImageTensor) -> Sequence[Array]:
            with torch.inference_mode():
                return [output.numpy() for output in module(*self.inputs(image).values())]

        return run


@dataclass(frozen=True)
class ExtractorFile:
    """A file that was written, opened."""

    session: ort.InferenceSession
    options: ExtractorOptions
    weights_checksum: str


def open_extractor(path: Path, provider: str = "cpu", num_threads: int = 1) -> ExtractorFile:
    """Open an extractor, and see that its graph takes and gives what its metadata says.

    Raises:
        ModelError: the file is missing, damaged, changed, or no extractor of ours.
    """
    session = session_on(path, provider, num_threads)
    metadata = read_metadata(session)
    if metadata.get("kind") != "extractor":
        raise ModelError(f"'{path}' is no extractor of this project: make one with stylecore export extractor.")
    if path.suffix.lower() == ".onnx":  # onnxruntime's own format has the same metadata and other bytes
        check_seal(path)
    try:
        found = ExtractorFile(session, ExtractorOptions.from_metadata(metadata), metadata["weights_checksum"])
    except (KeyError, ValueError, OptionError) as error:
        raise ModelError(f"'{path}' has metadata that no extractor has ({error}): export it again.") from error
    if _signature(session) != found.options.signature:
        raise ModelError(f"'{path}' has other inputs or outputs than its metadata says: export it again.")
    return found


def _signature(session: ort.InferenceSession) -> Signature:
    def described(node: ort.NodeArg) -> tuple[str, list[int | None]]:
        return node.type, [side if isinstance(side, int) else None for side in node.shape]

    return {node.name: described(node) for node in session.get_inputs()}, [out.name for out in session.get_outputs()]


@isolated()
def export_extractor(options: ExtractorOptions, path: Path, track: Track = untracked) -> Path:
    """Write the extractor as one ONNX file. Raises what `load_encoder` raises, and an OutputError for the place."""
    check_writable(path, ".onnx")
    encoder = load_encoder(options.encoder)
    return write_model(build_extractor(options, encoder, track), path)


@isolated()
def build_extractor(options: ExtractorOptions, encoder: Encoder, track: Track = untracked) -> onnx.ModelProto:
    """The extractor with its metadata."""
    precision = PRECISIONS[options.precision]
    prepared = precision.prepare(encoder, track)
    model = precision.finish(_trace(options, prepared), prepared, lambda image: options.feeds(_resized(options, image)))
    tidy(model)
    add_metadata(model, encoder, options.to_metadata())
    return model


def _resized(options: ExtractorOptions, image: ImageTensor) -> ImageTensor:
    return image if options.size is None else resize_image(image, options.size, options.size)


def _trace(options: ExtractorOptions, encoder: FeatureMaps) -> onnx.ModelProto:
    # Height and width must differ where both are dynamic: else the exporter takes them for one.
    height, width = (options.size, options.size) if options.size else (TRACED_SIDE_PX, TRACED_SIDE_PX + 32)
    inputs = options.inputs(torch.zeros(1, 3, height, width, dtype=torch.float32))
    first_axis = 1 if options.pixels else 2
    image_axes = {} if options.size else {first_axis: "height", first_axis + 1: "width"}
    bases_axes: list[dict[int, str]] = [{} for _ in range(len(inputs) - 1)]
    axes = (image_axes, tuple(bases_axes)) if bases_axes else (image_axes,)
    module = Extractor(encoder, options.layers, options.outputs, options.pixels)
    return trace(module, TraceInputs(tuple(inputs.values()), list(inputs), axes), options.layers)


def convert_to_ort(path: Path) -> Path:
    """Write onnxruntime's mobile format beside an ONNX file."""
    from onnxruntime.tools.convert_onnx_models_to_ort import OptimizationStyle, convert_onnx_models_to_ort

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        model = Path(folder) / "model.onnx"  # not every name suits the converter
        model.write_bytes(path.read_bytes())
        convert_onnx_models_to_ort(model, Path(folder), [OptimizationStyle.Fixed])
        converted = model.with_suffix(".ort").read_bytes()
    return write_file(path.with_suffix(".ort"), converted)
