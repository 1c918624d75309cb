"""Whatever a stranger uploads is an image or one ImageError: thousands of broken files, and a few that were thought up.

The corpus is made here from real files of every format accepted; `make test-slow` tries ten times as many.
"""

import io
import multiprocessing
import random
import resource
import signal
import struct
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, features
from PIL.PngImagePlugin import PngInfo

from stylecore.errors import ImageError
from stylecore.images import FORMATS, MAX_BLOCKS, MAX_PIXELS, MIN_SIDE_PX, load_image

HEIGHT, WIDTH = 40, 56
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
SUFFIXES = [".png", ".jpg", ".webp", ".gif", ".tif", ".bmp", ".eps", ".svg", ".exe", ""]
MEMORY_MIB, SECONDS_EACH, GROWTH_MIB = 3072, 10, 64  # allowed beyond what the process holds before it begins
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


# ---- the corpus


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def corpus() -> dict[str, bytes]:
    """Sound files of every format, in all their modes and compressions, with profiles, EXIF and text inside."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    rgb = Image.fromarray(np.stack([x * 4, y * 6, (x * y) % 256], axis=2).astype(np.uint8))
    other = rgb.transpose(Image.Transpose.ROTATE_180)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "camera" * 20
    told = {"exif": exif, "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()}
    text = PngInfo()
    text.add_text("stylecore", "{}" * 50, zip=True)
    frames = {"save_all": True, "append_images": [other, rgb]}
    grey_16 = Image.fromarray((x * y * 29).astype(np.uint16))
    floats = Image.fromarray((x * y / (HEIGHT * WIDTH)).astype(np.float32))
    files = {
        "png": encode(rgb, "PNG", pnginfo=text, **told),
        "png rgba": encode(rgb.convert("RGBA"), "PNG"),
        "png palette": encode(rgb.quantize(16), "PNG", transparency=3),
        "png 1-bit": encode(rgb.convert("1"), "PNG"),
        "png 16-bit": encode(grey_16, "PNG"),
        "png animated": encode(rgb, "PNG", **frames),
        "jpeg": encode(rgb, "JPEG", **told),
        "jpeg progressive": encode(rgb, "JPEG", progressive=True),
        "jpeg grey": encode(rgb.convert("L"), "JPEG"),
        "jpeg cmyk": encode(rgb.convert("CMYK"), "JPEG"),
        "webp": encode(rgb, "WEBP", **told),
        "webp lossless": encode(rgb.convert("RGBA"), "WEBP", lossless=True),
        "webp animated": encode(rgb, "WEBP", **frames),
        "gif": encode(rgb, "GIF"),
        "gif animated": encode(rgb, "GIF", **frames),
        "tiff": encode(rgb, "TIFF", **told),
        "tiff 16-bit": encode(grey_16, "TIFF"),
        "tiff float": encode(floats, "TIFF"),
        "tiff cmyk": encode(rgb.convert("CMYK"), "TIFF"),
        "tiff pages": encode(rgb, "TIFF", **frames),
        "bmp": encode(rgb, "BMP"),
        "bmp palette": encode(rgb.quantize(16), "BMP"),
        "bmp 1-bit": encode(rgb.convert("1"), "BMP"),
    }
    if features.check("avif"):
        files |= {
            "avif": encode(rgb, "AVIF", **told),
            "avif alpha": encode(rgb.convert("RGBA"), "AVIF"),
            "avif animated": encode(rgb, "AVIF", **frames),
        }
    if features.check("libtiff"):
        for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
            files[f"tiff {compression}"] = encode(rgb, "TIFF", compression=compression)
        files["tiff group4"] = encode(rgb.convert("1"), "TIFF", compression="group4")
    return files


def truncate(data: bytearray, rng: random.Random, _: bytes) -> None:
    del data[rng.randrange(len(data)) :]


def flip(data: bytearray, rng: random.Random, _: bytes) -> None:
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def overwrite(data: bytearray, rng: random.Random, _: bytes) -> None:
    """Some number becomes an extreme one: a size, a count, an offset. Most of them stand near the head."""
    width = rng.choice([1, 2, 4])
    value = rng.choice(EXTREMES) & ((1 << 8 * width) - 1)
    at = rng.randrange(rng.choice([64, 512, len(data)]))
    data[at : at + width] = value.to_bytes(width, rng.choice(["little", "big"]))


def delete(data: bytearray, rng: random.Random, _: bytes) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.randint(1, 200)]


def repeat(data: bytearray, rng: random.Random, _: bytes) -> None:
    at, length = rng.randrange(len(data)), rng.randint(1, 200)
    data[at:at] = data[at : at + length] * rng.randint(1, 20)


def splice(data: bytearray, rng: random.Random, other: bytes) -> None:
    data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]


MUTATIONS: tuple[Callable[[bytearray, random.Random, bytes], None], ...] = (
    truncate, flip, overwrite, overwrite, delete, repeat, splice,
)  # fmt: skip


def mutated(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """`data` after one to three accidents; a PNG's checksums are often mended, for else they alone would be tested."""
    broken = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        if broken:
            rng.choice(MUTATIONS)(broken, rng, other)
    return with_sound_checksums(bytes(broken)) if rng.random() < 0.7 else bytes(broken)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_sound_checksums(data: bytes) -> bytes:
    """A PNG whose chunks' checksums fit them again; any other file as it is."""
    if not data.startswith(PNG_SIGNATURE):
        return data
    chunks, at = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while at + 8 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        if end > len(data):
            return b"".join([*chunks, data[at:]])
        chunks.append(png_chunk(data[at + 4 : at + 8], data[at + 8 : end]))
        at = end + 4
    return b"".join(chunks)


