"""Images in and out: what people have -> float32 sRGB tensors (1, 3, H, W) in [0, 1] -> PNGs with settings inside."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from stylecore.decoding import FORMATS, MAX_BLOCKS, ImageNote, alpha_of, decode_file, decode_image
from stylecore.errors import ImageError, OutputError
from stylecore.files import check_writable, is_address, reason, replacing
from stylecore.isolation import isolated
from stylecore.pixels import LEVELS, MAX_ASPECT, MAX_PIXELS, MIN_SIDE_PX, OVERSHOOT, ImageTensor, image_of_array
from stylecore.resampling import resample

__all__ = [
    "FORMATS",
    "LEVELS",
    "MAX_ASPECT",
    "MAX_BLOCKS",
    "MAX_PIXELS",
    "MIN_SIDE_PX",
    "SETTINGS_KEY",
    "SUFFIXES",
    "ImageNote",
    "ImageSource",
    "ImageTensor",
    "check_aspect",
    "fit_image",
    "fit_size",
    "image_size",
    "load_alpha",
    "load_image",
    "load_images",
    "load_result",
    "quantize",
    "read_settings",
    "resize_image",
    "save_image",
    "to_uint8",
]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif", ".heic", ".heif")
SETTINGS_KEY = "stylecore"
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
    pixels = image.detach()[0].float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return pixels.permute(1, 2, 0).cpu().numpy()


def quantize(image: ImageTensor) -> ImageTensor:
    """`image` as it will be once saved: 8-bit values, as float32 in [0, 1], on its own device."""
    return image.detach().float().clamp(0, 1).mul(255).round().div(255)


def save_image(
    image: ImageSource,
    path: str | os.PathLike[str],
    settings: dict[str, Any] | None = None,
    alpha: Float[Tensor, "1 1 H W"] | None = None,
) -> Path:
    """Write a PNG, with `settings` as JSON inside and `alpha` in [0, 1], if any; an old file is replaced only by
    a complete new one.

    Raises:
        OutputError: the name is not .png, or the place cannot be written to.
        ImageError: `image` is none, as `load_result` says.
    """
    target, data = check_writable(path), encode_png(image, settings, alpha)
    try:
        with replacing(target) as file:
            file.write(data)
    except OSError as error:
        raise OutputError(f"The output '{target}' could not be written: {reason(error)}.") from error
    return target


def encode_png(
    image: ImageSource, settings: dict[str, Any] | None = None, alpha: Float[Tensor, "1 1 H W"] | None = None
) -> bytes:
    """The bytes that `save_image` writes. Raises an ImageError if `image` is none, as `load_result` says."""
    text, data = PngInfo(), io.BytesIO()
    if settings is not None:
        text.add_text(SETTINGS_KEY, json.dumps(settings))
    picture = Image.fromarray(to_uint8(load_result(image)))
    if alpha is not None:
        picture.putalpha(Image.fromarray(to_uint8(alpha.expand(-1, 3, -1, -1))[..., 0]))
    picture.save(data, format="PNG", pnginfo=text)
    return data.getvalue()


def read_settings(source: str | os.PathLike[str] | bytes) -> dict[str, Any]:
    """The settings that `save_image` put into a PNG.

    Args:
        source: its path, its bytes, or the PIL image.

    Raises:
        ImageError: not a readable image, or one without settings.
    """
    name = f"'{source}'" if isinstance(source, str | os.PathLike) else "The image"
    load_image(source)  # refuses what is no sound image, with the ordinary messages
    text = _text_of(source)
    try:
        settings = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):  # not JSON, or such as no settings are
        settings = None
    if not isinstance(settings, dict):
        raise ImageError(f"{name} carries no stylecore settings: choose a PNG that stylecore saved.")
    return settings


def _text_of(source: ImageSource) -> object:
    """What stands under `SETTINGS_KEY` in a sound picture; None in one that is no PNG."""
    if isinstance(source, Image.Image):
        return source.info.get(SETTINGS_KEY)
    if isinstance(source, Tensor | np.ndarray):
        return None
    file: Any = source if isinstance(source, str | os.PathLike | io.IOBase) else io.BytesIO(bytes(source))
    try:
        with Image.open(file, formats=["PNG"]) as image:
            image.load()  # other programs move the text behind the pixels
            return image.info.get(SETTINGS_KEY)
    except UnidentifiedImageError:
        return None
