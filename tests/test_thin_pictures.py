"""Thin pictures: measured, or refused before anything is computed; never a crash on the way or at the end."""

from collections.abc import Callable

import pytest
from torch import Tensor

from stylecore.compare import Comparison, make_variants
from stylecore.encoders import Encoder, Layer
from stylecore.engine import stylize, stylize_steps
from stylecore.errors import OptionError
from stylecore.images import fit_size, image_size
from stylecore.job import Job
from stylecore.metrics import LAYERS, LEAST_SIDE_PX, Yardstick, check_sizes, style_distance
from stylecore.presets import make_config
from stylecore.start import JobImages, stage_images

MakeImage = Callable[..., Tensor]
SHALLOW = {"style_layers": ("relu1_1",), "content_layers": ("relu1_1",)}


def test_the_least_side_is_a_position_of_the_deepest_layer_measured() -> None:
    assert LEAST_SIDE_PX == max(Layer.parse(layer).stride for layer in LAYERS) == 16


@pytest.mark.parametrize(
    ("content", "styles", "size", "words"),
    [
        ((48, 64), [(100, 500)], 64, r"^The style of 500x100 px is too thin at --size 64.*--size 80 or more"),
        ((48, 64), [(64, 64), (100, 900)], 128, r"^Style 2 of 900x100 px.*--size 144 or more"),
        ((200, 2400), [(64, 64)], 64, r"^The content of 2400x200 px.*--size 192 or more"),
        ((2400, 200), [(64, 64)], 185, r"^The content of 200x2400 px"),
    ],
)
def test_what_could_not_be_measured_is_refused_with_a_size_that_helps(
    content: tuple[int, int], styles: list[tuple[int, int]], size: int, words: str
) -> None:
    with pytest.raises(OptionError, match=words) as caught:
        check_sizes(content, styles, size)
    check_sizes(content, styles, int(str(caught.value).split("--size ")[-1].split()[0]))


@pytest.mark.parametrize("options", [{}, SHALLOW, {"style_weights": (1.0, 0.0)}], ids=["all", "shallow", "weight 0"])
def test_a_job_refuses_it_when_made_whatever_its_layers_and_weights(options: dict, make_image: MakeImage) -> None:
    config = make_config(size=64, **options)
    with pytest.raises(OptionError, match="too thin"):
        Job(make_image(), (make_image(seed=1), make_image(20, 100)), config)
    with pytest.raises(OptionError, match="too thin"):
        stylize_steps(make_image(20, 240), [make_image()] * 2, config)
    wide = Job(make_image(), (make_image(seed=1), make_image(20, 100)), config.replace(size=128))
    with pytest.raises(OptionError, match="too thin"):
        wide.with_config(config)


def test_a_comparison_refuses_it_when_made(make_image: MakeImage, tmp_path: object, tiny_encoder: Encoder) -> None:
    job = Job(make_image(), (make_image(20, 100),), make_config(size=128))
    variants = make_variants({"size": 64, "encoder": "vgg16"}, ["gram"])
    with pytest.raises(OptionError, match="too thin"):
        Comparison(job, variants, str(tmp_path), encoder=tiny_encoder)


def test_the_yardstick_refuses_it_in_one_sentence(make_image: MakeImage) -> None:
    with pytest.raises(OptionError, match="The style of 100x20 px is too thin at --size 64"):
        style_distance(make_image(), make_image(20, 100))
    with pytest.raises(OptionError, match="The content of 190x10 px"):
        Yardstick(make_image(), [make_image()], (10, 190))


def test_a_coarse_stage_fits_a_thin_style_so_that_every_layer_sees_it(
    make_image: MakeImage, shared_tiny_encoder: Encoder
) -> None:
    """At half of 256 px the style would be 14 px high."""
    thin = make_image(20, 180)
    assert fit_size(image_size(thin), 128) == (14, 128)
    (style,) = stage_images(JobImages(make_image(), (thin,)), make_config(), (96, 128)).styles
    assert image_size(style) == (LEAST_SIDE_PX, 144)
    stages = ({"scale": 0.5, "share": 1}, {"scale": 1.0, "share": 1})
    config = make_config("gatys", size=256, num_steps=2, stages=stages)
    assert stylize(make_image(), thin, config, encoder=shared_tiny_encoder).num_steps == 2


def test_a_style_that_is_wide_enough_keeps_the_stages_longer_side(make_image: MakeImage) -> None:
    (style,) = stage_images(JobImages(make_image(), (make_image(20, 100),)), make_config(), (96, 128)).styles
    assert image_size(style) == (26, 128)
