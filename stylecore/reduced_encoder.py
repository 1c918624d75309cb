"""A cheaper encoder that keeps the features: each 3x3 convolution N -> N split into 3x3 N -> K and 1x1 K -> N.

The factors are found layer by layer, without training, by reduced-rank regression (Izenman 1975): least squares from
the inputs that the reduced network really sees to the original network's responses, ridge towards the original weights,
then the top principal components of the prediction. Fitting to the inputs that are really seen keeps the errors of
early layers from adding up in later ones.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor, nn

from stylecore.encoder import Encoder, checksum, conv_names, stride
from stylecore.errors import OptionError, WeightsError
from stylecore.images import ImageTensor, replacing

FIRST = "conv1_1"  # three input channels: nothing to save
RIDGE = 1e-3  # pull towards the original weights, relative to the inputs' mean energy
POSITIONS_PER_IMAGE = 1024  # drawn for the regression: enough for 36 crops to outnumber the 9 N inputs of any layer


@dataclass(frozen=True)
class Regression:
    """What one layer's fit needs of its data: second moments of inputs and of inputs with responses."""

    inputs: Float[Tensor, "D D"]  # E x x^T, x a 3x3 patch of N_in channels and a 1 for the bias
    cross: Float[Tensor, "N D"]  # E y x^T, y the original's responses


def reduce_encoder(
    encoder: Encoder,
    images: Sequence[ImageTensor],
    *,
    energy: float,
    report: Callable[[str, int, int], None] | None = None,
) -> Encoder:
    """Factorise an encoder's convolutions so that `energy` of each layer's responses on `images` is kept.

    Args:
        encoder: the full one, float32.
        images: fitting images, (1, 3, H, W) in [0, 1]; about 36 of 256 px do.
        energy: share of the variance of the predicted responses that the K components keep, in (0, 1].
        report: called after each layer with its name, K and N.

    Returns:
        an encoder of the same architecture; a layer where K would save nothing keeps its one 3x3 convolution.

    Raises:
        OptionError: the energy is not a share, there are no images, or the encoder is a reduced one already.
    """
    if not 0 < energy <= 1:
        raise OptionError(f"energy must be a share between 0 and 1, such as 0.95, not {energy:g}.")
    if not images:
        raise OptionError("At least one image is needed to fit a reduced encoder.")
    if not all(isinstance(conv, nn.Conv2d) for conv in encoder.convs.values()):
        raise OptionError("This encoder is a reduced one already: choose vgg16 or vgg19.")
    names = [name for name in conv_names(encoder.architecture) if name in encoder.convs]
    convs: dict[str, nn.Module] = {FIRST: copy.deepcopy(encoder.convs[FIRST])}
    generator = torch.Generator().manual_seed(0)
    for name in names[1:]:
        original = encoder.convs[name]
        assert isinstance(original, nn.Conv2d)
        partial = _with_convs(encoder, convs)
        moments = _collect(encoder, partial, name, images, generator)
        weight, bias = _regress(moments, original)
        convs[name] = _split(weight, bias, moments, energy)
        if report:
            report(name, rank_of(convs[name]), original.out_channels)
    return _with_convs(encoder, convs)


def rank_of(conv: nn.Module) -> int:
    """K of a factorised convolution, N of a whole one."""
    first = conv[0] if isinstance(conv, nn.Sequential) else conv
    assert isinstance(first, nn.Conv2d)
    return first.out_channels


