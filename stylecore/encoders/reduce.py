"""A cheaper encoder that keeps the features: each 3x3 convolution N_in -> N_out split into 1x1 N_in -> K and 3x3
K -> N_out.

Feature maps are redundant, so a convolution needs to see only K directions of its inputs. K of each layer follows from
a cost of the whole network: a direction stays if the variance of the layer's responses that it explains is worth its
multiplications. The convolutions are then fitted layer by layer, without training: least squares from the inputs that
the reduced network really sees to the original network's responses, with a ridge towards the original weights; then the
same prediction from its K best directions alone. Fitting to the inputs that are really seen keeps the errors of early
layers from adding up in later ones.

The other order, 3x3 N_in -> K and 1x1 K -> N_out by principal components of the responses (Zhang et al. 2015), is what
the project had first: docs/benchmarks/reduced_encoders.md has an encoder of each at half the multiplications.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor, nn

from stylecore.encoders.vgg import Encoder, Layer, make_conv
from stylecore.errors import OptionError
from stylecore.files import check_folder, write_file
from stylecore.images import ImageTensor

FIRST = "conv1_1"  # three input channels: nothing to save
RIDGE = 1e-3  # pull towards the original weights, relative to the inputs' mean energy
JITTER = 1e-5  # noise on the inputs, relative to their mean energy
MULTIPLE = 16  # of K: what processors handle at a time
SIDE_PX = 256  # of the image whose multiplications are counted: any whose poolings leave no remainder
SAMPLE = 3  # every so many of the images decide on K
POSITIONS_PER_IMAGE = 1024  # drawn for the regression: enough for 36 crops to outnumber the 9 N inputs of any layer


@dataclass(frozen=True)
class Regression:
    """What one layer's fit needs of its data: second moments of inputs and of inputs with responses."""

    inputs: Float[Tensor, "D D"]  # E x x^T, x a 3x3 patch of N_in channels and a 1 for the bias
    cross: Float[Tensor, "N D"]  # E y x^T, y the original's responses
    energy: float  # E |relu(y)|^2, what an error is small or large against


def reduce_encoder(
    encoder: Encoder,
    images: Sequence[ImageTensor],
    *,
    speedup: float,
    report: Callable[[str, int, int], None] | None = None,
) -> Encoder:
    """Factorise an encoder's convolutions so that a pass takes `speedup` times fewer multiplications.

    Args:
        encoder: the full one, float32.
        images: fitting images, (1, 3, H, W) in [0, 1]; about 48 of 192 px do.
        speedup: at least 1; the result has this or a little more, up to that of one direction in each layer.
        report: called after each layer with its name, K and N_in.

    Returns:
        an encoder of the same architecture; a layer where K would save nothing keeps its one 3x3 convolution.

    Raises:
        OptionError: `speedup` is under 1, there are no images, or the encoder is a reduced one already.
    """
    if not 1 <= speedup < float("inf"):
        raise OptionError(f"speedup must be a number from 1 on, such as 3, not {speedup:g}.")
    if not images:
        raise OptionError("At least one image is needed to fit a reduced encoder.")
    if not all(isinstance(conv, nn.Conv2d) for conv in encoder.convs.values()):
        raise OptionError("This encoder is a reduced one already: choose vgg16 or vgg19.")
    names = list(encoder.convs)
    convs: dict[str, nn.Module] = {FIRST: copy.deepcopy(encoder.convs[FIRST])}
    ranks = choose_ranks({name: _layer_gains(encoder, name, images[::SAMPLE]) for name in names[1:]}, encoder, speedup)
    generator = torch.Generator().manual_seed(0)
    for name, rank in ranks.items():
        convs[name] = _split(*_predict(encoder, encoder.with_convs(convs), name, images, generator), rank)
        if report:
            report(name, rank, _whole(encoder, name).in_channels)
    return encoder.with_convs(convs)


def refit_end(student: Encoder, encoder: Encoder, images: Sequence[ImageTensor], number: int) -> Encoder:
    """The student with its last `number` convolutions fitted again, whole: no later layer can make up for directions
    that are dropped there, and the last one takes only 3 % of the full encoder's multiplications."""
    names = list(encoder.convs)
    convs = {name: student.convs[name] for name in names[:-number]}
    for name in names[-number:]:
        generator = torch.Generator().manual_seed(0)
        prediction = _predict(encoder, encoder.with_convs(convs), name, images, generator)
        convs[name] = _split(*prediction, _whole(encoder, name).in_channels)
    return encoder.with_convs(convs)


