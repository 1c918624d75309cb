"""What is to be done: pictures, where they come from, and the config. Makes and reads the settings inside a result."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
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
from stylecore.regions import Mask, MaskImage, Region, is_all_kept, resized_mask
from stylecore.reuse import per_picture
from stylecore.version import VERSION

NUM_MADE_KEY = "num_steps_made"  # in the settings of a run that was stopped
RECORD_KEY = "record"  # in those of a result of many: what it took
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
        return cls(name, _checksum(image))

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


@per_picture
def _checksum(image: ImageTensor) -> str:
    return checksum(to_uint8(image).tobytes())


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
    style_masks: tuple[MaskImage | None, ...] = ()  # what counts of each style; none: all of all
    content_mask: MaskImage | None = None  # how much of the content weight there is where
    files: dict[str, str] = field(default_factory=dict)  # of weights and bases, as the settings name them

    def __post_init__(self) -> None:
        _check_config(self.config)
        object.__setattr__(self, "content", load_image(self.content))
        object.__setattr__(self, "styles", tuple(load_images(self.styles)))
        if not self.styles:
            raise OptionError("At least one style image is needed.")
        check_weights(self.config.style_weights, len(self.styles))
        check_sizes(image_size(self.content), [image_size(style) for style in self.all_styles], self.config.size)
        self._check_masks()
        for region in self.regions:
            region.check(image_size(self.content))
        if is_all_kept(self.all_regions, self.size):
            raise OptionError("The regions keep all of the photo: leave some of it to be painted.")

    def _check_masks(self) -> None:
        """Those of styles and content."""
        if self.style_masks and len(self.style_masks) != len(self.styles):
            raise OptionError(
                f"{len(self.style_masks)} style masks were given for {len(self.styles)} style images: give one for "
                "each, in their order, and - for those that count as a whole."
            )
        for mask, style in zip(self.style_masks, self.styles, strict=False):
            if mask is not None:
                mask.check(image_size(style), "the style's")
        if self.content_mask is not None:
            self.content_mask.check(image_size(self.content), "the photo's")

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
        holes = MaskImage((1 - self.alpha).expand(-1, 3, -1, -1))
        return (*self.regions, Region(holes, weight=0.0))

    def result_alpha(self) -> Mask | None:
        """Of the result, at its size."""
        return None if self.alpha is None else resized_mask(self.alpha, self.size)

    @property
    def all_names(self) -> list[object]:
        """What all of its pictures were loaded from."""
        masks = [mask for mask in (*self.style_masks, self.content_mask) if mask is not None]
        of_regions = (name for region in self.regions for name in region.names)
        return [*self.names, *of_regions, *(mask.name for mask in masks)]

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
        masks: dict[str, Any] = {}
        if self.regions:
            masks["regions"] = [_region_settings(region) for region in self.regions]
        if any(self.style_masks):
            masks["style_masks"] = [_mask_settings(mask) for mask in self.style_masks]
        if self.content_mask is not None:
            masks["content_mask"] = _mask_settings(self.content_mask)
        return {"version": VERSION, "config": self.config.to_dict(), "inputs": self.inputs(), **masks, **self.files}


def _region_settings(region: Region) -> dict[str, Any]:
    """JSON-ready: its pictures by name and checksum."""
    return {
        "mask": _mask_settings(region.mask),
        "style": None if region.style is None else vars(Source.of(region.style, region.style_name)),
        "weight": region.weight,
        "style_mask": _mask_settings(region.style_mask),
    }


def _mask_settings(mask: MaskImage | None) -> dict[str, str] | None:
    return None if mask is None else vars(Source.of(mask.image, mask.name))


@dataclass(frozen=True)
class SavedRegion:
    """What a PNG says of a region."""

    mask: Source
    style: Source | None
    weight: float
    style_mask: Source | None = None

    @classmethod
    def read(cls, saved: Mapping[str, Any]) -> SavedRegion:
        """Raises a KeyError, TypeError or ValueError for what is none."""
        style, style_mask = (_source(saved.get(key)) for key in ("style", "style_mask"))
        return cls(Source(**saved["mask"]), style, float(saved["weight"]), style_mask)

    def find(self, folder: Path) -> Region:
        """With its pictures. Raises an ImageError for one that is gone or has changed."""
        style, style_mask = (_found(source, folder) for source in (self.style, self.style_mask))
        return Region.load(self.mask.find(folder), style, self.weight, style_mask)


def _source(saved: Mapping[str, Any] | None) -> Source | None:
    return None if saved is None else Source(**saved)


def _found(source: Source | None, folder: Path) -> Path | None:
    return None if source is None else source.find(folder)


def _found_mask(source: Source | None, folder: Path) -> MaskImage | None:
    return None if source is None else MaskImage.load(source.find(folder))


@dataclass(frozen=True)
class SavedSettings:
    """What a saved result says of the job that made it."""

    path: Path
    config: dict[str, Any]
    sources: tuple[Source, ...]
    files: dict[str, str]
    regions: tuple[SavedRegion, ...] = ()
    style_masks: tuple[Source | None, ...] = ()
    content_mask: Source | None = None
    num_made: int = 0  # evaluations, of a run that was stopped

    @classmethod
    def read(cls, path: Path) -> SavedSettings:
        """Raises an ImageError for a picture without settings."""
        saved = read_settings(path)
        try:
            sources = tuple(Source(str(each["name"]), str(each["checksum"])) for each in saved.pop("inputs", []))
            config = dict(saved.pop("config", {}))
            regions = tuple(map(SavedRegion.read, saved.pop("regions", [])))
            style_masks = tuple(map(_source, saved.pop("style_masks", [])))
            content_mask = _source(saved.pop("content_mask", None))
            num_made = int(saved.pop(NUM_MADE_KEY, 0))
        except (KeyError, TypeError, ValueError) as error:
            raise ImageError(
                f"The settings in '{path}' are of another form: choose a picture that stylecore saved."
            ) from error
        for told in ("version", RECORD_KEY, BLENDED_KEY):  # which no run needs
            saved.pop(told, None)
        return cls(path, config, sources, saved, regions, style_masks, content_mask, num_made)

    def find_pictures(self) -> list[Path]:
        """The files of content and styles. Raises an ImageError for one that is gone or has changed."""
        return [source.find(self.path.parent) for source in self.sources]

    def find_photo(self) -> Path:
        """The file of the content. Raises an ImageError if it is gone or has changed."""
        for photo in self.sources[:1]:
            with suppress(ImageError):
                return photo.find(self.path.parent)
        raise ImageError(f"The photo of '{self.path}' is not here any more, or has changed: name it after the result.")

    def find_masks(self) -> dict[str, Any]:
        """Regions, style masks and content mask, as `Job` takes them. Raises what `find_pictures` raises."""
        folder = self.path.parent
        return {
            "regions": tuple(region.find(folder) for region in self.regions),
            "style_masks": tuple(_found_mask(mask, folder) for mask in self.style_masks),
            "content_mask": _found_mask(self.content_mask, folder),
        }


def portable(path: str) -> str:
    """The path as typed if it tells nothing about this machine, else the file's name: results are passed around."""
    return path if not Path(path).is_absolute() and ".." not in Path(path).parts else Path(path).name
