"""Photo and painting mixed after the run: what stays, what goes, and whose colours."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stylecore import ImageError, Job, OptionError, blend, make_config
from stylecore.cli import main
from stylecore.color import luminance
from stylecore.images import load_alpha, load_image, quantize, read_settings, resize_image, save_image

MakeImage = Callable[..., Tensor]


@pytest.fixture
def detailed(make_image: MakeImage) -> Tensor:
    """A photo, (1, 3, 192, 256), of soft shapes and one-pixel stripes that no smaller picture can show."""
    stripes = torch.tensor([-0.1, 0.1]).repeat(128)
    return (0.5 * make_image(192, 256) + 0.25 + stripes).clamp(0, 1)


def stripes_of(image: Tensor) -> float:
    """How strong the stripes are, away from the edges."""
    inner = luminance(image)[..., 16:-16, 16:-16]
    signs = torch.tensor([-1.0, 1.0]).repeat(inner.shape[3] // 2)
    return float((inner * signs).mean())


# ---- strength


@pytest.mark.parametrize("colors", ["photo", "style", "mix"])
def test_without_strength_it_is_the_photo(detailed: Tensor, make_image: MakeImage, colors: str) -> None:
    for size in ((48, 64), (192, 256)):
        mixed = blend(detailed, make_image(*size, seed=1), 0, colors)
        torch.testing.assert_close(mixed, detailed, atol=1e-5, rtol=0)


def test_of_one_size_its_share_is_a_straight_line_to_the_painting(make_image: MakeImage) -> None:
    photo, painting = make_image(), make_image(seed=1)
    for strength in (0.25, 0.5, 1.0):
        torch.testing.assert_close(blend(photo, painting, strength), photo.lerp(painting, strength))


def test_made_as_small_as_the_painting_it_shows_the_painting(detailed: Tensor, make_image: MakeImage) -> None:
    """Nothing that was painted is lost: what is added lies above the painting's resolution."""
    painting = 0.5 * make_image(48, 64, seed=1) + 0.25
    small = resize_image(blend(detailed, painting), 48, 64)
    assert (small - painting).abs().mean() < 0.01
    assert (resize_image(detailed, 48, 64) - painting).abs().mean() > 0.1


def test_a_painting_larger_than_its_photo_keeps_its_size(make_image: MakeImage) -> None:
    painting = make_image(192, 256, seed=1)
    torch.testing.assert_close(blend(make_image(48, 64), painting), painting)


# ---- detail, by the guided filter


@pytest.mark.parametrize(("contrast", "share"), [(1.0, 1.0), (0.5, 0.5), (0.0, 0.0), (-1.0, -1.0)])
def test_the_photos_detail_follows_the_contrast_that_the_painting_left(
    detailed: Tensor, contrast: float, share: float
) -> None:
    """As it was, halved, painted over, inverted; other tones do not matter."""
    rough = 0.2 * torch.rand(1, 1, 48, 64, generator=torch.Generator().manual_seed(0)) - 0.1
    photo = detailed + resize_image((rough + 0.5).expand(-1, 3, -1, -1), 192, 256) - 0.5
    small = resize_image(photo.clamp(0, 1), 48, 64)
    painting = (0.5 + contrast * (small - 0.5)).clamp(0, 1)
    kept = stripes_of(blend(photo.clamp(0, 1), painting)) / stripes_of(photo.clamp(0, 1))
    assert kept == pytest.approx(share, abs=0.25)


def test_where_the_photo_is_flat_its_grain_stays() -> None:
    """There is no contrast to go by."""
    grain = 0.02 * torch.tensor([-1.0, 1.0]).repeat(128)
    photo = torch.full((1, 3, 192, 256), 0.5) + grain
    mixed = blend(photo, torch.full((1, 3, 48, 64), 0.7))
    torch.testing.assert_close(mixed, photo + 0.2, atol=0.003, rtol=0)


def test_detail_is_a_factor(detailed: Tensor) -> None:
    small = resize_image(detailed, 48, 64)
    once = stripes_of(blend(detailed, small))
    assert abs(stripes_of(blend(detailed, small, detail=0))) < 0.05 * once
    assert stripes_of(blend(detailed, small, detail=2)) == pytest.approx(2 * once, rel=0.05)


# ---- colours


