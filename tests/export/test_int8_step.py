"""Steps whose convolutions multiply bytes: rounded as said, nearly the exact gradient, and bytes under onnxruntime."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime as ort
import pytest
import torch
from stylecore_export.convolutions import Int8Conv, convolutions, weight_steps, with_stored_weights
from stylecore_export.graphs import StylizeStep
from stylecore_export.rounding import SIGNED, UNSIGNED, rounded, rounded_to_own_range, step_of
from stylecore_export.runtime import Bundle
from test_graphs import targets_of, weights_of
from torch import Tensor, nn

from stylecore.config import StylizeConfig
from stylecore.encoders import STYLE_LAYERS, Encoder
from stylecore.images import LEVELS, resize_image
from stylecore.objective import make_objective
from stylecore.sample_images import load_photo, load_style

MakeImage = Callable[..., Tensor]
LAYERS = (*STYLE_LAYERS, "relu4_2")


@pytest.mark.parametrize("zero", [UNSIGNED, SIGNED])
def test_rounding_is_to_the_nearest_and_does_nothing_twice(zero: int) -> None:
    step = torch.tensor(step_of(4.0, zero))
    values = torch.linspace(-4.0 if zero else 0.0, 4.0, 1000)
    once = rounded(values, step, zero)
    assert float((once - values).abs().max()) <= 0.501 * float(step)
    assert torch.equal(rounded(once, step, zero), once)
    assert float(rounded(torch.zeros(()), step, zero)) == 0


@pytest.mark.parametrize("values", [torch.randn(500), torch.rand(500), -torch.rand(500), torch.zeros(5)], ids="abcd")
def test_a_range_of_its_own_keeps_nothing_at_nothing_and_the_rest_near(values: Tensor) -> None:
    found, step = rounded_to_own_range(values)
    assert float((found - values).abs().max()) <= 1.001 * float(step)
    assert not bool(found[values == 0].any())


@pytest.mark.parametrize("side", [3, 1])
def test_the_adjoint_is_the_transpose_but_for_rounding(side: int) -> None:
    exact = nn.Conv2d(16, 12, side, padding=side // 2, bias=False).requires_grad_(False)
    y = torch.randn(1, 12, 20, 18)
    expected = torch.nn.grad.conv2d_input((1, 16, 20, 18), exact.weight, y, padding=side // 2)
    scaled = y * weight_steps(exact.weight).view(-1, 1, 1)
    gain = float(2 * expected.abs().max() / (scaled.max() - scaled.min()))
    found = Int8Conv(exact, 0.1, gain).adjoint(y)
    assert float((found - expected).norm() / expected.norm()) < 0.03


def test_features_are_the_encoders_but_for_rounding(
    int8_encoder: Encoder, factorised: Encoder, astronaut: Tensor
) -> None:
    image = resize_image(astronaut, 96, 128)
    found, expected = int8_encoder(image, LAYERS), factorised(image, LAYERS)
    for layer in LAYERS:
        assert float((found[layer] - expected[layer]).norm() / expected[layer].norm()) < 0.06, layer


@pytest.mark.parametrize("size", [(96, 128), (75, 101)])
def test_the_gradient_at_those_features_is_exact_but_for_rounding(
    int8_encoder: Encoder, factorised: Encoder, int8_recipe: StylizeConfig, size: tuple[int, int]
) -> None:
    pictures = load_photo("coffee"), load_style("pointillism"), load_photo("rocket")
    content, style, image = (resize_image(picture, *size) for picture in pictures)
    objective = make_objective(factorised, content, [style], int8_recipe)
    steps = [StylizeStep(each, int8_recipe) for each in (int8_encoder, with_stored_weights(factorised))]
    features = int8_encoder(image, [str(conv.relu) for conv in steps[0].convs])
    gradients = steps[0]._losses(features, targets_of(objective), weights_of(objective))[2]
    found, expected = (step._image_gradient(features, gradients) for step in steps)
    assert float(torch.cosine_similarity(found.flatten(), expected.flatten(), dim=0)) > 0.95
    assert float(found.norm() / expected.norm()) == pytest.approx(1, abs=0.1)


def test_onnxruntime_multiplies_bytes_everywhere_but_in_the_first(
    int8_bundle: Path, factorised: Encoder, tmp_path: Path
) -> None:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(int8_bundle / "step.onnx", options, providers=["CPUExecutionProvider"])
    graph = onnx.load(tmp_path / "optimised.onnx", load_external_data=False).graph
    kinds = Counter(node.op_type for node in graph.node)
    number = len(convolutions(factorised))
    assert kinds["QLinearConv"] == 2 * (number - 1)
    assert kinds["Conv"] == 2  # forward and back


def test_onnxruntime_and_torch_make_the_same_step(
    int8_bundle: Path, int8_encoder: Encoder, int8_recipe: StylizeConfig, make_image: MakeImage
) -> None:
    options = ort.SessionOptions()
    # The file as it says, pair by pair: what a CPU's integers make of it differs from CPU to CPU.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(int8_bundle / "step.onnx", options)
    objective = make_objective(int8_encoder, make_image(48, 64), [make_image(50, 40, 1)], int8_recipe)
    step = StylizeStep(int8_encoder, int8_recipe)
    state = step.optimizer.start(make_image(48, 64, seed=2) * LEVELS)
    inputs = targets_of(objective), weights_of(objective), state
    expected = dict(zip(step.output_names, step(*inputs), strict=True))
    named = inputs[0] | {f"weight_{name}": weight for name, weight in inputs[1].items()} | state
    values = session.run(step.output_names, {name: value.numpy() for name, value in named.items()})
    found = {name: torch.from_numpy(value) for name, value in zip(step.output_names, values, strict=True)}
    assert float(found["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-3)
    moved = [each["next_image"] - state["image"] for each in (found, expected)]
    assert (
        float((moved[0] - moved[1]).norm() / moved[1].norm()) < 0.05
    )  # values halfway between two bytes fall either way with the number of threads


def test_a_bundle_of_bytes_paints_as_well_as_one_of_floats(
    int8_bundle: Path, make_bundle: Callable[[str], Path], make_image: MakeImage
) -> None:
    pictures = make_image(64, 48).numpy(), make_image(60, 64, seed=1).numpy()
    losses = [
        [step.loss for step in Bundle(path).stylize_steps(*pictures)] for path in (int8_bundle, make_bundle("gram"))
    ]
    assert losses[0][-1] < 0.7 * losses[0][-6]
    assert losses[0][-1] < 1.5 * losses[1][-1]  # an encoder of six random channels rounds coarsely


def test_an_unknown_precision_is_answered_with_those_there_are(refused: Callable[..., str], tmp_path: Path) -> None:
    for command in ("step", "bundle"):
        assert "int8" in refused(command, "-o", tmp_path / "x.onnx", "--precision", "int4")
