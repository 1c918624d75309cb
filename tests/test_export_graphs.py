"""The graphs that are exported: the hand-written gradient is autograd's, and the step is the library's own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from export.bundle import bundle_config
from export.graphs import Extractor, HalfStoredConv, StyleTargets, StylizeStep, half_stored
from stylecore.basis import project
from stylecore.config import StylizeConfig
from stylecore.encoder import STYLE_LAYERS, Encoder
from stylecore.errors import OptionError
from stylecore.images import LEVELS
from stylecore.objective import Objective
from stylecore.optimizers import Adam
from stylecore.statistics import flatten_positions, gram_matrix

MakeImage = Callable[..., Tensor]


def weights_of(objective: Objective, style_weight: float = 1.0) -> dict[str, Tensor]:
    """Its terms' weights, likewise."""
    config = objective.config
    of_content = zip(config.content_layers, config.content_layer_weights, strict=True)
    of_style = zip(config.style_layers, config.style_layer_weights, strict=True)
    weights = {f"content_{layer}": torch.as_tensor(w / objective.content_units[layer]) for layer, w in of_content}
    return weights | {
        f"gram_{layer}": torch.as_tensor(style_weight * w / objective.style_units[layer]) for layer, w in of_style
    }


def config(**options: object) -> StylizeConfig:
    return bundle_config(encoder="vgg16", size=64, **options)


def targets_of(objective: Objective) -> dict[str, Tensor]:
    """What an `Objective` compares with, by the names of the step's inputs."""
    targets = {f"content_{layer}": value for layer, value in objective.content_targets.items()}
    for layer, loss in objective.style_losses.items():
        targets |= {f"gram_{layer}": loss.target}
        targets |= {f"components_{layer}": loss.components} if hasattr(loss, "components") else {}
    return targets


@pytest.mark.parametrize(("margin", "side"), [(1, 3), (0, 1)])
def test_the_adjoint_is_the_transpose(margin: int, side: int) -> None:
    """<W x, y> = <x, W^T y>, in float64 so that only rounding is left."""
    conv = HalfStoredConv(nn.Conv2d(4, 7, side, padding=margin, bias=False)).double()
    conv.weight = conv.weight.double()
    x, y = torch.randn(1, 4, 9, 8), torch.randn(1, 7, 9, 8)
    assert torch.allclose((conv(x) * y).sum(), (x * conv.adjoint(y)).sum(), rtol=1e-4)


@pytest.fixture
def factorised(tiny_encoder: Encoder) -> Encoder:
    """The tiny encoder with one convolution in two, as reduced encoders have them."""
    torch.manual_seed(1)
    split = nn.Sequential(nn.Conv2d(6, 3, 3, padding=1, bias=False), nn.Conv2d(3, 6, 1))
    tiny_encoder.convs["conv2_2"] = split.requires_grad_(False)
    return tiny_encoder


@pytest.mark.parametrize("loss", ["gram", "pca"])
@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize("size", [(48, 64), (37, 51)])
def test_two_steps_are_those_of_autograd_and_adam(
    loss: str, pooling: str, size: tuple[int, int], factorised: Encoder, make_image: MakeImage
) -> None:
    """Also at sizes that pooling does not divide, where the last rows of a layer get no gradient from below."""
    encoder = half_stored(factorised)
    encoder.pooling = pooling
    recipe = config(loss=loss, components="50%", pooling=pooling)
    objective = Objective(encoder, make_image(*size), [make_image(50, 40, 1)], recipe)
    step, adam = StylizeStep(encoder, recipe), Adam(recipe.learning_rate)
    variable = make_image(*size, seed=2) * LEVELS
    state = [variable, torch.zeros_like(variable), torch.zeros_like(variable), torch.tensor(0.0)]
    for _ in range(2):
        evaluation = objective.evaluate(variable)
        variable = adam.step(variable, evaluation.gradient).clamp(0, LEVELS)
        *state, total, content, style = step(targets_of(objective), weights_of(objective), *state)
        assert torch.allclose(state[1], adam.mean, rtol=1e-3, atol=1e-5 * float(adam.mean.abs().max()))
        assert torch.allclose(state[0], variable, atol=0.05)  # levels: Adam divides small gradients by themselves
        assert float(total) == pytest.approx(float(evaluation.losses.total), rel=1e-4)
        assert float(content) == pytest.approx(float(evaluation.losses.content), rel=1e-4)
        assert float(style) == pytest.approx(float(evaluation.losses.style), rel=1e-4)


def test_the_style_weight_is_a_knob(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    encoder, recipe = half_stored(tiny_encoder), config()
    objective = Objective(encoder, make_image(), [make_image(seed=1)], recipe)
    image = make_image(seed=2) * LEVELS
    zeros = torch.zeros_like(image)
    runs = [
        StylizeStep(encoder, recipe)(
            targets_of(objective), weights_of(objective, w), image, zeros, zeros, torch.tensor(0.0)
        )
        for w in (1.0, 3.0)
    ]
    assert float(runs[1][-1]) == pytest.approx(3 * float(runs[0][-1]), rel=1e-5)
    assert float(runs[1][-2]) == pytest.approx(float(runs[0][-2]), rel=1e-5)


def test_targets_are_the_librarys_statistics(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    image, recipe = make_image(), config()
    outputs = StyleTargets(tiny_encoder, recipe)(image)
    features = tiny_encoder(image, (*STYLE_LAYERS, "relu4_2"))
    content, grams, means = outputs[0], outputs[1:6], outputs[6:]
    assert torch.equal(content, features["relu4_2"])
    for layer, gram, mean in zip(STYLE_LAYERS, grams, means, strict=True):
        assert torch.allclose(gram, gram_matrix(features[layer]))
        assert torch.allclose(mean, flatten_positions(features[layer]).mean(2))


def test_an_extractor_takes_pixels_as_cameras_give_them(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    pixels = (make_image() * LEVELS).round().to(torch.uint8)
    floats = Extractor(tiny_encoder, STYLE_LAYERS)(pixels.float() / LEVELS)
    bytes_ = Extractor(tiny_encoder, STYLE_LAYERS, pixels=True)(pixels.permute(0, 2, 3, 1))
    assert all(torch.equal(a, b) for a, b in zip(floats, bytes_, strict=True))


def test_projected_outputs_are_grams_of_projected_features(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    basis = torch.linalg.qr(torch.randn(6, 2)).Q
    (projected,) = Extractor(tiny_encoder, ["relu2_1"], "projected")(make_image(), basis)
    features = project(flatten_positions(tiny_encoder(make_image(), ["relu2_1"])["relu2_1"]), basis)
    assert torch.allclose(projected, features @ features.mT / features.shape[2], rtol=1e-4)


@pytest.mark.parametrize(
    "options", [{"loss": "svd"}, {"tv_weight": 1.0}, {"style_layers": ("conv1_1",)}, {"keep_colors": "luminance"}]
)
def test_what_the_step_does_not_know_is_refused(options: dict[str, object], tiny_encoder: Encoder) -> None:
    with pytest.raises(OptionError, match=r"cannot be exported|can be exported"):
        StylizeStep(half_stored(tiny_encoder), config(**options))
