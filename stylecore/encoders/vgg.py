"""VGG-16 and VGG-19 up to relu5_1 (Simonyan and Zisserman 2014): features by layer name.

A layer is named as in the literature: `conv3_2` is the second convolution of the third block before its ReLU,
`relu3_2` the value after it. `Encoder` runs any chain of such convolutions; `load_encoder` finds the weights, also of
encoders whose convolutions were split by `reduced_encoder`.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import pickle
import warnings
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stylecore.errors import OptionError, WeightsError, unknown
from stylecore.losses.statistics import Features

Pooling = Literal["max", "average"]

CONVS_PER_BLOCK = {"vgg16": (2, 2, 3, 3, 1), "vgg19": (2, 2, 4, 4, 1)}
# Every encoder that has a name -> its architecture, whose layers it has. x3: a third of the
# multiplications; r99: half of them, by an earlier method, kept for the presets that were measured with it.
ENCODERS = {"vgg16": "vgg16", "vgg19": "vgg19", "vgg16-r99": "vgg16", "vgg16-x2": "vgg16", "vgg16-x3": "vgg16"}
CHANNELS_PER_BLOCK = (64, 128, 256, 512, 512)
POOLINGS: tuple[Pooling, ...] = ("max", "average")
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")

# The input each set of weights was trained on: (RGB in [0, 1] - mean) * scale.
NORMALIZATIONS = {
    "caffe": ((123.68 / 255, 116.779 / 255, 103.939 / 255), (255.0, 255.0, 255.0)),
    "torchvision": ((0.485, 0.456, 0.406), (1 / 0.229, 1 / 0.224, 1 / 0.225)),
}

WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt")
BUNDLED = Path(__file__).parent.parent / "weights"
BUNDLED_SHA256 = {
    "vgg16": "541a590a918c9f2eee4b5072f370b0ab5eb50bdee0014d6f557ead08f5328e03",
    "vgg16-r99": "aad6319e4e6df4b31bf411f5bcd143deb87c3bc541b4f051c31ad4eafcbd14ee",
    "vgg16-x2": "79fabeef3cefbebe1bdbeb5d4dbbb8033e66852451f154e42a1d116725cfc7a0",
    "vgg16-x3": "063b704f23afd21f3248e5b2c9ca6323e0fbc592817b4b15218aad6783bf2769",
}


def architecture_of(name: str) -> str:
    """`vgg16-x3` -> `vgg16`. Raises an OptionError for an unknown encoder."""
    if name not in ENCODERS:
        raise unknown("encoder", name, ENCODERS)
    return ENCODERS[name]


def conv_names(encoder: str) -> list[str]:
    """`conv1_1` .. `conv5_1` in the order they run, of a key of `ENCODERS`."""
    blocks = enumerate(CONVS_PER_BLOCK[architecture_of(encoder)], start=1)
    return [f"conv{block}_{conv}" for block, count in blocks for conv in range(1, count + 1)]


def layer_names(encoder: str) -> list[str]:
    """Every name that `Encoder.forward` accepts, in the order they are computed."""
    return [f"{kind}{name.removeprefix('conv')}" for name in conv_names(encoder) for kind in ("conv", "relu")]


def check_layers(encoder: str, layers: Iterable[str]) -> None:
    """Raise an OptionError for a layer that the encoder of this name does not have."""
    _check_names(layers, layer_names(encoder), encoder)


def _check_names(layers: Iterable[str], names: list[str], architecture: str) -> None:
    for layer in layers:
        if layer not in names:
            raise unknown(f"layer of {architecture}", layer, names)


def num_channels(layer: str) -> int:
    """N of a layer, `relu3_1` -> 256."""
    return CHANNELS_PER_BLOCK[int(layer[4]) - 1]


def stride(layer: str) -> int:
    """Image pixels per position of a layer, `relu3_1` -> 4: each block after the first halves the resolution."""
    return 1 << (int(layer[4]) - 1)


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
        self.architecture = architecture
        self.name = name or architecture
        self.normalization = normalization
        self.pooling = pooling
        self.checksum = checksum
        self.convs = nn.ModuleDict({name: convs[name] for name in conv_names(architecture) if name in convs})
        mean, scale = NORMALIZATIONS[normalization]
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(scale).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    @property
    def dtype(self) -> torch.dtype:
        """What the features are computed in."""
        return next(self.parameters()).dtype

    def check_layers(self, layers: Iterable[str]) -> None:
        """Raise an OptionError for a layer that this encoder does not have."""
        names = [f"{kind}{name.removeprefix('conv')}" for name in self.convs for kind in ("conv", "relu")]
        _check_names(layers, names, self.architecture)

    def forward(
        self, image: Float[Tensor, "B 3 H W"], layers: Iterable[str], *, recompute: bool = False
    ) -> dict[str, Features]:
        """Features of RGB images in [0, 1] at `layers`; runs no further than the deepest of them.

        Args:
            image: values outside [0, 1] are allowed.
            layers: names.
            recompute: keep only the blocks' results for the backward pass, which then computes the rest a second time
                (Chen et al. 2016): about a third more time, about half the memory, the same gradient.

        Returns:
            layer name -> (B, N, H', W') with H' = H // stride(layer), in the encoder's dtype.
        """
        wanted = set(layers)
        self.check_layers(wanted)
        names = list(self.convs)
        needed = names[: max((1 + names.index(layer.replace("relu", "conv")) for layer in wanted), default=0)]
        features: dict[str, Features] = {}
        x = ((image - self.mean) * self.scale).to(self.dtype)
        for block, members in itertools.groupby(needed, key=lambda name: name[4]):
            run = functools.partial(self._run_block, list(members), wanted, pooled=block != needed[-1][4])
            x, found = checkpoint(run, x, use_reentrant=False) if recompute else run(x)
            features |= found
        return features

    def _run_block(
        self, names: Sequence[str], wanted: Collection[str], x: Tensor, *, pooled: bool
    ) -> tuple[Tensor, dict[str, Features]]:
        """What the next block sees, and the wanted features of this one."""
        found: dict[str, Features] = {}
        for name in names:
            x = self.convs[name](x)
            if name in wanted:
                found[name] = x
            x = F.relu(x, inplace=name not in wanted)  # a convolution's gradient does not ask for its result
            if (after := name.replace("conv", "relu")) in wanted:
                found[after] = x
        if pooled:
            x = F.max_pool2d(x, 2) if self.pooling == "max" else F.avg_pool2d(x, 2)
        return x, found


def load_encoder(
    name: str = "vgg16",
    *,
    weights: str | Path | None = None,
    pooling: Pooling = "max",
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Encoder:
    """Load an encoder, ready to run.

    Args:
        name: a key of `ENCODERS`: all are bundled and need no network, but "vgg19", which torchvision downloads.
        weights: a .safetensors or .pth file in torchvision's layout (`features.0.weight`, ...) or ours
            (`conv1_1.weight`, ... or, of a reduced encoder, `conv1_2.0.weight`, `conv1_2.1.weight`, ...) instead.
            Torchvision's normalisation is assumed unless the file's safetensors metadata says `normalization: caffe`.
        pooling: "max" or "average".
        device, dtype: where and in what the features are computed; channels-last where that is faster.

    Raises:
        WeightsError: the file is missing, damaged or of another network, or the download failed.
        OptionError: an unknown name or pooling.
    """
    architecture = architecture_of(name)
    if weights is not None:
        tensors, metadata = read_weights(Path(weights))
    elif name in BUNDLED_SHA256:
        tensors, metadata = _read_bundled(name)
    else:
        tensors, metadata = _download(name), {}
    convs = _build_convs(architecture, _our_names(tensors, architecture), weights or name)
    encoder = Encoder(
        architecture,
        convs,
        name=name,
        normalization=metadata.get("normalization", "torchvision"),
        pooling=pooling,
        checksum=checksum(convs),
    )
    encoder.convs.to(dtype)  # the normalisation stays in float32: bfloat16 would shift the colours
    return encoder.to(device).to(memory_format=torch.channels_last)


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and text metadata of a .safetensors or .pth file. No pickled code is ever run."""
    if not path.is_file():
        raise WeightsError(f"There is no weights file '{path}'.")
    _check_packing(path)
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch finds odd is refused below or does no harm
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"The weights file '{path}' is damaged, or holds more than tensors and was not loaded: "
            "download it again, or save a plain model.state_dict()."
        ) from error
    except Exception as error:  # a damaged file fails wherever its reader stumbles
        raise WeightsError(
            f"The weights file '{path}' is damaged or cut short: delete it and download it again."
        ) from error
    if not isinstance(tensors, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in tensors.items()
    ):
        raise WeightsError(f"The weights file '{path}' is not a state dict: save model.state_dict() instead.")
    if sum(tensor.nbytes for tensor in tensors.values()) > path.stat().st_size:  # strides of 0 repeat numbers
        raise WeightsError(f"The weights file '{path}' claims to hold more than it does: download it again.")
    return dict(tensors), {}


