"""Smaller numbers inside, the same features outside: float16 and int8.

Both rescale the encoder's channels first. ReLU and pooling commute with positive factors, so a convolution may give its
values divided by s if the next one's weights are multiplied by s (Nagel et al. 2019, section 4.1); what comes out of
the graph is multiplied back. Whatever is measured for that is measured on the project's fitting photos alone.
"""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from stylecore.encoders.distill import random_crops
from stylecore.encoders.vgg import Encoder
from stylecore.images import ImageTensor, image_size, resize_image
from stylecore.losses.statistics import Features
from stylecore.sample_images import FITTING, FITTING_STYLES, load_photo, load_style

Scales = Mapping[str, Float[Tensor, " N"]]  # of each convolution's outputs, by its name within `Encoder.convs`

CROP_PX = 256
NUM_AUGMENTED = 100
# Channels are raised until each fills the 8 bits, at most to 1 / floor of their values. The deeper a layer, the more of
# its channels answer to things that no number of photos need show: raised, they would be clipped when an image does.
FLOOR, FLOOR_BLOCK_4, FLOOR_LAST_TWO = 0.05, 0.5, 1.0
POSITIONS_PER_IMAGE = 128  # drawn for the rounding: 48 crops outnumber the 9 N inputs of any layer
DAMPING = 0.01  # of the rounding's second moments, relative to their mean


def fitting_images() -> list[ImageTensor]:
    """Of each fitting photo, the whole and three crops; and random crops of photos and drawn styles, recoloured and
    made noisy, for they fill channels that a dozen photos leave low; (1, 3, 256, 256)."""
    photos = [load_photo(name) for name in FITTING]
    pictures = photos + [load_style(name) for name in FITTING_STYLES]
    augmented = random_crops(pictures, NUM_AUGMENTED, CROP_PX, torch.Generator().manual_seed(0))
    return [crop for photo in photos for crop in crops(photo)] + list(augmented.split(1))


def crops(photo: ImageTensor) -> list[ImageTensor]:
    """The whole photo at 256 x 256 px, and its first, middle and last 256 x 256 px as they are."""
    height, width = image_size(photo)
    corners = [(round(share * (height - CROP_PX)), round(share * (width - CROP_PX))) for share in (0, 0.5, 1)]
    parts = [photo[:, :, y : y + CROP_PX, x : x + CROP_PX].contiguous() for y, x in corners]
    return [resize_image(photo, CROP_PX, CROP_PX), *parts]


def convolutions(encoder: Encoder) -> list[tuple[str, nn.Conv2d]]:
    """Every convolution in the order they run, `conv1_1`, or of a factorised one `conv1_2.0` and `conv1_2.1`."""
    return [(name, module) for name, module in encoder.convs.named_modules() if isinstance(module, nn.Conv2d)]


class RescaledEncoder(nn.Module):
    """An encoder whose convolutions give F / s inside; called like an `Encoder`, it gives F in float32.

    Args:
        encoder: the one to rescale; a copy is made.
        scales: s of every convolution, positive.
    """

    def __init__(self, encoder: Encoder, scales: Scales) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        self.scales: dict[str, Tensor] = {}
        below = torch.ones(3)
        for name, conv in convolutions(self.encoder):
            scale = scales[name]
            conv.weight.data = conv.weight.data * below.view(1, -1, 1, 1) / scale.view(-1, 1, 1, 1)
            if conv.bias is not None:
                conv.bias.data = conv.bias.data / scale
            # Of a factorised convolution the last part's stays.
            self.scales[name.split(".")[0].replace("conv", "relu")] = scale.view(-1, 1, 1)
            below = scale

    def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Features]:
        features = self.encoder(image, layers)
        return {layer: features[layer].float() * self.scales[layer] for layer in layers}


@contextmanager
def _hooked(encoder: Encoder, see: Callable[[str, Tensor, Tensor], None]) -> Iterator[None]:
    """Within, `see` is called with each convolution's name, input and output."""
    handles = [
        conv.register_forward_hook(lambda _, inputs, output, name=name: see(name, inputs[0], output))
        for name, conv in convolutions(encoder)
    ]
    try:
        with torch.no_grad():
            yield
    finally:
        for handle in handles:
            handle.remove()


def _outputs(encoder: Encoder, images: Sequence[ImageTensor], statistic: Callable[[Tensor], Tensor]) -> Scales:
    """A statistic (N, M) -> (N,) of the size of each convolution's outputs, one row an image: (images, N)."""
    seen: dict[str, list[Tensor]] = {name: [] for name, _ in convolutions(encoder)}

    def see(name: str, _: Tensor, output: Tensor) -> None:
        is_inner = name.endswith(".0")
        seen[name].append(statistic((output.abs() if is_inner else output.relu())[0].flatten(1)))

    with _hooked(encoder, see):
        for image in images:
            encoder(image, [list(encoder.convs)[-1]])
    return {name: torch.stack(rows) for name, rows in seen.items()}


def half_precision(encoder: Encoder) -> RescaledEncoder:
    """The encoder in float16, each layer with mean activation 1: VGG's own reach the thousands, and sums of their
    squares pass float16's 65504."""
    wholes = [crops(load_photo(name))[0] for name in FITTING]
    means = _outputs(encoder, wholes, lambda values: values.mean(1))
    scales = {name: rows.mean().clamp_min(1e-6).expand(rows.shape[1]) for name, rows in means.items()}
    rescaled = RescaledEncoder(encoder, scales)
    rescaled.encoder.convs.half()
    return rescaled