def test_whose_colours_it_has(make_image: MakeImage) -> None:
    photo, painting = 0.2 * make_image() + 0.4, 0.2 * make_image(seed=1) + 0.4  # far from where colours are cut off

    def chroma(image: Tensor) -> Tensor:
        return image - luminance(image)

    by = {colors: blend(photo, painting, 1, colors) for colors in ("photo", "style", "mix")}
    torch.testing.assert_close(chroma(by["photo"]), chroma(photo))
    torch.testing.assert_close(chroma(by["style"]), chroma(painting))
    torch.testing.assert_close(chroma(by["mix"]), (chroma(photo) + chroma(painting)) / 2)
    for image in by.values():
        torch.testing.assert_close(luminance(image), luminance(painting))


# ---- bad input, and the command


def test_what_cannot_be_mixed_is_refused(make_image: MakeImage) -> None:
    photo = make_image()
    with pytest.raises(ImageError, match="photo of 64x48 px has another aspect than the result's 64x64 px: crop it"):
        blend(photo, make_image(64, 64))
    with pytest.raises(OptionError, match="strength must be between 0, the photo, and 1, the painting, not 50"):
        blend(photo, photo, 50)
    with pytest.raises(OptionError, match="strength must be"):
        blend(photo, photo, float("nan"))
    with pytest.raises(OptionError, match="detail must be between 0 and 2, not -1"):
        blend(photo, photo, detail=-1)
    with pytest.raises(OptionError, match="did you mean 'photo'"):
        blend(photo, photo, colors="foto")


@pytest.fixture
def result(detailed: Tensor, make_image: MakeImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved painting that knows its photo, which lies beside it."""
    monkeypatch.chdir(tmp_path)
    photo, style = save_image(detailed, "photo.png"), save_image(make_image(seed=1), "style.png")
    settings = Job.load(photo, style, make_config(size=64)).settings() | {"num_steps_made": 3}
    return save_image(make_image(seed=2), "out.png", settings)


def test_the_command_finds_the_photo_and_tells_what_it_did(
    result: Path, detailed: Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--strength", "0.5", "--colors", "mix", "--detail", "0.5"]
    assert main(["blend", str(result), *options]) == 0
    assert capsys.readouterr().out == "blended.png: 256x192 px, strength 0.5, colours of mix, detail 0.5.\n"
    expected = blend(quantize(detailed), load_image(result), 0.5, "mix", 0.5)
    assert torch.equal(load_image("blended.png"), quantize(expected))
    settings = read_settings("blended.png")
    assert settings["blended"] == {"strength": 0.5, "colors": "mix", "detail": 0.5}
    assert settings["config"] == read_settings(result)["config"]
    assert "num_steps_made" not in settings, "a blend is no stopped run"
    assert main(["show", "blended.png"]) == 0
    assert json.loads(capsys.readouterr().out) == settings


def test_the_command_refuses_in_one_sentence(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*arguments: object) -> str:
        assert main(["blend", *map(str, arguments)]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    assert "one of the inputs" in refused(result, "-o", result)
    assert "one of the inputs" in refused(result, "-o", "photo.png")
    assert "carries no stylecore settings" in refused("photo.png")
    assert "strength must be" in refused(result, "--strength", "2")
    assert "There is no file" in refused(result, "gone.png")
    Path("photo.png").unlink()
    assert "out.png' is not here any more, or has changed: name it after the result" in refused(result)
    assert not Path("blended.png").exists()


def test_with_the_photo_named_no_settings_are_needed(result: Path, make_image: MakeImage) -> None:
    plain = save_image(make_image(seed=3), "plain.png")
    assert main(["blend", str(plain), "photo.png"]) == 0
    assert load_image("blended.png").shape == (1, 3, 192, 256)
    assert result.exists()


def test_a_cut_out_stays_one(result: Path, detailed: Tensor, make_image: MakeImage) -> None:
    hole = torch.ones(1, 1, 192, 256)
    hole[..., :96, :] = 0
    save_image(detailed, "photo.png", alpha=hole)
    small = torch.nn.functional.interpolate(hole, (48, 64))
    save_image(make_image(seed=2), result, None, small)
    assert main(["blend", str(result), "photo.png"]) == 0
    alpha = load_alpha("blended.png")
    assert alpha is not None
    torch.testing.assert_close(alpha, hole)
