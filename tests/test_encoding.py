"""Formats of results: their settings come back from each of them, and nothing of the photo's file is inside."""

import functools
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin
from torch import Tensor

from stylecore import ImageError, ImageNote, OutputError, load_image, read_settings, save_image
from stylecore.cli import main
from stylecore.encoding import SAVED_SUFFIXES, write_picture
from stylecore.images import load_alpha, load_profile, quantize

MakeImage = Callable[..., Tensor]
SETTINGS = {"config": {"size": 64, "preset": "draft"}, "inputs": [{"name": "Föhn 风.png", "checksum": "1"}]}
QUICK = ["--size", "64", "--steps", "1", "--preset", "gatys"]


@functools.cache  # it says when it was made
def wide_profile() -> bytes:
    """An RGB profile in which red and green have changed places: Pillow writes none but sRGB's own."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"?XYZ").replace(b"gXYZ", b"rXYZ").replace(b"?XYZ", b"gXYZ")


@pytest.mark.parametrize("suffix", SAVED_SUFFIXES)
def test_settings_travel_in_every_format(suffix: str, make_image: MakeImage, tmp_path: Path) -> None:
    path = save_image(make_image(), tmp_path / f"out{suffix.upper()}", SETTINGS)
    assert read_settings(path) == SETTINGS
    assert read_settings(path.read_bytes()) == SETTINGS
    with Image.open(path) as image:
        assert read_settings(image) == SETTINGS
    assert (load_image(path) - make_image()).abs().mean() < 0.01
    with pytest.raises(ImageError, match="no stylecore settings"):
        read_settings(save_image(make_image(), tmp_path / f"plain{suffix}"))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_what_has_no_loss_comes_back_to_the_level(
    suffix: str, bits: int, has_alpha: bool, make_image: MakeImage, tmp_path: Path
) -> None:
    image, alpha = make_image(31, 45), make_image(31, 45, seed=1)[:, :1] if has_alpha else None
    path = save_image(image, tmp_path / f"out{suffix}", SETTINGS, alpha, bits=bits)
    assert read_settings(path) == SETTINGS
    with Image.open(path) as read:  # Pillow keeps the upper 8 of 16 bits
        levels = np.asarray(read).astype(int)
    planes = image if alpha is None else torch.cat([image, alpha], 1)
    expected = planes[0].permute(1, 2, 0).mul(2**bits - 1).round().numpy().astype(int) >> (bits - 8)
    assert levels.shape == expected.shape
    assert np.array_equal(levels, expected)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_hold_what_eight_cannot(suffix: str, tmp_path: Path) -> None:
    """By the file itself, as Pillow reads no colours of 16 bits: 256 neighbouring levels, all of one 8-bit value."""
    levels = np.arange(256).reshape(1, 256).repeat(32, 0) + 128 * 256
    image = torch.from_numpy(levels / 65535.0).float().expand(1, 3, -1, -1)
    path = save_image(image, tmp_path / f"out{suffix}", bits=16)
    assert np.array_equal(read_16_bits(path)[..., 0], levels)


def read_16_bits(path: Path) -> np.ndarray:
    """Another program's pixels, (H, W, 3); of a PNG by undoing its filter here."""
    import zlib

    if path.suffix == ".tif":
        import tifffile

        return np.asarray(tifffile.imread(path))
    data = path.read_bytes()
    start = data.index(b"IDAT") + 4
    rows = np.frombuffer(zlib.decompress(data[start : data.index(b"IEND") - 8]), np.uint8).reshape(32, -1)
    assert (rows[:, 0] == 2).all()
    return np.cumsum(rows[:, 1:], 0, dtype=np.uint8).view(">u2").reshape(32, -1, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_other_programs_find_the_settings_in_the_exif(suffix: str, make_image: MakeImage, tmp_path: Path) -> None:
    with Image.open(save_image(make_image(), tmp_path / f"out{suffix}", SETTINGS)) as image:
        comment = image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment]
    assert comment.startswith(b"ASCII\0\0\0")
    assert json.loads(comment[8:]) == {"stylecore": SETTINGS}


def test_other_programs_find_the_settings_in_a_tiffs_description(make_image: MakeImage, tmp_path: Path) -> None:
    with Image.open(save_image(make_image(), tmp_path / "out.tif", SETTINGS)) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        assert json.loads(image.tag_v2[TiffImagePlugin.IMAGEDESCRIPTION]) == {"stylecore": SETTINGS}


COMMENTS = [
    b"",
    b"ASCII\0\0\0",
    b"ASCII\0\0\0{",
    b'{"a": 1}',
    b'{"stylecore": 3}',
    b"[" * 60000,
    b"\xff\xfe\0",
    b"A holiday",
]


@pytest.mark.parametrize("comment", COMMENTS)
def test_what_others_wrote_there_is_no_settings(comment: bytes) -> None:
    exif, picture, buffer = Image.Exif(), Image.new("RGB", (32, 32)), io.BytesIO()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    picture.save(buffer, "JPEG", exif=exif)
    with pytest.raises(ImageError, match="no stylecore settings: choose a picture that stylecore saved"):
        read_settings(buffer.getvalue())


# ---- what a format cannot do


