"""Pictures to start from, all found on this machine: bundled photos, and the styles that the project draws."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder

from stylecore.images import load_image
from stylecore.job import Source
from stylecore.sample_images import STYLES as STYLE_NAMES
from stylecore.sample_images import photo_path, style_path

PHOTOS = {name: photo_path(name) for name in ("astronaut", "chelsea", "coffee", "rocket")}
STYLES = {name: style_path(name) for name in sorted(STYLE_NAMES)}
CREDITS = (
    "Example photos from scikit-image: Chelsea by Stéfan van der Walt (CC0), astronaut by NASA (public domain), "
    "coffee by Rachel Michetti (CC0), rocket by SpaceX (CC0). The example styles are drawn by this project."
)


def served(name: str) -> str:
    """The copy of an example that Gradio serves: its folder is named by the file's content."""
    return save_file_to_cache((PHOTOS | STYLES)[name], get_upload_folder())


def name_of(picture: dict[str, Any] | None) -> str | None:
    """The example that an image input holds; None if it holds another picture, or none."""
    if picture is None:
        return None
    path = Path(picture["path"])
    return path.stem if path.stem in PHOTOS | STYLES and str(path) == served(path.stem) else None


def find(source: Source) -> str | None:
    """The example that a saved picture was made from; None if it was another picture, whatever its name."""
    name = Path(source.name).stem
    return name if name in PHOTOS | STYLES and source.checksum in ("", _checksum(name)) else None


@functools.cache
def _checksum(name: str) -> str:
    return Source.of(load_image((PHOTOS | STYLES)[name])).checksum
