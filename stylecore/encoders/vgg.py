"""VGG-16 and VGG-19 up to relu5_1 (Simonyan and Zisserman 2014): layers, and features by layer name.

A layer is named as in the literature: `conv3_2` is the second convolution of the third block before its ReLU,
`relu3_2` the value after it.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from stylecore.errors import OptionError, unknown
from stylecore.files import CHECKSUM_DIGITS
from stylecore.losses.statistics import Features

Pooling = Literal["max", "average"]
POOLINGS: tuple[Pooling, ...] = ("max", "average")
CHANNELS_PER_BLOCK = (64, 128, 256, 512, 512)
# Where recipes compare the style unless they say otherwise (Gatys et al. 2016); the yardstick has its own constant.
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")

# The input each set of weights was trained on: (RGB in [0, 1] - mean) * scale.
NORMALIZATIONS = {
    "caffe": ((123.68 / 255, 116.779 / 255, 103.939 / 255), (255.0, 255.0, 255.0)),
    "torchvision": ((0.485, 0.456, 0.406), (1 / 0.229, 1 / 0.224, 1 / 0.225)),
}


@dataclass(frozen=True)
class Layer:
    """A place in a VGG where features are read."""

    kind: Literal["conv", "relu"]  # before or after the ReLU
    block: int  # 1 .. 5
    index: int  # of the convolution within the block, from 1

    @classmethod
    def parse(cls, name: str) -> Layer:
        """`relu4_2` -> its value. Raises an OptionError for a name of another form."""
        match = re.fullmatch(r"(conv|relu)([1-5])_([1-9])", name)
        if match is None:
            raise OptionError(f"A layer is named like conv3_2 or relu3_2, not '{name}'.")
        return cls("conv" if match[1] == "conv" else "relu", int(match[2]), int(match[3]))

    def __str__(self) -> str:
        return f"{self.kind}{self.block}_{self.index}"

    @property
    def conv(self) -> Layer:
        """The convolution that it belongs to."""
        return replace(self, kind="conv")

    @property
    def relu(self) -> Layer:
        """The value after the ReLU."""
        return replace(self, kind="relu")

    @property
    def num_channels(self) -> int:
        """N, `relu3_1` -> 256."""
        return CHANNELS_PER_BLOCK[self.block - 1]

    @property
    def stride(self) -> int:
        """Image pixels per position, `relu3_1` -> 4: each block after the first halves the resolution."""
        return 1 << (self.block - 1)


@dataclass(frozen=True)
class Architecture:
    """Which convolutions a VGG has, up to conv5_1."""

    name: str
    convs_per_block: tuple[int, ...]

    @cached_property
    def convs(self) -> tuple[Layer, ...]:
        """In the order they run."""
        blocks = enumerate(self.convs_per_block, start=1)
        return tuple(Layer("conv", block, index) for block, count in blocks for index in range(1, count + 1))

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Each convolution and its ReLU, in the order they are computed."""
        return tuple(layer for conv in self.convs for layer in (conv, conv.relu))

    def previous(self, layer: Layer) -> Layer:
        """The convolution before that of a layer, which must not be the first."""
        return self.convs[self.convs.index(layer.conv) - 1]

    def check(self, names: Iterable[str], encoder: str = "") -> None:
        """Raise an OptionError for a name of a layer that is not there; `encoder` is named in it."""
        known = [str(layer) for layer in self.layers]
        for name in names:
            if name not in known:
                raise unknown(f"layer of {encoder or self.name}", name, known)


ARCHITECTURES = {
    "vgg16": Architecture("vgg16", (2, 2, 3, 3, 1)),
    "vgg19": Architecture("vgg19", (2, 2, 4, 4, 1)),
}


