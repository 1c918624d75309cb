"""Which results there shall be: tasks from files, folders, patterns and tables of pairs."""

from __future__ import annotations

import csv
import glob
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stylecore.compare import Variant
from stylecore.config import StylizeConfig
from stylecore.errors import ImageError, OptionError
from stylecore.files import is_file, is_folder, plain_name
from stylecore.images import SUFFIXES
from stylecore.storage import REMOTE, list_pictures

COLUMNS = ("photo", "style")  # that a table of pairs must have


@dataclass(frozen=True)
class Task:
    """One result to be made, whoever makes it."""

    photo: str  # a path or an address
    style: str
    config: StylizeConfig
    file: str  # the result's name in the folder
    row: str  # names of the sheet's rows and columns
    column: str
    weights: Path | None = None  # a file of the encoder's, where they are not bundled

    @property
    def named(self) -> dict[str, str]:
        """What a record of it begins with, JSON-ready."""
        return {"file": self.file, "photo": self.photo, "style": self.style}


def find_pictures(names: Iterable[str], what: str) -> list[str]:
    """The pictures that names mean: files, folders (all pictures right in them), patterns such as 'photos/*.jpg'.

    Args:
        names: paths, or addresses that fsspec knows; each picture counts once.
        what: "photo" or "style", for what is said of a name that means nothing.

    Raises:
        ImageError: a name means no picture.
    """
    found: list[str] = []
    for name in names:
        pictures = _remote(name) if REMOTE in name else _local(name)
        if not pictures:
            kind = "folder" if is_folder(Path(name)) else "pattern" if glob.has_magic(name) else what
            why = f"holds no {what}s ({', '.join(SUFFIXES)})" if kind == "folder" else "is not there"
            raise ImageError(f"The {kind} '{name}' {why}: name pictures, folders or patterns.")
        found += pictures
    return list(dict.fromkeys(found))


def _local(name: str) -> list[str]:
    if is_file(Path(name)):
        return [name]
    paths = [*Path(name).iterdir()] if is_folder(Path(name)) else map(Path, glob.glob(name, recursive=True))  # noqa: PTH207  takes absolute ones
    return sorted(str(path) for path in paths if _is_picture(path.name) and is_file(path))


def _remote(name: str) -> list[str]:
    listed = list_pictures(name)
    return [name] if listed is None else [each for each in listed if _is_picture(each)]


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES and not PurePosixPath(name).name.startswith(".")


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Photo and style of each line of a CSV table with these columns; names are looked up beside the table.

    Raises:
        OptionError: the table is not there, lacks a column, or has a line with an empty one.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OptionError(f"The table of pairs '{path}' cannot be read: name a CSV file.") from error
    if not rows:
        raise OptionError(f"The table '{path}' has no pairs: its first line says photo,style, each other one a pair.")
    missing = [name for name in COLUMNS if name not in rows[0]]
    if missing:
        raise OptionError(f"The table '{path}' has no column '{missing[0]}': its first line says photo,style.")
    pairs = []
    for number, row in enumerate(rows, start=2):
        photo, style = ((row[name] or "").strip() for name in COLUMNS)
        if not photo or not style:
            raise OptionError(f"Line {number} of '{path}' lacks a photo or a style.")
        pairs.append((_beside(path, photo), _beside(path, style)))
    return list(dict.fromkeys(pairs))


def _beside(table: Path, name: str) -> str:
    return name if REMOTE in name or Path(name).is_absolute() else str(table.parent / name)


def plan_products(
    photos: Sequence[str], styles: Sequence[str], variants: Sequence[Variant], weights: Path | None = None
) -> list[Task]:
    """A task for every photo in every style in every variant, photo by photo. Raises what `plan_pairs` raises."""
    return plan_pairs([(photo, style) for photo in photos for style in styles], variants, weights)


def plan_pairs(
    pairs: Sequence[tuple[str, str]], variants: Sequence[Variant], weights: Path | None = None
) -> list[Task]:
    """A task for every pair in every variant.

    Raises:
        OptionError: two photos, or two styles, would have results of one name.
    """
    photos, styles = (_labels(each) for each in zip(*pairs, strict=True))
    tasks = []
    for photo, style in pairs:
        for variant in variants:
            words = [photos[photo], styles[style], *([variant.name] if len(variants) > 1 else [])]
            file = "__".join(plain_name(word) for word in words) + ".png"
            tasks.append(Task(photo, style, variant.config, file, words[0], ", ".join(words[1:]), weights))
    return tasks


def _labels(places: Iterable[str]) -> Mapping[str, str]:
    """A name for each picture: its file's without the suffix, and where two have that, the folder's before it."""
    paths = {place: PurePosixPath(place) for place in places}
    stems = Counter(plain_name(path.stem).lower() for path in paths.values())
    labels = {
        place: path.stem if stems[plain_name(path.stem).lower()] == 1 else f"{path.parent.name} {path.stem}"
        for place, path in paths.items()
    }
    taken: dict[str, str] = {}
    for place, label in labels.items():
        other = taken.setdefault(plain_name(label).lower(), place)
        if other != place:
            raise OptionError(f"The results of '{other}' and '{place}' would have one name: rename one of them.")
    return labels