def _check_packing(path: Path) -> None:
    """torch.save packs without compressing: a zip that grows when it is unpacked is a bomb."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except zipfile.BadZipFile:  # no zip, or a damaged one, which its reader tells
        return
    if unpacked > path.stat().st_size:
        raise WeightsError(f"The weights file '{path}' is packed as torch packs none: save it with torch.save().")


def weights_architecture(path: str | Path) -> str:
    """Of which architecture a weights file is, by its metadata or its layers. Raises what `read_weights` raises."""
    tensors, metadata = read_weights(Path(path))
    # The fourth convolution of block 3, which VGG-16 does not have, in torchvision's names and ours.
    is_vgg19 = not tensors.keys().isdisjoint(("features.16.weight", "16.weight", "conv3_4.weight"))
    return architecture_of(metadata.get("architecture", "vgg19" if is_vgg19 else "vgg16"))


def _our_names(tensors: Mapping[str, Tensor], architecture: str) -> dict[str, Tensor]:
    """torchvision's `features.<index>.weight` -> `conv<block>_<conv>.weight`; our own names stay."""
    renamed = {key: value for key, value in tensors.items() if key.startswith("conv")}
    index = 0
    for block, count in enumerate(CONVS_PER_BLOCK[architecture], start=1):
        for conv in range(1, count + 1):
            for kind in ("weight", "bias"):
                # A torchvision Sequential saved alone lacks the "features." prefix.
                for key in (f"features.{index}.{kind}", f"{index}.{kind}"):
                    if key in tensors:
                        renamed[f"conv{block}_{conv}.{kind}"] = tensors[key]
            index += 2
        index += 1
    return renamed


