"""Image files, bytes and PIL images <-> float32 sRGB tensors (1, 3, H, W) in [0, 1]."""

from __future__ import annotations

import io
import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from stylecore.errors import ImageError, OutputError
from stylecore.files import check_writable, reason, replacing

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp")
MIN_SIDE_PX = 16
MAX_PIXELS = 100_000_000
MAX_ASPECT = 12.0
MAX_BLOCKS = 100  # scans or EXIF segments of a JPEG, comment blocks of a GIF (libtiff allows as many scans)
LEVELS = 255  # of an 8-bit channel above 0
SETTINGS_KEY = "stylecore"

ImageTensor = Float[Tensor, "1 3 _ _"]  # height and width differ from image to image within one signature
ImageSource = str | os.PathLike[str] | bytes | Image.Image | Tensor


class ImageNote(UserWarning):
    """Something was converted that the user may want to know: the CLI and the demo show it once."""


def load_image(source: ImageSource) -> ImageTensor:
    """Read an image as a float32 sRGB tensor (1, 3, H, W) in [0, 1], on the CPU.

    EXIF rotation and embedded colour profiles are applied; alpha is composited on white; CMYK, palette, 16-bit and
    float images are converted; of an animation the first frame is taken, with an `ImageNote` warning.

    Args:
        source: a path, the bytes of a file, a PIL image, or such a tensor (checked and returned).

    Raises:
        ImageError: not one of `FORMATS`, damaged, smaller than `MIN_SIDE_PX`, longer than `MAX_ASPECT` times its
            width, or larger than `MAX_PIXELS` (checked from the header, before anything is decoded).
    """
    if isinstance(source, Tensor):
        return _check_tensor(source)
    if isinstance(source, Image.Image):
        return _to_tensor(source, "The image")
    if isinstance(source, bytes):
        return _decode(io.BytesIO(source), "The image")
    path = Path(source)
    name = f"'{path}'"
    try:
        if not path.exists():
            raise ImageError(f"There is no file {name}.")
        if path.is_dir():
            raise ImageError(f"{name} is a folder: name one image in it.")
        if not path.is_file():
            raise ImageError(f"{name} is a device or a pipe: name an image file.")
        with path.open("rb") as file:
            return _decode(file, name)
    except OSError as error:
        raise ImageError(f"{name} cannot be read: {reason(error)}.") from error


def _check_tensor(image: Tensor) -> ImageTensor:
    if image.ndim != 4 or image.shape[:2] != (1, 3) or not image.is_floating_point():
        raise ImageError(f"An image tensor is float (1, 3, H, W) in [0, 1], not {tuple(image.shape)} {image.dtype}.")
    _check_shape(image.shape[3], image.shape[2], "The image")
    if not bool(((image >= 0) & (image <= 1)).all()):
        raise ImageError("An image tensor holds values in [0, 1]: divide 8-bit values by 255 first.")
    return image.float()


def _check_shape(width: int, height: int, name: str) -> None:
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError(f"{name} is {width}x{height} px: each side must be at least {MIN_SIDE_PX} px.")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"{name} is {width}x{height} px: the longer side may be {MAX_ASPECT:g} times the shorter.")
    if width * height > MAX_PIXELS:
        megapixels = width * height / 1e6
        raise ImageError(f"{name} has {megapixels:.0f} megapixels: at most {MAX_PIXELS / 1e6:.0f} are accepted.")


def _decode(file: io.IOBase, name: str) -> ImageTensor:
    if not file.read(1):
        raise ImageError(f"{name} is empty.")
    file.seek(0)
    _check_blocks(file, name)
    try:
        with warnings.catch_warnings():
            # Our own limit is checked from the header below; Pillow's warning would only repeat it.
            warnings.simplefilter("ignore")
            image = Image.open(file, formats=FORMATS)  # type: ignore[arg-type]
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} has too many pixels: at most {MAX_PIXELS / 1e6:.0f} million are accepted.") from error
    except UnidentifiedImageError as error:
        formats = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise ImageError(f"{name} is not an image we can read: convert it to {formats}.") from error
    except Exception as error:  # Pillow's plugins raise whatever they stumble on in a damaged or overlong header
        raise ImageError(f"{name} cannot be opened as an image: its header is damaged, or too long.") from error
    return _to_tensor(image, name)


