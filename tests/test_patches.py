"""The second yardstick: nearest patches, there and back, the same for whatever made the image."""

import math

import pytest
import torch
from torch import Tensor

from stylecore.errors import ImageError, OptionError
from stylecore.images import load_image
from stylecore.patches import MAX_PATCHES, PatchYardstick, _distance, _grid_step
from stylecore.regions import MaskImage, Region
from stylecore.sample_images import load_photo, load_style

SIZE = (64, 96)


def small(picture: Tensor) -> Tensor:
    """A part of it, as large as the results."""
    return torch.nn.functional.interpolate(picture[:, :, :128, :192], SIZE, mode="area")


@pytest.fixture(scope="module")
def style() -> Tensor:
    return small(load_style("flow_strokes"))


def test_the_distance_is_from_the_nearest_by_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    patches, others = (torch.randn(5, number, generator=generator) for number in (7, 11))
    squares = [min(float((a - b).square().sum()) for b in others.T) for a in patches.T]
    assert _distance(patches, others) == pytest.approx(math.sqrt(sum(squares) / 7), rel=1e-5)
    assert _distance(others[:, :3], others) == 0


@pytest.mark.parametrize("size", [(1, 1), (45, 46), (1, 5000), (256, 256), (683, 1024)])
def test_a_grid_has_no_more_places_than_it_may_and_nearly_as_many(size: tuple[int, int]) -> None:
    step = _grid_step(*size)
    number = math.prod(-(-side // step) for side in size)
    assert number <= MAX_PATCHES
    assert step == 1 or number > MAX_PATCHES / 4


def test_the_style_itself_is_at_0_and_a_photo_is_not(style: Tensor) -> None:
    yardstick = PatchYardstick([style], SIZE)
    own, photo = yardstick.measure(style), yardstick.measure(small(load_photo("rocket")))
    assert own.mean < 0.01  # eight bits
    assert min(photo.to_style, photo.from_style) > 0.3
    assert photo == yardstick.measure(small(load_photo("rocket")))


def test_a_piece_of_the_style_is_not_foreign_to_it_but_lacks_the_rest(style: Tensor) -> None:
    """One corner over and over: as the style everywhere, and most of the style nowhere."""
    corner = style[:, :, :32, :32].repeat(1, 1, 2, 3)
    whole = PatchYardstick([style], SIZE).measure(corner)
    assert whole.from_style > 1.3 * whole.to_style


def test_the_style_in_a_mirror_is_nearer_than_another_style(style: Tensor) -> None:
    yardstick = PatchYardstick([style], SIZE)
    mirrored = yardstick.measure(style.flip(3))
    other = yardstick.measure(small(load_style("stained_glass")))
    assert mirrored.mean < other.mean


def test_of_several_styles_the_nearest_patch_counts_and_each_must_be_there(style: Tensor) -> None:
    other = small(load_style("stained_glass"))
    both = PatchYardstick([style, other], SIZE).measure(style)
    alone = PatchYardstick([style, other], SIZE, (1.0, 0.0)).measure(style)
    assert both.to_style < 0.01
    assert both.from_style > 0.1
    assert alone.mean < 0.01


def test_a_region_is_compared_with_its_own_style(style: Tensor) -> None:
    other = small(load_style("stained_glass"))
    mask = torch.zeros(1, 3, *SIZE)
    mask[..., 48:] = 1
    halves = torch.cat([style[..., :48], other[..., 48:]], 3)
    of_halves = PatchYardstick([style], SIZE, regions=[Region(MaskImage(mask), other)]).measure(halves)
    of_one = PatchYardstick([style], SIZE).measure(halves)
    assert of_halves.to_style < of_one.to_style


def test_bad_input_is_refused(style: Tensor) -> None:
    with pytest.raises(ImageError, match="measures images of"):
        PatchYardstick([style], SIZE).measure(load_image(style[:, :, :64, :64]))
    with pytest.raises(OptionError, match="2 style weights"):
        PatchYardstick([style], SIZE, (1.0, 2.0))
