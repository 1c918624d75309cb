"""Reduced encoders: the factorisation is the regression it says, and what is saved is what is loaded."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stylecore.encoders import ENCODERS, STYLE_LAYERS, Encoder, architecture_of, load_encoder
from stylecore.encoders.distill import distill, gram_errors, random_crops
from stylecore.encoders.reduce import MULTIPLE, num_multiplications, rank_of, reduce_encoder, refit_end, save_encoder
from stylecore.engine import stylize
from stylecore.errors import OptionError, OutputError
from stylecore.images import fit_image
from stylecore.sample_images import EVALUATION, EVALUATION_STYLES, FITTING, FITTING_STYLES, load_style

MakeImage = Callable[..., Tensor]
REDUCED = [name for name, spec in ENCODERS.items() if name != spec.architecture]


@pytest.fixture
def wide_encoder() -> Encoder:
    """Two blocks of 48 channels, whose second convolution sees but 3 directions of its inputs."""
    torch.manual_seed(0)
    convs = {name: nn.Conv2d(n, 48, 3, padding=1) for name, n in (("conv1_1", 3), ("conv1_2", 48), ("conv2_1", 48))}
    for conv in convs.values():
        nn.init.kaiming_normal_(conv.weight)
    with torch.no_grad():
        weight = convs["conv1_2"].weight
        weight.copy_(torch.einsum("nkyx,ki->niyx", weight[:, :3], torch.randn(3, 48)))
    return Encoder("vgg16", convs, normalization="torchvision")


@pytest.fixture
def crops(make_image: MakeImage) -> list[Tensor]:
    return [(make_image(48, 48, seed) + 0.1 * torch.randn(1, 3, 48, 48)).clamp(0, 1) for seed in range(6)]


def test_no_speedup_is_the_encoder_itself(wide_encoder: Encoder, crops: Sequence[Tensor]) -> None:
    whole = reduce_encoder(wide_encoder, crops, speedup=1)
    layers = ["relu1_1", "relu1_2", "relu2_1"]
    for layer, expected in wide_encoder(crops[0], layers).items():
        torch.testing.assert_close(whole(crops[0], layers)[layer], expected, rtol=1e-3, atol=1e-3)


def test_a_layer_of_low_rank_is_found_and_loses_nothing(wide_encoder: Encoder, crops: Sequence[Tensor]) -> None:
    ranks = {}
    reduced = reduce_encoder(wide_encoder, crops, speedup=1.3, report=lambda name, k, _: ranks.update({name: k}))
    assert ranks["conv1_2"] == rank_of(reduced.convs["conv1_2"]) == MULTIPLE, "3, and what processors like"
    assert num_multiplications(reduced, 48, 48) < num_multiplications(wide_encoder, 48, 48)
    errors = gram_errors(reduced, wide_encoder, crops, ["relu1_2"])
    assert errors["relu1_2"] < 0.01


def test_cheaper_is_further_off(wide_encoder: Encoder, crops: Sequence[Tensor]) -> None:
    some, most = (reduce_encoder(wide_encoder, crops, speedup=speedup) for speedup in (2, 1.3))
    assert num_multiplications(some, 48, 48) < num_multiplications(most, 48, 48)
    errors = [gram_errors(reduced, wide_encoder, crops, ["relu2_1"])["relu2_1"] for reduced in (some, most)]
    assert errors[0] > errors[1]


def test_the_end_can_be_made_whole_again(wide_encoder: Encoder, crops: Sequence[Tensor]) -> None:
    reduced = reduce_encoder(wide_encoder, crops, speedup=2)
    again = refit_end(reduced, wide_encoder, crops, 1)
    assert isinstance(again.convs["conv2_1"], nn.Conv2d)
    assert again.convs["conv1_2"] is reduced.convs["conv1_2"]
    errors = [gram_errors(encoder, wide_encoder, crops, ["relu2_1"])["relu2_1"] for encoder in (reduced, again)]
    assert errors[1] < errors[0]


def test_multiplications_are_weights_times_positions(one_conv_encoder: Encoder) -> None:
    assert num_multiplications(one_conv_encoder, 10, 20) == 8 * 3 * 9 * 10 * 20


@pytest.mark.parametrize("speedup", [0.5, float("inf"), float("nan")])
def test_a_price_that_is_none_is_refused(wide_encoder: Encoder, crops: Sequence[Tensor], speedup: float) -> None:
    with pytest.raises(OptionError, match="speedup must be a number"):
        reduce_encoder(wide_encoder, crops, speedup=speedup)


def test_nothing_to_fit_or_to_reduce_is_refused(wide_encoder: Encoder, crops: Sequence[Tensor]) -> None:
    with pytest.raises(OptionError, match="At least one image"):
        reduce_encoder(wide_encoder, [], speedup=2)
    with pytest.raises(OptionError, match="reduced one already"):
        reduce_encoder(load_encoder("vgg16-x3"), crops, speedup=2)


def test_what_is_saved_is_what_is_loaded(tmp_path: Path, astronaut: Tensor) -> None:
    shipped = load_encoder("vgg16-x3")
    save_encoder(shipped, tmp_path / "mine.safetensors")
    again = load_encoder("vgg16", weights=tmp_path / "mine.safetensors")
    assert (again.name, again.checksum) == ("vgg16", shipped.checksum)
    image = fit_image(astronaut, 64)
    assert torch.equal(again(image, ["relu5_1"])["relu5_1"], shipped(image, ["relu5_1"])["relu5_1"])
    with pytest.raises(OutputError, match="no folder"):
        save_encoder(shipped, tmp_path / "nowhere" / "mine.safetensors")


@pytest.mark.parametrize(("name", "furthest_off"), [("vgg16-x2", 0.3), ("vgg16-x3", 0.45)])
def test_shipped_encoders_are_cheaper_and_keep_the_grams(
    name: str, furthest_off: float, vgg16: Encoder, astronaut: Tensor
) -> None:
    """On an image that was never used in fitting; a random network of the same shape is off by about 1."""
    reduced = load_encoder(name)
    assert num_multiplications(vgg16, 256, 256) > 1.8 * num_multiplications(reduced, 256, 256)
    assert list(reduced.convs) == [str(conv) for conv in architecture_of(name).convs] == list(vgg16.convs)
    errors = gram_errors(reduced, vgg16, [fit_image(astronaut, 128), fit_image(load_style("flow_strokes"), 128)])
    assert errors["relu1_1"] < 0.02
    assert max(errors.values()) < furthest_off
    assert all(errors[shallow] <= errors[deep] + 0.02 for shallow, deep in itertools.pairwise(STYLE_LAYERS))


@pytest.mark.parametrize("name", REDUCED)
def test_a_reduced_encoder_paints_what_the_full_yardstick_likes(
    name: str, astronaut: Tensor, flow_strokes: Tensor
) -> None:
    """What it optimises is its own Gram; what counts is the full encoder's."""
    config = {"size": 96, "num_steps": 15, "preset": "standard"}
    reduced = stylize(astronaut, flow_strokes, **config, encoder=load_encoder(name))
    untouched = stylize(astronaut, flow_strokes, **config | {"style_weight": 0.0})
    assert reduced.style_distance < 0.5 * untouched.style_distance


