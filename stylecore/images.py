"""Images in and out: what people have -> float32 sRGB tensors (1, 3, H, W) in [0, 1] -> files with settings inside."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt, UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from stylecore.decoding import (
    FORMATS,
    MAX_BLOCKS,
    ImageNote,
    alpha_of,
    decode_file,
    decode_image,
    open_file,
    rgb_profile,
)
from stylecore.encoding import (
    OPAQUE,
    SAVED_FORMATS,
    SAVED_SUFFIXES,
    SETTINGS_KEY,
    check_bits,
    in_profile,
    settings_inside,
    write_picture,
)
from stylecore.errors import ImageError, OutputError
from stylecore.files import check_writable, is_address, reason, replacing
from stylecore.isolation import isolated
from stylecore.pixels import LEVELS, MAX_ASPECT, MAX_PIXELS, MIN_SIDE_PX, OVERSHOOT, WHITE, ImageTensor, image_of_array
from stylecore.resampling import resample
from stylecore.reuse import per_picture

__all__ = [
    "FORMATS",
    "LEVELS",
    "MAX_ASPECT",
    "MAX_BLOCKS",
    "MAX_PIXELS",
    "MIN_SIDE_PX",
    "SAVED_SUFFIXES",
    "SETTINGS_KEY",
    "SUFFIXES",
    "ImageNote",
    "ImageSource",
    "ImageTensor",
    "check_aspect",
    "check_output",
    "fit_image",
    "fit_size",
    "image_size",
    "load_alpha",
    "load_image",
    "load_images",
    "load_profile",
    "load_result",
    "quantize",
    "read_settings",
    "resize_image",
    "save_image",
    "to_uint8",
]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif", ".heic", ".heif")
ASPECT_TOLERANCE = 0.02  # of a picture that goes with another: more would be seen as a stretch

ImageSource = str | os.PathLike[str] | bytes | bytearray | memoryview | io.IOBase | Image.Image | np.ndarray | Tensor
# As `isinstance` wants them; some can be iterated, over what is no image.
ONE_IMAGE = (str, os.PathLike, bytes, bytearray, memoryview, io.IOBase, Image.Image, np.ndarray, Tensor)


@isolated()
def load_image(source: ImageSource) -> ImageTensor:
    """Read an image as a float32 sRGB tensor (1, 3, H, W) in [0, 1], on the CPU.

    EXIF rotation and embedded colour profiles are applied; alpha is composited on white; CMYK, palette, 16-bit and
    float images are converted; of an animation the first frame is taken, with an `ImageNote` warning.

    Args:
        source: a path, the bytes of a file, such a file opened in binary mode (read from its beginning), a PIL image,
            or a tensor or NumPy array: channels first or last, grey, RGB or RGBA, of uint8, uint16 or floats in [0, 1].
            An image tensor as described is returned as it is.

    Raises:
        ImageError: not one of `FORMATS`, damaged, smaller than `MIN_SIDE_PX`, longer than `MAX_ASPECT` times its
            width, or larger than `MAX_PIXELS` (checked from the header, before anything is decoded); an array of
            several images, or of values outside [0, 1].
    """
    if isinstance(source, Tensor | np.ndarray):
        return image_of_array(source)
    if isinstance(source, Image.Image):
        return decode_image(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return decode_file(io.BytesIO(bytes(source)), "The image")
    if isinstance(source, io.IOBase):
        return decode_file(io.BytesIO(_read(source)), "The image")
    if isinstance(source, str | os.PathLike):
        name = os.fsdecode(source)
        return _load_path(Path(name), f"'{name}'")  # as typed: pathlib would take a slash from an address
    raise ImageError(
        f"An image is a path, the bytes of a file, a PIL image, a NumPy array or a tensor, not {_described(source)}."
    )


def load_alpha(source: ImageSource) -> Float[Tensor, "1 1 _ _"] | None:
    """How opaque a picture is, in [0, 1], of what `load_image` has loaded; None: everywhere, or it cannot be told, as
    of arrays and formats that Pillow does not open."""
    if isinstance(source, Tensor | np.ndarray):
        return None
    try:
        if isinstance(source, Image.Image):
            alpha = alpha_of(source)
        else:
            file: Any = source if isinstance(source, str | os.PathLike | io.IOBase) else io.BytesIO(bytes(source))
            with Image.open(file, formats=FORMATS) as image:
                alpha = alpha_of(image)
    except UnidentifiedImageError:
        return None
    return None if alpha is None else torch.from_numpy(alpha.copy())[None, None].float() / LEVELS


def _read(file: io.IOBase) -> bytes:
    """All of an open file: whoever wrote it just now left it at its end."""
    try:
        if file.seekable():
            file.seek(0)
        data = file.read()
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise ImageError(f"The image cannot be read: {reason(error)}.") from error
    if not isinstance(data, bytes):
        raise ImageError("The image is a file opened as text: open it in binary mode, 'rb'.")
    return data


def _load_path(path: Path, name: str) -> ImageTensor:
    try:
        if not path.exists():
            if is_address(path):
                raise ImageError(f"{name} is an address: download the picture first, then name its file.")
            raise ImageError(f"There is no file {name}.")
        if path.is_dir():
            raise ImageError(f"{name} is a folder: name one image in it.")
        if not path.is_file():
            raise ImageError(f"{name} is a device or a pipe: name an image file.")
        with path.open("rb") as file:
            return decode_file(file, name)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise ImageError(f"{name} cannot be read: {reason(error)}.") from error


def _described(source: object) -> str:
    return "None" if source is None else f"a {type(source).__name__}"


def load_images(sources: ImageSource | Iterable[ImageSource]) -> list[ImageTensor]:
    """Every picture of a list, a generator or the like; one picture alone is a list of one.

    Raises:
        ImageError: for one of them, as `load_image` does.
    """
    return [load_image(source) for source in list_sources(sources)]


@isolated()
def load_result(source: ImageSource) -> ImageTensor:
    """`load_image` of what an optimiser made: floats up to `OVERSHOOT` outside [0, 1] are clamped."""
    return image_of_array(source, OVERSHOOT) if isinstance(source, Tensor | np.ndarray) else load_image(source)


def list_sources(sources: ImageSource | Iterable[ImageSource]) -> list[ImageSource]:
    """What `load_images` would load."""
    is_one = isinstance(sources, ONE_IMAGE)
    return list(sources) if isinstance(sources, Iterable) and not is_one else [sources]  # type: ignore[list-item,arg-type]


def image_size(image: ImageTensor) -> tuple[int, int]:
    """(height, width) in px."""
    return image.shape[2], image.shape[3]


def fit_size(size: tuple[int, int], longer_side: int, least_side: int = 0) -> tuple[int, int]:
    """(height, width) in px with the aspect of `size` and that longer side, or a longer one that leaves the shorter
    side `least_side`; each at least 1."""
    height, width = size
    factor = max(longer_side / max(size), least_side / min(size))
    return max(1, round(height * factor)), max(1, round(width * factor))


def check_aspect(size: tuple[int, int], wanted: tuple[int, int], what: str, whose: str = "the result's") -> None:
    """Raise an ImageError if a picture of `size`, (height, width) in px, would be stretched by being brought to
    `wanted`. `what` begins the sentence, and `whose` is the aspect that is wanted."""
    height, width = size
    fitted = fit_size(size, max(wanted))
    if any(abs(a - b) > max(1, ASPECT_TOLERANCE * b) for a, b in zip(fitted, wanted, strict=True)):
        raise ImageError(
            f"{what} of {width}x{height} px has another aspect than {whose} {wanted[1]}x{wanted[0]} px: crop it."
        )


@per_picture
def resize_image(image: ImageTensor, height: int, width: int) -> ImageTensor:
    """Lanczos resampling in float32 to height x width px, on the image's device; the same tensor if it fits."""
    if image.shape[2:] == (height, width):
        return image
    if image.device.type != "cpu":
        return resample(image.float(), height, width).clamp_(0, 1)
    planes = [Image.fromarray(plane) for plane in image[0].float().numpy()]
    resized = [np.asarray(plane.resize((width, height), Image.Resampling.LANCZOS)) for plane in planes]
    return torch.from_numpy(np.stack(resized)).unsqueeze(0).clamp_(0, 1)


