"""What an image is: a float32 sRGB tensor (1, 3, H, W) in [0, 1], within limits; and arrays that can be made one."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from stylecore.errors import ImageError

MIN_SIDE_PX = 16
MAX_PIXELS = 100_000_000
MAX_ASPECT = 12.0
LEVELS = 255  # of an 8-bit channel above 0
WHITE = {torch.uint8: 255.0, torch.uint16: 65535.0}  # of whole numbers; floats have 1
CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
TOLERANCE = 0.5 / LEVELS  # what arithmetic may leave above or below [0, 1], and no 8-bit value shows
OVERSHOOT = 0.5  # what an optimiser may leave there; more was normalised, or is in other units
EXPECTED = "An image array is (1, 3, H, W), (3, H, W) or (H, W, 3), of uint8 or of floats in [0, 1]"

ImageTensor = Float[Tensor, "1 3 _ _"]  # height and width differ from image to image within one signature


def check_shape(width: int, height: int, name: str) -> None:
    """Raise an ImageError if a picture of that size in px is too small, too thin or too large."""
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError(f"{name} is {width}x{height} px: each side must be at least {MIN_SIDE_PX} px.")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"{name} is {width}x{height} px: the longer side may be {MAX_ASPECT:g} times the shorter.")
    if width * height > MAX_PIXELS:
        megapixels = width * height / 1e6
        raise ImageError(f"{name} has {megapixels:.0f} megapixels: at most {MAX_PIXELS / 1e6:.0f} are accepted.")


def image_of_array(array: Tensor | np.ndarray, tolerance: float = TOLERANCE) -> ImageTensor:
    """A tensor or NumPy array as an image, on the CPU and out of any graph; one that is an image already is returned.

    Converted is what can only mean one thing: channels first or last, grey, RGB or RGBA (composited on white), with or
    without a batch of one; uint8, uint16, or floats in [0, 1], outside of which at most `tolerance` is clamped.

    Raises:
        ImageError: another shape or type, several images, values outside [0, 1], or what `check_shape` refuses.
    """
    tensor = _tensor(array)
    planes = _channels_first(tensor)
    check_shape(planes.shape[2], planes.shape[1], "The image")
    image = planes.float().div(WHITE[planes.dtype]) if planes.dtype in WHITE else _in_range(planes.float(), tolerance)
    if len(image) == 4:
        image = image[:3] * image[3:] + (1 - image[3:])
    image = image.expand(3, -1, -1).unsqueeze(0)
    is_same = tensor.data_ptr() == image.data_ptr() and tensor.shape == image.shape and tensor.is_contiguous()
    return tensor if is_same and not tensor.is_inference() else image.clone(memory_format=torch.contiguous_format)


def _tensor(array: Tensor | np.ndarray) -> Tensor:
    """Strided, on the CPU, of a type that images come in."""
    if isinstance(array, np.ndarray):
        try:  # copied: an array may be read-only, of another byte order, or run backwards
            array = torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
        except (TypeError, ValueError):
            raise ImageError(f"{EXPECTED}, not {array.shape} of {array.dtype}.") from None
    is_known = array.dtype in WHITE or array.is_floating_point()
    if array.layout != torch.strided or array.is_meta or array.is_nested:
        raise ImageError("The tensor is sparse, nested or without values: give a dense one.")
    if not is_known:
        raise ImageError(f"{EXPECTED}, not {tuple(array.shape)} of {array.dtype}.")
    is_plain = type(array) is Tensor and not array.requires_grad  # else the same memory, as another object
    return (array if is_plain else array.detach().as_subclass(Tensor)).cpu()


def _channels_first(tensor: Tensor) -> Tensor:
    """(C, H, W), C one of `CHANNELS`."""
    if tensor.ndim == 4 and len(tensor) != 1 and (tensor.shape[1] in CHANNELS or tensor.shape[3] in CHANNELS):
        raise ImageError(f"A batch of {len(tensor)} images was given for one: give batch[0], or each on its own.")
    image = tensor[0] if tensor.ndim == 4 and len(tensor) == 1 else tensor
    if image.ndim == 2:
        return image.unsqueeze(0)
    if image.ndim == 3 and image.shape[0] in CHANNELS:
        return image
    if image.ndim == 3 and image.shape[2] in CHANNELS:
        return image.permute(2, 0, 1)
    raise ImageError(f"{EXPECTED}, not {tuple(tensor.shape)} of {tensor.dtype}.")


def _in_range(planes: Tensor, tolerance: float) -> Tensor:
    """Floats in [0, 1]. What stands outside by more was normalised, or is in other units."""
    low, high = (float(value) for value in planes.aminmax())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError("The image holds NaN or infinity: its values must be in [0, 1].")
    if low < -tolerance or high > 1 + tolerance:
        is_bytes = low >= -tolerance and high > 16
        advice = "divide 8-bit values by 255" if is_bytes else "undo its normalisation, such as x = (x + 1) / 2,"
        raise ImageError(f"The image holds values from {low:.3g} to {high:.3g}, not in [0, 1]: {advice} first.")
    return planes if low >= 0 and high <= 1 else planes.clamp(0, 1)
