"""The style's detail between stages: what the enlargement lacks comes from the style, and all else stays."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stylecore.detail import add_detail
from stylecore.encoders import Encoder
from stylecore.engine import stylize
from stylecore.images import fit_image, image_size, resize_image
from stylecore.metrics import content_distance, detail, style_distance

MakeImage = Callable[..., Tensor]


def test_a_style_gets_its_own_detail_back(vgg16: Encoder, flow_strokes: Tensor) -> None:
    """The style at half the resolution is nearest to itself, so that enlarging it restores most of what was lost."""
    style = fit_image(flow_strokes, 256)
    size = image_size(style)
    half = resize_image(style, size[0] // 2, size[1] // 2)
    restored, enlarged = add_detail(half, [style], [1.0], vgg16, size), resize_image(half, *size)
    assert (restored - style).square().mean() < 0.1 * (enlarged - style).square().mean()


def test_what_was_painted_stays(vgg16: Encoder, astronaut: Tensor, flow_strokes: Tensor) -> None:
    """Seen at the resolution that it had, the image is the one before; what is finer is as strong as the style's."""
    coarse, style = fit_image(astronaut, 128), fit_image(flow_strokes, 256)
    found, enlarged = add_detail(coarse, [style], [1.0], vgg16, (256, 256)), resize_image(coarse, 256, 256)
    assert (resize_image(found, 128, 128) - coarse).abs().mean() < 0.02
    assert detail(enlarged, style, 0.6) < 0.3
    assert 0.6 < detail(found, style, 0.6) < 1.4


def test_a_stage_begins_nearer_to_the_style_and_as_near_to_the_photo(astronaut: Tensor, flow_strokes: Tensor) -> None:
    recipe = {"preset": "preview", "size": 256, "stages": ["0.5:3", "1:1"], "num_steps": 4}
    results = [stylize(astronaut, flow_strokes, **recipe, enlarge=how).image for how in ("resample", "detail")]
    plain, detailed = (style_distance(image, flow_strokes) for image in results)
    assert detailed < 0.95 * plain
    plain, detailed = (content_distance(image, astronaut) for image in results)
    assert detailed < 1.15 * plain


@pytest.mark.parametrize("size", [(97, 61), (200, 127), (96, 60), (48, 30), (40, 25)])
def test_any_size_is_reached(size: tuple[int, int], vgg16: Encoder, make_image: MakeImage) -> None:
    """Twice, twice and odd, four times and more, the same, smaller."""
    found = add_detail(make_image(48, 30), [make_image(70, 90, seed=1)], [1.0], vgg16, size)
    assert image_size(found) == size
    assert 0 <= float(found.min()) <= float(found.max()) <= 1


def test_only_styles_that_count_give_detail(vgg16: Encoder, make_image: MakeImage) -> None:
    coarse, style, other = make_image(32, 32), make_image(64, 64, seed=1), torch.rand(1, 3, 64, 64)
    alone = add_detail(coarse, [style], [1.0], vgg16, (64, 64))
    assert torch.equal(add_detail(coarse, [style, other], [1.0, 0.0], vgg16, (64, 64)), alone)
    assert not torch.equal(add_detail(coarse, [style, other], [0.5, 0.5], vgg16, (64, 64)), alone)


def test_one_colour_has_no_detail(vgg16: Encoder, make_image: MakeImage) -> None:
    coarse = make_image(32, 32)
    found = add_detail(coarse, [torch.full((1, 3, 64, 64), 0.5)], [1.0], vgg16, (64, 64))
    assert torch.allclose(found, resize_image(coarse, 64, 64), atol=1e-5)
