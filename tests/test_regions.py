"""Regions: masks with styles of their own, and parts where the photo stays."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stylecore import ImageError, ImageNote, Job, OptionError, Region, Yardstick, make_config, style_distance
from stylecore.cli import main
from stylecore.encoders import Encoder
from stylecore.engine import job_steps, run_to_end
from stylecore.images import LEVELS, load_image, read_settings, save_image
from stylecore.objective import make_objective
from stylecore.regions import MaskedStyle, StyledRegion, kept_mask, masks_at, styled_regions
from stylecore.start import job_images, stage_images

MakeImage = Callable[..., Tensor]
SIZE = (48, 64)


def half(height: int = 48, width: int = 64, *, right: bool = False, grey: float = 1.0) -> Tensor:
    """A mask: white (or grey) on the left or on the right."""
    mask = torch.zeros(1, 3, height, width)
    mask[..., width // 2 :] = grey * right
    mask[..., : width // 2] = grey * (not right)
    return mask


def run(job: Job, encoder: Encoder) -> Tensor:
    return run_to_end(job, job_steps(job, encoder=encoder)).image


def test_overlapping_masks_share_and_holes_are_the_rests() -> None:
    regions = [Region.load(half()), Region.load(torch.ones(1, 3, *SIZE)), Region.load(half(grey=0.5))]
    masks, rest = masks_at(regions, SIZE)
    torch.testing.assert_close(torch.stack(masks).sum(0), torch.ones(1, 1, *SIZE))
    assert float(masks[0][..., :32].mean()) == pytest.approx(0.4)
    assert float(rest.max()) == 0
    _, rest = masks_at([Region.load(half(grey=0.25))], SIZE)
    assert (float(rest[..., 0].mean()), float(rest[..., 63].mean())) == (0.75, 1.0)


def test_all_of_the_photo_as_one_region_is_as_without(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    config = make_config("draft", size=64, num_steps=5, encoder="vgg16")
    job = Job(make_image(), (make_image(seed=1),), config)
    whole = Region.load(torch.ones(1, 3, *SIZE))
    torch.testing.assert_close(run(Job(job.content, job.styles, config, regions=(whole,)), tiny_encoder),
                               run(job, tiny_encoder), atol=1e-3, rtol=0)  # fmt: skip


def test_a_region_that_is_half_white_counts_twice_what_is_quarter_grey(
    tiny_encoder: Encoder, make_image: MakeImage
) -> None:
    """Guided sums are divided by the mask's sum: a darker mask has the same statistics, and a smaller area."""
    config, image = make_config("gatys", content_weight=0.0), make_image()
    objective = [
        make_objective(
            tiny_encoder,
            image,
            [],
            config,
            regions=[StyledRegion(mask[:, :1], [MaskedStyle(make_image(seed=1))], [1.0])],
        )
        for mask in (half(), half(grey=0.25))
    ]
    first, second = (each.evaluate(LEVELS * image) for each in objective)
    assert float(first.losses.style) == pytest.approx(4 * float(second.losses.style), rel=1e-3)


