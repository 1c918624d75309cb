"""The graphs that are exported: the hand-written gradient is autograd's, and the step is the library's own."""

from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
import onnxruntime as ort
import pytest
import torch
from stylecore_export.bundle import build_step, bundle_config
from stylecore_export.convolutions import HalfConv, StoredConv, convolutions, with_stored_weights
from stylecore_export.graphs import Extractor, StyleTargets, StylizeStep
from stylecore_export.optimizers import ProjectedStep, hartley_matrix
from torch import Tensor, nn

from stylecore.config import StylizeConfig
from stylecore.encoders import STYLE_LAYERS, Encoder
from stylecore.errors import OptionError
from stylecore.images import LEVELS
from stylecore.losses.basis import project
from stylecore.losses.statistics import flatten_positions, gram_matrix
from stylecore.objective import Losses, Objective, make_objective
from stylecore.optimizers import ProjectedLBFGS, make_optimizer

MakeImage = Callable[..., Tensor]


def weights_of(objective: Objective, style_weight: float = 1.0) -> dict[str, Tensor]:
    """Its terms' weights, likewise."""
    weights = {f"content_{term.layer}": torch.as_tensor(term.weight / term.unit) for term in objective.content_terms}
    return weights | {
        f"gram_{term.layer}": torch.as_tensor(style_weight * term.weight / term.unit) for term in objective.style_terms
    }


def config(**options: object) -> StylizeConfig:
    return bundle_config(encoder="vgg16", size=64, **options)


def targets_of(objective: Objective) -> dict[str, Tensor]:
    """What an `Objective` compares with, by the names of the step's inputs."""
    targets = {f"content_{term.layer}": term.target for term in objective.content_terms}
    for term in objective.style_terms:
        targets |= {f"gram_{term.layer}": term.target.summary.gram}
        targets |= {f"{name}_{term.layer}": value for name, value in term.loss.fitted().items()}
    return targets


@pytest.mark.parametrize(("padding", "side"), [(1, 3), (0, 1)])
def test_the_adjoint_is_the_transpose(padding: int, side: int) -> None:
    """<W x, y> = <x, W^T y>."""
    conv = StoredConv(nn.Conv2d(4, 7, side, padding=padding, bias=False))
    x, y = torch.randn(1, 4, 9, 8), torch.randn(1, 7, 9, 8)
    assert torch.allclose((conv(x) * y).sum(), (x * conv.adjoint(y)).sum(), rtol=1e-4, atol=1e-4)


def test_int8_weights_are_off_by_half_a_step_at_most() -> None:
    exact = nn.Conv2d(4, 7, 3)
    exact.weight.data[0] = 0
    stored = StoredConv(exact)
    assert bool(((stored.float_weight - exact.weight).abs() <= 0.501 * stored.scale).all())
    assert torch.equal(stored.float_weight[0], torch.zeros(4, 3, 3))


@pytest.mark.parametrize("magnitude", [1e6, 1.0, 1e-9, 0.0])
def test_float16_neither_overflows_nor_vanishes(magnitude: float, make_image: MakeImage) -> None:
    exact = nn.Conv2d(3, 7, 3, padding=1)
    half, stored = HalfConv(exact), StoredConv(exact)
    x, y = magnitude * make_image(8, 9), magnitude * torch.randn(1, 7, 8, 9)
    for found, expected in ((half(x), stored(x)), (half.adjoint(y), stored.adjoint(y))):
        torch.testing.assert_close(found, expected, rtol=0, atol=4e-3 * float(expected.abs().max()))
        assert found.dtype == torch.float32


def test_a_step_in_float16_is_that_in_float32_but_for_rounding(
    factorised: Encoder, make_image: MakeImage, tmp_path: Path
) -> None:
    recipe = config(optimizer="projected", history_size=3)
    half = build_step(recipe, with_stored_weights(factorised, HalfConv))
    onnx.save(half, tmp_path / "step.onnx")
    casts = [node.attribute[0].i for node in half.graph.node if node.op_type == "Cast"]
    assert casts.count(onnx.TensorProto.FLOAT16) >= 2 * len(convolutions(factorised))
    step = StylizeStep(with_stored_weights(factorised), recipe)
    objective = make_objective(step.encoder, make_image(), [make_image(50, 40, 1)], recipe)
    inputs = targets_of(objective), weights_of(objective), step.optimizer.start(make_image(seed=2) * LEVELS)
    found, expected = (
        dict(zip(step.output_names, run(*inputs), strict=True))
        for run in (run_with(ort.InferenceSession(tmp_path / "step.onnx")), step)
    )
    assert float(found["loss"]) == pytest.approx(float(expected["loss"]), rel=2e-3)
    gradients = found["gradient"], expected["gradient"]
    assert float((gradients[0] - gradients[1]).norm() / gradients[1].norm()) < 0.03  # G - A cancels


def run_library(objective: Objective, variable: Tensor, num_steps: int) -> list[tuple[Losses, Tensor]]:
    """Losses and the next variable of each step, as the engine makes them."""
    optimizer = make_optimizer(objective.config, objective.config.num_steps)
    made = []
    for _ in range(num_steps):
        evaluation = objective.evaluate(variable)
        variable = optimizer.step(variable, evaluation.gradient, evaluation.losses.total).clamp(0, LEVELS)
        made.append((evaluation.losses, variable))
    return made