def fit_image(image: ImageTensor, longer_side: int, least_side: int = 0) -> ImageTensor:
    """`image` Lanczos-resized as `fit_size` says, its aspect kept."""
    return resize_image(image, *fit_size(image_size(image), longer_side, least_side))


def to_uint8(image: ImageTensor) -> UInt8[np.ndarray, "H W 3"]:
    """The 8-bit pixels that would be saved: clamped, rounded, on the CPU."""
    return _to_levels(image, torch.uint8)


def _to_levels(planes: Float[Tensor, "1 C H W"], kind: torch.dtype) -> UInt[np.ndarray, "H W C"]:
    """[0, 1] -> whole numbers up to the largest of uint8 or uint16."""
    levels = planes.detach()[0].float().clamp(0, 1).mul(WHITE[kind]).round().to(kind)
    return levels.permute(1, 2, 0).cpu().numpy()


def quantize(image: ImageTensor) -> ImageTensor:
    """`image` as it will be once saved: 8-bit values, as float32 in [0, 1], on its own device."""
    return image.detach().float().clamp(0, 1).mul(255).round().div(255)


def check_output(path: str | os.PathLike[str], bits: int = 8) -> Path:
    """Raise an OutputError now if a picture of so many bits could not be saved to `path` later; nothing is created."""
    target = check_writable(path, *SAVED_SUFFIXES)
    check_bits(target.suffix.lower(), bits)
    return target


