"""Strangers' files in, PNGs out: what is refused, in which words, and that what is accepted has the right pixels."""

import io
import json
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from stylecore import images
from stylecore.errors import ImageError, OutputError
from stylecore.images import (
    FORMATS,
    MAX_ASPECT,
    MAX_PIXELS,
    MIN_SIDE_PX,
    ImageNote,
    check_output,
    fit_size,
    load_image,
    quantize,
    read_settings,
    resize_image,
    save_image,
    to_uint8,
)

HEIGHT, WIDTH = 24, 36
AVIF = "AVIF" in FORMATS  # Pillow's wheels have it, a distribution's may not


def photo(height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    """A smooth picture that no rotation, mirroring or swap of channels leaves alone."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 200 / width + 20, y * 180 / height + 30, (x + 2 * y) * 60 / (height + width) + 10], axis=2)
    return Image.fromarray(pixels.round().astype(np.uint8))


def ramp() -> np.ndarray:
    """Greys 0 .. 1 from left to right, (HEIGHT, WIDTH)."""
    return np.tile(np.linspace(0, 1, WIDTH), (HEIGHT, 1))


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def levels(image: Tensor) -> np.ndarray:
    """The tensor's values in 8-bit levels, unrounded: (H, W, 3)."""
    return image[0].permute(1, 2, 0).numpy() * 255


def load_silently(source: images.ImageSource) -> Tensor:
    """load_image, where a warning of any kind is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_image(source)


def refusal(source: images.ImageSource) -> str:
    """The message with which `source` is refused: one line, one sentence."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError) as caught:
            load_image(source)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 200
    return message


def assert_levels(image: Tensor, expected: np.ndarray, tolerance: float = 0.01) -> None:
    assert image.dtype == torch.float32
    assert image.shape == (1, 3, *expected.shape[:2])
    np.testing.assert_allclose(levels(image), expected, atol=tolerance)


def grey_levels(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[:, :, None], 3, axis=2)


def over_white(image: Image.Image) -> np.ndarray:
    """The textbook: alpha * colour + (1 - alpha) * white, in levels."""
    rgba = np.asarray(image.convert("RGBA"), dtype=float)
    alpha = rgba[:, :, 3:] / 255
    return alpha * rgba[:, :, :3] + (1 - alpha) * 255


# ---- refused ----------------------------------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "no file" in refusal(tmp_path / "nowhere.png")
    assert "nowhere.png" in refusal(tmp_path / "nowhere.png")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)


