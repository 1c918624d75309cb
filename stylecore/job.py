"""What is to be done: the pictures, where they come from, and the config. Makes and reads the settings inside a PNG."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from stylecore.config import StylizeConfig
from stylecore.errors import ImageError, OptionError
from stylecore.files import checksum, is_file
from stylecore.images import (
    SUFFIXES,
    ImageNote,
    ImageSource,
    ImageTensor,
    fit_size,
    image_size,
    list_sources,
    load_image,
    load_images,
    read_settings,
    to_uint8,
)
from stylecore.metrics import check_sizes, check_weights
from stylecore.version import VERSION

NUM_MADE_KEY = "num_steps_made"  # in the settings of a run that was stopped


@dataclass(frozen=True)
class Source:
    """Where a picture comes from."""

    name: str  # of its file, as far as it may be told; empty: made in Python
    checksum: str  # of its 8-bit pixels

    @classmethod
    def of(cls, image: ImageTensor, source: object = None) -> Source:
        """Of a loaded image, and what it was loaded from."""
        name = portable(os.fspath(source)) if isinstance(source, str | os.PathLike) else ""
        return cls(name, checksum(to_uint8(image).tobytes()))

    def find(self, folder: Path) -> Path:
        """The file, as found from here or in the folder, unchanged since then. Raises an ImageError if it is gone."""
        named = [Path(self.name), folder / Path(self.name).name] if self.name else _pictures([Path(), folder])
        for path in named:
            if is_file(path) and self._is(path):
                return path
        what = f"'{self.name}'" if self.name else "A picture that this PNG was made from"
        raise ImageError(f"{what} is not here any more, or has changed: name CONTENT and STYLE again.")

    def _is(self, path: Path) -> bool:
        with warnings.catch_warnings(action="ignore", category=ImageNote):  # of pictures that may not be meant
            try:
                return Source.of(load_image(path)).checksum == self.checksum
            except ImageError:
                return False


def _pictures(folders: Iterable[Path]) -> list[Path]:
    return [path for folder in folders for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]


@dataclass(frozen=True)
class Job:
    """A photo, one or several styles, and how to stylize.

    Raises:
        ImageError: when made, where a picture is none, as `load_image` says.
        OptionError: when made, where they do not fit each other, or a picture is too thin for the config's size.
    """

    content: ImageTensor  # (1, 3, H, W) in [0, 1]; made of whatever `load_image` takes
    styles: tuple[ImageTensor, ...]  # each such an image of its own size
    config: StylizeConfig
    names: tuple[object, ...] = ()  # what content, then styles were loaded from
    files: dict[str, str] = field(default_factory=dict)  # of weights and bases, as the settings name them

    def __post_init__(self) -> None:
        if not isinstance(self.config, StylizeConfig):
            raise OptionError("A job's config is a StylizeConfig: make one with make_config().")
        object.__setattr__(self, "content", load_image(self.content))
        object.__setattr__(self, "styles", tuple(load_images(self.styles)))
        if not self.styles:
            raise OptionError("At least one style image is needed.")
        check_weights(self.config.style_weights, len(self.styles))
        check_sizes(image_size(self.content), [image_size(style) for style in self.styles], self.config.size)

    @classmethod
    def load(
        cls, content: ImageSource, style: ImageSource | Iterable[ImageSource], config: StylizeConfig, **more: Any
    ) -> Job:
        """A job of what `load_image` takes, one style or several; it remembers the paths."""
        sources = [content, *list_sources(style)]
        images = [load_image(source) for source in sources]
        return cls(images[0], tuple(images[1:]), config, tuple(sources), **more)

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """Names and checksums of the content, then of each style."""
        images = (self.content, *self.styles)
        names = self.names or (None,) * len(images)
        return tuple(Source.of(image, name) for image, name in zip(images, names, strict=True))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the result in px."""
        return fit_size(image_size(self.content), self.config.size)

    @property
    def name(self) -> str:
        """From the names of its pictures: `astronaut_flow_strokes`."""
        return "_".join(Path(source.name).stem for source in self.sources if source.name) or "stylized"

    def with_config(self, config: StylizeConfig) -> Job:
        """The same pictures, stylized in another way."""
        return replace(self, config=config)

    def inputs(self) -> list[dict[str, str]]:
        """The sources, JSON-ready."""
        return [vars(source) for source in self.sources]

    def settings(self) -> dict[str, Any]:
        """What travels inside the PNG, JSON-ready: enough to run the job again where its pictures are."""
        return {"version": VERSION, "config": self.config.to_dict(), "inputs": self.inputs(), **self.files}


@dataclass(frozen=True)
class SavedSettings:
    """What a PNG says of the job that made it."""

    path: Path
    config: dict[str, Any]
    sources: tuple[Source, ...]
    files: dict[str, str]
    num_made: int = 0  # evaluations, of a run that was stopped

    @classmethod
    def read(cls, path: Path) -> SavedSettings:
        """Raises an ImageError for a PNG without settings."""
        saved = read_settings(path)
        try:
            sources = tuple(Source(str(each["name"]), str(each["checksum"])) for each in saved.pop("inputs", []))
            config = dict(saved.pop("config", {}))
            num_made = int(saved.pop(NUM_MADE_KEY, 0))
        except (KeyError, TypeError, ValueError) as error:
            raise ImageError(
                f"The settings in '{path}' are of another form: choose a PNG that stylecore saved."
            ) from error
        saved.pop("version", None)
        return cls(path, config, sources, saved, num_made)

    def find_pictures(self) -> list[Path]:
        """The files of content and styles. Raises an ImageError for one that is gone or has changed."""
        return [source.find(self.path.parent) for source in self.sources]


def portable(path: str) -> str:
    """The path as typed if it tells nothing about this machine, else the file's name: PNGs are passed around."""
    return path if not Path(path).is_absolute() and ".." not in Path(path).parts else Path(path).name