Run = Callable[[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]], Sequence[Tensor]]


def assert_steps_are_the_librarys(step: StylizeStep, run: Run, objective: Objective, variable: Tensor) -> None:
    """`run` is `step` itself, or what it was exported to. More steps than pairs are remembered, each from the library's
    image: rounding that tips a ReLU or a quotient of small gradients would grow from step to step."""
    state = step.optimizer.start(variable)
    for losses, following in run_library(objective, variable, 5):
        outputs = run(targets_of(objective), weights_of(objective), state)
        values = state | dict(zip(step.output_names, outputs, strict=True))
        state = {name: values[slot.next] for name, slot in step.optimizer.slots.items()}
        assert float((state["image"] - following).abs().mean()) < 0.02  # levels; a step goes several
        state["image"] = following
        for name, loss in {"loss": losses.total, "content_loss": losses.content, "style_loss": losses.style}.items():
            assert float(values[name]) == pytest.approx(float(loss), rel=1e-4)


both_optimizers = pytest.mark.parametrize("optimizer", ["projected", "adam"])
both_losses = pytest.mark.parametrize("loss", ["gram", "pca"])


@both_optimizers
@both_losses
@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize("size", [(48, 64), (37, 51)])
def test_steps_are_those_of_autograd_and_the_librarys_optimiser(
    optimizer: str, loss: str, pooling: str, size: tuple[int, int], factorised: Encoder, make_image: MakeImage
) -> None:
    """Also at sizes that pooling does not divide, where the last rows of a layer get no gradient from below."""
    encoder = with_stored_weights(factorised)
    encoder.pooling = pooling
    recipe = config(optimizer=optimizer, loss=loss, components="50%", pooling=pooling, history_size=3)
    objective = make_objective(encoder, make_image(*size), [make_image(50, 40, 1)], recipe)
    step = StylizeStep(encoder, recipe)
    assert_steps_are_the_librarys(step, step, objective, make_image(*size, seed=2) * LEVELS)


def run_with(session: ort.InferenceSession) -> Run:
    def run(*inputs: dict[str, Tensor]) -> list[Tensor]:
        targets, weights, state = inputs
        named = targets | {f"weight_{name}": weight for name, weight in weights.items()} | state
        return [torch.from_numpy(out) for out in session.run(None, {name: v.numpy() for name, v in named.items()})]

    return run


def assert_file_is_the_library(file: Path, recipe: StylizeConfig, encoder: Encoder, make_image: MakeImage) -> None:
    run = run_with(ort.InferenceSession(file))
    for size in ((48, 64), (37, 51)):
        objective = make_objective(encoder, make_image(*size), [make_image(50, 40, 1)], recipe)
        step = StylizeStep(encoder, recipe)
        assert_steps_are_the_librarys(step, run, objective, make_image(*size, seed=2).float() * LEVELS)


@both_losses
def test_a_bundles_step_is_the_librarys_under_onnxruntime(
    loss: str,
    factorised: Encoder,
    make_bundle: Callable[[str], Path],
    read_recipe: Callable[[Path], StylizeConfig],
    make_image: MakeImage,
) -> None:
    bundle = make_bundle(loss)
    recipe = read_recipe(bundle)
    assert_file_is_the_library(bundle / "step.onnx", recipe, with_stored_weights(factorised), make_image)


def test_an_exported_adam_is_the_librarys_under_onnxruntime(
    factorised: Encoder, adam_step: Path, make_image: MakeImage
) -> None:
    encoder = with_stored_weights(factorised)
    encoder.pooling = "average"
    assert_file_is_the_library(adam_step, config(optimizer="adam", pooling="average"), encoder, make_image)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (9, 16), (33, 32), (171, 256)])
def test_hartley_transforms_precondition_as_the_fft_does(height: int, width: int) -> None:
    matrix = hartley_matrix(width)
    torch.testing.assert_close(matrix @ matrix / width, torch.eye(width), atol=1e-5, rtol=0)
    values = torch.randn(1, 3, height, width)
    expected = ProjectedLBFGS()._precondition(values)
    found = ProjectedStep(1.0, 3)._precondition(values)
    torch.testing.assert_close(found, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)


def test_the_style_weight_is_a_knob(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    encoder, recipe = with_stored_weights(tiny_encoder), config()
    objective = make_objective(encoder, make_image(), [make_image(seed=1)], recipe)
    step = StylizeStep(encoder, recipe)
    state = step.optimizer.start(make_image(seed=2) * LEVELS)
    runs = [step(targets_of(objective), weights_of(objective, w), state) for w in (1.0, 3.0)]
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
    "options",
    [
        {"loss": "svd"},
        {"optimizer": "lbfgs"},
        {"tv_weight": 1.0},
        {"style_layers": ("conv1_1",)},
        {"keep_colors": "luminance"},
    ],
)
def test_what_the_step_does_not_know_is_refused(options: dict[str, object], tiny_encoder: Encoder) -> None:
    with pytest.raises(OptionError, match=r"cannot be exported|can be exported"):
        StylizeStep(with_stored_weights(tiny_encoder), config(**options))