def _check_blocks(file: io.IOBase, name: str) -> None:
    """Refuse what would take hours: every scan of a JPEG is a pass over all its pixels, though it may be a few bytes;
    every EXIF segment, and every block of a GIF's comments, makes Pillow copy all those before it.
    """
    data = file.read(3)
    if data in (b"\xff\xd8\xff", b"GIF"):
        data += file.read()
    file.seek(0)
    # Within a scan ff is followed by 00: the marker of a scan stands nowhere else, but by chance in metadata.
    num_blocks = _num_comment_blocks(data) if data[:3] == b"GIF" else max(map(data.count, (b"\xff\xda", b"Exif\0\0")))
    if num_blocks > MAX_BLOCKS:
        raise ImageError(f"{name} consists of far more parts than a picture has: open it and save it again.")


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


def _to_tensor(image: Image.Image, name: str) -> ImageTensor:
    _check_shape(*image.size, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            is_animated = image.format in ("GIF", "WEBP", "PNG") and getattr(image, "is_animated", False)
            image.load()
            rgb = _to_rgb(ImageOps.exif_transpose(image))
        pixels = torch.from_numpy(np.array(rgb, dtype=np.float32))
    except MemoryError as error:
        raise ImageError(f"{name} does not fit into memory: make it smaller.") from error
    except Exception as error:  # a truncated or corrupt body: the kind of exception depends on the format's decoder
        raise ImageError(f"{name} is damaged or cut short: save or download it again.") from error
    if is_animated:
        warnings.warn(f"{name} is animated: only its first frame is used.", ImageNote, stacklevel=3)
    return pixels.permute(2, 0, 1).unsqueeze(0).div_(255).contiguous()


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


def image_size(image: ImageTensor) -> tuple[int, int]:
    """(height, width) in px."""
    return image.shape[2], image.shape[3]


def fit_size(size: tuple[int, int], longer_side: int, least_side: int = 1) -> tuple[int, int]:
    """(height, width) in px with the aspect of `size` and that longer side, or a longer one that leaves the shorter
    side `least_side`."""
    height, width = size
    factor = max(longer_side / max(size), least_side / min(size))
    return round(height * factor), round(width * factor)


def resize_image(image: ImageTensor, height: int, width: int) -> ImageTensor:
    """Lanczos resampling (Pillow's, in float32 per channel) to height x width px; the same tensor if it fits."""
    if image.shape[2:] == (height, width):
        return image
    planes = [Image.fromarray(plane) for plane in image[0].float().cpu().numpy()]
    resized = [np.asarray(plane.resize((width, height), Image.Resampling.LANCZOS)) for plane in planes]
    return torch.from_numpy(np.stack(resized)).unsqueeze(0).clamp_(0, 1).to(image.device)


def fit_image(image: ImageTensor, longer_side: int, least_side: int = 1) -> ImageTensor:
    """`image` Lanczos-resized as `fit_size` says, its aspect kept."""
    return resize_image(image, *fit_size(image_size(image), longer_side, least_side))


def to_uint8(image: ImageTensor) -> UInt8[np.ndarray, "H W 3"]:
    """The 8-bit pixels that would be saved: clamped, rounded, on the CPU."""
    pixels = image.detach()[0].float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return pixels.permute(1, 2, 0).cpu().numpy()


def quantize(image: ImageTensor) -> ImageTensor:
    """`image` as it will be once saved: 8-bit values, as float32 in [0, 1], on its own device."""
    return image.detach().float().clamp(0, 1).mul(255).round().div(255)


def save_image(image: ImageTensor, path: str | os.PathLike[str], settings: dict[str, Any] | None = None) -> Path:
    """Write a PNG, with `settings` as JSON inside; an old file is replaced only by a complete new one.

    Raises:
        OutputError: the name is not .png, or the place cannot be written to.
    """
    target = check_writable(path)
    text = PngInfo()
    if settings is not None:
        text.add_text(SETTINGS_KEY, json.dumps(settings))
    try:
        with replacing(target) as file:
            Image.fromarray(to_uint8(image)).save(file, format="PNG", pnginfo=text)
    except OSError as error:
        raise OutputError(f"The output '{target}' could not be written: {reason(error)}.") from error
    return target


def read_settings(source: str | os.PathLike[str] | bytes) -> dict[str, Any]:
    """The settings that `save_image` put into a PNG.

    Raises:
        ImageError: not a readable image, or one without settings.
    """
    name = "The image" if isinstance(source, bytes) else f"'{source}'"
    load_image(source)  # refuses what is no sound image, with the ordinary messages
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=["PNG", *FORMATS]) as image:
        image.load()  # other programs move the text behind the pixels
        text = image.info.get(SETTINGS_KEY)
    try:
        settings = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):  # not JSON, or such as no settings are
        settings = None
    if not isinstance(settings, dict):
        raise ImageError(f"{name} carries no stylecore settings: choose a PNG that stylecore saved.")
    return settings