class Encoder(nn.Module):
    """A VGG's convolutions, frozen, with the input normalisation they were trained with.

    Args:
        architecture: "vgg16" or "vgg19".
        convs: one module per convolution name, N_in x H x W -> N_out x H x W: a convolution, or two in a Sequential.
        name: a key of `ENCODERS`, by which a config asks for it; default: the architecture.
        normalization: "caffe" or "torchvision", a key of `NORMALIZATIONS`.
        pooling: between blocks, "max" as trained or "average" (Gatys et al. 2016, section 2).
        checksum: what tells these weights from others, kept in records and saved bases.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        architecture: str,
        convs: Mapping[str, nn.Module],
        *,
        name: str = "",
        normalization: str = "caffe",
        pooling: Pooling = "max",
        checksum: str = "",
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise unknown("pooling", pooling, POOLINGS)
        if normalization not in NORMALIZATIONS:
            raise unknown("normalization", normalization, NORMALIZATIONS)
        self.architecture = ARCHITECTURES[architecture]
        self.name = name or architecture
        self.normalization = normalization
        self.pooling = pooling
        order = [str(conv) for conv in self.architecture.convs]
        self.convs = nn.ModuleDict({conv: convs[conv] for conv in order if conv in convs})
        self.checksum = checksum
        mean, scale = NORMALIZATIONS[normalization]
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def with_convs(self, convs: Mapping[str, nn.Module], checksum: str | None = None) -> Encoder:
        """The same encoder with other convolutions, or fewer of them; the checksum is theirs unless it is given."""
        return Encoder(
            self.architecture.name,
            convs,
            name=self.name,
            normalization=self.normalization,
            pooling=self.pooling,
            checksum=weights_checksum(convs) if checksum is None else checksum,
        )

    @property
    def dtype(self) -> torch.dtype:
        """What the features are computed in."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the features are computed."""
        return self.mean.device

    def check_layers(self, names: Iterable[str]) -> None:
        """Raise an OptionError for a layer that this encoder does not have."""
        known = [name for conv in self.convs for name in (conv, str(Layer.parse(conv).relu))]
        for name in names:
            if name not in known:
                raise unknown(f"layer of {self.architecture.name}", name, known)

    def convs_up_to(self, names: Iterable[str]) -> list[Layer]:
        """The convolutions that have to run for these layers, in their order."""
        convs = [Layer.parse(conv) for conv in self.convs]
        return convs[: max((1 + convs.index(Layer.parse(name).conv) for name in names), default=0)]

    def forward(self, image: Float[Tensor, "B 3 H W"], layers: Iterable[str]) -> dict[str, Features]:
        """Features of RGB images in [0, 1] at `layers`; runs no further than the deepest of them.

        Args:
            image: values outside [0, 1] are allowed.
            layers: names.

        Returns:
            layer name -> (B, N, H', W') with H' = H // stride of the layer, in the encoder's dtype.
        """
        wanted = set(layers)
        self.check_layers(wanted)
        needed = self.convs_up_to(wanted)
        features: dict[str, Features] = {}
        x = ((image - self.mean) * self.scale).to(self.dtype)
        for block, members in itertools.groupby(needed, key=lambda conv: conv.block):
            x, found = self._run_block(list(members), wanted, x, pooled=block != needed[-1].block)
            features |= found
        return features

    def _run_block(
        self, convs: Sequence[Layer], wanted: Collection[str], x: Tensor, *, pooled: bool
    ) -> tuple[Tensor, dict[str, Features]]:
        """What the next block sees, and the wanted features of this one."""
        found: dict[str, Features] = {}
        for conv in convs:
            before, after = str(conv), str(conv.relu)
            x = self.convs[before](x)
            if before in wanted:
                found[before] = x
            x = F.relu(x, inplace=before not in wanted)  # a convolution's gradient does not ask for its result
            if after in wanted:
                found[after] = x
        return self.pool(x) if pooled else x, found

    def pool(self, x: Float[Tensor, "B N H W"]) -> Float[Tensor, "B N _ _"]:
        """Half the resolution, as between two blocks."""
        return F.max_pool2d(x, 2) if self.pooling == "max" else F.avg_pool2d(x, 2)


def make_conv(weight: Float[Tensor, "N_out N_in k k"], bias: Float[Tensor, " N_out"] | None) -> nn.Conv2d:
    """A frozen float32 convolution that keeps height and width, with a copy of these weights: no random ones are drawn
    first."""
    num_out, num_in, side, _ = weight.shape
    conv = nn.Conv2d(num_in, num_out, side, padding=side // 2, bias=bias is not None, device="meta")
    known = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    values = {name: tensor.detach().to(torch.float32, copy=True).contiguous() for name, tensor in known.items()}
    conv.load_state_dict(values, assign=True)
    return conv.requires_grad_(False)


def weights_checksum(convs: Mapping[str, nn.Module]) -> str:
    """Twelve hex digits of the convolutions' values, whatever file they came in."""
    digest = hashlib.sha256()
    for name, conv in convs.items():
        digest.update(name.encode())
        for values in conv.parameters():
            digest.update(values.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()[:CHECKSUM_DIGITS]


def check_resolution(height: int, width: int, layers: Iterable[str]) -> None:
    """Raise an OptionError if an image of height x width px leaves a layer without a single position."""
    for layer in layers:
        stride = Layer.parse(layer).stride
        if min(height, width) < stride:
            raise OptionError(
                f"{width}x{height} px is too small for {layer}, which sees one position every {stride} px: "
                "choose a larger --size."
            )
