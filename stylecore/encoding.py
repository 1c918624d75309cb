"""Pixels -> files of the formats that results are saved in, with their settings inside; and the settings out of them.

PNG has the settings as text, JPEG and WebP in EXIF's UserComment, TIFF in its ImageDescription. Files are made of
pixels alone: nothing that a photo's own file says of place or device can be in them.
"""

from __future__ import annotations

import io
import json
import zlib
from typing import Any

import numpy as np
from jaxtyping import UInt
from PIL import ExifTags, Image, ImageCms, PngImagePlugin, TiffImagePlugin

from stylecore.errors import OutputError

SETTINGS_KEY = "stylecore"
# Suffix -> format, as Pillow names it.
SAVED_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
SAVED_SUFFIXES = tuple(SAVED_FORMATS)
OPAQUE = ("JPEG",)  # formats that have no alpha
DEEP = ("PNG", "TIFF")  # and those that have 16 bits
BITS = (8, 16)
QUALITY = 95  # of JPEG and WebP: strokes are small and saturated
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
COMMENT_CODE = b"ASCII\0\0\0"  # what EXIF wants before a UserComment

File = io.BytesIO | io.BufferedWriter
Pixels = UInt[np.ndarray, "H W C"]  # uint8 or uint16; RGB or RGBA


def check_bits(suffix: str, bits: int) -> None:
    """Raise an OutputError if a picture of that suffix cannot have so many bits."""
    if bits not in BITS:
        raise OutputError(f"Pictures have 8 or 16 bits a channel, not {bits}.")
    if bits > 8 and SAVED_FORMATS[suffix] not in DEEP:
        raise OutputError(f"A {SAVED_FORMATS[suffix]} has 8 bits a channel: name a PNG or a TIFF for {bits}.")


def write_picture(
    file: File, pixels: Pixels, kind: str, settings: dict[str, Any] | None = None, profile: bytes | None = None
) -> None:
    """Write pixels as they are, in the colour space of `profile`, if there is one.

    Args:
        kind: one of `SAVED_FORMATS`' values.
        settings: JSON-ready.

    Raises:
        OSError, ValueError: the file cannot be written, or the format does not hold so much.
    """
    if kind == "TIFF":
        _write_tiff(file, pixels, _wrapped(settings), profile)
    elif pixels.dtype == np.uint16:
        _write_deep_png(file, pixels, settings, profile)
    elif kind == "PNG":
        Image.fromarray(pixels).save(file, format=kind, pnginfo=_png_text(settings), icc_profile=profile)
    else:
        more = {"subsampling": 0} if kind == "JPEG" else {}
        exif = _exif(settings)
        Image.fromarray(pixels).save(file, format=kind, quality=QUALITY, exif=exif, icc_profile=profile, **more)


def in_profile(pixels: UInt[np.ndarray, "H W 3"], profile: bytes) -> UInt[np.ndarray, "H W 3"]:
    """8-bit sRGB pixels in the colour space of an RGB profile."""
    source, target = ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(Image.fromarray(pixels), source, target, outputMode="RGB")
    return np.asarray(converted)


def settings_inside(image: Image.Image) -> dict[str, Any] | None:
    """Those that `write_picture` put into an image, which is sound; None: there are none."""
    image.load()  # other programs move a PNG's text behind the pixels
    text = image.info.get(SETTINGS_KEY)
    try:
        found = json.loads(text) if isinstance(text, str) else _unwrapped(image)
    except Exception:  # not JSON, or such as no settings are; damaged EXIF raises whatever Pillow stumbles on
        return None
    return found if isinstance(found, dict) else None


def _wrapped(settings: dict[str, Any] | None) -> str | None:
    """With our name, for a place where anybody's words may stand. ASCII, as those places want it."""
    return None if settings is None else json.dumps({SETTINGS_KEY: settings})


def _unwrapped(image: Image.Image) -> Any:
    exif = image.getexif()
    comment = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b"")
    words = comment.removeprefix(COMMENT_CODE) if isinstance(comment, bytes) and comment else ""
    return json.loads(words or exif[ExifTags.Base.ImageDescription])[SETTINGS_KEY]


def _exif(settings: dict[str, Any] | None) -> Image.Exif:
    exif = Image.Exif()
    if text := _wrapped(settings):
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = COMMENT_CODE + text.encode("ascii")
    return exif


def _png_text(settings: dict[str, Any] | None) -> PngImagePlugin.PngInfo:
    text = PngImagePlugin.PngInfo()
    if settings is not None:
        text.add_text(SETTINGS_KEY, json.dumps(settings))
    return text


def _write_deep_png(file: File, pixels: Pixels, settings: dict[str, Any] | None, profile: bytes | None) -> None:
    """16 bits, which Pillow writes of greys alone (PNG specification, third edition, sections 9 and 11)."""
    height, width, channels = pixels.shape
    rows = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    up = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))  # filter 2, "up", of bytes
    filtered = np.insert(up, 0, 2, axis=1)
    header = np.array([width, height], ">u4").tobytes() + bytes([16, 6 if channels == 4 else 2, 0, 0, 0])
    file.write(PNG_SIGNATURE)
    PngImagePlugin.putchunk(file, b"IHDR", header)
    if profile is not None:
        PngImagePlugin.putchunk(file, b"iCCP", b"ICC Profile\0\0", zlib.compress(profile))
    for chunk, data, *_ in _png_text(settings).chunks:
        PngImagePlugin.putchunk(file, chunk, data)
    PngImagePlugin.putchunk(file, b"IDAT", zlib.compress(filtered.tobytes()))
    PngImagePlugin.putchunk(file, b"IEND")


def _write_tiff(file: File, pixels: Pixels, text: str | None, profile: bytes | None) -> None:
    """One strip, deflated, of differences between neighbours (TIFF 6.0, section 14): Pillow writes no colours of 16
    bits, but it does write the directory of tags."""
    height, width, channels = pixels.shape
    words = pixels.astype(pixels.dtype.newbyteorder("<"))
    data = zlib.compress(np.diff(words, axis=1, prepend=np.zeros_like(words[:, :1])).tobytes())
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[TiffImagePlugin.IMAGEWIDTH], tags[TiffImagePlugin.IMAGELENGTH] = width, height
    tags[TiffImagePlugin.BITSPERSAMPLE] = (pixels.itemsize * 8,) * channels
    tags[TiffImagePlugin.SAMPLESPERPIXEL] = channels
    tags[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = 2  # RGB
    tags[TiffImagePlugin.COMPRESSION] = 8  # deflate
    tags[TiffImagePlugin.PREDICTOR] = 2  # differences
    if channels == 4:
        tags[TiffImagePlugin.EXTRASAMPLES] = 2  # alpha that the colours are not multiplied by
    if text is not None:
        tags[TiffImagePlugin.IMAGEDESCRIPTION] = text
    if profile is not None:
        tags[TiffImagePlugin.ICCPROFILE] = profile
    tags[TiffImagePlugin.ROWSPERSTRIP], tags[TiffImagePlugin.STRIPBYTECOUNTS] = height, len(data)
    tags[TiffImagePlugin.STRIPOFFSETS] = 0  # from behind the tags, which `save` counts
    tags.save(file)
    file.write(data)
