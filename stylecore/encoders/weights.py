"""Which encoders there are, and where their weights come from: bundled files, a download, or a file of the user's."""

from __future__ import annotations

import functools
import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from stylecore.encoders.vgg import ARCHITECTURES, Architecture, Encoder, Layer, Pooling, make_conv, weights_checksum
from stylecore.errors import OptionError, WeightsError, unknown
from stylecore.files import is_address, is_file
from stylecore.isolation import isolated

SUFFIXES = (".safetensors", ".pth", ".pt")
BUNDLED = Path(__file__).parent.parent / "weights"
CC_BY = "CC BY 4.0, Visual Geometry Group, University of Oxford"


@dataclass(frozen=True)
class EncoderSpec:
    """An encoder that can be asked for by name."""

    architecture: str
    file: str  # in stylecore/weights, or to be downloaded
    sha256: str  # of the file, or the digits of it that its publisher put into its name
    licence: str
    built_by: str  # what makes the file
    url: str = ""  # where it is downloaded; empty: bundled


ENCODERS = {
    "vgg16": EncoderSpec(
        "vgg16",
        "vgg16.safetensors",
        "541a590a918c9f2eee4b5072f370b0ab5eb50bdee0014d6f557ead08f5328e03",
        CC_BY,
        "python -m tools.build_vgg16_weights",
    ),
    "vgg19": EncoderSpec(
        "vgg19",
        "vgg19-dcbb9e9d.pth",
        "dcbb9e9d",
        CC_BY,
        "torchvision (VGG19_Weights.IMAGENET1K_V1)",
        "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
    ),
    "vgg16-x2": EncoderSpec(
        "vgg16",
        "vgg16-x2.safetensors",
        "79fabeef3cefbebe1bdbeb5d4dbbb8033e66852451f154e42a1d116725cfc7a0",
        CC_BY,
        "python -m tools.build_reduced_encoders",
    ),
    "vgg16-x3": EncoderSpec(
        "vgg16",
        "vgg16-x3.safetensors",
        "063b704f23afd21f3248e5b2c9ca6323e0fbc592817b4b15218aad6783bf2769",
        CC_BY,
        "python -m tools.build_reduced_encoders",
    ),
}

# What PNGs of earlier versions may name -> what to choose instead.
REPLACED = {"vgg16-r99": "vgg16-x2"}


def find_encoder(name: str) -> EncoderSpec:
    """The entry of that name. Raises an OptionError that suggests the nearest, or what replaces one that is gone."""
    if name in REPLACED:
        raise OptionError(f"The encoder '{name}' was replaced: choose --encoder {REPLACED[name]}, as fast and nearer.")
    if name not in ENCODERS:
        raise unknown("encoder", name, ENCODERS)
    return ENCODERS[name]


def architecture_of(name: str) -> Architecture:
    """`vgg16-x3` -> that of VGG-16. Raises an OptionError for an unknown encoder."""
    return ARCHITECTURES[find_encoder(name).architecture]


@isolated()
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
        name: a key of `ENCODERS`: all are bundled and need no network, but "vgg19", which is downloaded once.
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
    tensors, metadata = _read_named(name) if weights is None else read_weights(Path(weights))
    convs = _build_convs(architecture, _our_names(tensors, architecture), weights or name)
    encoder = Encoder(
        architecture.name,
        convs,
        name=name,
        normalization=metadata.get("normalization", "torchvision"),
        pooling=pooling,
        checksum=weights_checksum(convs),
    )
    encoder.convs.to(dtype)  # the normalisation stays in float32: bfloat16 would shift the colours
    return encoder.to(device).to(memory_format=torch.channels_last)


