"""Encoders that are trained in eight bits: what they round, what their files hold, how training goes through it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from stylecore.encoders import Encoder, load_encoder
from stylecore.encoders.distill import LAYERS, distill, feature_loss, random_crops
from stylecore.encoders.reduce import FIRST, split_encoder
from stylecore.encoders.rounding import LARGEST_BYTE, RoundingEncoder, packed, unpacked
from stylecore.encoders.vgg import convolutions
from stylecore.errors import WeightsError

MakeImage = Callable[..., Tensor]


@pytest.fixture
def student(tiny_encoder: Encoder, make_image: MakeImage) -> RoundingEncoder:
    """The tiny encoder with its second convolution split, after it has seen two images."""
    images = [make_image(64, 64, seed=seed) for seed in range(3)]
    widths = {name: conv.in_channels for name, conv in convolutions(tiny_encoder) if name != FIRST}
    split = split_encoder(tiny_encoder, images, widths | {"conv1_2": widths["conv1_2"] // 2})
    found = RoundingEncoder(split, {name: 0.05 for name, _ in convolutions(split)})
    for image in images[:2]:
        found(image, LAYERS)
    return found


def saved(student: RoundingEncoder, path: Path) -> dict[str, Tensor]:
    tensors = {name: value.contiguous() for name, value in packed(student, student.found_rounding()).items()}
    save_file(tensors, path, {"architecture": student.architecture.name, "normalization": student.normalization})
    return tensors


def frozen(student: RoundingEncoder) -> RoundingEncoder:
    """As its file will round."""
    plain, rounding = unpacked(packed(student, student.found_rounding()))
    encoder = Encoder(student.architecture.name, dict(student.convs.items()), rounding=rounding)
    encoder.normalization, encoder.mean, encoder.scale = student.normalization, student.mean, student.scale
    for name, conv in convolutions(encoder):
        conv.weight.data = plain[f"{name}.weight"]
    return RoundingEncoder(encoder)


def test_features_have_255_steps_for_each_channel(student: RoundingEncoder, make_image: MakeImage) -> None:
    features = student(make_image(64, 64), LAYERS)
    for values in features.values():
        for channel in values[0]:
            assert len(channel.unique()) <= LARGEST_BYTE + 1


def test_rounded_features_are_near_the_exact_ones(student: RoundingEncoder, make_image: MakeImage) -> None:
    image = make_image(64, 64)
    exact = Encoder.forward(student, image, LAYERS)
    for layer, values in student(image, LAYERS).items():
        assert float((values - exact[layer]).norm() / exact[layer].norm()) < 0.06, layer


def test_what_is_packed_rounds_no_further(student: RoundingEncoder) -> None:
    once, rounding = unpacked(packed(student, student.found_rounding()))
    for name, conv in convolutions(student):
        conv.weight.data = once[f"{name}.weight"].float()
    assert rounding is not None
    twice, _ = unpacked(packed(student, rounding))
    for name, values in once.items():
        torch.testing.assert_close(twice[name].float(), values.float(), rtol=2e-3, atol=1e-6)


def test_a_file_has_whole_weights_and_an_encoder_that_knows_them(
    student: RoundingEncoder, make_image: MakeImage
) -> None:
    tensors = packed(student, student.found_rounding())
    assert all(tensors[f"{name}.weight"].dtype == torch.int8 for name, _ in convolutions(student)[1:])
    image = make_image(64, 64)
    found, expected = frozen(student)(image, LAYERS), student(image, LAYERS)
    for layer in LAYERS:
        assert float((found[layer] - expected[layer]).norm() / expected[layer].norm()) < 0.06, layer


def test_a_frozen_one_does_not_adapt(student: RoundingEncoder, make_image: MakeImage) -> None:
    still, image = frozen(student), make_image(64, 64)
    before = still(image, LAYERS)
    still(3 * make_image(64, 64, seed=9), LAYERS)
    assert all(torch.equal(before[layer], still(image, LAYERS)[layer]) for layer in LAYERS)


def test_gradients_pass_straight_through(student: RoundingEncoder, make_image: MakeImage) -> None:
    image = make_image(64, 64)
    gradients = []
    for forward in (student.forward, lambda *given: Encoder.forward(student, *given)):
        weight = student.convs["conv2_1"].weight.requires_grad_(True)
        value = sum(values.square().mean() for values in forward(image, LAYERS).values())
        gradients.append(torch.autograd.grad(value, weight)[0].flatten())
    assert float(torch.cosine_similarity(*gradients, dim=0)) > 0.98


def test_training_brings_the_rounded_features_nearer(
    student: RoundingEncoder, tiny_encoder: Encoder, make_image: MakeImage
) -> None:
    images = [make_image(96, 96, seed=seed) for seed in range(3)]
    seen = random_crops(images, 8, 64, torch.Generator().manual_seed(1))
    errors = [feature_loss(student(seen, LAYERS), tiny_encoder(seen, LAYERS))]
    options = {"loss": feature_loss, "crops": (4, 64)}
    assert len(list(distill(student, tiny_encoder, images, num_steps=80, **options))) == 80
    errors.append(feature_loss(student(seen, LAYERS), tiny_encoder(seen, LAYERS)))
    assert float(errors[1]) < 0.9 * float(errors[0])
    assert not any(parameter.requires_grad for parameter in student.parameters())


@pytest.mark.parametrize("lost", ["conv3_1.reach", "conv3_1.step", "conv3_1.weight"])
def test_a_file_that_is_not_whole_is_refused(lost: str, student: RoundingEncoder, tmp_path: Path) -> None:
    tensors = saved(student, tmp_path / "whole.safetensors")
    del tensors[lost]
    save_file(tensors, tmp_path / "part.safetensors")
    with pytest.raises(WeightsError, match="not whole"):
        load_encoder("vgg16", weights=tmp_path / "part.safetensors")