def test_a_name_too_long_for_the_system_is_refused() -> None:
    # The path takes half the message: its length is not the point here.
    with pytest.raises(ImageError, match=r"cannot be read|no file"):
        load_image("x" * 5000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    messages: list[str] = []

    def load() -> None:
        messages.append(refusal(pipe))

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    thread.join(timeout=20)
    assert not thread.is_alive(), "load_image waits for somebody to write into the pipe"
    assert "pipe" in messages[0]


@pytest.mark.parametrize("name", ["empty.png", "empty.jpg"])
def test_a_zero_byte_file_is_called_empty(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert "is empty" in refusal(tmp_path / name)
    assert "is empty" in refusal(b"")


STRANGERS = {
    "text named .png": b"Dear sir or madam, this is no picture.\n" * 20,
    "MP4": b"\0\0\0\x18ftypisom\0\0\0\0isommp41" + bytes(200),
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg' width='64' height='64'><rect width='9' height='9'/></svg>",
    "PDF": b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n" + bytes(200),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n",
    "HTML instead of the picture": b"<!DOCTYPE html><html><body>404</body></html>",
    "ZIP": b"PK\x03\x04" + bytes(200),
    "zeros": bytes(1000),
    "one byte": b"\x89",
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_what_is_no_image_we_read_is_told_to_be_converted(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(STRANGERS[kind])
    message = refusal(path)
    assert "picture.png" in message
    assert "convert it to PNG, JPEG" in message


@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.3, 0.5, 0.75, 0.9, 0.97])
@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("PNG", {}),
        ("JPEG", {"quality": 90}),
        ("JPEG", {"quality": 90, "progressive": True}),
        ("GIF", {}),
        ("WEBP", {}),
        ("TIFF", {}),
        ("BMP", {}),
    ],
    ids=["PNG", "JPEG", "progressive JPEG", "GIF", "WEBP", "TIFF", "BMP"],
)
def test_a_file_cut_short_is_refused_wherever_the_cut_is(file_format: str, options: dict, fraction: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    data = encode(noise, file_format, **options)
    refusal(data[: max(1, int(len(data) * fraction))])


def test_an_animation_cut_anywhere_is_refused_or_shows_its_first_frame() -> None:
    frames = [photo(), photo().rotate(180), photo().rotate(90)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    whole = levels(load_image(frames[0].convert("P", palette=Image.Palette.ADAPTIVE)))
    accepted = 0
    for end in range(1, len(data), 41):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImageNote)
            try:
                image = load_image(data[:end])
            except ImageError:
                continue
        accepted += 1
        assert np.abs(levels(image) - whole).mean() < 20
    assert accepted > 0


@settings(deadline=None, max_examples=150)
@given(
    file_format=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"]),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damaged_bytes_give_an_image_or_an_image_error_and_nothing_else(
    file_format: str, flips: list[tuple[float, int]]
) -> None:
    data = bytearray(encode(photo(), file_format))
    for where, value in flips:
        data[int(where**2 * len(data))] = value  # squared: more often in the header
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImageNote)
        try:
            image = load_image(bytes(data))
        except ImageError:
            return
    assert image.shape[:2] == (1, 3)
    assert image.min() >= 0
    assert image.max() <= 1


@pytest.mark.parametrize(("width", "height"), [(1, 1), (MIN_SIDE_PX, MIN_SIDE_PX - 1), (MIN_SIDE_PX - 1, MIN_SIDE_PX)])
def test_an_image_too_small_for_the_encoder_is_refused(width: int, height: int) -> None:
    message = refusal(encode(Image.new("RGB", (width, height)), "PNG"))
    assert f"{width}x{height}" in message
    assert f"at least {MIN_SIDE_PX} px" in message


@pytest.mark.parametrize(("width", "height"), [(20000, 3), (3, 20000), (int(MAX_ASPECT * 20) + 1, 20)])
def test_a_strip_is_refused(width: int, height: int) -> None:
    assert f"{width}x{height}" in refusal(encode(Image.new("L", (width, height)), "PNG"))


def test_the_smallest_and_the_longest_allowed_image_are_accepted() -> None:
    for width, height in [(MIN_SIDE_PX, MIN_SIDE_PX), (int(MAX_ASPECT) * MIN_SIDE_PX, MIN_SIDE_PX)]:
        assert load_silently(Image.new("RGB", (width, height))).shape == (1, 3, height, width)


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png_bomb(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = png_chunk(b"IDAT", zlib.compress(bytes(10_000)))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body + png_chunk(b"IEND", b"")


def bmp_bomb(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 1078, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 2835, 2835, 0, 0)
        + bytes(1024)
    )


def gif_bomb(width: int, height: int) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return screen + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00;"


def gif_bomb_in_the_frame(width: int, height: int) -> bytes:
    """A harmless screen, and a frame that is far larger."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 32, 32, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return screen + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00;"


def jpeg_bomb(width: int, height: int) -> bytes:
    data = encode(photo(), "JPEG")
    frame = data.index(b"\xff\xc0")  # marker, length, precision, height, width
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


BOMBS = {"PNG": png_bomb, "BMP": bmp_bomb, "GIF": gif_bomb, "GIF frame": gif_bomb_in_the_frame, "JPEG": jpeg_bomb}


@pytest.mark.parametrize("side", [60_000, 12_000], ids=["past Pillow's limit too", "past our limit only"])
@pytest.mark.parametrize("kind", BOMBS)
def test_a_decompression_bomb_is_refused_before_it_is_decoded(
    kind: str, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(_image: Image.Image) -> None:
        raise AssertionError("the pixels were decoded")

    bomb = BOMBS[kind](side, side)
    assert len(bomb) < 20_000
    assert side * side > MAX_PIXELS
    with monkeypatch.context() as patch:
        patch.setattr("PIL.ImageFile.ImageFile.load", explode)
        message = refusal(bomb)
    assert "pixels" in message
    assert "100" in message


MEMORY_SCRIPT = """
import resource, sys
from stylecore.images import ImageError, load_image
data = sys.stdin.buffer.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load_image(data)
except ImageError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is counted in KiB on Linux only")
def test_refusing_a_bomb_takes_little_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_SCRIPT], input=png_bomb(60_000, 60_000), capture_output=True, check=True
    )
    assert int(done.stdout) < 32 * 1024  # KiB; decoded, it would be 10 GiB