# ---- thousands


class Tally(NamedTuple):
    """What became of the inputs."""

    images: int
    refusals: int
    growth_mib: float  # of resident memory, from the first quarter of the inputs to the last


def survive(folder: Path, seed: int, count: int) -> Tally:
    """Load `count` broken files with little memory and time; the one that ends this process is left in `folder`."""
    files = list(corpus().values())
    rng = random.Random(seed)
    load_image(files[0])
    limit = psutil.Process().memory_info().vms + MEMORY_MIB * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    images = resident = 0
    for index in range(count):
        data = mutated(files[index % len(files)], rng, rng.choice(files))
        path = folder / f"input{rng.choice(SUFFIXES)}"
        path.write_bytes(data)
        signal.alarm(SECONDS_EACH)  # nobody handles it: a hang, even in C, ends the process
        images += is_image(path if index % 2 else data)
        signal.alarm(0)
        path.unlink()
        if index == count // 4:
            resident = psutil.Process().memory_info().rss
    return Tally(images, count - images, (psutil.Process().memory_info().rss - resident) / 2**20)


def is_image(source: Path | bytes) -> bool:
    """Whether it could be loaded; False for an ImageError, and any other error is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = load_image(source)
        except ImageError:
            return False
    assert image.shape[:2] == (1, 3)
    assert min(image.shape[2:]) >= MIN_SIDE_PX
    assert 0 <= float(image.min()) <= float(image.max()) <= 1
    return True


@pytest.mark.parametrize(
    ("seed", "count"), [(0, 6_000), pytest.param(1, 60_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_broken_files_are_images_or_refused(tmp_path: Path, seed: int, count: int) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        tally = pool.submit(survive, tmp_path, seed, count).result()
    print(tally)
    assert tally.images > count / 20, "the fuzzer breaks too much to get past the headers"
    assert tally.refusals > count / 20, "the fuzzer breaks too little"
    assert tally.growth_mib < GROWTH_MIB


@pytest.mark.parametrize("name", corpus())
def test_every_sound_file_is_an_image_and_a_shorter_one_never_more_than_refused(name: str) -> None:
    data = corpus()[name]
    assert is_image(data)
    for quarter in (0, 1, 2, 3):
        is_image(data[: len(data) * quarter // 4])


@given(st.sampled_from([*corpus().values()]), st.data())
@settings(max_examples=200, deadline=None)
def test_any_few_bytes_may_be_anything(data: bytes, draw: st.DataObject) -> None:
    broken = bytearray(data)
    for at, value in draw.draw(
        st.dictionaries(st.integers(0, len(data) - 1), st.integers(0, 255), max_size=12)
    ).items():
        broken[at] = value
    is_image(with_sound_checksums(bytes(broken)))


@given(st.binary(max_size=400), st.sampled_from([b"", *(data[:16] for data in corpus().values())]))
@settings(max_examples=200, deadline=None)
def test_any_bytes_behind_a_sound_head_are_refused_or_read(tail: bytes, head: bytes) -> None:
    is_image(head + tail)


# ---- thought up


@pytest.mark.parametrize("file_format", sorted(set(Image.SAVE) - set(FORMATS)) or ["PPM"])
def test_formats_that_are_not_named_are_not_opened(file_format: str) -> None:
    Image.init()
    image = Image.new("RGB", (64, 64))
    for mode in ("RGB", "RGBA", "1"):
        try:
            data = encode(image.convert(mode), file_format)
        except (OSError, ValueError, KeyError):  # Pillow has no encoder for it here, or not of this mode
            continue
        if not data.startswith(b"\xff\xd8"):  # MPO of one frame is a JPEG
            assert not is_image(data)


def jpeg_with_scans(count: int, side: int = 64) -> bytes:
    """A progressive JPEG whose last scan comes again and again: few bytes each, and a pass over all pixels."""
    sound = encode(Image.new("L", (side, side), 90), "JPEG", progressive=True)
    start = sound.rindex(b"\xff\xda")
    return sound[:start] + sound[start:-2] * count + sound[-2:]


@pytest.mark.timeout(SECONDS_EACH)
def test_a_jpeg_of_endless_scans_is_refused_at_once() -> None:
    assert not is_image(jpeg_with_scans(20_000, side=4096))  # decoded, it would take minutes


def tiff_of_declared_size(width: int, height: int) -> bytes:
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 100)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0"


def webp_of_declared_size(width: int, height: int) -> bytes:
    canvas = struct.pack("<I", 0) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", len(canvas)) + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("declare", [tiff_of_declared_size, webp_of_declared_size])
@pytest.mark.parametrize("side", [int(MAX_PIXELS**0.5) + 1, 16_000])
def test_huge_declared_sizes_are_refused(declare: Callable[[int, int], bytes], side: int) -> None:
    assert not is_image(declare(side, side))


def jpeg_segments(marker: int, payload: bytes, count: int) -> bytes:
    sound = corpus()["jpeg grey"]
    segment = bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload
    return sound[:2] + segment * count + sound[2:]


def exif_that_points_at_itself() -> bytes:
    """Its EXIF and GPS directories are itself, and its next directory is too."""
    tags = [(0x0112, 3, 6), (0x8769, 4, 8), (0x8825, 4, 8), (0xA005, 4, 8)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 8)


def png_with_text(chunks: int, kind: bytes = b"tEXt") -> bytes:
    sound = corpus()["png 1-bit"]
    bomb = zlib.compress(b"x" * 900_000)
    body = b"key\0" + (b"y" * 1000 if kind == b"tEXt" else b"\0" + bomb)
    return sound[:33] + png_chunk(kind, body) * chunks + sound[33:]


def gif_with_comment(blocks: bytes) -> bytes:
    sound = corpus()["gif"]
    at = 13 + 256 * 3  # behind the head and its colours
    return sound[:at] + b"!\xfe" + blocks + b"\0" + sound[at:]


DEEP = {
    "EXIF in a circle": jpeg_segments(0xE1, exif_that_points_at_itself(), 1),
    "EXIF in large parts": jpeg_segments(0xE1, exif_that_points_at_itself() + bytes(60_000), 500),
    "EXIF in small parts": jpeg_segments(0xE1, b"Exif\0\0" + bytes(10), 1_500_000),
    "a comment in small blocks": gif_with_comment(b"\x01c" * 10_000_000),
    "a comment in large blocks": gif_with_comment((b"\xff" + bytes(255)) * 120_000),
    "many comments": gif_with_comment(b"\x01c\0!\xfe" * 5_000_000),
    "a comment behind the picture": corpus()["gif"][:-1] + b"!\xfe" + (b"\xff" + bytes(255)) * 120_000 + b"\0;",
    "a comment behind stray bytes": gif_with_comment(b"\0\x07" + b"\0!\xfe" + b"\x01c" * 5_000_000),
    "ICC in 255 parts": b"".join([jpeg_segments(0xE2, b"ICC_PROFILE\0\xff\xff" + bytes(65_000), 255)]),
    "comments": jpeg_segments(0xFE, b"c", 200_000),
    "quantisation tables": jpeg_segments(0xDB, bytes([0]) + bytes([1] * 64), 50_000),
    "text chunks": png_with_text(5_000),
    "text bombs": png_with_text(500, b"zTXt"),
    "an ICC bomb": corpus()["png 1-bit"][:33]
    + png_chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(50_000_000)))
    + corpus()["png 1-bit"][33:],
    "empty data chunks": corpus()["png 1-bit"][:33] + png_chunk(b"IDAT", b"") * 50_000 + corpus()["png 1-bit"][33:],
}


@pytest.mark.timeout(SECONDS_EACH)
@pytest.mark.parametrize("name", DEEP)
def test_deep_metadata_is_read_or_refused_but_not_for_ever(name: str) -> None:
    is_image(DEEP[name])


def test_comments_and_scans_as_cameras_and_painters_write_them_are_no_attack() -> None:
    assert is_image(gif_with_comment((b"\xff" + b"c" * 255) * (MAX_BLOCKS - 1)))
    assert is_image(jpeg_with_scans(MAX_BLOCKS // 2))


def test_what_does_not_fit_into_memory_is_refused_with_that_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("stylecore.images.np.array", full)
    with pytest.raises(ImageError, match="does not fit into memory"):
        load_image(corpus()["png"])