def test_only_a_regions_box_is_looked_at(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    """Three small regions do not cost three whole images; what is outside has weight 0 anyway."""
    config, mask = make_config("gatys"), half()[:, :1]
    part = StyledRegion(mask, [MaskedStyle(make_image(seed=1))], [1.0])
    objective = make_objective(tiny_encoder, make_image(), [], config, regions=[part])
    features = objective.features(make_image())["relu1_1"]
    term = objective.style_terms[0]
    seen, weights = term.seen(features)
    assert (seen.shape[3], weights.shape[3]) == (32, 32)
    whole = term.loss.summarize(features, mask)
    torch.testing.assert_close(term.loss.summarize(seen, weights).gram, whole.gram)


@pytest.mark.slow
def test_each_side_comes_nearer_to_its_own_style(vgg16: Encoder, astronaut: Tensor, flow_strokes: Tensor) -> None:
    from stylecore.sample_images import load_style

    other = load_style("woodblock_waves")
    config = make_config("gatys", size=128, num_steps=20)
    job = Job(astronaut, (flow_strokes,), config, regions=(Region.load(half(512, 512), other),))
    image = run(job, vgg16)
    left, right = image[..., :64], image[..., 64:]
    assert style_distance(left, other) < style_distance(right, other)
    assert style_distance(right, flow_strokes) < style_distance(left, flow_strokes)


def test_weight_0_keeps_the_photo_there(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    photo = make_image(96, 128)
    config = make_config("draft", size=128, num_steps=6, encoder="vgg16")
    job = Job(photo, (make_image(seed=1),), config, regions=(Region.load(half(96, 128), weight=0.0),))
    for step in job_steps(job, encoder=tiny_encoder):
        image = step.image
    torch.testing.assert_close(image[..., :60], photo[..., :60], atol=1e-6, rtol=0)
    assert float((image - photo)[..., 68:].abs().mean()) > 0.01


def test_distances_are_of_each_region_by_its_area(make_image: MakeImage, tiny_everywhere: Encoder) -> None:  # noqa: ARG001
    """An image that is one style on the left and another on the right is near to both regions, far from either."""
    styles = make_image(48, 64, seed=1), make_image(48, 64, seed=2)
    image = torch.where(half()[:, :1] > 0, *styles)
    region = Region.load(half(), styles[0])
    alone = Yardstick(styles[1], styles[1], SIZE).measure(image).style
    with_regions = Yardstick(styles[1], styles[1], SIZE, regions=[region]).measure(image).style
    assert with_regions < alone


def test_tiles_have_the_regions_gradient(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    size = (150, 233)
    job = Job(
        make_image(*size),
        (make_image(seed=1),),
        make_config("gatys", size=233),
        regions=(Region.load(make_image(*size, seed=5), make_image(90, 80, seed=2), 2.0),),
    )
    images = stage_images(job_images(job), job.config, size)
    gradients = [
        make_objective(
            tiny_encoder, images.content, images.styles, job.config, tile_px=tile_px, regions=images.regions
        ).evaluate(LEVELS * make_image(*size, seed=3)).gradient
        for tile_px in (0, 64)
    ]  # fmt: skip
    assert float((gradients[1] - gradients[0]).norm() / gradients[0].norm()) < 1e-3


def test_a_region_that_the_deepest_layer_does_not_see_is_left_out(make_image: MakeImage) -> None:
    """Poolings drop the last rows of an image whose height is no multiple of 16."""
    edge = torch.zeros(1, 3, 60, 64)
    edge[:, :, 50:] = 1
    parts = styled_regions([Region.load(edge, make_image())], (60, 64), [MaskedStyle(make_image())], [1.0], 64)
    assert len(parts) == 1


def test_without_regions_nothing_is_masked(make_image: MakeImage) -> None:
    (part,) = styled_regions([], SIZE, [MaskedStyle(make_image())], [1.0], 64)
    assert (part.mask, part.area, part.weight) == (None, 1.0, 1.0)
    assert kept_mask([], SIZE) is None


# ---- cut-outs


def cut_out(photo: Tensor, path: Path) -> str:
    """A PNG of the photo whose left half is a hole."""
    alpha = half(*photo.shape[2:], right=True)[:, :1]
    return str(save_image(photo, path, alpha=alpha))


def test_a_cut_out_stays_a_cut_out_unless_it_is_flattened(make_image: MakeImage, tmp_path: Path) -> None:
    photo, style = (
        cut_out(make_image(), tmp_path / "photo.png"),
        str(save_image(make_image(seed=1), tmp_path / "s.png")),
    )
    out = tmp_path / "out.png"
    typed = ["stylize", photo, style, "-o", str(out), "--size", "64", "--steps", "2"]
    assert main(typed) == 0
    with Image.open(out) as image:
        assert image.mode == "RGBA"
        alpha = np.asarray(image.getchannel("A"))
    assert (int(alpha[:, :30].max()), int(alpha[:, 34:].min())) == (0, 255)
    assert main([*typed, "--alpha", "flatten"]) == 0
    with Image.open(out) as image:
        assert image.mode == "RGB"


def test_what_is_cut_out_has_no_say(tiny_encoder: Encoder, make_image: MakeImage, tmp_path: Path) -> None:
    """Whatever stands in the hole: neither the picture nor its distances differ."""
    config, style = make_config("gatys", size=64, num_steps=3), make_image(seed=1)
    alpha = half(right=True)[:, :1]
    jobs = [Job(torch.lerp(torch.full((1, 3, *SIZE), grey), make_image(), alpha), (style,), config, alpha=alpha)
            for grey in (0.0, 1.0)]  # fmt: skip
    first, second = (run(job, tiny_encoder)[..., 50:] for job in jobs)
    assert float((first - second).abs().mean()) < 0.02
    assert Job.load(cut_out(make_image(), tmp_path / "a.png"), style, config).result_alpha() is not None
    assert Job.load(cut_out(make_image(), tmp_path / "a.png"), style, config.replace(alpha="flatten")).alpha is None


# ---- what is refused


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (torch.zeros(1, 3, 48, 64), "The mask is black everywhere: paint white what is meant"),
        (torch.ones(1, 3, 64, 64), "The mask of 64x64 px has another aspect than the photo's 64x48 px: crop it"),
    ],
)
def test_a_mask_that_cannot_be_is_one_sentence(make_image: MakeImage, mask: Any, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        Job(make_image(), (make_image(seed=1),), make_config(size=64), regions=(Region.load(mask),))


def test_a_mask_of_another_size_is_resized_with_a_note(make_image: MakeImage) -> None:
    with pytest.warns(ImageNote, match="The mask of 128x96 px is resized to the photo's size"):
        Job(make_image(), (make_image(),), make_config(size=64), regions=(Region.load(half(96, 128)),))


def test_a_mask_that_is_not_there_is_named() -> None:
    with pytest.raises(ImageError, match=r"There is no file 'nothing\.png'"):
        Region.load("nothing.png")


def test_negative_weights_and_photos_kept_whole_are_refused(make_image: MakeImage) -> None:
    with pytest.raises(OptionError, match="weight must be 0 or more, not -1"):
        Region.load(half(), weight=-1.0)
    with pytest.raises(OptionError, match="keep all of the photo"):
        Job(
            make_image(),
            (make_image(),),
            make_config(size=64),
            regions=(Region.load(torch.ones(1, 3, *SIZE), weight=0),),
        )


# ---- the command line


def test_regions_travel_in_the_png_and_run_again(
    make_image: MakeImage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(save_image(make_image(seed=seed), tmp_path / f"{seed}.png")) for seed in range(3)]
    mask, dark = (str(save_image(image, tmp_path / name)) for image, name in
                  ((half(), "mask.png"), (0 * half(), "dark.png")))  # fmt: skip
    out, again = tmp_path / "out.png", tmp_path / "again.png"
    typed = ["--region", f"{mask},{names[2]},2", "--region", f"{mask},-,0"]
    assert main(["stylize", *names[:2], "-o", str(out), "--size", "64", "--steps", "3", *typed]) == 0
    saved = read_settings(out)["regions"]
    assert [(region["mask"]["name"], region["weight"]) for region in saved] == [("mask.png", 2.0), ("mask.png", 0.0)]
    assert saved[1]["style"] is None
    assert str(tmp_path) not in json.dumps(saved)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImageNote)
        assert main(["stylize", "--from", str(out), "-o", str(again)]) == 0
    assert torch.equal(load_image(again), load_image(out))
    capsys.readouterr()
    assert main(["stylize", *names[:2], "-o", str(out), "--region", f"{dark},-,1"]) == 2
    assert "is black everywhere" in capsys.readouterr().err
    assert main(["stylize", *names[:2], "-o", mask, "--region", f"{mask},-,1"]) == 2
    assert "is one of the inputs" in capsys.readouterr().err
    assert main(["stylize", *names[:2], "-o", str(out), "--region", mask]) == 2
    assert "--region takes MASK,STYLE,WEIGHT" in capsys.readouterr().err
