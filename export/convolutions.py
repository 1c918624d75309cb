"""Convolutions of an exported step: each knows its adjoint, and has its weights in eight bits.

torch cannot export its autograd. `StoredConv` computes in float32, `HalfConv` in float16; `Int8Conv` rounds what it
multiplies, forward and back, so that a runtime can multiply bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from stylecore.encoders import Encoder, Layer
from stylecore.losses.statistics import Features

from .rounding import SIGNED, SMALLEST_STEP, UNSIGNED, rounded, rounded_to_own_range, step_of, unpacked

LARGEST_WEIGHT = 127  # of 8 bits
SMALLEST_SCALE = 1e-12  # of a channel's weights: all may be 0


class StoredConv(nn.Module):
    """A stride-1 convolution whose weights are stored in int8 and used in float32, with its adjoint.

    Each output channel has a scale, its largest weight over 127. onnxruntime turns the weights into float32, and into
    the adjoint's, once when a session is made: a file holds each value once, in one byte.
    """

    weight: Tensor  # int8, (N_out, N_in, side, side)
    scale: Tensor  # (N_out, 1, 1, 1)

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        exact = conv.weight.detach().float()
        scale = weight_steps(exact).view(-1, 1, 1, 1)
        self.register_buffer("scale", scale)
        self.register_buffer("weight", (exact / scale).round().to(torch.int8))
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach().float(), requires_grad=False)
        self.padding = conv.kernel_size[0] // 2  # keeps height and width

    @property
    def float_weight(self) -> Float[Tensor, "N_out N_in side side"]:
        return self.weight.float() * self.scale

    def forward(self, x: Float[Tensor, "1 N_in H W"]) -> Float[Tensor, "1 N_out H W"]:
        return self._convolve(x, self.float_weight, self.bias)

    def adjoint(self, gradient: Float[Tensor, "1 N_out H W"]) -> Float[Tensor, "1 N_in H W"]:
        """A convolution with flipped kernels, inputs and outputs exchanged: under onnxruntime faster than a
        transposed convolution, which is the same."""
        return self._convolve(gradient, self.float_weight.flip(2, 3).transpose(0, 1), None)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(x, weight, bias, padding=self.padding)


class HalfConv(StoredConv):
    """A `StoredConv` that multiplies in float16, for runtimes that are faster at it: WebGPU, CUDA.

    What goes in is divided by its largest magnitude first and what comes out multiplied by it: VGG's features reach the
    thousands, where sums pass float16's 65504, and its gradients 1e-7, where float16 ends.
    """

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        largest = x.abs().max().clamp_min(SMALLEST_STEP)
        product = super()._convolve((x / largest).half(), weight.half(), None).float() * largest
        return product if bias is None else product + bias.view(-1, 1, 1)


class AdjointSequence(nn.Sequential):
    """A whole or a factorised convolution: convolutions that know their adjoints, one after the other."""

    def adjoint(self, gradient: Float[Tensor, "1 N_out H W"]) -> Float[Tensor, "1 N_in H W"]:
        for conv in reversed(self):
            gradient = conv.adjoint(gradient)  # type: ignore[operator]
        return gradient


def with_stored_weights(encoder: Encoder, kind: type[StoredConv] = StoredConv) -> Encoder:
    """The same encoder with convolutions that know their adjoint and store their weights in int8."""
    convs = {
        name: AdjointSequence(*(kind(part) for part in conv.modules() if isinstance(part, nn.Conv2d)))
        for name, conv in encoder.convs.items()
    }
    return encoder.with_convs(convs, encoder.checksum)


class Int8Conv(nn.Module):
    """A stride-1 convolution of bytes with bytes, and its adjoint.

    Its inputs are rounded by whoever made them. (Weights of 7 bits, which x86 without VNNI would sum without overflow,
    were tried on two pairs: style distances end 0.01 higher.)

    Args:
        conv: with its exact weights.
        in_step: between two bytes of its input.
        gain: the largest magnitude that the adjoint gives, relative to the largest that it gets in units of `steps`.
        largest: magnitude of the outputs, which are then rounded here; None: after ReLU, elsewhere.
    """

    weight: Tensor  # int8, (N_out, N_in, side, side)
    steps: Tensor  # (N_out,)
    bias: Tensor | None  # int32, (N_out,), in units of `bias_steps`
    bias_steps: Tensor  # (N_out,)
    gain: Tensor  # ()
    out_step: Tensor | None  # ()

    def __init__(self, conv: nn.Conv2d, in_step: float, gain: float, largest: float | None = None) -> None:
        super().__init__()
        exact = conv.weight.detach().float()
        steps = weight_steps(exact)
        self.register_buffer("steps", steps)
        self.register_buffer("weight", (exact / steps.view(-1, 1, 1, 1)).round().to(torch.int8))
        self.register_buffer("bias_steps", steps * in_step)
        bias = None if conv.bias is None else (conv.bias.detach().float() / (steps * in_step)).round().to(torch.int32)
        self.register_buffer("bias", bias)
        self.register_buffer("gain", torch.tensor(gain, dtype=torch.float32))
        self.register_buffer("out_step", None if largest is None else torch.tensor(step_of(largest, SIGNED)))
        self.padding = conv.kernel_size[0] // 2  # keeps height and width

    def forward(self, x: Float[Tensor, "1 N_in H W"]) -> Float[Tensor, "1 N_out H W"]:
        bias = None if self.bias is None else unpacked(self.bias, self.bias_steps)
        outputs = F.conv2d(x, unpacked(self.weight, self.steps), bias, padding=self.padding)
        return outputs if self.out_step is None else rounded(outputs, self.out_step, SIGNED)

    def adjoint(self, gradient: Float[Tensor, "1 N_out H W"]) -> Float[Tensor, "1 N_in H W"]:
        """The steps go into the gradient, so that the same bytes serve as weights, flipped."""
        in_bytes, step = rounded_to_own_range(gradient * self.steps.view(-1, 1, 1))
        flipped = unpacked(self.weight.transpose(0, 1).flip(2, 3), torch.ones((), dtype=torch.float32))
        return rounded(F.conv2d(in_bytes, flipped, padding=self.padding), step * self.gain, SIGNED)


def rounded_product(matrix: Float[Tensor, "1 K K"], features: Float[Tensor, "1 K M"]) -> Float[Tensor, "1 K M"]:
    """Of a matrix rounded to its own range with features that are rounded already."""
    return rounded_to_own_range(matrix)[0] @ features


def weight_steps(weight: Float[Tensor, "N_out N_in side side"]) -> Float[Tensor, " N_out"]:
    """Between two of the whole numbers that stand for each output channel's weights."""
    return weight.detach().abs().amax((1, 2, 3)).clamp_min(SMALLEST_SCALE) / LARGEST_WEIGHT


