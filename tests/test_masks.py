"""Masks of styles, maps of the content weight, and what is fitted for regions: only what a mask lets through counts."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stylecore import ImageError, ImageNote, Job, MaskImage, OptionError, Region, Yardstick, make_config
from stylecore.cli import main
from stylecore.detail import add_detail
from stylecore.encoders import Encoder
from stylecore.engine import job_steps, job_yardstick, run_to_end
from stylecore.images import LEVELS, load_image, read_settings, save_image
from stylecore.losses import STYLE_LOSSES
from stylecore.objective import Objective, make_objective
from stylecore.regions import MaskedStyle, StyledRegion
from stylecore.start import JobImages, initial_image, job_images, stage_images

MakeImage = Callable[..., Tensor]
SIZE = (48, 64)


def half(height: int = 48, width: int = 64, *, grey: float = 1.0) -> Tensor:
    """A mask: white (or grey) on the left, black on the right."""
    mask = torch.zeros(1, 3, height, width)
    mask[..., : width // 2] = grey
    return mask


def run(job: Job, encoder: Encoder) -> Tensor:
    return run_to_end(job, job_steps(job, encoder=encoder)).image


# ---- masks of styles


@pytest.fixture
def objective_of(make_image: MakeImage, tiny_encoder: Encoder) -> Callable[..., Objective]:
    """objective_of(style, mask, tile_px, **options): against one style of which the mask's part counts."""

    def make(style: Tensor, mask: Tensor | None, tile_px: int = 0, **options: Any) -> Objective:
        config = make_config("gatys", **options)
        part = StyledRegion(None, [MaskedStyle(style, mask)], [1.0])
        photo = make_image(96, 128)
        return make_objective(tiny_encoder, photo, [], config, tile_px=tile_px, regions=[part])

    return make


@pytest.mark.parametrize("loss", [name for name in STYLE_LOSSES if name != "weighted-element"])
def test_what_a_mask_hides_of_a_style_has_no_say(
    objective_of: Callable[..., Objective], make_image: MakeImage, loss: str
) -> None:
    """Beyond what the encoder sees across the edge: two styles that differ far from it give one objective."""
    style, mask = make_image(64, 512, seed=1), half(64, 512)[:, :1]
    other = style.clone()
    other[..., 400:] = 1 - other[..., 400:]
    image = LEVELS * make_image(96, 128, seed=3)
    options: dict[str, Any] = {"loss": loss, "components": "3", "content_weight": 0.0, "threshold": "energy:0.9"}
    options |= {"num_samples": 20} if loss.startswith("mmd") else {}
    masked = [objective_of(each, mask, **options).evaluate(image).losses.style for each in (style, other)]
    bare = [objective_of(each, None, **options).evaluate(image).losses.style for each in (style, other)]
    torch.testing.assert_close(*masked)
    assert not torch.equal(*bare)


