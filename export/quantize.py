"""Smaller numbers inside, the same features outside: float16 and int8.

Both rescale the encoder's channels first. ReLU and pooling commute with positive factors, so a convolution may give its
values divided by s if the next one's weights are multiplied by s (Nagel et al. 2019, section 4.1); what comes out of
the graph is multiplied back. All statistics for that are taken on the project's fitting photos alone.
"""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from stylecore.encoders import Encoder
from stylecore.encoders.distill import random_crops
from stylecore.images import ImageTensor, image_size, resize_image
from stylecore.losses.statistics import Features
from stylecore.sample_images import FITTING, FITTING_STYLES, load_photo, load_style

from .convolutions import convolutions, is_inner, layer_of
from .progress import Track, untracked
from .runtime import Values

# By a convolution's name within `Encoder.convs`: one positive number for each of its N output channels.
Scales = Mapping[str, Float[Tensor, " N_out"]]
Feeds = Callable[[ImageTensor], Values]

CROP_PX = 256
NUM_AUGMENTED = 100
# Weak channels are amplified until each fills the 8 bits, at most by 1 / floor. The deeper a layer, the more of its
# channels respond to things that no number of photos need show: amplified, they would be clipped when an image does.
FLOOR, FLOOR_BLOCK_4, FLOOR_LAST_TWO = 0.05, 0.5, 1.0
POSITIONS_PER_IMAGE = 64  # sampled for the rounding: those of all images are twice the 9 N inputs of any layer
# In steps: 7 bits. x86 CPUs without VNNI add products of bytes in pairs in 16 bits, which two of 8 bits overflow; where
# there are larger ones onnxruntime is told to avoid that (see `runtime.session_config`), and takes 1.4 times as long.
LARGEST_IN_7_BITS = 64
DAMPING = 0.01  # added to the diagonal of the rounding's second moments, relative to its mean


def fitting_images() -> list[ImageTensor]:
    """What activations are measured on: (1, 3, 256, 256) each, RGB in [0, 1].

    Of each fitting photo the whole and three crops; and random crops of photos and drawn styles, recoloured and made
    noisy, because they fill channels that a dozen photos leave low.
    """
    photos = [load_photo(name) for name in FITTING]
    pictures = photos + [load_style(name) for name in FITTING_STYLES]
    augmented = random_crops(pictures, NUM_AUGMENTED, CROP_PX, torch.Generator().manual_seed(0))
    return [crop for photo in photos for crop in crops(photo)] + list(augmented.split(1))


def crops(photo: Float[Tensor, "1 3 H W"]) -> list[ImageTensor]:
    """The whole photo resized to 256 x 256 px, and its first, middle and last 256 x 256 px as they are."""
    height, width = image_size(photo)
    corners = [(round(share * (height - CROP_PX)), round(share * (width - CROP_PX))) for share in (0, 0.5, 1)]
    parts = [photo[:, :, y : y + CROP_PX, x : x + CROP_PX].contiguous() for y, x in corners]
    return [resize_image(photo, CROP_PX, CROP_PX), *parts]


class RescaledEncoder(nn.Module):
    """An encoder whose convolutions give F / s inside. It has `Encoder`'s signature, and returns F in float32.

    Args:
        encoder: the one to rescale; a copy is made.
        scales: s of every convolution.
    """

    def __init__(self, encoder: Encoder, scales: Scales) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        self.reach: dict[str, float] = {}  # of int8, how far each convolution's outputs go inside
        self.scales: dict[str, Float[Tensor, "N 1 1"]] = {}  # by layer
        scale_below = torch.ones(3, dtype=torch.float32)
        for name, conv in convolutions(self.encoder):
            scale = scales[name]
            conv.weight.data = conv.weight.data * scale_below.view(1, -1, 1, 1) / scale.view(-1, 1, 1, 1)
            if conv.bias is not None:
                conv.bias.data = conv.bias.data / scale
            # The last part of a factorised convolution overwrites the first.
            self.scales[str(layer_of(name).relu)] = scale.view(-1, 1, 1)
            scale_below = scale

    def forward(self, image: Float[Tensor, "B 3 H W"], layers: Sequence[str]) -> dict[str, Features]:
        """RGB in [0, 1] -> features (B, N, H', W') by layer name, in float32."""
        features = self.encoder(image, layers)
        return {layer: features[layer].float() * self.scales[layer] for layer in layers}


