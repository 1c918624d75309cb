"""Encoders that were trained in eight bits: how they round, while they are trained and in their files.

Features are held as F / s, one factor s for each channel, so that weak channels fill the bytes too, and rounded to
255 steps of their largest value; weights are rounded for each output channel to 127 steps of its largest one. Training
sees the rounded values and passes gradients straight through (Jacob et al. 2018; Bengio et al. 2013).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from stylecore.encoders.vgg import Encoder, Rounding, convolutions, is_inner, layer_of
from stylecore.losses.statistics import Features

LARGEST_BYTE, LARGEST_WEIGHT = 255, 127
SMALLEST_STEP = 1e-12  # of a channel's weights: all may be 0
DECAY = 0.9995  # of the reach at each step of training, so that what weights have left is forgotten


class RoundingEncoder(Encoder):
    """An encoder that computes what its bytes will, in floats that can be differentiated; the first convolution is
    exact.

    Args:
        encoder: its convolutions are shared. One that was trained so rounds as it did at the end; any other one by
            what passes through it.
        floors: of one to train, the smallest s of each convolution's channels, by the names of `convolutions`.
        dtype: that convolutions multiply in, for speed; bfloat16 holds any byte.
    """

    def __init__(
        self, encoder: Encoder, floors: Mapping[str, float] | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__(
            encoder.architecture.name,
            encoder.convs._modules,
            name=encoder.name,
            normalization=encoder.normalization,
            pooling=encoder.pooling,
            checksum=encoder.checksum,
            rounding=encoder.rounding,
        )
        self.floors = floors or {}
        self.compute_dtype = dtype
        self.peaks: dict[str, Float[Tensor, " N_out"]] = {}  # the largest F of each channel, lately

    def forward(  # type: ignore[override]
        self,
        image: Float[Tensor, "B 3 H W"],
        layers: Iterable[str],
    ) -> dict[str, Features]:
        """As `Encoder.forward`, in float32; crops are small, so nothing is recomputed."""
        wanted: Collection[str] = set(layers)
        x = (image - self.mean) * self.scale
        found: dict[str, Features] = {}
        below: Tensor | None = None
        block = 1
        for name, conv in convolutions(self):
            layer = layer_of(name)
            if layer.block > block:
                x, block = self.pool(x), layer.block
            with torch.autocast(x.device.type, self.compute_dtype, enabled=self.compute_dtype != torch.float32):
                x = F.conv2d(x, self._weight(conv, below), conv.bias, padding=conv.kernel_size[0] // 2).float()
            x = x if is_inner(name) else F.relu(x)
            if self.rounding is None:
                self._watch(name, x.detach())
            below, reach = self._range(name)
            x = _rounded(x, below * reach, signed=is_inner(name))
            if str(layer.relu) in wanted and not is_inner(name):
                found[str(layer.relu)] = x
        return found

    def found_rounding(self) -> Rounding:
        """As the last passes have left it."""
        ranges = {name: self._range(name) for name in self.peaks}
        return Rounding(
            {name: scales for name, (scales, _) in ranges.items()},
            {name: float(reach) for name, (_, reach) in ranges.items()},
        )

    def _watch(self, name: str, x: Features) -> None:
        peaks = x.abs().amax((0, 2, 3))
        self.peaks[name] = torch.maximum(DECAY * self.peaks.get(name, peaks), peaks)

    def _range(self, name: str) -> tuple[Float[Tensor, " N_out"], Float[Tensor, ""] | float]:
        """s and the reach."""
        if self.rounding is not None:
            return self.rounding.scales[name], self.rounding.reach[name]
        peaks = self.peaks[name]
        scales = (peaks / peaks.max().clamp_min(1e-6)).clamp_min(self.floors[name])
        return scales, (peaks / scales).max().clamp_min(1e-6)

    def _weight(self, conv: nn.Conv2d, below: Float[Tensor, " N_in"] | None) -> Tensor:
        if below is None:
            return conv.weight
        balanced = conv.weight * below.view(1, -1, 1, 1)
        zeros = torch.zeros(len(balanced), dtype=torch.int32, device=balanced.device)
        rounded = torch.fake_quantize_per_channel_affine(
            balanced, weight_steps(balanced), zeros, 0, -LARGEST_WEIGHT, LARGEST_WEIGHT
        )
        return rounded / below.view(1, -1, 1, 1)


def _rounded(x: Features, reach: Float[Tensor, " N_out"], *, signed: bool) -> Features:
    """To 256 values from 0, or from about -reach, to reach."""
    zero = (LARGEST_BYTE + 1) // 2 if signed else 0
    steps = reach * (2 if signed else 1) / LARGEST_BYTE
    zeros = torch.full((len(steps),), zero, dtype=torch.int32, device=x.device)
    return torch.fake_quantize_per_channel_affine(x, steps, zeros, 1, 0, LARGEST_BYTE)


def weight_steps(weight: Float[Tensor, "N_out N_in side side"]) -> Float[Tensor, " N_out"]:
    """Between two of the whole numbers that stand for each output channel's weights."""
    return weight.detach().abs().amax((1, 2, 3)).clamp_min(SMALLEST_STEP) / LARGEST_WEIGHT


def packed(encoder: Encoder, rounding: Rounding) -> dict[str, Tensor]:
    """Tensors for a file: weights as the int8 that they are, times `step` of their output channel, over `scale` of the
    convolution before; the first convolution and biases in float16."""
    tensors: dict[str, Tensor] = {}
    below: Tensor | None = None
    for name, conv in convolutions(encoder):
        scales = rounding.scales[name]
        if below is None:
            tensors[f"{name}.weight"] = conv.weight.detach().half()
        else:
            balanced = conv.weight.detach() * below.view(1, -1, 1, 1)
            steps = weight_steps(balanced)
            tensors[f"{name}.weight"] = (balanced / steps.view(-1, 1, 1, 1)).round().to(torch.int8)
            tensors[f"{name}.step"] = steps
        if conv.bias is not None:
            tensors[f"{name}.bias"] = conv.bias.detach().half()
        tensors |= {f"{name}.scale": scales, f"{name}.reach": torch.tensor([rounding.reach[name]])}
        below = scales
    return tensors


def unpacked(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Rounding | None]:
    """Weights and biases of any file, in floats, and what `packed` has added to them; None if it has not."""
    scales = {key.removesuffix(".scale"): value for key, value in tensors.items() if key.endswith(".scale")}
    if not scales:
        return dict(tensors), None
    reach = {name: float(tensors[f"{name}.reach"]) for name in scales}
    plain: dict[str, Tensor] = {}
    below: Tensor | None = None
    for name in sorted(scales):  # conv1_1, conv1_2.0, conv1_2.1, conv2_1.0 ..: as they run
        weight = tensors[f"{name}.weight"].float()
        if below is not None:
            weight = weight * tensors[f"{name}.step"].view(-1, 1, 1, 1) / below.view(1, -1, 1, 1)
        plain[f"{name}.weight"] = weight
        if f"{name}.bias" in tensors:
            plain[f"{name}.bias"] = tensors[f"{name}.bias"]
        below = scales[name]
    return plain, Rounding(scales, reach)
