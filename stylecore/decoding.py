"""Pictures from whoever made them, as files or PIL images -> image tensors, or one ImageError."""

from __future__ import annotations

import ctypes
import functools
import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError, _imaging, features

from stylecore.errors import ImageError
from stylecore.heic import is_installed, open_heic
from stylecore.pixels import MAX_PIXELS, ImageTensor, check_shape, image_of_array

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", *["AVIF"] * bool(features.check("avif")))
FORMATS_TEXT = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
MAX_BLOCKS = 100  # scans or EXIF segments of a JPEG, comment blocks of a GIF (libtiff allows as many scans)
HEAD_BYTES = 64  # at the head of a file, enough to tell what it is
# Brands that follow "ftyp" in a file of the HEIF family; of two of them only the list behind tells which it is.
AVIF = re.compile(rb"....ftyp(avi[fs]|m[is]f1.*avi[fs])", re.DOTALL)
HEIC = re.compile(rb"....ftyp(hei[cmsx]|hev[cmsx]|m[is]f1)", re.DOTALL)
# An AVIF's entry for its EXIF: "infe", version and flags, number, zeros, kind.
AVIF_EXIF = re.compile(rb"(infe(?:\x02.{7}|\x03.{9}))Exif", re.DOTALL)
# What begins a part of a JPEG, unlike stuffed bytes, fillers and restarts within a scan; and the markers that stand
# alone, as libjpeg and Pillow see it.
JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
JPEG_ALONE = {*range(0x01, 0xC0), 0xC8, 0xD8, 0xD9, *range(0xF0, 0xFE)}
JPEG_END, JPEG_SCAN, JPEG_APP1 = 0xD9, 0xDA, 0xE1
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


class ImageNote(UserWarning):
    """Something was converted that the user may want to know: the CLI and the demo show it once."""


def decode_file(file: io.IOBase, name: str) -> ImageTensor:
    """Read a picture from an open file, `name` in the messages.

    Raises:
        ImageError: not one of `FORMATS`, damaged, or (told by the header, before anything is decoded) of a size that
            `check_shape` refuses.
    """
    return decode_image(open_file(file, name), name)


def open_file(file: io.IOBase, name: str) -> Image.Image:
    """A picture's header. Raises an ImageError for a file that is not one of `FORMATS`."""
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if not head:
        raise ImageError(f"{name} is empty.")
    try:
        with _quiet():
            return _open(file, head, name)
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} has too many pixels: at most {MAX_PIXELS / 1e6:.0f} million are accepted.") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not an image we can read: convert it to {FORMATS_TEXT}.") from error
    except ImageError:
        raise
    except Exception as error:  # Pillow's plugins raise whatever they stumble on in a damaged or overlong header
        raise ImageError(f"{name} cannot be opened as an image: its header is damaged, or too long.") from error


def _open(file: io.IOBase, head: bytes, name: str) -> Image.Image:
    """The header read, no pixels decoded."""
    if head.startswith((b"\xff\xd8\xff", b"GIF")):
        _check_blocks(file.read(), name)
        file.seek(0)
    if AVIF.match(head):
        return _open_avif(file)
    if HEIC.match(head):
        return _open_heic(file, name)
    return Image.open(file, formats=FORMATS)  # type: ignore[arg-type]


def _open_avif(file: io.IOBase) -> Image.Image:
    """Its own boxes say how it is turned. EXIF and XMP have no say in it, and Pillow cannot rewrite every EXIF."""
    image = Image.open(io.BytesIO(AVIF_EXIF.sub(rb"\1none", file.read())), formats=FORMATS)
    image.info.pop("xmp", None)
    return image


def _open_heic(file: io.IOBase, name: str) -> Image.Image:
    if not is_installed():
        advice = "convert it to JPEG, or pip install 'stylecore[heif]'"
        raise ImageError(f"{name} is a HEIC picture: {advice}.")
    size, image = open_heic(file.read(), MAX_PIXELS)
    check_shape(*size, name)
    assert image is not None
    return image


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Pillow's warnings, which repeat what we say ourselves, and libtiff's lines on stderr.

    One thread at a time: both are settings of the process, and are put back as they were.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        set_handler = _libtiff_error_handler()
        handler = set_handler(None)
        try:
            yield
        finally:
            set_handler(handler)


_ONE_AT_A_TIME = threading.RLock()


@functools.cache
def _libtiff_error_handler() -> Any:
    """TIFFSetErrorHandler of the libtiff that Pillow uses; of one that is out of reach, nothing."""
    try:
        function = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    except (AttributeError, OSError):
        return lambda handler: handler
    function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_void_p
    return function


def _check_blocks(data: bytes, name: str) -> None:
    """Refuse what would take hours: every scan of a JPEG is a pass over all its pixels, though it may be a few bytes;
    every EXIF segment, and every block of a GIF's comments, makes Pillow copy all those before it.
    """
    count = _num_comment_blocks(data) if data.startswith(b"GIF") else _num_jpeg_parts(data)
    if count > MAX_BLOCKS:
        raise ImageError(f"{name} consists of far more parts than a picture has: open it and save it again.")


