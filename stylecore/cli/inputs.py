"""The images that a command line names."""

from __future__ import annotations

from collections.abc import Sequence

from stylecore.errors import OptionError
from stylecore.images import load_image
from stylecore.job import Inputs, checksum, portable


def load_inputs(paths: Sequence[str], command: str) -> Inputs:
    """Load content and styles, in this order. Raises an OptionError if there are fewer than two paths."""
    if len(paths) < 2:
        raise OptionError(f"Name a content image and at least one style image: stylecore {command} PHOTO STYLE.")
    images = [load_image(path) for path in paths]
    records = [{"name": portable(path), "checksum": checksum(image)} for path, image in zip(paths, images, strict=True)]
    return Inputs(images[0], images[1:], records)