def test_a_cut_out_is_told_that_a_jpeg_has_no_holes(make_image: MakeImage, tmp_path: Path) -> None:
    half = torch.ones(1, 1, 48, 64)
    half[..., :32] = 0
    with pytest.warns(ImageNote, match="is a JPEG, which has no transparency"):
        save_image(make_image(), tmp_path / "out.jpg", None, half)
    path = save_image(make_image(), tmp_path / "out.webp", None, half)
    alpha = load_alpha(path)
    assert alpha is not None
    assert torch.equal(alpha, half)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_sixteen_bits_are_refused_where_there_are_none(suffix: str, make_image: MakeImage, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="has 8 bits a channel: name a PNG or a TIFF for 16"):
        save_image(make_image(), tmp_path / f"out{suffix}", bits=16)
    with pytest.raises(OutputError, match="8 or 16 bits a channel, not 12"):
        save_image(make_image(), tmp_path / "out.png", bits=12)


def test_more_settings_than_a_jpeg_holds_leave_the_old_file(make_image: MakeImage, tmp_path: Path) -> None:
    path = save_image(make_image(), tmp_path / "out.jpg", SETTINGS)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="could not be written: EXIF data is too long"):
        save_image(make_image(seed=1), path, {"config": "x" * 70_000})
    assert path.read_bytes() == before


# ---- the photo's own file: its colours, and nothing else


@pytest.fixture
def phone_photo(tmp_path: Path, make_image: MakeImage) -> Path:
    """A JPEG with a colour profile, and EXIF that says where it was taken, and by what."""
    exif, path = Image.Exif(), tmp_path / "photo.jpg"
    exif[ExifTags.Base.Model] = "A telling camera"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSAreaInformation] = b"A telling place"
    with path.open("wb") as file:
        pixels = (make_image()[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        write_picture(file, pixels, "JPEG")
    Image.open(path).save(path, "JPEG", exif=exif, icc_profile=wide_profile(), quality=95)
    assert b"telling camera" in path.read_bytes()
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_the_photos_profile_is_kept_when_asked_and_looks_the_same(
    suffix: str, phone_photo: Path, make_image: MakeImage, tmp_path: Path
) -> None:
    profile = load_profile(phone_photo)
    assert profile == wide_profile()
    plain = save_image(make_image(), tmp_path / f"plain{suffix}")
    path = save_image(make_image(), tmp_path / f"out{suffix}", SETTINGS, profile=profile)
    assert load_profile(plain) is None
    with Image.open(path) as image, Image.open(plain) as srgb:
        assert image.info["icc_profile"] == profile
        assert np.abs(np.asarray(image).astype(int) - np.asarray(srgb)).max() > 30, "other numbers"
    assert (load_image(path) - load_image(plain)).abs().mean() < 0.02, "of the same colours"
    assert read_settings(path) == SETTINGS


def test_a_photo_without_a_profile_or_with_a_damaged_one_is_srgb(make_image: MakeImage, tmp_path: Path) -> None:
    image = Image.new("RGB", (32, 32))
    image.save(tmp_path / "damaged.png", icc_profile=wide_profile()[:100])
    assert load_profile(tmp_path / "damaged.png") is None
    assert load_profile((tmp_path / "damaged.png").read_bytes()) is None
    assert load_profile(image) is None
    assert load_profile(make_image()) is None


def test_a_profile_of_no_rgb_is_refused(tmp_path: Path) -> None:
    profile = wide_profile()
    Image.new("CMYK", (32, 32)).save(tmp_path / "print.jpg", icc_profile=profile[:16] + b"CMYK" + profile[20:])
    with pytest.raises(ImageError, match=r"print\.jpg' is of CMYK: a result cannot keep it, so choose sRGB"):
        load_profile(tmp_path / "print.jpg")


def test_sixteen_bits_and_the_photos_profile_exclude_each_other(make_image: MakeImage, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="in 8 bits"):
        save_image(make_image(), tmp_path / "out.png", bits=16, profile=wide_profile())


# ---- the command line


@pytest.mark.usefixtures("tiny_stylize")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_a_result_of_any_format_runs_again_and_says_nothing_of_the_camera(
    suffix: str, phone_photo: Path, style: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, again = tmp_path / f"out{suffix}", tmp_path / f"again{suffix}"
    assert main(["stylize", str(phone_photo), str(style), "-o", str(out), "--profile", "photo", *QUICK]) == 0
    assert b"telling" not in out.read_bytes()
    assert load_profile(out) == wide_profile()
    assert main(["stylize", "--from", str(out), "-o", str(again), "--profile", "photo"]) == 0
    assert again.read_bytes() == out.read_bytes()
    capsys.readouterr()
    assert main(["show", str(out)]) == 0
    assert json.loads(capsys.readouterr().out) == read_settings(out)
    assert main(["blend", str(out), "-o", str(again), "--strength", "0", "--profile", "photo"]) == 0
    assert (load_image(again) - load_image(phone_photo)).abs().mean() < 0.02


@pytest.mark.usefixtures("tiny_stylize")
def test_the_command_line_refuses_before_the_work(
    photo: Path, style: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def refused(*arguments: str) -> str:
        assert main(["stylize", str(photo), str(style), *QUICK, *arguments]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    assert "one of .png, .jpg" in refused("-o", "out.gif")
    assert "name a PNG or a TIFF for 16" in refused("-o", "out.jpg", "--bits", "16")
    assert "converts in 8 bits" in refused("--bits", "16", "--profile", "photo")
    assert "did you mean 'photo'" in refused("--profile", "foto")
    for name in ("plain.tif", "plain.webp"):
        save_image(quantize(load_image(photo)), name)
        assert main(["stylize", "--from", name]) == 2
        assert f"'{name}' carries no stylecore settings" in capsys.readouterr().err
    assert main(["stylize", str(photo), str(style), "-o", "deep.tif", "--bits", "16", *QUICK]) == 0
    assert read_settings("deep.tif")["config"]["size"] == 64