@pytest.mark.parametrize("compressed", [True, False])
def test_a_flood_of_text_in_a_png_is_read_over_or_refused(compressed: bool) -> None:
    text = PngInfo()
    text.add_text("Comment", "x" * 80_000_000, zip=compressed)
    assert "header" in refusal(encode(photo(), "PNG", pnginfo=text))


# ---- accepted and converted ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_lossless_files_keep_every_level(file_format: str) -> None:
    assert_levels(load_silently(encode(photo(), file_format)), np.asarray(photo()))


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP"])
def test_lossy_files_come_close(file_format: str) -> None:
    assert_levels(load_silently(encode(photo(), file_format, quality=95)), np.asarray(photo()), tolerance=12)


def test_path_string_bytes_and_pil_image_give_the_same_tensor(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    photo().save(path)
    first = load_silently(path)
    assert first.is_contiguous()
    for source in (str(path), path.read_bytes(), photo(), Image.open(path)):
        assert torch.equal(load_silently(source), first)


def test_the_name_of_a_file_decides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "really a png.jpg"
    path.write_bytes(encode(photo(), "PNG"))
    assert_levels(load_silently(path), np.asarray(photo()))


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", *["AVIF"] * AVIF])
def test_of_an_animation_the_first_frame_is_taken_with_one_note(file_format: str) -> None:
    colors = [(200, 40, 20), (20, 200, 40), (40, 20, 200)]
    frames = [Image.new("RGB", (WIDTH, HEIGHT), color) for color in colors]
    options = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}}.get(file_format, {})
    data = encode(frames[0], file_format, save_all=True, append_images=frames[1:], duration=50, **options)
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        image = load_image(data)
    assert_levels(image, np.asarray(frames[0]), tolerance=1)
    assert [note.category for note in notes] == [ImageNote]
    assert "first frame" in str(notes[0].message)


def test_a_still_gif_has_no_note() -> None:
    still = Image.new("RGB", (WIDTH, HEIGHT), (200, 40, 20))
    assert_levels(load_silently(encode(still, "GIF")), np.asarray(still))


def test_a_phones_mpo_is_the_jpeg_it_starts_with() -> None:
    depth_map = Image.new("RGB", (WIDTH, HEIGHT))
    data = encode(photo(), "MPO", save_all=True, append_images=[depth_map], quality=95)
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert_levels(load_silently(data), np.asarray(photo()), tolerance=12)


def test_a_cmyk_jpeg_shows_its_inks_colours() -> None:
    inks = {(0, 0, 0, 0): (255, 255, 255), (255, 0, 0, 0): (0, 255, 255), (0, 255, 255, 0): (255, 0, 0)}
    for cmyk, rgb in inks.items():
        image = load_silently(encode(Image.new("CMYK", (WIDTH, HEIGHT), cmyk), "JPEG", quality=95))
        assert_levels(image, np.full((HEIGHT, WIDTH, 3), rgb), tolerance=4)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("brightest", [65535, 30_000, 200, 1])
def test_16_bit_greys_are_measured_against_65535_however_dark(file_format: str, brightest: int) -> None:
    values = (ramp() * brightest).round().astype(np.uint16)
    image = load_silently(encode(Image.fromarray(values), file_format))
    assert_levels(image, grey_levels(values / 257), tolerance=0.51)