def half_precision(encoder: Encoder, track: Track = untracked) -> RescaledEncoder:
    """The encoder in float16, each layer with mean activation 1: VGG's own reach the thousands, and sums of their
    squares pass float16's 65504."""
    wholes = [crops(load_photo(name))[0] for name in FITTING]
    means = channel_statistics(encoder, track(wholes, "Measuring features"), lambda values: values.mean(1))
    scales = {name: rows.mean().clamp_min(1e-6).expand(rows.shape[1]) for name, rows in means.items()}
    rescaled = RescaledEncoder(encoder, scales)
    rescaled.encoder.convs.half()
    return rescaled


def rounded_to_int8(encoder: Encoder, track: Track = untracked) -> RescaledEncoder:
    """The encoder with balanced channels and weights that int8 holds exactly, one scale an output channel."""
    images = fitting_images()
    largest, moments = _ranges(encoder, track(images, "Measuring features"))
    floors = _floors(encoder)
    scales = {name: _relative(rows.amax(0)).clamp_min(floors[name]) for name, rows in largest.items()}
    balanced = RescaledEncoder(encoder, scales)
    balanced.reach = {name: float((rows / scales[name]).max()) for name, rows in largest.items()}
    scale_below = torch.ones(3, dtype=torch.float32)
    for name, conv in track(convolutions(balanced.encoder), "Rounding weights"):
        of_inputs = scale_below.repeat_interleave(conv.kernel_size[0] ** 2)
        moment = moments[name] / of_inputs.outer(of_inputs)  # of the inputs that the balanced encoder has
        conv.weight.data = round_weights(conv.weight.data.flatten(1), moment).view_as(conv.weight)
        scale_below = scales[name]
    return balanced


def _relative(maxima: Float[Tensor, " N_out"]) -> Float[Tensor, " N_out"]:
    return maxima / maxima.max().clamp_min(1e-6)


def _floors(encoder: Encoder) -> dict[str, float]:
    """The smallest scale of each convolution's channels. Components inside a factorised one mix many channels: none
    responds only to what the photos lack."""
    last_two = list(encoder.convs)[-2:]

    def floor(name: str) -> float:
        layer = layer_of(name)
        if is_inner(name):
            return FLOOR
        if str(layer) in last_two:
            return FLOOR_LAST_TWO
        return FLOOR_BLOCK_4 if layer.block == 4 else FLOOR

    return {name: floor(name) for name, _ in convolutions(encoder)}


def channel_statistics(
    encoder: Encoder,
    images: Iterable[ImageTensor],
    statistic: Callable[[Float[Tensor, "N_out M"]], Float[Tensor, " N_out"]],
) -> dict[str, Float[Tensor, "images N_out"]]:
    """`statistic` of each convolution's activations at M positions, a row for each image.

    Activations are outputs after ReLU; inside a factorised convolution, where no ReLU follows, their magnitudes.
    """
    rows: dict[str, list[Tensor]] = {name: [] for name, _ in convolutions(encoder)}

    def record(name: str, _: Tensor, output: Tensor) -> None:
        rows[name].append(statistic(_activations(name, output)))

    _run_with_hook(encoder, images, record)
    return {name: torch.stack(of_images) for name, of_images in rows.items()}


def _activations(name: str, output: Float[Tensor, "1 N_out H W"]) -> Float[Tensor, "N_out M"]:
    return (output.abs() if is_inner(name) else output.relu())[0].flatten(1)


def _ranges(
    encoder: Encoder, images: Iterable[ImageTensor]
) -> tuple[dict[str, Float[Tensor, "images N_out"]], dict[str, Float[Tensor, "D D"]]]:
    """Of each convolution the largest activation of each channel, a row for each image, and the sum of x x^T over
    sampled positions, x the D = N_in * side^2 inputs under its kernel."""
    sides = {name: conv.kernel_size[0] for name, conv in convolutions(encoder)}
    rows: dict[str, list[Tensor]] = {name: [] for name in sides}
    moments: dict[str, Tensor] = {}
    generator = torch.Generator().manual_seed(0)

    def add(name: str, x: Tensor, output: Tensor) -> None:
        rows[name].append(_activations(name, output).amax(1))
        patches = _sample_patches(x[0], sides[name], generator)
        if name not in moments:
            moments[name] = torch.zeros(patches.shape[1], patches.shape[1], dtype=torch.float32)
        moments[name].addmm_(patches.mT, patches)

    _run_with_hook(encoder, images, add)
    return {name: torch.stack(of_images) for name, of_images in rows.items()}, moments


