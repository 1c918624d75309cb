"""The images that a job works on, and how they are named in what it saves."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from stylecore.config import StylizeConfig
from stylecore.errors import ImageError, OptionError
from stylecore.images import ImageTensor, load_image, to_uint8


@dataclass(frozen=True)
class Inputs:
    """A content image and its styles, loaded."""

    content: ImageTensor
    styles: list[ImageTensor]
    records: list[dict[str, str]]  # name and checksum of the content, then of each style


def check_style_weights(config: StylizeConfig, inputs: Inputs) -> None:
    """Raise an OptionError unless there is a weight for each style, or none at all."""
    if config.style_weights and len(config.style_weights) != len(inputs.styles):
        raise OptionError(
            f"{len(config.style_weights)} style weights were given for {len(inputs.styles)} style images."
        )


def saved_paths(records: list[dict[str, str]], folder: Path) -> list[str]:
    """The files that a saved PNG was made from, as found from here or beside it; unchanged since then."""
    paths = []
    for record in records:
        candidates = [Path(record["name"]), folder / Path(record["name"]).name]
        found = [path for path in candidates if path.is_file() and checksum(load_image(path)) == record["checksum"]]
        if not found:
            raise ImageError(f"'{record['name']}' is not here any more, or has changed: name CONTENT and STYLE again.")
        paths.append(str(found[0]))
    return paths


def portable(path: str) -> str:
    """The path as typed if it tells nothing about this machine, else the file's name: PNGs are passed around."""
    return path if not Path(path).is_absolute() and ".." not in Path(path).parts else Path(path).name


def checksum(image: ImageTensor) -> str:
    """Twelve hex digits of an image's 8-bit pixels."""
    return hashlib.sha256(to_uint8(image).tobytes()).hexdigest()[:12]