def _build_convs(architecture: str, tensors: Mapping[str, Tensor], source: object) -> dict[str, nn.Module]:
    convs: dict[str, nn.Module] = {}
    in_channels = 3
    for name in conv_names(architecture):
        out_channels = num_channels(name)
        if f"{name}.0.weight" in tensors:
            conv: nn.Module | None = _factorised_conv(tensors, name, in_channels, out_channels)
        else:
            conv = _conv(tensors, name, (out_channels, in_channels, 3, 3))
        if conv is None:
            found = [f"{key} {tuple(tensors[key].shape)}" for key in tensors if key.startswith(f"{name}.")]
            raise WeightsError(
                f"'{source}' does not hold a {architecture}: {name} should have shape "
                f"{(out_channels, in_channels, 3, 3)}, found {', '.join(found) or 'nothing'}. "
                f"Choose the matching --encoder ({', '.join(CONVS_PER_BLOCK)})."
            )
        convs[name] = conv
        in_channels = out_channels
    return convs


def _factorised_conv(
    tensors: Mapping[str, Tensor], name: str, in_channels: int, out_channels: int
) -> nn.Sequential | None:
    """1x1 and 3x3 through fewer channels, in either order; None if the tensors are of another shape."""
    first = _conv(tensors, f"{name}.0", (None, in_channels, None, None), has_bias=False)
    second = first and _conv(tensors, f"{name}.1", (out_channels, first.out_channels, None, None))
    if not first or not second or {first.kernel_size, second.kernel_size} != {(1, 1), (3, 3)}:
        return None
    return nn.Sequential(first, second)


def _conv(
    tensors: Mapping[str, Tensor], name: str, shape: tuple[int | None, ...], *, has_bias: bool = True
) -> nn.Conv2d | None:
    """A convolution that keeps height and width; None if the tensors lack it or are of another shape (None: any)."""
    weight, bias = tensors.get(f"{name}.weight"), tensors.get(f"{name}.bias")
    if weight is None or (bias is None) is has_bias or weight.dim() != len(shape):
        return None
    if any(wanted not in (None, found) for wanted, found in zip(shape, weight.shape, strict=True)):
        return None
    if bias is not None and bias.shape != weight.shape[:1]:
        return None
    out_channels, in_channels, side, _ = weight.shape
    conv = nn.Conv2d(in_channels, out_channels, side, padding=side // 2, bias=has_bias)
    conv.load_state_dict({"weight": weight.float()} | ({} if bias is None else {"bias": bias.float()}))
    return conv


@functools.lru_cache(maxsize=4)
def _read_bundled(name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    path = BUNDLED / f"{name}.safetensors"
    if not path.is_file():
        raise WeightsError(f"The bundled weights '{path.name}' are missing: install stylecore again.")
    if hashlib.sha256(path.read_bytes()).hexdigest() != BUNDLED_SHA256[name]:
        raise WeightsError(f"The bundled weights '{path.name}' are damaged: install stylecore again.")
    return read_weights(path)


def _download(name: str) -> dict[str, Tensor]:
    """Torchvision's ImageNet weights, from its cache or the network, checked by the hash in their file's name."""
    from torchvision.models import VGG19_Weights

    url = VGG19_Weights.IMAGENET1K_V1.url
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not file.is_file():
        # Not weights.get_state_dict(): it prints on stdout and unpickles whatever lies in the cache.
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.split("-")[-1], progress=False)
        except (OSError, RuntimeError, HTTPException) as error:  # URLError is an OSError; a wrong hash a RuntimeError
            raise WeightsError(
                f"The {name} weights could not be downloaded: get {file.name} from {url} and put it into "
                f"{file.parent}, or name it with --weights."
            ) from error
    return read_weights(file)[0]


def checksum(convs: Mapping[str, nn.Module]) -> str:
    """Twelve hex digits of the convolutions' values, whatever file they came in."""
    digest = hashlib.sha256()
    for name, conv in convs.items():
        digest.update(name.encode())
        for values in conv.parameters():
            digest.update(values.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def check_resolution(height: int, width: int, layers: Iterable[str]) -> None:
    """Raise an OptionError if an image of height x width px leaves a layer without a single position."""
    for layer in layers:
        if min(height, width) < stride(layer):
            raise OptionError(
                f"{width}x{height} px is too small for {layer}, which sees one position every {stride(layer)} px: "
                "choose a larger --size."
            )
