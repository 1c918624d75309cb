"""Pictures without torch: read and resized as the library does it, and written as PNG.

A part of `runtime.py`, into whose one file a bundle joins both.
"""

from __future__ import annotations

import io
import math
import os
import re
import secrets
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageCms

Array = np.ndarray[Any, np.dtype[Any]]

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
# What such files begin with; of two brands only the list behind them tells which it is. And an AVIF's entry for EXIF.
AVIF = re.compile(rb"....ftyp(avi[fs]|m[is]f1.*avi[fs])", re.DOTALL)
HEIC = re.compile(rb"....ftyp(hei[cmsx]|hev[cmsx]|m[is]f1)", re.DOTALL)
AVIF_EXIF = re.compile(rb"(infe(?:\x02.{7}|\x03.{9}))Exif", re.DOTALL)
ADDRESS = re.compile(r"data:|[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
# EXIF's Orientation -> how the picture is turned upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LEVELS = 255.0
MIN_SIDE_PX, MAX_SIDE_PX = 16, 4096  # relu5_1, the deepest layer, has a position for every 16 px
MAX_PIXELS, MAX_ASPECT = 100_000_000, 12


class ModelError(Exception):
    """What a user can mend, in one sentence: a file that is missing, damaged or foreign, an option out of range."""


def load_image(path: str | Path) -> Array:
    """An image file as float32 (1, 3, H, W) in [0, 1], read as the library's `load_image` reads it.

    Raises:
        ModelError: no image of `FORMATS`, damaged, or of a size that is not accepted.
    """
    if ADDRESS.match(str(path)):
        raise ModelError(f"'{path}' is an address: download the picture first, then name its file.")
    if os.path.isdir(path):  # noqa: PTH112 - no name, however long, is an error here
        raise ModelError(f"'{path}' is a folder: name one image in it.")
    if not os.path.isfile(path):  # noqa: PTH113
        raise ModelError(f"There is no file '{path}'.")
    try:
        with warnings.catch_warnings(), _quiet_stderr(), Path(path).open("rb") as file:
            warnings.simplefilter("ignore")
            image = _open(file, path)
            _check_shape(*image.size, path)
            image.load()
            rgb = _to_rgb(_upright(image))
    except ModelError:
        raise
    except MemoryError as error:
        raise ModelError(f"'{path}' does not fit into memory: make it smaller.") from error
    except Exception as error:  # Pillow's plugins raise whatever they stumble on in a damaged file
        raise ModelError(
            f"'{path}' is no image that can be read here, or is damaged: save it as PNG or JPEG."
        ) from error
    return (np.asarray(rgb, np.float32) / np.float32(LEVELS)).transpose(2, 0, 1)[None]


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Without the lines that C libraries print: libtiff has one for each thing it stumbles on."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _open(file: BinaryIO, path: str | Path) -> Image.Image:
    """The header read, no pixels decoded."""
    head = file.read(64)
    file.seek(0)
    if HEIC.match(head) and not AVIF.match(head):
        raise ModelError(f"'{path}' is a HEIC picture: save it as JPEG first.")
    if AVIF.match(head):  # its own boxes say how it is turned, and Pillow cannot rewrite every EXIF
        file = io.BytesIO(AVIF_EXIF.sub(rb"\1none", file.read()))
    Image.init()
    return Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])


def _check_shape(width: int, height: int, path: str | Path) -> None:
    if min(width, height) < MIN_SIDE_PX or width * height > MAX_PIXELS:
        raise ModelError(
            f"'{path}' is {width}x{height} px: each side must be at least {MIN_SIDE_PX} px, and all at most "
            f"{MAX_PIXELS // 1_000_000} megapixels."
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ModelError(f"'{path}' is {width}x{height} px: the longer side may be {MAX_ASPECT} times the shorter.")


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF says. Pillow's own would also write the other tags again, and cannot write all it reads."""
    if image.format == "AVIF":
        image.info.pop("xmp", None)
    turn = None
    with suppress(Exception):  # damaged EXIF raises whatever Pillow stumbles on; the picture may be sound
        turn = UPRIGHT.get(image.getexif().get(0x0112, 1))
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode -> 8-bit sRGB, alpha composited on white: the library's table of modes."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I") or image.mode == "F":
        image = _grey_to_8_bit(image)
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    # A profile describes colours without alpha: grey, CMYK, or RGB, to which palettes and all else are taken first.
    mode = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}.get(image.mode, "RGB")
    rgb = _to_srgb(image.convert(mode), profile).convert("RGB")
    return rgb if alpha is None else Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha)


