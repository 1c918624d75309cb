"""Stroke size: how large the style is beside the result, at every stage and wherever a result is made."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stylecore import OptionError, Stage, load_image, make_config, stylize
from stylecore.cli import main
from stylecore.compare import make_variants
from stylecore.encoders import Encoder
from stylecore.images import fit_image, image_size, read_settings, save_image
from stylecore.profiling import warm_up
from stylecore.start import JobImages, stage_images

MakeImage = Callable[..., Tensor]
STAGES: dict[str, Any] = {"size": 128, "num_steps": 4, "stages": (Stage(0.5, 1), Stage(1, 1)), "preset": "draft"}


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0, 2.0, 4.0])
def test_the_styles_are_that_much_larger_than_the_result_at_every_stage(make_image: MakeImage, scale: float) -> None:
    """So that strokes keep their size relative to the whole, and a small preview predicts a large picture."""
    by_scale = make_config(size=512, style_scale=scale)
    by_size = make_config(size=512, style_size=int(512 * scale))
    for side in (128, 256, 512):
        for config in (by_scale, by_size):
            (style,) = stage_images(JobImages(make_image(), (make_image(60, 80),)), config, (side, side)).styles
            assert max(image_size(style)) == scale * side


def test_a_size_in_pixels_is_a_scale_in_other_words(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    pictures = make_image(128, 128), make_image(96, 128, seed=1)

    def run(**options: float) -> Tensor:
        return stylize(*pictures, encoder=tiny_encoder, **STAGES, **options).image

    assert torch.equal(run(style_size=192), run(style_scale=1.5))
    assert torch.equal(run(style_scale=1.0), run())
    assert not torch.equal(run(style_scale=0.5), run())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"style_scale": 0.2}, "style_scale must be between 0.25 and 4, not 0.2"),
        ({"style_scale": 5}, "style_scale must be between 0.25 and 4, not 5"),
        ({"style_size": -1}, "style_size must be between 0 and"),
        ({"style_size": 1e9}, "style_size must be between 0 and"),
    ],
)
def test_what_leaves_no_strokes_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        make_config(size=512, **options)


def test_warming_up_has_a_size_of_its_own(tiny_encoder: Encoder) -> None:
    warm_up(tiny_encoder, make_config("gatys", size=512, style_size=300))


def test_a_comparison_has_stroke_sizes_as_an_axis() -> None:
    variants = make_variants({"size": 64}, ["gram", "bn"], style_scales=[0.5, 1.0])
    assert [variant.name for variant in variants] == ["gram scale 0.5", "gram scale 1", "bn scale 0.5", "bn scale 1"]
    assert [variant.config.style_scale for variant in variants] == [0.5, 1.0, 0.5, 1.0]
    (single,) = make_variants({"size": 64, "style_scale": 2.0}, ["gram"])
    assert (single.name, single.config.style_scale) == ("gram", 2.0)
    with pytest.raises(OptionError, match="leave it out to compare"):
        make_variants({"size": 64, "style_size": 64}, ["gram"], style_scales=[0.5])


def test_the_command_line_has_it_and_the_png_remembers(make_image: MakeImage, tmp_path: Path) -> None:
    photo, style = (str(save_image(make_image(seed=seed), tmp_path / f"{seed}.png")) for seed in (0, 1))
    out = tmp_path / "out.png"
    assert main(["stylize", photo, style, "-o", str(out), "--size", "64", "--steps", "2", "--style-scale", "0.5"]) == 0
    assert read_settings(out)["config"]["style_scale"] == 0.5
    assert image_size(load_image(out)) == (48, 64)


def test_smaller_strokes_come_from_a_smaller_style(vgg16: Encoder, make_image: MakeImage, flow_strokes: Tensor) -> None:
    """A style at half the size is as good as one that was given at half the size and not resized."""
    photo = make_image(64, 64)
    options: dict[str, Any] = {"preset": "gatys", "size": 128, "num_steps": 3, "encoder": vgg16}
    half = stylize(photo, flow_strokes, style_scale=0.5, **options)
    given = stylize(photo, fit_image(flow_strokes, 64), style_size=64, **options)
    torch.testing.assert_close(half.image, given.image)
