"""Resampling on a device: Pillow's own, as matrices."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stylecore.images import resize_image
from stylecore.resampling import lanczos_weights, resample

MakeImage = Callable[..., Tensor]
SIZES = [((48, 64), (24, 32)), ((48, 64), (96, 128)), ((61, 90), (40, 133)), ((300, 37), (16, 16)), ((5, 7), (64, 1))]


@pytest.mark.parametrize(("size", "new_size"), SIZES, ids=str)
def test_it_is_pillows_lanczos(make_image: MakeImage, size: tuple[int, int], new_size: tuple[int, int]) -> None:
    image = make_image(*size)
    expected = resize_image(image, *new_size)
    torch.testing.assert_close(resample(image, *new_size).clamp(0, 1), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("sides", [(64, 17), (17, 64), (1000, 3), (1, 5)], ids=str)
def test_each_pixel_is_a_weighted_mean(sides: tuple[int, int]) -> None:
    weights = lanczos_weights(*sides)
    torch.testing.assert_close(weights.sum(1), torch.ones(sides[1]), atol=1e-5, rtol=0)


def test_a_picture_of_a_device_never_leaves_it(make_image: MakeImage) -> None:
    assert resize_image(make_image(48, 64).to("meta"), 30, 40).is_meta