def _grey_to_8_bit(image: Image.Image) -> Image.Image:
    """16-bit greys by 65535; 32-bit and float ones by the first of 1, 255 and 65535 that holds them (but for
    highlights up to half as bright again), else by their own largest. A transparent grey becomes white."""
    values = np.array(image, np.float64)
    top = values.max(initial=0.0, where=np.isfinite(values))
    is_16_bit = image.mode.startswith("I;16")
    white = 65535.0 if is_16_bit else next(w for w in (1.0, 255.0, 65535.0, top) if top <= 1.5 * w)
    values[values == image.info.get("transparency")] = white
    values = np.nan_to_num(values, nan=0.0, posinf=white, neginf=0.0)
    return Image.fromarray(np.round(values.clip(0, white) * (255.0 / white)).astype(np.uint8))


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Apply an embedded colour profile; one that is damaged is ignored, as browsers do."""
    if profile:
        with suppress(ImageCms.PyCMSError, OSError, ValueError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB") or image
    return image


def resize(image: Array, height: int, width: int) -> Array:
    """Lanczos resampling to height x width px, as the library does it."""
    if image.shape[2:] == (height, width):
        return image
    planes = [Image.fromarray(plane).resize((width, height), Image.Resampling.LANCZOS) for plane in image[0]]
    return np.stack([np.asarray(plane) for plane in planes])[None].clip(0, 1)


def fit(image: Array, longer_side: int, least_side: int = 1) -> Array:
    """`image` resized to that longer side in px, or to a longer one that leaves the shorter side `least_side`."""
    height, width = image.shape[2:]
    factor = max(longer_side / max(height, width), least_side / min(height, width))
    return resize(image, round(height * factor), round(width * factor))


def check_sides(content: Array, style: Array, longer_side: int) -> None:
    """Raise a ModelError for a picture whose shorter side, at the result's size, cannot hold the deepest layer."""
    for name, picture in (("content", content), ("style", style)):
        height, width = picture.shape[2:]
        aspect = max(height, width) / min(height, width)
        if round(longer_side / aspect) < MIN_SIDE_PX:
            raise ModelError(
                f"The {name} of {width}x{height} px is too thin at --size {longer_side}: choose --size "
                f"{math.ceil(MIN_SIDE_PX * aspect)} or more, or crop the picture."
            )


def check_output(output: Path, pictures: Sequence[str], may_replace: bool) -> Path:
    """The file to write, links followed; nothing is created.

    Args:
        output: a name ending in .png.
        pictures: that are read.
        may_replace: `output` may be one of them.

    Raises:
        ModelError: it could not be written later.
    """
    try:
        target = Path(os.path.realpath(output))
        if target.is_dir():
            raise ModelError(f"The output '{output}' is a folder: name a file in it.")
        if output.suffix.lower() != ".png":
            raise ModelError(f"Name the output '{output.with_suffix('.png')}': it is a PNG.")
        if not target.parent.is_dir():
            raise ModelError(f"There is no folder '{target.parent}' to write '{output.name}' to.")
        if target.exists() and not (target.is_file() and os.access(target, os.W_OK)):
            raise ModelError(f"The output '{output}' is there already and may not be written over.")
        if not may_replace and target.exists() and any(map(target.samefile, filter(os.path.exists, pictures))):
            raise ModelError(f"The output '{output}' is one of the inputs: name another file, or add --overwrite.")
        with tempfile.TemporaryFile(dir=target.parent), suppress(FileNotFoundError):
            target.stat()  # refuses an impossible name
    except (OSError, ValueError) as error:
        raise ModelError(f"The output '{output}' cannot be written: {getattr(error, 'strerror', error)}.") from error
    return target


def save_png(image: Array, path: Path) -> None:
    """Write (1, 3, H, W) in [0, 1] as PNG; an old file is replaced only by a complete new one."""
    pixels = Image.fromarray((image[0].clip(0, 1) * LEVELS).round().astype(np.uint8).transpose(1, 2, 0))
    part = path.with_name(f".stylecore-{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            pixels.save(file, format="PNG")
        part.replace(path)
    except OSError as error:
        raise ModelError(f"The output '{path}' could not be written: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)