def test_crops_of_a_masked_style_are_those_that_are_seen(
    objective_of: Callable[..., Objective], make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stylecore.losses.weighted.photo_statistics", lambda _: (torch.zeros(6, 6), torch.ones(6, 6)))
    made = objective_of(make_image(64, 512, seed=1), half(64, 512)[:, :1], loss="weighted", weights_from="fisher")
    assert all(bool(term.loss.gram_weights.isfinite().all()) for term in made.style_terms)  # type: ignore[attr-defined]


def test_a_masked_style_comes_in_tiles_too(objective_of: Callable[..., Objective], make_image: MakeImage) -> None:
    style, mask = make_image(150, 233, seed=1), make_image(150, 233, seed=5)[:, :1]
    image = LEVELS * make_image(96, 128, seed=3)
    whole, tiled = (objective_of(style, mask, tile_px).evaluate(image).gradient for tile_px in (0, 64))
    assert float((tiled - whole).norm() / whole.norm()) < 1e-3


def test_a_white_mask_changes_nothing(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    config = make_config("draft", size=64, num_steps=5, encoder="vgg16", init="style_statistics")
    job = Job(make_image(), (make_image(seed=1),), config)
    masked = Job(job.content, job.styles, config, style_masks=(MaskImage(torch.ones(1, 3, *SIZE)),))
    torch.testing.assert_close(run(masked, tiny_encoder), run(job, tiny_encoder), atol=1e-3, rtol=0)


def test_the_start_in_a_styles_colours_has_those_that_count(make_image: MakeImage) -> None:
    style = torch.cat([torch.full((1, 3, 48, 32), 0.3), torch.full((1, 3, 48, 32), 0.9)], 3)
    images = JobImages(0.4 + 0.2 * make_image(), (style,), style_masks=(MaskImage(half()),))
    start = initial_image(images, make_config(init="style_statistics", size=64), SIZE)
    assert float(start.mean()) == pytest.approx(0.3, abs=0.01)


def test_detail_is_taken_only_from_what_counts(vgg16: Encoder, make_image: MakeImage, flow_strokes: Tensor) -> None:
    """Where the part that counts is of one colour, there is no detail to be had."""
    style = flow_strokes.clone()
    style[..., : style.shape[3] // 2 + 40] = 0.5
    coarse, mask = make_image(32, 32), half(*style.shape[2:])[:, :1]
    plain, detailed = (add_detail(coarse, [style], [1.0], vgg16, (64, 64), None, [m]) for m in (mask, None))
    enlarged = add_detail(coarse, [torch.full_like(style, 0.5)], [1.0], vgg16, (64, 64))
    assert float((plain - enlarged).abs().mean()) < 0.2 * float((detailed - enlarged).abs().mean())


@pytest.mark.usefixtures("tiny_everywhere")
def test_the_yardstick_measures_what_counts(make_image: MakeImage) -> None:
    """An image of the style's left half is near to the style of which only that counts."""
    style = make_image(64, 512, seed=1)
    left = MaskImage(half(64, 512))
    image = style[..., :256]
    bare, masked = (
        Yardstick(image, style, (64, 256), style_masks=masks).measure(image).style for masks in ((), [left])
    )
    assert masked < bare / 2


def test_a_regions_own_style_may_have_a_mask(make_image: MakeImage) -> None:
    region = Region.load(half(), make_image(seed=2), 1.0, half())
    job = Job(make_image(), (make_image(seed=1),), make_config(size=64), regions=(region,))
    parts = stage_images(job_images(job), job.config, SIZE).regions
    assert [part.styles[0].mask is None for part in parts] == [False, True]


def test_a_mask_too_fine_for_the_deepest_layer_lets_all_through(make_image: MakeImage) -> None:
    """Poolings drop the last rows of a style whose height is no multiple of 16."""
    edge = torch.zeros(1, 3, 60, 64)
    edge[:, :, 50:] = 1
    assert MaskedStyle.fitted(make_image(60, 64), MaskImage(edge), 64).mask is None


# ---- the content weight as a map


def test_content_counts_as_the_map_says(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    """A grey map is a smaller weight; a black place has no gradient."""
    config, photo, image = make_config("gatys", style_weight=0.0), make_image(96, 256), LEVELS * make_image(96, 256, 3)

    def evaluate(mask: Tensor | None, **options: Any) -> Any:
        return make_objective(
            tiny_encoder, photo, [make_image(seed=1)], config.replace(**options), content_mask=mask
        ).evaluate(image)

    ones = torch.ones(1, 1, 96, 256)
    plain = evaluate(None)
    torch.testing.assert_close(evaluate(0.25 * ones).losses.total, 0.25 * plain.losses.total)
    torch.testing.assert_close(
        evaluate(0.25 * ones, terms="relative").losses.content, 0.25 * evaluate(None, terms="relative").losses.content
    )
    gradient = evaluate(half(96, 256)[:, :1]).gradient
    assert float(gradient[..., :100].abs().mean()) > 0
    assert float(gradient[..., 200:].abs().max()) == 0


@pytest.mark.parametrize("reduction", ["mean", "half_sum"])
def test_tiles_have_the_maps_gradient(tiny_encoder: Encoder, make_image: MakeImage, reduction: str) -> None:
    size = (150, 233)
    config, mask = make_config("gatys", content_reduction=reduction), make_image(*size, seed=5)[:, :1]
    found = [
        make_objective(
            tiny_encoder, make_image(*size), [make_image(seed=1)], config, tile_px=tile_px, content_mask=mask
        ).evaluate(LEVELS * make_image(*size, seed=3))
        for tile_px in (0, 64)
    ]
    assert float((found[1].gradient - found[0].gradient).norm() / found[0].gradient.norm()) < 1e-3
    torch.testing.assert_close(found[1].losses.content, found[0].losses.content, rtol=1e-3, atol=1e-9)


def test_the_yardsticks_content_distance_keeps_its_own_definition(make_image: MakeImage) -> None:
    job = Job(make_image(), (make_image(seed=1),), make_config(size=64), content_mask=MaskImage(half()))
    plain = Job(job.content, job.styles, job.config)
    image = make_image(seed=2)
    assert job_yardstick(job).measure(image) == job_yardstick(plain).measure(image)


# ---- what is fitted for regions


def test_regions_have_bases_of_their_own_which_come_back(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    config = make_config("gatys", size=64, num_steps=2, loss="pca", components="3")
    region = Region.load(half(), make_image(seed=2))
    job = Job(make_image(), (make_image(seed=1),), config, regions=(region,))
    fitted = run_to_end(job, job_steps(job, encoder=tiny_encoder)).ending.fitted
    assert set(fitted["relu1_1"]) == {"components", "components.1"}
    assert not torch.equal(*fitted["relu1_1"].values())
    turned = {layer: {name: basis.flip(0) for name, basis in bases.items()} for layer, bases in fitted.items()}
    again = run_to_end(job, job_steps(job, encoder=tiny_encoder, fitted=turned)).ending.fitted
    for name, basis in turned["relu2_1"].items():
        assert torch.equal(again["relu2_1"][name], basis)


def test_a_file_of_bases_holds_those_of_regions(make_image: MakeImage, tmp_path: Path) -> None:
    names = [str(save_image(make_image(seed=seed), tmp_path / f"{seed}.png")) for seed in range(3)]
    mask, bases = str(save_image(half(), tmp_path / "mask.png")), tmp_path / "bases.safetensors"
    typed = ["stylize", *names[:2], "--region", f"{mask},{names[2]},1", "--loss", "pca", "--basis", str(bases)]
    typed += ["--size", "64", "--steps", "1", "--preset", "draft", "--set", "stages=1:1", "-o"]
    outs = [tmp_path / "first.png", tmp_path / "second.png"]
    for out in outs:
        assert main([*typed, str(out)]) == 0
    assert torch.equal(*map(load_image, outs))
    assert read_settings(outs[1])["basis"] == "bases.safetensors"


# ---- what is refused, and the command line


def test_masks_that_fit_no_style_are_one_sentence(make_image: MakeImage) -> None:
    def job(**masks: Any) -> Job:
        return Job(make_image(), (make_image(40, 80, seed=1),), make_config(size=64), **masks)

    mask = MaskImage(half())
    with pytest.raises(OptionError, match="2 style masks were given for 1 style images: give one for each"):
        job(style_masks=(mask, mask))
    with pytest.raises(ImageError, match="mask of 64x48 px has another aspect than the style's 80x40 px: crop it"):
        job(style_masks=(mask,))
    with pytest.raises(ImageError, match="has another aspect than the photo's 64x48 px"):
        job(content_mask=MaskImage(half(64, 64)))
    with pytest.raises(ImageError, match="The mask is black everywhere: paint white what is meant"):
        MaskImage(torch.zeros(1, 3, 48, 64))
    with pytest.raises(OptionError, match="without a style of its own has no style mask"):
        Region.load(half(), None, 1.0, half())
    with pytest.warns(ImageNote, match="mask of 40x20 px is resized to the style's size"):
        job(style_masks=(MaskImage(half(20, 40)),))


def test_masks_larger_than_the_limits_are_refused(make_image: MakeImage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylecore.pixels.MAX_PIXELS", 100)
    with pytest.raises(ImageError, match="pixels"):
        MaskImage.load(make_image())


def test_masks_travel_in_the_png_and_run_again(
    make_image: MakeImage,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    prepare_tiny: Callable[..., Encoder],
    tiny_everywhere: Encoder,  # noqa: ARG001 - a quick yardstick
) -> None:
    monkeypatch.setattr("stylecore.cli.stylize.prepare_encoder", prepare_tiny)
    names = [str(save_image(make_image(seed=seed), tmp_path / f"{seed}.png")) for seed in range(3)]
    mask, small = (str(save_image(image, tmp_path / name)) for image, name in
                   ((half(), "mask.png"), (half(24, 32), "small.png")))  # fmt: skip
    out, again = tmp_path / "out.png", tmp_path / "again.png"
    typed = ["stylize", *names, "-o", str(out), "--size", "64", "--steps", "2", "--preset", "gatys"]
    masks = ["--style-mask", "-", "--style-mask", mask, "--content-mask", small]
    masks += ["--region", f"{mask},{names[0]},1,{small}"]
    assert main([*typed, *masks]) == 0
    saved = read_settings(out)
    assert [each and each["name"] for each in saved["style_masks"]] == [None, "mask.png"]
    assert saved["content_mask"]["name"] == "small.png"
    assert saved["regions"][0]["style_mask"]["name"] == "small.png"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImageNote)
        assert main(["stylize", "--from", str(out), "-o", str(again)]) == 0
    assert torch.equal(load_image(again), load_image(out))
    Path(mask).write_bytes(Path(names[0]).read_bytes())
    capsys.readouterr()
    assert main(["stylize", "--from", str(out), "-o", str(again)]) == 2
    assert "'mask.png' is not here any more, or has changed" in capsys.readouterr().err
    assert main([*typed, "--style-mask", mask]) == 2
    assert "1 style masks were given for 2 style images" in capsys.readouterr().err
    assert main([*typed, "-o", small, "--content-mask", small]) == 2
    assert "is one of the inputs" in capsys.readouterr().err
