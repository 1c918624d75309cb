"""A photo and its painting, mixed as far as one likes and as large as the photo, without painting anything again.

The difference that the painting made is enlarged; what it says nothing about, the photo's own detail above the
painting's resolution, follows by a guided filter (He, Sun and Tang 2013, "Guided Image Filtering", computed at the low
resolution as in He and Sun 2015, "Fast Guided Filter"): where the painting has as much contrast as the photo, the
detail stays; where it painted over it, the detail goes; where it inverts it, so it does with the detail.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from stylecore.color import luminance, transfer_luminance
from stylecore.errors import OptionError, unknown
from stylecore.images import ImageSource, ImageTensor, check_aspect, image_size, load_image, resize_image
from stylecore.isolation import isolated

COLORS = ("photo", "style", "mix")  # whose chroma a blend has
MAX_DETAIL = 2.0
RADIUS_PX = 4  # of the filter's windows, at the painting's resolution: about a stroke of our presets
SMALLEST_VARIANCE = 0.02**2  # of a window that has contrast to go by: below it, grain alone

Plane = Float[Tensor, "1 1 _ _"]


@isolated()
@torch.no_grad()
def blend(
    photo: ImageSource,
    painting: ImageSource,
    strength: float = 1.0,
    colors: str = "style",
    detail: float = 1.0,
) -> ImageTensor:
    """The photo with a share of what a painting of it changed, at the size of the larger one.

    Args:
        photo, painting: what `load_image` takes; sizes may differ, their aspect may not.
        strength: from 0, the photo itself, to 1, the painting.
        colors: whose chroma: `photo`, `style`, or the mean of both, `mix`; the luminance is the blend's always.
        detail: the share, 0 to 2, of the photo's detail that the painting's resolution cannot show.

    Returns:
        (1, 3, H, W) in [0, 1]. With strength 0 and detail 1 it is the photo; where both are of one size, strength 1
        is the painting.

    Raises:
        ImageError: a picture is none, or their aspects differ.
        OptionError: a value out of its range.
    """
    _check(strength, colors, detail)
    photo, painting = load_image(photo), load_image(painting)
    check_aspect(image_size(photo), image_size(painting), "The photo")
    size = max(image_size(photo), image_size(painting))
    photo, small = resize_image(photo, *size), resize_image(photo, *image_size(painting))
    slope = _slope(luminance(small), luminance(painting - small))
    kept = detail * F.interpolate(1 + strength * slope, size, mode="bilinear")
    mixed = resize_image(small.lerp(painting, strength), *size)
    mixed = (mixed + kept * (photo - resize_image(small, *size))).clamp_(0, 1)
    return _with_chroma(mixed, photo, colors)


def _check(strength: float, colors: str, detail: float) -> None:
    if not 0 <= strength <= 1:
        raise OptionError(f"strength must be between 0, the photo, and 1, the painting, not {strength:g}.")
    if not 0 <= detail <= MAX_DETAIL:
        raise OptionError(f"detail must be between 0 and {MAX_DETAIL:g}, not {detail:g}.")
    if colors not in COLORS:
        raise unknown("colors", colors, COLORS)


def _slope(guide: Plane, values: Plane) -> Plane:
    """How much `values` change where the guide changes by 1: the guided filter's a, averaged (eq. 5, 8)."""
    mean, values_mean = _windows(guide), _windows(values)
    covariance = _windows(guide * values) - mean * values_mean
    variance = _windows(guide * guide) - mean * mean
    return _windows(covariance / (variance + SMALLEST_VARIANCE))


def _windows(plane: Plane) -> Plane:
    """Means over windows, cut off at the edges."""
    return F.avg_pool2d(plane, 2 * RADIUS_PX + 1, stride=1, padding=RADIUS_PX, count_include_pad=False)


def _with_chroma(mixed: ImageTensor, photo: ImageTensor, colors: str) -> ImageTensor:
    if colors == "style":
        return mixed
    of_photo = transfer_luminance(mixed, photo)
    return of_photo if colors == "photo" else of_photo.lerp_(mixed, 0.5)