def choose_ranks(gains: Mapping[str, Float[Tensor, " N_in"]], encoder: Encoder, speedup: float) -> dict[str, int]:
    """K of each convolution that explains most within the cost; N_in: leave the convolution as it is.

    Every layer stops where its next `MULTIPLE` directions would explain less than a common price, in shares of its
    features' energy for each multiplication. The price is found by bisection.

    Args:
        gains: of each layer, the variance of its responses that each direction of its inputs explains beyond those
            before it, best first, relative to the energy of its features.
        encoder: the full one.
        speedup: at least 1, in multiplications of the whole encoder.
    """
    budget = num_multiplications(encoder, SIDE_PX, SIDE_PX) / speedup
    of_first = _cost(encoder.convs[FIRST], FIRST)

    def ranks_at(price: float) -> dict[str, int]:
        return {name: _rank_at(price, gain, name, encoder.convs[name]) for name, gain in gains.items()}

    def cost_of(ranks: Mapping[str, int]) -> float:
        return of_first + sum(_cost(encoder.convs[name], name, rank) for name, rank in ranks.items())

    if cost_of(ranks_at(0)) <= budget:
        return ranks_at(0)
    low, high = math.log(1e-30), 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if cost_of(ranks_at(math.exp(middle))) <= budget else (middle, high)
    return ranks_at(math.exp(high))


def _rank_at(price: float, gains: Float[Tensor, " N_in"], name: str, conv: nn.Module) -> int:
    num_in, step = len(gains), min(MULTIPLE, len(gains))
    of_step = _cost(conv, name, step)
    added = [float(group.sum()) for group in gains.split(step)]
    rank = step * max(1, next((i for i, gain in enumerate(added) if gain < price * of_step), len(added)))
    return num_in if rank >= num_in or _cost(conv, name, rank) >= _cost(conv, name) else rank