def _sample_patches(
    x: Float[Tensor, "N_in H W"], side: int, generator: torch.Generator
) -> Float[Tensor, "positions D"]:
    """What a zero-padded side x side kernel sees at random positions, D = N_in * side^2."""
    windows = F.pad(x, (side // 2,) * 4).unfold(1, side, 1).unfold(2, side, 1)  # a view: N_in, H, W, side, side
    height, width = windows.shape[1:3]
    positions = torch.randperm(height * width, generator=generator)[:POSITIONS_PER_IMAGE]
    return windows[:, positions // width, positions % width].transpose(0, 1).flatten(1)


def _run_with_hook(
    encoder: Encoder, images: Iterable[ImageTensor], hook: Callable[[str, Tensor, Tensor], None]
) -> None:
    """Run the images through all convolutions; `hook` gets each one's name, input (1, N_in, H, W) and output
    (1, N_out, H, W)."""
    handles = [
        conv.register_forward_hook(lambda _, inputs, output, name=name: hook(name, inputs[0], output))
        for name, conv in convolutions(encoder)
    ]
    try:
        with torch.no_grad():
            for image in images:
                encoder(image, [list(encoder.convs)[-1]])
    finally:
        for handle in handles:
            handle.remove()


def round_weights(weight: Float[Tensor, "N_out D"], moment: Float[Tensor, "D D"]) -> Float[Tensor, "N_out D"]:
    """Round each row to steps of which its largest weight has `LARGEST_IN_7_BITS` (Frantar et al. 2022, algorithm 1).

    The rounding errors of each column are compensated by the columns after it, as far as inputs x of second moment
    `moment`, the sum of x x^T, allow. The largest weight stays as it is, so that onnxruntime's quantiser finds the same
    steps again.
    """
    left, block = weight.double(), 128
    largest, peak = left.abs().max(1)
    step = (largest / LARGEST_IN_7_BITS).clamp_min(1e-12)
    damped = moment.double() + DAMPING * moment.diagonal().mean().clamp_min(1e-12) * torch.eye(
        len(moment), dtype=torch.float64
    )
    inverse = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)
    rounded = torch.empty_like(left)
    for start in range(0, left.shape[1], block):
        end = min(start + block, left.shape[1])
        errors = torch.empty_like(left[:, start:end])
        for column in range(start, end):
            value = left[:, column]
            nearest = (value / step).round().clamp(-LARGEST_IN_7_BITS, LARGEST_IN_7_BITS) * step
            rounded[:, column] = torch.where(peak == column, weight[:, column], nearest)
            errors[:, column - start] = (value - rounded[:, column]) / inverse[column, column]
            left[:, column:end] -= errors[:, column - start].outer(inverse[column, column:end])
        left[:, end:] -= errors @ inverse[start:end, end:]
    return rounded.float()


def quantize_nodes(model: onnx.ModelProto, encoder: RescaledEncoder, feeds: Feeds) -> onnx.ModelProto:
    """int8 weights, in 7 bits, and uint8 activations, static, as QDQ, by onnxruntime's quantiser.

    The first and the last convolution compute in float32, unless it is factorised. The first one's features come out
    exact, and its three input channels gain little from eight bits; the last one's sparse features lose most to them.
    Its weights are stored in 8 bits all the same, which hold them exactly.

    Args:
        model: of `encoder`: its weights are kept as they are.
        encoder: as `rounded_to_int8` gives it.
        feeds: the model's inputs for an image.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class AnyImage(CalibrationDataReader):
        """The quantiser wants to see one run, though all ranges are known."""

        def __init__(self) -> None:
            self.remaining = iter([torch.zeros(1, 3, CROP_PX, CROP_PX, dtype=torch.float32)])

        def get_next(self) -> Values | None:
            image = next(self.remaining, None)
            return None if image is None else feeds(image)

    convs = [node.name for node in model.graph.node if node.op_type == "Conv"]
    is_factorised = len(convs) > sum(node.op_type == "Relu" for node in model.graph.node)
    in_float = convs[:1] if is_factorised else [convs[0], convs[-1]]
    with tempfile.TemporaryDirectory() as folder, _quiet_quantizer():
        path = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            path,
            AnyImage(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Relu", "MaxPool"],
            nodes_to_exclude=in_float,
            extra_options={"TensorQuantOverrides": _known_ranges(model.graph, encoder)},
        )
        model = onnx.load(path)
    _fold_scales(model.graph)
    for name in in_float[1:]:
        _store_in_8_bits(model.graph, name)
    return model


def _known_ranges(graph: onnx.GraphProto, encoder: RescaledEncoder) -> dict[str, list[dict[str, Any]]]:
    """Of every value that a convolution makes, as the quantiser takes them: those after ReLU and pooling too."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for value in node.input:
            readers.setdefault(value, []).append(node)
    convs = [node for node in graph.node if node.op_type == "Conv"]
    found: dict[str, list[dict[str, Any]]] = {}
    for (name, _), conv in zip(convolutions(encoder.encoder), convs, strict=False):  # up to the deepest layer asked for
        largest = np.float32(encoder.reach[name])
        values = [conv.output[0]]
        for value in values:  # grows while it is walked
            found[value] = [{"rmin": -largest if is_inner(name) else np.float32(0), "rmax": largest}]
            values += [node.output[0] for node in readers.get(value, []) if node.op_type in ("Relu", "MaxPool")]
    return found


def _store_in_8_bits(graph: onnx.GraphProto, name: str) -> None:
    """A convolution's weights as integers and a scale for each output channel; onnxruntime multiplies them once, when a
    session is made."""
    conv = next(node for node in graph.node if node.name == name)
    stored = next(tensor for tensor in graph.initializer if tensor.name == conv.input[1])
    weights = onnx.numpy_helper.to_array(stored)
    scale = np.abs(weights).max((1, 2, 3), keepdims=True).clip(1e-12) / np.float32(LARGEST_IN_7_BITS)
    whole, kept, scales = (f"{stored.name}_{part}" for part in ("whole", "int8", "scale"))
    graph.initializer.remove(stored)
    graph.initializer.append(onnx.numpy_helper.from_array((weights / scale).round().astype(np.int8), kept))
    graph.initializer.append(onnx.numpy_helper.from_array(scale, scales))
    graph.node.insert(0, onnx.helper.make_node("Mul", [whole, scales], [conv.input[1]], f"{name}_scaled"))
    graph.node.insert(0, onnx.helper.make_node("Cast", [kept], [whole], f"{name}_whole", to=onnx.TensorProto.FLOAT))


def _fold_scales(graph: onnx.GraphProto) -> None:
    """Multiply outputs by s while they are dequantised, (q - zero) * (step * s) for each channel, not afterwards."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    made_by = {node.output[0]: node for node in graph.node}
    for output in graph.output:
        product = made_by[output.name]
        dequantized = made_by[product.input[0]]
        if (product.op_type, dequantized.op_type) != ("Mul", "DequantizeLinear"):
            continue
        quantized, step, zero = dequantized.input
        scale = onnx.numpy_helper.to_array(constants[product.input[1]]).ravel()
        zeros = np.broadcast_to(onnx.numpy_helper.to_array(constants[zero]), scale.shape)
        steps = onnx.numpy_helper.to_array(constants[step]) * scale
        parts = {f"{output.name}_steps": steps, f"{output.name}_zeros": zeros}
        graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in parts.items())
        folded = onnx.helper.make_node(
            "DequantizeLinear", [quantized, *parts], [output.name], f"{output.name}_dequantized", axis=1
        )
        product.CopyFrom(folded)


@contextmanager
def _quiet_quantizer() -> Iterator[None]:
    """Without the quantiser's hints on the root logger to preprocess: there is nothing in our graphs to fuse."""
    disabled = logging.root.manager.disable
    logging.disable(max(disabled, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(disabled)