def _read_named(name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    spec, path = find_encoder(name), fetch_weights(name)
    return read_weights(path) if spec.url else _read_bundled(path, spec.sha256)


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and text metadata of a .safetensors or .pth file. No pickled code is ever run."""
    if not is_file(path):
        advice = " It is an address: download the file first." if is_address(path) else ""
        raise WeightsError(f"There is no weights file '{path}'.{advice}")
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
    return architecture_of(metadata.get("architecture", "vgg19" if is_vgg19 else "vgg16")).name


def _our_names(tensors: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """torchvision's `features.<index>.weight` -> `conv<block>_<conv>.weight`; our own names stay."""
    renamed = {key: value for key, value in tensors.items() if key.startswith("conv")}
    for number, conv in enumerate(architecture.convs):
        index = 2 * number + conv.block - 1  # a ReLU follows each convolution, a pooling each block
        for kind in ("weight", "bias"):
            # A torchvision Sequential saved alone lacks the "features." prefix.
            for key in (f"features.{index}.{kind}", f"{index}.{kind}"):
                if key in tensors:
                    renamed[f"{conv}.{kind}"] = tensors[key]
    return renamed


def _build_convs(architecture: Architecture, tensors: Mapping[str, Tensor], source: object) -> dict[str, nn.Module]:
    in_channels = (3, *(layer.num_channels for layer in architecture.convs))
    return {
        str(layer): _build_conv(architecture, layer, num_in, tensors, source)
        for layer, num_in in zip(architecture.convs, in_channels, strict=False)
    }


def _build_conv(
    architecture: Architecture, layer: Layer, in_channels: int, tensors: Mapping[str, Tensor], source: object
) -> nn.Module:
    name, shape = str(layer), (layer.num_channels, in_channels, 3, 3)
    if f"{name}.0.weight" in tensors:
        conv: nn.Module | None = _factorised_conv(tensors, name, in_channels, layer.num_channels)
    else:
        conv = _conv(tensors, name, shape)
    if conv is None:
        found = [f"{key} {tuple(tensors[key].shape)}" for key in tensors if key.startswith(f"{name}.")]
        raise WeightsError(
            f"'{source}' does not hold a {architecture.name}: {name} should have shape {shape}, found "
            f"{', '.join(found) or 'nothing'}. Choose the matching --encoder ({', '.join(ARCHITECTURES)})."
        )
    return conv


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
    return make_conv(weight, bias)


@functools.lru_cache(maxsize=4)
def _read_bundled(path: Path, sha256: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise WeightsError(f"The bundled weights '{path.name}' are missing: install stylecore again.")
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise WeightsError(f"The bundled weights '{path.name}' are damaged: install stylecore again.")
    return read_weights(path)


def fetch_weights(name: str, progress: Any = None) -> Path:
    """The file of an encoder's weights: bundled, or from torch's cache, where it is downloaded to if it is missing.

    Args:
        name: a key of `ENCODERS`.
        progress: watches a download: an object with `total`, `update(bytes)`, `reset()` and `close()`, as pooch has it.

    Raises:
        WeightsError: the download failed.
    """
    spec = find_encoder(name)
    folder = Path(torch.hub.get_dir()) / "checkpoints" if spec.url else BUNDLED  # where torchvision puts them, too
    if not spec.url or (folder / spec.file).is_file():
        return folder / spec.file
    import pooch  # takes a while to import: only where something is downloaded

    def fetch(url: str, output_file: str, caller: Any) -> None:
        pooch.HTTPDownloader(progressbar=progress or False)(url, output_file, caller)
        if not pooch.file_hash(output_file).startswith(spec.sha256):  # before the file takes its place
            raise ValueError("the download is damaged")

    pooch.get_logger().setLevel("WARNING")  # the library prints nothing
    try:
        return Path(pooch.retrieve(spec.url, None, spec.file, folder, downloader=fetch))
    except (OSError, ValueError) as error:  # what requests raises is an OSError
        raise WeightsError(
            f"The {name} weights could not be downloaded: get {spec.file} from {spec.url} and put it into "
            f"{folder}, or name it with --weights."
        ) from error