def _cost(conv: nn.Module, name: str, rank: int | None = None) -> float:
    """Multiplications of a convolution over an image of `SIDE_PX` square, whole or seeing `rank` directions."""
    assert isinstance(conv, nn.Conv2d)
    per_position = conv.weight.numel()
    if rank is not None and rank < conv.in_channels:
        per_position = rank * (conv.in_channels + 9 * conv.out_channels)
    return per_position * (SIDE_PX // Layer.parse(name).stride) ** 2


def rank_of(conv: nn.Module) -> int:
    """K of a factorised convolution, N_in of a whole one."""
    if isinstance(conv, nn.Sequential):
        conv = conv[-1]
    assert isinstance(conv, nn.Conv2d)
    return conv.in_channels


def num_multiplications(encoder: Encoder, height: int, width: int) -> int:
    """Multiplications of one forward pass over an image of height x width px; a backward pass to the image takes as
    many again."""
    total = 0
    for name, conv in encoder.convs.items():
        weights = sum(weight.numel() for key, weight in conv.named_parameters() if key.endswith("weight"))
        stride = Layer.parse(name).stride
        total += weights * (height // stride) * (width // stride)
    return total


def save_encoder(encoder: Encoder, path: str | Path) -> None:
    """Write the convolutions in half precision, as `load_encoder(weights=path)` and `--encoder FILE` read them.

    Raises:
        OutputError: there is no such folder, or it cannot be written to.
    """
    tensors = {key: value.half().contiguous() for key, value in encoder.convs.state_dict().items()}
    metadata = {"architecture": encoder.architecture.name, "normalization": encoder.normalization}
    check_folder(Path(path))
    write_file(Path(path), save(tensors, metadata))


def _input_of(encoder: Encoder, name: str, image: ImageTensor) -> Float[Tensor, "1 N_in _ _"]:
    """What the convolution `name` would see: the one before it after ReLU, and pooling where a block begins."""
    layer = Layer.parse(name)
    before = encoder.architecture.previous(layer).relu
    features = encoder(image, [str(before)])[str(before)]
    return features if before.block == layer.block else encoder.pool(features)


def _whole(encoder: Encoder, name: str) -> nn.Conv2d:
    conv = encoder.convs[name]
    assert isinstance(conv, nn.Conv2d)
    return conv


def _predict(
    encoder: Encoder, partial: Encoder, name: str, images: Sequence[ImageTensor], generator: torch.Generator
) -> tuple[Float[Tensor, "N P"], Float[Tensor, " N"], Regression]:
    """W and b of the best prediction of a layer's responses from the inputs that `partial` gives it, and its data."""
    moments = _collect(encoder, partial, name, images, generator)
    return *_regress(moments, _whole(encoder, name)), moments


@torch.no_grad()
def _collect(
    encoder: Encoder, partial: Encoder, name: str, images: Sequence[ImageTensor], generator: torch.Generator
) -> Regression:
    original = _whole(encoder, name)
    size = 9 * original.in_channels + 1
    inputs = torch.zeros(size, size, dtype=torch.float64)
    cross = torch.zeros(original.out_channels, size, dtype=torch.float64)
    count, energy = 0, 0.0
    for image in images:
        seen = _input_of(partial, name, image)
        responses = encoder(image, [name])[name]
        patches = F.unfold(seen, 3, padding=1)[0]
        drawn = torch.randperm(patches.shape[1], generator=generator)[:POSITIONS_PER_IMAGE]
        x = torch.cat([patches[:, drawn], torch.ones(1, len(drawn), dtype=patches.dtype)])
        y = responses[0].flatten(1)[:, drawn]
        # An image's own sums are as exact in float32 as the ridge cares, and twice as fast; their total is not.
        inputs += (x @ x.mT).double()
        cross += (y @ x.mT).double()
        energy += float(y.relu().square().sum())
        count += len(drawn)
    return Regression(inputs / count, cross / count, energy / count)


def _regress(moments: Regression, original: nn.Conv2d) -> tuple[Float[Tensor, "N P"], Float[Tensor, " N"]]:
    """Ridge regression towards the original weights: argmin E |y - W x|^2 + r |W - W0|^2."""
    assert original.bias is not None
    start = torch.cat([original.weight.flatten(1), original.bias[:, None]], 1).double()
    ridge = RIDGE * moments.inputs.diagonal().mean()
    regularised = moments.inputs + ridge * torch.eye(len(moments.inputs), dtype=torch.float64)
    solution = torch.linalg.solve(regularised, (moments.cross + ridge * start).mT).mT
    return solution[:, :-1], solution[:, -1]


@dataclass(frozen=True)
class Decomposition:
    """A layer's responses explained by directions of its inputs, one after the other: a triangular system whose first
    1 + 9 K rows belong to the bias and the first K directions, nine positions each."""

    directions: Float[Tensor, "N_in N_in"]  # rows, the one that explains most first
    factor: Float[Tensor, "D D"]  # L of the inputs' second moment L L^T
    explained: Float[Tensor, "D N"]  # L^-1 E x y^T: squared, the variance that each row adds


def _decompose(weight: Float[Tensor, "N P"], bias: Float[Tensor, " N"], moments: Regression) -> Decomposition:
    directions = _directions(weight, moments)
    order = torch.zeros_like(moments.inputs)
    order[0, -1] = 1
    order[1:, :-1] = torch.kron(directions, torch.eye(9, dtype=directions.dtype))
    # A few images need not span all inputs: a little noise on each keeps the system solvable.
    jitter = torch.full((len(order),), JITTER * float(moments.inputs.diagonal().mean()), dtype=torch.float32).double()
    jitter[-1] = 0  # the 1 of the bias is known
    inputs = order @ (moments.inputs + jitter.diag()) @ order.mT
    cross = order @ moments.inputs @ torch.cat([weight, bias[:, None]], 1).mT
    factor = torch.linalg.cholesky(inputs)
    return Decomposition(directions, factor, torch.linalg.solve_triangular(factor, cross, upper=False))


def _layer_gains(encoder: Encoder, name: str, images: Sequence[ImageTensor]) -> Float[Tensor, " N_in"]:
    """The variance that each direction explains, in shares of the features' energy."""
    weight, bias, moments = _predict(encoder, encoder, name, images, torch.Generator().manual_seed(0))
    explained = _decompose(weight, bias, moments).explained
    return explained[1:].square().sum(1).view(-1, 9).sum(1) / moments.energy


def _split(
    weight: Float[Tensor, "N P"], bias: Float[Tensor, " N"], moments: Regression, rank: int
) -> nn.Sequential | nn.Conv2d:
    """The prediction W x + b from the `rank` directions of x that explain most of it; from all, as it is."""
    num_out, num_in = weight.shape[0], weight.shape[1] // 9
    if rank == num_in:
        return make_conv(weight.view(num_out, num_in, 3, 3), bias)
    found, used = _decompose(weight, bias, moments), 1 + 9 * rank
    fitted = torch.linalg.solve_triangular(found.factor[:used, :used].mT, found.explained[:used], upper=True).mT
    project = make_conv(found.directions[:rank, :, None, None], None)
    return nn.Sequential(project, make_conv(fitted[:, 1:].reshape(num_out, rank, 3, 3), fitted[:, 0]))


def _directions(weight: Float[Tensor, "N P"], moments: Regression) -> Float[Tensor, "N_in N_in"]:
    """A basis of the input channels, as rows, in the order in which the responses depend on them: if x is replaced by
    its projection on the first K, at each of the nine positions by itself, the responses change least. These are the
    first eigenvectors of R C R, times R, where C is the channels' covariance and R^2 the sum of W_p^T W_p over the
    positions p."""
    num_in = weight.shape[1] // 9
    by_position = weight.view(-1, num_in, 9)
    centre = torch.arange(num_in) * 9 + 4
    mean = moments.inputs[-1, centre]
    covariance = moments.inputs[centre][:, centre] - mean.outer(mean)
    values, vectors = torch.linalg.eigh(torch.einsum("nip,njp->ij", by_position, by_position))
    root = (vectors * values.clamp_min(1e-8 * values[-1]).sqrt()) @ vectors.mT
    return torch.linalg.eigh(root @ covariance @ root)[1].flip(1).mT @ root