def save_image(
    image: ImageSource,
    path: str | os.PathLike[str],
    settings: dict[str, Any] | None = None,
    alpha: Float[Tensor, "1 1 H W"] | None = None,
    *,
    bits: int = 8,
    profile: bytes | None = None,
) -> Path:
    """Write a PNG, JPEG, WebP or TIFF, as the name's suffix says, with `settings` as JSON inside and `alpha` in [0, 1],
    if any, which a JPEG leaves out, with an `ImageNote` warning; an old file is replaced only by a complete new one.

    Args:
        bits: of each channel, 8 or, in PNG and TIFF, 16.
        profile: an RGB colour profile (`load_profile`) to convert to and to put inside, of 8 bits; None: sRGB.

    Raises:
        OutputError: the name has another suffix, the place cannot be written to, or the format has not what is asked.
        ImageError: `image` is none, as `load_result` says.
    """
    target, image = check_output(path, bits), load_result(image)
    kind = SAVED_FORMATS[target.suffix.lower()]
    if alpha is not None and kind in OPAQUE:
        note = f"'{target}' is a {kind}, which has no transparency: what was left out is white."
        warnings.warn(note, ImageNote, stacklevel=2)
        alpha = None
    pixels = _pixels(image, alpha, bits, profile)
    try:
        with replacing(target) as file:
            write_picture(file, pixels, kind, settings, profile)
    except (OSError, ValueError) as error:  # ValueError: settings or sides longer than the format has room for
        raise OutputError(f"The output '{target}' could not be written: {reason(error)}.") from error
    return target


def encode_png(
    image: ImageSource, settings: dict[str, Any] | None = None, alpha: Float[Tensor, "1 1 H W"] | None = None
) -> bytes:
    """The bytes of the PNG that `save_image` writes. Raises an ImageError if `image` is none, as `load_result` says."""
    data = io.BytesIO()
    write_picture(data, _pixels(load_result(image), alpha, 8, None), "PNG", settings, None)
    return data.getvalue()


def _pixels(image: ImageTensor, alpha: Tensor | None, bits: int, profile: bytes | None) -> UInt[np.ndarray, "H W C"]:
    """As they are to be written."""
    if profile is not None and bits > 8:
        raise OutputError("Colours are converted to a profile in 8 bits: leave out the profile, or the 16 bits.")
    planes = [image] if alpha is None else [image, alpha.to(image.device)]
    levels = _to_levels(torch.cat(planes, 1), torch.uint16 if bits > 8 else torch.uint8)
    if profile is not None:
        levels = np.concatenate([in_profile(levels[..., :3], profile), levels[..., 3:]], 2)
    return levels


def load_profile(source: ImageSource) -> bytes | None:
    """The RGB colour profile inside a picture that `load_image` has loaded; None: there is none, so it is sRGB.

    Raises:
        ImageError: the profile is of other colours, such as CMYK, which no result has.
    """
    if isinstance(source, Tensor | np.ndarray):
        return None
    if isinstance(source, Image.Image):
        return rgb_profile(source, "The image")
    if isinstance(source, str | os.PathLike):
        with Path(source).open("rb") as file:
            return rgb_profile(open_file(file, f"'{os.fsdecode(source)}'"), f"'{os.fsdecode(source)}'")
    data = _read(source) if isinstance(source, io.IOBase) else bytes(source)
    return rgb_profile(open_file(io.BytesIO(data), "The image"), "The image")


def read_settings(source: str | os.PathLike[str] | bytes | Image.Image) -> dict[str, Any]:
    """The settings that `save_image` put into a file.

    Args:
        source: its path, its bytes, or the PIL image.

    Raises:
        ImageError: not a readable image, or one without settings.
    """
    name = f"'{source}'" if isinstance(source, str | os.PathLike) else "The image"
    load_image(source)  # refuses what is no sound image, with the ordinary messages
    settings = _settings_of(source)
    if settings is None:
        raise ImageError(f"{name} carries no stylecore settings: choose a picture that stylecore saved.")
    return settings


def _settings_of(source: ImageSource) -> dict[str, Any] | None:
    """Those inside a sound picture; None in one of a format that has none."""
    if isinstance(source, Image.Image):
        return settings_inside(source)
    if isinstance(source, Tensor | np.ndarray):
        return None
    file: Any = source if isinstance(source, str | os.PathLike | io.IOBase) else io.BytesIO(bytes(source))
    try:
        with Image.open(file, formats=[*{*SAVED_FORMATS.values()}]) as image:
            return settings_inside(image)
    except UnidentifiedImageError:
        return None
