"""The pictures of a bench: none of them was used to fit or tune anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stylecore.errors import OptionError
from stylecore.files import is_address
from stylecore.images import ImageTensor, load_image
from stylecore.sample_images import EVALUATION, EVALUATION_STYLES, PHOTOS, STYLES, load_photo, load_style


@dataclass(frozen=True)
class Pair:
    """A photo and a style."""

    name: str  # PHOTO:STYLE, without folders
    content: ImageTensor
    style: ImageTensor


def default_pairs() -> list[Pair]:
    """Every evaluation photo with every evaluation style: six."""
    return [parse_pair(f"{photo}:{style}") for style in EVALUATION_STYLES for photo in EVALUATION]


def parse_pair(text: str) -> Pair:
    """`astronaut:flow_strokes`, or files: `photo.jpg:painting.jpg`.

    Raises:
        OptionError, ImageError: not two parts, or one that is neither a name nor an image file.
    """
    photo, separator, style = text.rpartition(":") if is_address(text) else text.partition(":")
    if not (photo and separator and style):
        raise OptionError(f"A pair is PHOTO:STYLE, names or files, such as astronaut:flow_strokes, not '{text}'.")
    content = load_photo(photo) if photo in PHOTOS else load_image(photo)
    painting = load_style(style) if style in STYLES else load_image(style)
    return Pair(f"{Path(photo).stem}:{Path(style).stem}", content, painting)
