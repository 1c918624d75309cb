"""Pictures as phones and cameras of today write them: turned by EXIF, with a video behind, as AVIF or HEIC."""

import io
import os
import random
import struct
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from heic_sample import HEIC
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from stylecore.decoding import FORMATS
from stylecore.errors import ImageError
from stylecore.images import MAX_BLOCKS, MAX_PIXELS, load_image

HEIGHT, WIDTH = 40, 56
needs_avif = pytest.mark.skipif("AVIF" not in FORMATS, reason="this Pillow has no AVIF")


def photo(height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    """A smooth picture that no rotation or mirroring leaves alone."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 200 / width + 20, y * 180 / height + 30, (x + 2 * y) * 60 / (height + width) + 10], axis=2)
    return Image.fromarray(pixels.round().astype(np.uint8))


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def levels(image: Tensor) -> np.ndarray:
    return image[0].permute(1, 2, 0).numpy() * 255


def assert_shows(data: bytes, expected: Image.Image, tolerance: float = 12) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = levels(load_image(data))
    assert shown.shape == (expected.height, expected.width, 3)
    np.testing.assert_allclose(shown, np.asarray(expected), atol=tolerance)


# ---- turned by EXIF


def tiff_header(*tags: tuple[int, int, int, bytes]) -> bytes:
    """EXIF as a camera wrote it, tag by tag: number, type, count, and what stands in the entry or behind."""
    entries, behind = b"", b""
    start = 8 + 2 + 12 * len(tags) + 4
    for number, kind, count, value in tags:
        field = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", start + len(behind))
        behind += value if len(value) > 4 else b""
        entries += struct.pack("<HHI", number, kind, count) + field
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + behind


def orientation(value: int) -> tuple[int, int, int, bytes]:
    return (0x0112, 3, 1, struct.pack("<H", value))


# What Pillow reads and cannot write again.
UNWRITABLE = {
    "nothing else": (),
    "XResolution -72/1": ((0x011A, 10, 1, struct.pack("<ii", -72, 1)),),
    "both resolutions": ((0x011A, 10, 1, struct.pack("<ii", -72, 1)), (0x011B, 10, 1, struct.pack("<ii", -1, 3))),
    "a negative exposure": ((0x829A, 10, 1, struct.pack("<ii", -1, 60)),),
    "a rational over 0": ((0x011A, 5, 1, struct.pack("<II", 72, 0)),),
    "text where a number belongs": ((0x011A, 2, 9, b"seventy-2"),),
    "a float": ((0x011A, 11, 1, struct.pack("<f", 72.5)),),
    "a type that nobody knows": ((0x011A, 77, 1, struct.pack("<II", 72, 1)),),
}


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("other", UNWRITABLE)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_the_picture_stands_upright_whatever_else_its_exif_holds(file_format: str, other: str, value: int) -> None:
    exif = b"Exif\0\0" + tiff_header(orientation(value), *UNWRITABLE[other])
    data = encode(photo(), file_format, exif=exif, quality=95)
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = value
    reference = Image.open(io.BytesIO(encode(photo(), "PNG", exif=turned)))
    assert_shows(data, ImageOps.exif_transpose(reference).convert("RGB"))


@pytest.mark.parametrize("other", UNWRITABLE)
def test_a_tiff_is_turned_once(other: str) -> None:
    exif = Image.Exif()
    exif.load(tiff_header(orientation(6), *UNWRITABLE[other]))
    try:
        data = encode(photo(), "TIFF", exif=exif)
    except (struct.error, ValueError, TypeError):
        pytest.skip("Pillow writes no such TIFF")
    assert_shows(data, photo().transpose(Image.Transpose.ROTATE_270), tolerance=0.01)


@pytest.mark.parametrize(
    "exif",
    [b"Exif\0\0", b"Exif\0\0II*\0\x08", b"Exif\0\0" + b"\xff" * 40, b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\0" * 20],
    ids=["empty", "cut", "noise", "endless"],
)
def test_damaged_exif_leaves_a_sound_picture(exif: bytes) -> None:
    assert_shows(encode(photo(), "JPEG", exif=exif, quality=95), photo())


# ---- a video behind the end


def movie(size: int) -> bytes:
    """What a motion photo has behind its end: among it, by chance, all that begins a part of a JPEG."""
    noise = random.Random(0).randbytes(size)
    return b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + (noise + b"\xff\xda\0\x08" + b"\xff\xe1\0\x20Exif\0\0") * 400


@pytest.mark.parametrize("progressive", [False, True])
def test_a_motion_photo_is_its_picture(progressive: bool) -> None:
    jpeg = encode(photo(), "JPEG", quality=95, progressive=progressive)
    data = jpeg + movie(4000)
    assert data.count(b"\xff\xda") > MAX_BLOCKS
    assert data.count(b"Exif\0\0") > MAX_BLOCKS
    assert_shows(data, photo())
    assert_shows(jpeg[:-2] + b"\xff\xff\xff\xd9" + movie(100), photo())  # an end with fillers before it


def test_bytes_of_other_segments_are_no_scans() -> None:
    """A maker's note or a depth map may hold anything, previews too."""
    jpeg = encode(photo(), "JPEG", quality=95)
    segment = b"\xff\xeb" + struct.pack(">H", 60_002) + (b"\xff\xda\0\x08" + b"Exif\0\0" * 2 + bytes(4)) * 3000
    assert_shows(jpeg[:2] + segment * 3 + jpeg[2:], photo())


def test_restarts_within_a_scan_are_no_parts() -> None:
    assert_shows(encode(photo(), "JPEG", quality=95, restart_marker_blocks=1), photo())


# ---- AVIF


@needs_avif
@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("other", UNWRITABLE)
def test_an_avif_stands_upright_whatever_its_exif_holds(other: str, value: int) -> None:
    exif = tiff_header(orientation(value), *UNWRITABLE[other])
    try:
        data = encode(photo(), "AVIF", exif=exif, quality=95)
    except (struct.error, ValueError, TypeError):
        pytest.skip("Pillow writes no such AVIF")
    reference = Image.Exif()
    reference[ExifTags.Base.Orientation] = value
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(encode(photo(), "PNG", exif=reference)))).convert("RGB")
    assert_shows(data, upright)