def rounded_to_int8(encoder: Encoder) -> RescaledEncoder:
    """The encoder with balanced channels and weights that int8 holds exactly, one scale an output channel."""
    images = fitting_images()
    maxima = _outputs(encoder, images, lambda values: values.amax(1))
    floors = _floors(encoder)
    scales = {name: _relative(rows.amax(0)).clamp_min(floors[name]) for name, rows in maxima.items()}
    balanced = RescaledEncoder(encoder, scales)
    moments = _input_moments(balanced.encoder, images)
    for name, conv in convolutions(balanced.encoder):
        conv.weight.data = round_weights(conv.weight.data.flatten(1), moments[name]).view_as(conv.weight)
    return balanced


def _relative(maxima: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    return maxima / maxima.max().clamp_min(1e-6)


def _floors(encoder: Encoder) -> dict[str, float]:
    """The smallest factor of each convolution's channels; components within a factorised one hold no surprises."""
    *_, one_but_last, last = encoder.convs
    of_layer = {name: FLOOR_BLOCK_4 if name.startswith("conv4") else FLOOR for name in encoder.convs}
    of_layer |= {one_but_last: FLOOR_LAST_TWO, last: FLOOR_LAST_TWO}
    return {name: FLOOR if name.endswith(".0") else of_layer[name.split(".")[0]] for name, _ in convolutions(encoder)}


def _input_moments(encoder: Encoder, images: Sequence[ImageTensor]) -> dict[str, Float[Tensor, "D D"]]:
    """Sum of x x^T of each convolution, x the inputs under its kernel at some positions of each image."""
    sides = {name: conv.kernel_size[0] for name, conv in convolutions(encoder)}
    moments: dict[str, Tensor] = {}
    generator = torch.Generator().manual_seed(0)

    def see(name: str, x: Tensor, _: Tensor) -> None:
        side = sides[name]
        windows = F.pad(x[0], (side // 2,) * 4).unfold(1, side, 1).unfold(2, side, 1)  # a view: N_in, H, W, side, side
        height, width = windows.shape[1:3]
        drawn = torch.randperm(height * width, generator=generator)[:POSITIONS_PER_IMAGE]
        patches = windows[:, drawn // width, drawn % width].transpose(0, 1).flatten(1)
        moments[name] = moments.get(name, 0) + patches.mT @ patches

    with _hooked(encoder, see):
        for image in images:
            encoder(image, [list(encoder.convs)[-1]])
    return moments


def round_weights(weight: Float[Tensor, "N D"], moment: Float[Tensor, "D D"]) -> Float[Tensor, "N D"]:
    """Round each row to 255 steps of its largest weight; each column's rounding errors are made good, as far as inputs
    of second moment `moment` allow, by the columns after it (Frantar et al. 2022, algorithm 1). The largest weight
    stays as it is, so that onnxruntime's quantiser finds the same steps again."""
    left, block = weight.double(), 128
    largest, peak = left.abs().max(1)
    step = (largest / 127).clamp_min(1e-12)
    damped = moment.double() + DAMPING * moment.diagonal().mean().clamp_min(1e-12) * torch.eye(len(moment)).double()
    inverse = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)
    rounded = torch.empty_like(left)
    for start in range(0, left.shape[1], block):
        end = min(start + block, left.shape[1])
        errors = torch.empty_like(left[:, start:end])
        for column in range(start, end):
            value = left[:, column]
            nearest = (value / step).round().clamp(-127, 127) * step
            rounded[:, column] = torch.where(peak == column, weight[:, column], nearest)
            errors[:, column - start] = (value - rounded[:, column]) / inverse[column, column]
            left[:, column:end] -= errors[:, column - start].outer(inverse[column, column:end])
        left[:, end:] -= errors @ inverse[start:end, end:]
    return rounded.float()


def quantized(
    model: onnx.ModelProto, feeds: Callable[[ImageTensor], dict[str, np.ndarray[Any, np.dtype[Any]]]]
) -> onnx.ModelProto:
    """int8 weights and uint8 activations, static, as QDQ, by onnxruntime's quantiser.

    The first and the last convolution stay in float32, unless it is factorised. The first one's features come out
    exact, and its three input channels gain little from eight bits; the last one's sparse features lose most to them,
    and it is small.

    Args:
        model: of an encoder that is `rounded_to_int8`: its weights are kept as they are.
        feeds: the model's inputs for an image, to calibrate the activations' ranges with.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class FittingImages(CalibrationDataReader):
        def __init__(self) -> None:
            self.remaining = iter(fitting_images())

        def get_next(self) -> dict[str, np.ndarray[Any, np.dtype[Any]]] | None:
            image = next(self.remaining, None)
            return None if image is None else feeds(image)

    convs = [node.name for node in model.graph.node if node.op_type == "Conv"]
    is_factorised = len(convs) > sum(node.op_type == "Relu" for node in model.graph.node)
    with tempfile.TemporaryDirectory() as folder, _without_advice():
        path = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            path,
            FittingImages(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Relu", "MaxPool"],
            nodes_to_exclude=convs[:1] if is_factorised else [convs[0], convs[-1]],
        )
        model = onnx.load(path)
    _fold_scales(model.graph)
    return model


def _fold_scales(graph: onnx.GraphProto) -> None:
    """Multiply outputs back while they are dequantised, (q - z) (step s) for each channel, instead of afterwards."""
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
def _without_advice() -> Iterator[None]:
    """Without the quantiser's advice on the root logger to preprocess: there is nothing in our graphs to fuse."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