def test_16_bit_colour_keeps_its_high_byte() -> None:
    width = height = 20
    rows = b"".join(b"\0" + struct.pack(">HHH", 0xC800, 0x6400, 0x3200) * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )
    assert_levels(load_silently(data), np.full((height, width, 3), (200, 100, 50)), tolerance=1)


def test_a_transparent_16_bit_grey_becomes_white() -> None:
    values = (ramp() * 60_000).round().astype(np.uint16)
    data = encode(Image.fromarray(values), "PNG")
    transparent = int(values[0, 5])
    end_of_header = 8 + 25  # signature and IHDR
    data = data[:end_of_header] + png_chunk(b"tRNS", struct.pack(">H", transparent)) + data[end_of_header:]
    expected = values / 257
    expected[:, 5] = 255
    assert_levels(load_silently(data), grey_levels(expected), tolerance=0.51)


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0, 2e6])
def test_a_float_tiff_is_scaled_by_the_white_it_was_made_for(white: float) -> None:
    data = encode(Image.fromarray((ramp() * white).astype(np.float32)), "TIFF")
    assert_levels(load_silently(data), grey_levels(ramp() * 255), tolerance=0.51)


def test_a_float_tiff_with_highlights_above_white_does_not_turn_black() -> None:
    values = ramp() * 1.2
    image = load_silently(encode(Image.fromarray(values.astype(np.float32)), "TIFF"))
    assert_levels(image, grey_levels(values.clip(0, 1) * 255), tolerance=0.51)