class Int8Encoder(Encoder):
    """An encoder whose features are rounded to eight bits as they are made; the first convolution computes in float32,
    for its three input channels gain little.

    Args:
        encoder: the exact one.
        largest: of each convolution's outputs, after ReLU, or of the magnitudes inside a factorised one; by the names
            of `convolutions`.
        gains: of each adjoint, by the same names.
    """

    def __init__(self, encoder: Encoder, largest: Mapping[str, float], gains: Mapping[str, float]) -> None:
        parts: dict[str, list[nn.Module]] = {}
        steps: dict[str, float] = {}  # of the features, by the convolution's name
        in_step = 0.0
        for name, conv in convolutions(encoder):
            layer, inner = str(layer_of(name)), is_inner(name)
            is_first = not parts
            inner_largest = largest[name] if inner else None
            made = StoredConv(conv) if is_first else Int8Conv(conv, in_step, gains[name], inner_largest)
            parts.setdefault(layer, []).append(made)
            in_step = steps[layer] = step_of(largest[name], SIGNED if inner else UNSIGNED)
        super().__init__(
            encoder.architecture.name,
            {layer: AdjointSequence(*convs) for layer, convs in parts.items()},
            name=encoder.name,
            normalization=encoder.normalization,
            pooling=encoder.pooling,
            checksum=encoder.checksum,
        )
        self.steps = steps

    def _run_block(
        self, convs: Sequence[Layer], wanted: Collection[str], x: Tensor, *, pooled: bool
    ) -> tuple[Tensor, dict[str, Features]]:
        found: dict[str, Features] = {}
        for conv in convs:
            x = self._rounded(F.relu(self.convs[str(conv)](x)), conv)
            if str(conv.relu) in wanted:
                found[str(conv.relu)] = x
        # A maximum is rounded already; said again, so that what comes next sees bytes.
        return self._rounded(self.pool(x), convs[-1]) if pooled else x, found

    def _rounded(self, x: Features, conv: Layer) -> Features:
        return rounded(x, torch.tensor(self.steps[str(conv)], dtype=torch.float32), UNSIGNED)


def convolutions(encoder: Encoder) -> list[tuple[str, nn.Conv2d]]:
    """Every convolution in the order they run, `conv1_1`, or of a factorised one `conv1_2.0` and `conv1_2.1`."""
    return [(name, module) for name, module in encoder.convs.named_modules() if isinstance(module, nn.Conv2d)]


def layer_of(name: str) -> Layer:
    """`conv1_2.0` -> conv1_2"""
    return Layer.parse(name.partition(".")[0])


def is_inner(name: str) -> bool:
    """Whether it is the first part of a factorised convolution, after which no ReLU follows."""
    return name.endswith(".0")
