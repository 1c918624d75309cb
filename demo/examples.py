"""Pictures to start from, all found on this machine: bundled photos, and the styles that the project draws."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder

from stylecore.errors import unknown
from stylecore.images import load_image
from stylecore.job import Source
from stylecore.sample_images import LABELS, photo_path, style_path
from stylecore.sample_images import STYLES as STYLE_NAMES

from .components.tiles import Tile, tile_uri

PHOTOS = {name: photo_path(name) for name in ("astronaut", "chelsea", "coffee", "rocket")}
STYLES = {name: style_path(name) for name in sorted(STYLE_NAMES)}
CREDITS = (
    "Example photos from scikit-image: Chelsea by Stéfan van der Walt (CC0), astronaut by NASA (public domain), "
    "coffee by Rachel Michetti (CC0), rocket by SpaceX (CC0). The example styles are drawn by this project."
)


def served(name: str) -> str:
    """The copy of an example that Gradio serves: its folder is named by the file's content."""
    return save_file_to_cache((PHOTOS | STYLES)[name], get_upload_folder())


def served_as(kind: str, name: str) -> str:
    """The same of an example of one kind, photo or style. Raises an OptionError that suggests the nearest."""
    files = PHOTOS if kind == "photo" else STYLES
    if name not in files:
        raise unknown(kind, name, files)
    return served(name)


def tiles(files: Mapping[str, Path]) -> list[Tile]:
    """Examples to click on."""
    return [Tile(name, LABELS[name], tile_uri(path)) for name, path in files.items()]


def name_of(picture: dict[str, Any] | None) -> str | None:
    """The example that an image input holds; None if it holds another picture, or none."""
    if picture is None:
        return None
    path = Path(picture["path"])
    return path.stem if path.stem in PHOTOS | STYLES and str(path) == served(path.stem) else None


def is_one(picture: Any) -> bool:
    """Whether a control's value, as the browser sends it or as a path, is an example."""
    return name_of({"path": picture} if isinstance(picture, str) else picture) is not None


def find(source: Source) -> str | None:
    """The example that a saved picture was made from; None if it was another picture, whatever its name."""
    name = Path(source.name).stem
    return name if name in PHOTOS | STYLES and source.checksum in ("", _checksum(name)) else None


@functools.cache
def _checksum(name: str) -> str:
    return Source.of(load_image((PHOTOS | STYLES)[name])).checksum
