"""What is to be done: pictures, where they come from, and the config. Makes and reads the settings inside a result."""

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
    load_alpha,
    load_image,
    load_images,
    read_settings,
    to_uint8,
)
from stylecore.metrics import check_sizes, check_weights
from stylecore.regions import Mask, Region, resized_mask, styled_regions
from stylecore.version import VERSION

NUM_MADE_KEY = "num_steps_made"  # in the settings of a run that was stopped
BLENDED_KEY = "blended"  # in those of a result that was mixed with its photo: how much


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
        what = f"'{self.name}'" if self.name else "A picture that this one was made from"
        raise ImageError(f"{what} is not here any more, or has changed: name CONTENT and STYLE again.")

    def _is(self, path: Path) -> bool:
        with warnings.catch_warnings(action="ignore", category=ImageNote):  # of pictures that may not be meant
            try:
                return Source.of(load_image(path)).checksum == self.checksum
            except ImageError:
                return False


def _pictures(folders: Iterable[Path]) -> list[Path]:
    return [path for folder in folders for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]


def _check_config(config: object) -> None:
    if not isinstance(config, StylizeConfig):
        raise OptionError("A job's config is a StylizeConfig: make one with make_config().")


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
    regions: tuple[Region, ...] = ()  # parts of the photo with styles of their own; the rest has the job's
    alpha: Mask | None = None  # of a cut-out photo, of its size: what is not opaque is not painted, and comes back so
    files: dict[str, str] = field(default_factory=dict)  # of weights and bases, as the settings name them

    def __post_init__(self) -> None:
        _check_config(self.config)
        object.__setattr__(self, "content", load_image(self.content))
        object.__setattr__(self, "styles", tuple(load_images(self.styles)))
        if not self.styles:
            raise OptionError("At least one style image is needed.")
        check_weights(self.config.style_weights, len(self.styles))
        check_sizes(image_size(self.content), [image_size(style) for style in self.all_styles], self.config.size)
        for region in self.regions:
            region.check(image_size(self.content))
        if not styled_regions(self.all_regions, self.size, self.styles, ()):
            raise OptionError("The regions keep all of the photo: leave some of it to be painted.")

    @classmethod
    def load(
        cls, content: ImageSource, style: ImageSource | Iterable[ImageSource], config: StylizeConfig, **more: Any
    ) -> Job:
        """A job of what `load_image` takes, one style or several; it remembers the paths."""
        _check_config(config)
        sources = [content, *list_sources(style)]
        images = [load_image(source) for source in sources]
        alpha = load_alpha(content) if config.alpha == "keep" else None
        return cls(images[0], tuple(images[1:]), config, tuple(sources), alpha=alpha, **more)

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """Names and checksums of the content, then of each style."""
        images = (self.content, *self.styles)
        names = self.names or (None,) * len(images)
        return tuple(Source.of(image, name) for image, name in zip(images, names, strict=True))

    @property
    def all_regions(self) -> tuple[Region, ...]:
        """The regions, and the holes of a cut-out, where the photo stays."""
        if self.alpha is None:
            return self.regions
        return (*self.regions, Region((1 - self.alpha).expand(-1, 3, -1, -1), weight=0.0))

    def result_alpha(self) -> Mask | None:
        """Of the result, at its size."""
        return None if self.alpha is None else resized_mask(self.alpha, self.size)

    @property
    def region_names(self) -> list[object]:
        """What the regions' masks and styles were loaded from."""
        return [name for region in self.regions for name in region.names]

    @property
    def all_styles(self) -> list[ImageTensor]:
        """The job's own and its regions'."""
        return [*self.styles, *(region.style for region in self.regions if region.style is not None)]

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
        """What travels inside the result, JSON-ready: enough to run the job again where its pictures are."""
        regions = {"regions": [_region_settings(region) for region in self.regions]} if self.regions else {}
        return {"version": VERSION, "config": self.config.to_dict(), "inputs": self.inputs(), **regions, **self.files}


def _region_settings(region: Region) -> dict[str, Any]:
    """JSON-ready: mask and style by name and checksum."""
    mask, style = region.names
    of_style = None if region.style is None else vars(Source.of(region.style, style))
    return {"mask": vars(Source.of(region.mask, mask)), "style": of_style, "weight": region.weight}


@dataclass(frozen=True)
class SavedSettings:
    """What a saved result says of the job that made it."""

    path: Path
    config: dict[str, Any]
    sources: tuple[Source, ...]
    files: dict[str, str]
    regions: tuple[tuple[Source, Source | None, float], ...] = ()  # mask, style, weight
    num_made: int = 0  # evaluations, of a run that was stopped

    @classmethod
    def read(cls, path: Path) -> SavedSettings:
        """Raises an ImageError for a picture without settings."""
        saved = read_settings(path)
        try:
            sources = tuple(Source(str(each["name"]), str(each["checksum"])) for each in saved.pop("inputs", []))
            config = dict(saved.pop("config", {}))
            regions = tuple(map(_saved_region, saved.pop("regions", [])))
            num_made = int(saved.pop(NUM_MADE_KEY, 0))
        except (KeyError, TypeError, ValueError) as error:
            raise ImageError(
                f"The settings in '{path}' are of another form: choose a picture that stylecore saved."
            ) from error
        for told in ("version", BLENDED_KEY):  # which no run needs
            saved.pop(told, None)
        return cls(path, config, sources, saved, regions, num_made)

    def find_pictures(self) -> list[Path]:
        """The files of content and styles. Raises an ImageError for one that is gone or has changed."""
        return [source.find(self.path.parent) for source in self.sources]

    def find_photo(self) -> Path:
        """The file of the content. Raises what `find_pictures` raises."""
        if not self.sources:
            raise ImageError(f"'{self.path}' does not say what it was made from: name its photo too.")
        return self.sources[0].find(self.path.parent)

    def find_regions(self) -> list[Region]:
        """The regions, their pictures loaded. Raises what `find_pictures` raises."""
        folder = self.path.parent
        return [
            Region.load(mask.find(folder), None if style is None else style.find(folder), weight)
            for mask, style, weight in self.regions
        ]


def _saved_region(saved: dict[str, Any]) -> tuple[Source, Source | None, float]:
    mask, style = (None if saved[key] is None else Source(**saved[key]) for key in ("mask", "style"))
    if mask is None:
        raise ValueError("a region has a mask")
    return mask, style, float(saved["weight"])


def portable(path: str) -> str:
    """The path as typed if it tells nothing about this machine, else the file's name: results are passed around."""
    return path if not Path(path).is_absolute() and ".." not in Path(path).parts else Path(path).name