def test_distillation_brings_the_grams_closer(
    wide_encoder: Encoder, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On crops that it has not seen."""
    layers = ("relu1_1", "relu2_1")
    monkeypatch.setattr("stylecore.encoders.distill.STYLE_LAYERS", layers)
    monkeypatch.setattr("stylecore.encoders.distill.CONTENT_LAYER", "relu1_2")
    monkeypatch.setattr("stylecore.encoders.distill.CROP_PX", 48)
    images = [make_image(64, 64, seed) for seed in range(6)]
    fitting, other = (random_crops(images, 12, 48, torch.Generator().manual_seed(s)).split(1) for s in (0, 1))
    first = wide_encoder.convs["conv1_1"].weight.clone()
    student = reduce_encoder(wide_encoder, fitting, speedup=2)
    before = gram_errors(student, wide_encoder, other, layers)
    assert len(list(distill(student, wide_encoder, images, num_steps=60))) == 60
    assert gram_errors(student, wide_encoder, other, layers)["relu2_1"] < 0.97 * before["relu2_1"]
    assert not any(parameter.requires_grad for parameter in student.parameters())
    assert torch.equal(wide_encoder.convs["conv1_1"].weight, first), "the teacher was trained"
    assert torch.equal(student.convs["conv1_1"].weight, first)


def test_crops_are_displayable_and_repeat_with_their_seed(make_image: MakeImage) -> None:
    images = [make_image(50, 70), make_image(33, 40, seed=1)]

    def draw(seed: int) -> Tensor:
        return random_crops(images, 8, 24, torch.Generator().manual_seed(seed))

    assert draw(0).shape == (8, 3, 24, 24)
    assert torch.equal(draw(0), draw(0).clamp(0, 1))
    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))


def test_nothing_that_is_evaluated_on_was_fitted_to() -> None:
    """The tools that fit name the fitting lists, and load evaluation pictures only to print errors."""
    assert not set(FITTING) & set(EVALUATION)
    assert not set(FITTING_STYLES) & set(EVALUATION_STYLES)
    script = (Path(__file__).parent.parent / "tools" / "build_reduced_encoders.py").read_text()
    before_printing, _, printing = script.partition("def measure")
    assert "EVALUATION" in printing.partition("\ndef ")[0]
    body = before_printing.partition("\ndef ")[2] + printing.partition("\ndef ")[2]
    assert "EVALUATION" not in body
    assert not any(name in script for name in (*EVALUATION, *EVALUATION_STYLES))