@needs_avif
def test_an_avif_with_alpha_is_composited_on_white() -> None:
    transparent = photo().convert("RGBA")
    transparent.putalpha(0)
    assert_shows(encode(transparent, "AVIF"), Image.new("RGB", (WIDTH, HEIGHT), "white"), tolerance=2)


@needs_avif
def test_avifs_have_the_limits_of_all_pictures() -> None:
    with pytest.raises(ImageError, match="at least"):
        load_image(encode(photo(8, 40), "AVIF"))
    with pytest.raises(ImageError, match="longer side"):
        load_image(encode(photo(16, 400), "AVIF"))
    data = encode(photo(), "AVIF")
    for end in range(1, len(data), len(data) // 20):
        with pytest.raises(ImageError):
            load_image(data[:end])


@needs_avif
def test_an_avif_that_declares_too_many_pixels_is_refused_from_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    side = int(MAX_PIXELS**0.5) + 1
    data = encode(photo(), "AVIF").replace(
        b"ispe\0\0\0\0" + struct.pack(">II", WIDTH, HEIGHT), b"ispe\0\0\0\0" + struct.pack(">II", side, side)
    )

    def explode(_image: Image.Image) -> None:
        raise AssertionError("the pixels were decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", explode)
    with pytest.raises(ImageError):
        load_image(data)


# ---- HEIC


def test_a_heic_without_the_extra_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(ImageError, match=r"HEIC picture: convert it to JPEG, or pip install 'stylecore\[heif\]'\.$"):
        load_image(HEIC)


def test_a_heic_is_upright_and_nothing_is_registered_with_pillow() -> None:
    pytest.importorskip("pi_heif", reason="the extra heif is not installed")
    Image.init()
    before = (dict(Image.OPEN), dict(Image.EXTENSION))
    shown = levels(load_image(HEIC))
    assert shown.shape == (36, 24, 3)
    np.testing.assert_allclose(shown[0, 0], (24, 200, 57), atol=3)
    np.testing.assert_allclose(shown[-1, -1], (210, 32, 44), atol=3)
    assert (dict(Image.OPEN), dict(Image.EXTENSION)) == before


def test_a_broken_heic_is_an_image_or_refused() -> None:
    pytest.importorskip("pi_heif", reason="the extra heif is not installed")
    rng = random.Random(0)
    refusals = 0
    for _ in range(20):
        data = bytearray(HEIC)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(12, len(data))] = rng.randrange(256)
        del data[rng.choice([len(data), rng.randrange(12, len(data))]) :]
        try:
            load_image(bytes(data))
        except ImageError:
            refusals += 1
    assert refusals > 4


def test_a_heic_whose_decoder_crashes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As libde265 does of some damaged files: it is another process that ends."""
    monkeypatch.setattr("stylecore.decoding.is_installed", lambda: True)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ImageError, match="cannot be opened as an image"):
        load_image(HEIC)


# ---- no lines of others


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "group4"])
def test_a_damaged_tiff_prints_nothing(
    compression: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """libtiff has a voice of its own, on stderr."""
    monkeypatch.setattr(sys, "stderr", os.fdopen(os.dup(2), "w"))
    picture = photo().convert("1") if compression == "group4" else photo()
    sound = encode(picture, "TIFF", compression=compression)
    rng = random.Random(0)
    for _ in range(60):
        data = bytearray(sound)
        for _ in range(rng.randint(1, 20)):
            data[rng.randrange(8, len(data))] = rng.randrange(256)
        try:
            load_image(bytes(data))
        except ImageError:
            continue
    with pytest.raises(ImageError):
        load_image(sound[: len(sound) // 2])
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


def test_libtiffs_voice_is_given_back(capfd: pytest.CaptureFixture[str]) -> None:
    """What a host reads itself is the host's to hear."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = bytearray(encode(noise, "TIFF", compression="tiff_adobe_deflate"))
    data[20:400] = bytes(380)

    def heard(read: Callable[[], object]) -> str:
        with pytest.raises((ImageError, OSError)):
            read()
        return capfd.readouterr().err

    def by_the_host() -> object:
        with Image.open(io.BytesIO(bytes(data))) as image:
            return image.load()

    said = heard(by_the_host)
    assert heard(lambda: load_image(bytes(data))) == ""
    assert bool(heard(by_the_host)) == bool(said)


def test_the_sample_is_a_heic(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(HEIC)
    assert HEIC[4:12] == b"ftypheic"