def _num_jpeg_parts(jpeg: bytes) -> int:
    """Scans or, if there are more, EXIF segments, counted to one above `MAX_BLOCKS` (ITU T.81, annex B).

    Phones put a video or a second picture behind the end of the image: bytes there are no parts of it.
    """
    num_scans = num_exifs = at = 0
    while max(num_scans, num_exifs) <= MAX_BLOCKS and (found := JPEG_MARKER.search(jpeg, at)):
        marker, at = jpeg[found.end() - 1], found.end()
        if marker == JPEG_END and num_scans:
            break
        if marker in JPEG_ALONE:
            continue
        num_scans += marker == JPEG_SCAN
        num_exifs += marker == JPEG_APP1 and jpeg.startswith(b"Exif\0\0", at + 2)
        at += max(2, int.from_bytes(jpeg[at : at + 2], "big"))
    return max(num_scans, num_exifs)


def _num_comment_blocks(gif: bytes) -> int:
    """Blocks in a GIF's comments, counted to one above `MAX_BLOCKS` (GIF89a specification, sections 15 to 24).

    Stray bytes are skipped, as Pillow does.
    """
    gif += bytes(16)  # so that one cut short ends in stray bytes
    count, at = 0, 13 + _color_table_size(gif[10])
    while at < len(gif) - 16 and gif[at] != ord(";") and count <= MAX_BLOCKS:
        if gif[at] not in b"!,":
            at += 1
            continue
        is_comment = gif[at : at + 2] == b"!\xfe"
        at += 2 if gif[at] == ord("!") else 11 + _color_table_size(gif[at + 9])
        while at < len(gif) and (size := gif[at]):
            count += is_comment
            at += 1 + size
        at += 1
    return count


def _color_table_size(flags: int) -> int:
    return 6 << (flags & 7) if flags & 0x80 else 0


def decode_image(image: Image.Image, name: str = "The image") -> ImageTensor:
    """A PIL image in any mode, decoded if it was not yet. Raises what `decode_file` raises."""
    check_shape(*image.size, name)
    try:
        with _quiet():
            is_animated = image.format in ("GIF", "WEBP", "PNG", "AVIF") and getattr(image, "is_animated", False)
            image.load()
            rgb = _to_rgb(_upright(image))
        pixels = image_of_array(np.asarray(rgb))
    except MemoryError as error:
        raise ImageError(f"{name} does not fit into memory: make it smaller.") from error
    except ImageError:
        raise
    except Exception as error:  # a truncated or corrupt body: the kind of exception depends on the format's decoder
        raise ImageError(f"{name} is damaged or cut short: save or download it again.") from error
    if is_animated:
        warnings.warn(f"{name} is animated: only its first frame is used.", ImageNote, stacklevel=3)
    return pixels


def alpha_of(image: Image.Image) -> np.ndarray | None:
    """(H, W) of uint8, turned upright, of an image that `decode_image` has accepted; None for one without holes."""
    if not image.has_transparency_data:
        return None
    upright = _upright(image)
    alpha = np.asarray(upright.convert("RGBA").getchannel("A"))
    return alpha if alpha.min() < 255 else None


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF says. Nothing is written into the EXIF: not all that is read can be written again."""
    try:
        turn = UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF raises whatever Pillow stumbles on; the picture itself may be sound
        turn = None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode -> 8-bit sRGB, alpha composited on white."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I") or image.mode == "F":
        image = _grey_to_8_bit(image)
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    # A profile describes colours without alpha: grey, CMYK, or RGB, to which palettes and all else are taken first.
    mode = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}.get(image.mode, "RGB")
    rgb = _to_srgb(image.convert(mode), profile).convert("RGB")
    return rgb if alpha is None else Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha)


def _grey_to_8_bit(image: Image.Image) -> Image.Image:
    """16-bit greys by their largest value, 65535; 32-bit and float ones by the first of 1, 255 and 65535 that holds
    them (but for highlights up to half as bright again), else by their own largest. A transparent grey becomes white.
    """
    values = np.array(image, dtype=np.float64)
    top = values.max(initial=0.0, where=np.isfinite(values))
    white = next(w for w in (1.0, 255.0, 65535.0, top) if top <= 1.5 * w)
    if image.mode.startswith("I;16"):
        white = 65535.0
    values[values == image.info.get("transparency")] = white
    values = np.nan_to_num(values, nan=0.0, posinf=white, neginf=0.0)
    return Image.fromarray(np.round(values.clip(0, white) * (255.0 / white)).astype(np.uint8))


def rgb_profile(image: Image.Image, name: str) -> bytes | None:
    """The colour profile of a picture whose colours are RGB; None: it has none, or a damaged one, which is ignored.

    Raises:
        ImageError: it is of other colours.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return None
    try:
        space = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    if space != "RGB":
        raise ImageError(f"The colour profile of {name} is of {space}: a result cannot keep it, so choose sRGB.")
    return bytes(profile)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Apply an embedded colour profile; one that is damaged is ignored, as browsers do."""
    if not profile:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return converted or image