def test_a_float_tiff_shows_nan_as_black_and_infinity_as_white() -> None:
    values = ramp().astype(np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    expected = ramp() * 255
    expected[0, :3] = 0, 255, 0
    assert_levels(load_silently(encode(Image.fromarray(values), "TIFF")), grey_levels(expected), tolerance=0.51)


def test_a_32_bit_integer_tiff_is_read() -> None:
    values = (ramp() * 65535).round().astype(np.int32)
    assert_levels(load_silently(encode(Image.fromarray(values), "TIFF")), grey_levels(ramp() * 255), tolerance=0.51)


def test_a_one_bit_image_is_black_and_white() -> None:
    bits = ramp() > 0.5
    assert_levels(load_silently(encode(Image.fromarray(bits), "PNG")), grey_levels(bits * 255))


def test_a_grey_image_has_three_equal_channels() -> None:
    values = (ramp() * 255).round().astype(np.uint8)
    assert_levels(load_silently(encode(Image.fromarray(values), "PNG")), grey_levels(values))


def test_a_palette_gives_its_colours() -> None:
    indexed = photo().quantize(16)
    assert_levels(load_silently(encode(indexed, "PNG")), np.asarray(indexed.convert("RGB")))


@pytest.mark.parametrize("transparency", [3, bytes(range(0, 256, 16))], ids=["one index", "an alpha for each index"])
def test_a_palettes_transparency_is_composited_on_white(transparency: int | bytes) -> None:
    indexed = photo().quantize(16)
    data = encode(indexed, "PNG", transparency=transparency)
    expected = over_white(Image.open(io.BytesIO(data)))
    assert (expected > 254).all(axis=2).any(), "the case should have a transparent pixel"
    assert_levels(load_silently(data), expected, tolerance=1)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_alpha_is_composited_on_white(file_format: str, mode: str) -> None:
    image = photo().convert(mode)
    image.putalpha(Image.fromarray((ramp() * 255).round().astype(np.uint8)))
    assert_levels(load_silently(encode(image, file_format)), over_white(image), tolerance=1)


def test_the_hidden_colour_of_transparent_pixels_does_not_show() -> None:
    hidden = Image.new("RGBA", (WIDTH, HEIGHT), (255, 0, 0, 0))
    assert_levels(load_silently(encode(hidden, "PNG")), np.full((HEIGHT, WIDTH, 3), 255))


def test_a_transparent_colour_of_an_rgb_png_becomes_white() -> None:
    image = Image.new("RGB", (WIDTH, HEIGHT), (10, 20, 30))
    image.paste((200, 100, 50), (0, 0, WIDTH // 2, HEIGHT))
    expected = np.asarray(image).copy()
    expected[:, WIDTH // 2 :] = 255
    assert_levels(load_silently(encode(image, "PNG", transparency=(10, 20, 30))), expected)


@pytest.mark.parametrize("mode", ["LAB", "HSV", "YCbCr"])
def test_other_colour_spaces_in_memory_are_converted(mode: str) -> None:
    grey = Image.new("RGB", (WIDTH, HEIGHT), (120, 120, 120))
    converted = Image.new("LAB", (WIDTH, HEIGHT), (128, 128, 128)) if mode == "LAB" else grey.convert(mode)
    image = levels(load_silently(converted))
    assert np.ptp(image) <= 1  # grey stays grey
    assert 115 < image.mean() < 125  # L* = 50 is sRGB 119


# EXIF orientation -> how the stored pixels come from the upright ones (the inverse of what a viewer does).
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_rotation_is_applied_once(file_format: str, orientation: int) -> None:
    how = STORED[orientation]
    stored = photo() if how is None else photo().transpose(how)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(file_format, {})
    image = load_silently(encode(stored, file_format, exif=exif, **options))
    assert_levels(image, np.asarray(photo()), tolerance=12 if file_format == "JPEG" else 0.01)


@pytest.mark.parametrize("exif", [b"garbage!", b"II*\0\x08\0\0\0\xff\xff", b"", b"MM\0*\xff\xff\xff\xff"])
def test_damaged_exif_does_not_cost_the_photo(exif: bytes) -> None:
    data = encode(photo(), "JPEG", exif=b"Exif\0\0" + exif, quality=95)
    assert_levels(load_silently(data), np.asarray(photo()), tolerance=12)


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile() -> bytes:
    """An RGB profile whose red and green primaries changed places: what applies it swaps the two channels."""
    profile = bytearray(srgb_profile())
    count = struct.unpack(">I", profile[128:132])[0]
    entries = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    red, green = entries[b"rXYZ"] + 4, entries[b"gXYZ"] + 4
    profile[red : red + 8], profile[green : green + 8] = profile[green : green + 8], profile[red : red + 8]
    return bytes(profile)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_an_embedded_profile_is_applied_whatever_the_mode(mode: str) -> None:
    image = Image.new("RGB", (WIDTH, HEIGHT), (204, 102, 51)).convert(mode)  # in the web palette
    loaded = load_silently(encode(image, "PNG", icc_profile=swapped_profile()))
    assert_levels(loaded, np.full((HEIGHT, WIDTH, 3), (102, 204, 51)), tolerance=2)


def test_an_srgb_profile_changes_nothing() -> None:
    loaded = load_silently(encode(photo(), "PNG", icc_profile=srgb_profile()))
    assert_levels(loaded, np.asarray(photo()), tolerance=1.01)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA", "LA", "P"])
@pytest.mark.parametrize(
    "profile", [b"not a profile", srgb_profile()[:200], srgb_profile()[:128] + bytes(400)], ids=["text", "cut", "zeros"]
)
def test_a_damaged_profile_is_ignored(mode: str, profile: bytes) -> None:
    image = photo().convert(mode)
    file_format = "TIFF" if mode == "CMYK" else "PNG"
    plain = load_silently(encode(image, file_format))
    assert torch.equal(load_silently(encode(image, file_format, icc_profile=profile)), plain)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_profile_of_another_colour_space_is_ignored(mode: str) -> None:
    image = photo().convert(mode)
    plain = load_silently(encode(image, "TIFF"))
    assert torch.equal(load_silently(encode(image, "TIFF", icc_profile=srgb_profile())), plain)


# ---- resizing and rounding ----------------------------------------------------------------------------------------


@given(st.integers(16, 5000), st.integers(16, 5000), st.integers(64, 4096))
def test_fit_size_gives_the_longer_side_asked_for_and_the_aspect(height: int, width: int, longer_side: int) -> None:
    new_height, new_width = fit_size((height, width), longer_side)
    assert max(new_height, new_width) == longer_side
    assert (new_height, new_width) == tuple(reversed(fit_size((width, height), longer_side)))
    exact = min(height, width) * longer_side / max(height, width)
    assert min(new_height, new_width) == pytest.approx(max(1.0, exact), abs=0.5 + 1e-9)


def test_fit_size_leaves_a_size_that_fits_alone() -> None:
    assert fit_size((300, 512), 512) == (300, 512)


def test_fit_size_never_loses_a_side() -> None:
    assert fit_size((1, 1000), 100) == (1, 100)


@settings(deadline=None, max_examples=30)
@given(st.floats(0, 1, width=32), st.integers(16, 90), st.integers(16, 90), st.integers(1, 120), st.integers(1, 120))
def test_resizing_keeps_a_constant_constant(
    value: float, height: int, width: int, to_height: int, to_width: int
) -> None:
    resized = resize_image(torch.full((1, 3, height, width), value), to_height, to_width)
    assert resized.shape == (1, 3, to_height, to_width)
    torch.testing.assert_close(resized, torch.full_like(resized, value), atol=1e-5, rtol=0)


def test_resizing_keeps_channels_and_directions_apart() -> None:
    image = load_image(photo(96, 144))
    half = resize_image(image, 48, 72)
    blocks = torch.nn.functional.avg_pool2d(image, 2)
    torch.testing.assert_close(half[:, :, 3:-3, 3:-3], blocks[:, :, 3:-3, 3:-3], atol=0.01, rtol=0)


def test_resizing_stays_in_range_where_lanczos_rings(make_image: Callable[..., Tensor]) -> None:
    edges = (make_image(64, 64) > 0.5).float()
    resized = resize_image(edges, 150, 150)
    assert resized.min() >= 0
    assert resized.max() <= 1


def test_resizing_to_the_same_size_is_the_same_tensor(make_image: Callable[..., Tensor]) -> None:
    image = make_image(40, 50)
    assert resize_image(image, 40, 50) is image


def test_quantize_is_what_a_saved_file_gives_back(make_image: Callable[..., Tensor], tmp_path: Path) -> None:
    image = make_image() * 1.4 - 0.2  # values outside are clamped
    torch.testing.assert_close(load_image(save_image(image, tmp_path / "a.png")), quantize(image), atol=1e-6, rtol=0)
    assert np.array_equal(to_uint8(image), to_uint8(quantize(image)))


# ---- saving ---------------------------------------------------------------------------------------------------------


SETTINGS = {"config": {"size": 512, "style_layers": ["relu1_1"], "clamp": False, "note": "Größe “512” ☃\n"}, "x": None}


def test_what_is_saved_is_loaded_again_to_the_level(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image = load_image(Image.fromarray(pixels))
    path = save_image(image, tmp_path / "out.png")
    assert path == tmp_path / "out.png"
    assert torch.equal(load_silently(path), image)


def test_settings_travel_inside(make_image: Callable[..., Tensor], tmp_path: Path) -> None:
    path = save_image(make_image(), tmp_path / "out.PNG", SETTINGS)
    assert read_settings(path) == SETTINGS
    assert read_settings(str(path)) == SETTINGS
    assert read_settings(path.read_bytes()) == SETTINGS


def test_settings_are_found_behind_the_pixels_too(make_image: Callable[..., Tensor], tmp_path: Path) -> None:
    """Other programs that rewrite a PNG put its text last."""
    plain = save_image(make_image(), tmp_path / "out.png").read_bytes()
    text = png_chunk(b"tEXt", b"stylecore\0" + json.dumps(SETTINGS).encode())
    end = plain.rindex(b"IEND") - 4
    assert read_settings(plain[:end] + text + plain[end:]) == SETTINGS


@pytest.mark.parametrize(
    "text",
    [None, "", "{", "[1, 2]", '"words"', "null", "[" * 100_000, '{"seed": ' + "1" * 6000 + "}"],
    ids=["none", "empty", "cut", "list", "string", "null", "deep", "endless number"],
)
def test_a_png_without_sound_settings_says_so(text: str | None) -> None:
    info = PngInfo()
    if text is not None:
        info.add_text("stylecore", text)
    with pytest.raises(ImageError, match="no stylecore settings"):
        read_settings(encode(photo(), "PNG", pnginfo=info))


def test_reading_settings_refuses_what_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no file"):
        read_settings(tmp_path / "nowhere.png")
    with pytest.raises(ImageError, match="no stylecore settings"):
        read_settings(encode(photo(), "JPEG"))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("out.gif", r"out\.png.*one of \.png, \.jpg"),
        ("out", r"out\.png"),
        ("folder.png", "is a folder"),
        ("folder", "is a folder"),
        ("", "is a folder"),
        ("nowhere/out.png", "no folder"),
        ("file.txt/out.png", "no folder"),
        ("x" * 300 + ".png", "cannot be written"),
        ("nul\0byte.png", "cannot be written"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_the_work(
    tmp_path: Path, name: str, why: str, make_image: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.txt").write_text("a file")
    monkeypatch.chdir(tmp_path)
    before = names_in(tmp_path)
    for refuse in (lambda: check_output(name), lambda: save_image(make_image(), name)):
        with pytest.raises(OutputError, match=why) as caught:
            refuse()
        assert str(caught.value).endswith(".")
    assert names_in(tmp_path) == before


def test_a_folder_that_refuses_files_is_told_with_the_systems_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        check_output(tmp_path / "out.png")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        check_output(tmp_path / "out.png")


def test_a_write_protected_output_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(b"precious")
    monkeypatch.setattr("os.access", lambda target, mode: Path(target) != path or mode != os.W_OK)
    with pytest.raises(OutputError, match="written over"):
        save_image(torch.zeros(1, 3, 16, 16), path)
    assert path.read_bytes() == b"precious"


def test_checking_an_output_creates_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "old.png").write_bytes(b"old")
    assert check_output(tmp_path / "old.png") == tmp_path / "old.png"
    assert check_output(str(tmp_path / "new.png")) == tmp_path / "new.png"
    assert names_in(tmp_path) == ["old.png"]
    assert (tmp_path / "old.png").read_bytes() == b"old"


def test_the_longest_possible_name_can_be_saved(tmp_path: Path, make_image: Callable[..., Tensor]) -> None:
    path = tmp_path / ("x" * 251 + ".png")
    assert save_image(make_image(), path).is_file()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file_and_no_leavings(
    tmp_path: Path, make_image: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = save_image(make_image(seed=1), tmp_path / "out.png")
    old = path.read_bytes()

    def fail(_: int) -> None:
        raise error

    monkeypatch.setattr("stylecore.files.os.fsync", fail)  # what was written does not fit
    expected = OutputError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        save_image(make_image(seed=2), path)
    if expected is OutputError:
        assert "No space left" in str(caught.value)
    assert path.read_bytes() == old
    assert names_in(tmp_path) == ["out.png"]


def test_settings_that_are_no_json_leave_the_old_file(tmp_path: Path, make_image: Callable[..., Tensor]) -> None:
    path = save_image(make_image(), tmp_path / "out.png")
    old = path.read_bytes()
    with pytest.raises(TypeError):
        save_image(make_image(seed=3), path, {"config": object()})
    assert path.read_bytes() == old
    assert names_in(tmp_path) == ["out.png"]


def test_saving_replaces_an_old_file_whole(tmp_path: Path, make_image: Callable[..., Tensor]) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(b"x" * 10_000_000)
    save_image(make_image(), path)
    assert torch.equal(load_silently(path), quantize(make_image()))
    assert names_in(tmp_path) == ["out.png"]


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_a_saved_file_has_an_ordinary_files_permissions(tmp_path: Path, make_image: Callable[..., Tensor]) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    saved = save_image(make_image(), tmp_path / "out.png")
    assert saved.stat().st_mode == ordinary.stat().st_mode