def num_multiplications(encoder: Encoder, height: int, width: int) -> int:
    """Multiplications of one forward pass over an image of height x width px; a backward pass to the image takes as
    many again."""
    total = 0
    for name, conv in encoder.convs.items():
        weights = sum(weight.numel() for key, weight in conv.named_parameters() if key.endswith("weight"))
        total += weights * (height // stride(name)) * (width // stride(name))
    return total


def save_encoder(encoder: Encoder, path: str | Path) -> None:
    """Write the convolutions in half precision, as `load_encoder(weights=path)` and `--encoder FILE` read them.

    Raises:
        WeightsError: there is no such folder.
    """
    tensors = {key: value.half().contiguous() for key, value in encoder.convs.state_dict().items()}
    metadata = {"architecture": encoder.architecture, "normalization": encoder.normalization}
    target = Path(path)
    if not target.parent.is_dir():
        raise WeightsError(f"There is no folder '{target.parent}' to write '{target.name}' to.")
    with replacing(target) as file:
        file.write(save(tensors, metadata))


def _with_convs(encoder: Encoder, convs: Mapping[str, nn.Module]) -> Encoder:
    return Encoder(
        encoder.architecture,
        convs,
        normalization=encoder.normalization,
        pooling=encoder.pooling,
        checksum=checksum(convs),
    )


def _input_of(encoder: Encoder, name: str, image: ImageTensor) -> Tensor:
    """What the convolution `name` would see: the one before it after ReLU, and pooling where a block begins."""
    names = conv_names(encoder.architecture)
    before = names[names.index(name) - 1].replace("conv", "relu")
    features = encoder(image, [before])[before]
    if before[4] == name[4]:
        return features
    return F.max_pool2d(features, 2) if encoder.pooling == "max" else F.avg_pool2d(features, 2)


@torch.no_grad()
def _collect(
    encoder: Encoder, partial: Encoder, name: str, images: Sequence[ImageTensor], generator: torch.Generator
) -> Regression:
    inputs, cross, count = None, None, 0
    for image in images:
        seen = _input_of(partial, name, image)
        responses = encoder(image, [name])[name]
        patches = F.unfold(seen, 3, padding=1)[0]
        drawn = torch.randperm(patches.shape[1], generator=generator)[:POSITIONS_PER_IMAGE]
        x = torch.cat([patches[:, drawn], torch.ones(1, len(drawn))]).double()
        y = responses[0].flatten(1)[:, drawn].double()
        inputs = x @ x.mT if inputs is None else inputs.addmm_(x, x.mT)
        cross = y @ x.mT if cross is None else cross.addmm_(y, x.mT)
        count += len(drawn)
    assert inputs is not None
    assert cross is not None
    return Regression(inputs / count, cross / count)


def _regress(moments: Regression, original: nn.Conv2d) -> tuple[Float[Tensor, "N P"], Float[Tensor, " N"]]:
    """Ridge regression towards the original weights: argmin E |y - W x|^2 + r |W - W0|^2."""
    assert original.bias is not None
    start = torch.cat([original.weight.flatten(1), original.bias[:, None]], 1).double()
    ridge = RIDGE * moments.inputs.diagonal().mean()
    regularised = moments.inputs + ridge * torch.eye(len(moments.inputs), dtype=torch.float64)
    solution = torch.linalg.solve(regularised, (moments.cross + ridge * start).mT).mT
    return solution[:, :-1], solution[:, -1]


def _split(
    weight: Float[Tensor, "N P"], bias: Float[Tensor, " N"], moments: Regression, energy: float
) -> nn.Sequential | nn.Conv2d:
    """The top components of the predicted responses' covariance: W -> V (V^T W), with the mean kept exactly."""
    mean = moments.inputs[-1, :-1]
    covariance = weight @ (moments.inputs[:-1, :-1] - mean.outer(mean)) @ weight.mT
    values, vectors = torch.linalg.eigh(covariance)
    kept = values.flip(0).clamp_min(0).cumsum(0) / values.clamp_min(0).sum()
    rank = int((kept < energy - 1e-12).sum()) + 1
    num_out, num_in = weight.shape[0], weight.shape[1] // 9
    if rank * (9 * num_in + num_out) >= 9 * num_in * num_out:
        return _conv(weight.view(num_out, num_in, 3, 3), bias)
    components = vectors.flip(1)[:, :rank]
    # Responses are W x + b; off the mean they are replaced by their projection V V^T.
    offset = bias + weight @ mean - components @ (components.mT @ (weight @ mean))
    reduce = _conv((components.mT @ weight).view(rank, num_in, 3, 3), None)
    return nn.Sequential(reduce, _conv(components[:, :, None, None], offset))


def _conv(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    num_out, num_in, side, _ = weight.shape
    conv = nn.Conv2d(num_in, num_out, side, padding=side // 2, bias=bias is not None)
    conv.weight.data = weight.float().contiguous()
    if bias is not None:
        conv.bias.data = bias.float().contiguous()  # type: ignore[union-attr]
    return conv.requires_grad_(False)
