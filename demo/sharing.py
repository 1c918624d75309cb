"""What is put into a shared thing: its words, its pictures, and nothing of a visitor's that was not agreed to."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stylecore import StylizeConfig
from stylecore.images import SETTINGS_KEY, read_settings
from stylecore.job import Source
from stylecore.presets import PRESETS
from stylecore.report.sheets import jpeg

from . import examples
from .components.progress import duration
from .server.cards import card_of_comparison, card_of_result
from .server.shared_pages import CARD, COMPARISON, PAGE, PHOTO, PICTURE, RESULT
from .server.shared_results import SharedRecord
from .stops import STOPS

PHOTO_QUALITY = 92

Files = dict[str, bytes]


def result_to_share(
    png: Path, photo: Path | None, config: StylizeConfig, sources: Sequence[Source], seconds: float | None, query: str
) -> tuple[SharedRecord, Files]:
    """A result under its link.

    Args:
        png: with its settings inside.
        photo: in the result's size, where it may be seen.
        seconds: that it took, where known.
        query: of the page, with the settings.
    """
    took = "" if seconds is None else f", painted in {duration(seconds)}"
    words = f"Strength {config.strength:.0f}, detail {detail(config)}, {config.size} px{took}."
    files = {PICTURE: without_names(png), CARD: card_of_result(png, photo)}
    if photo is not None:
        with Image.open(photo) as image:
            files[PHOTO] = jpeg(image.convert("RGB"), PHOTO_QUALITY)
    return SharedRecord(RESULT, title_of(sources), words, query), files


def comparison_to_share(page: Path, pictures: Mapping[str, Path], title: str, words: str) -> tuple[SharedRecord, Files]:
    """A comparison's page under its link; `pictures` are the variants that are done, by name."""
    files = {PAGE: page.read_bytes(), CARD: card_of_comparison(list(pictures.values()))}
    return SharedRecord(COMPARISON, title, words, variants=tuple(pictures)), files


def title_of(sources: Sequence[Source]) -> str:
    """In words, with no name of a visitor's file: Chelsea the cat in the manner of stained glass."""
    photo, *styles = [examples.find(source) for source in sources] or [None]
    manners = dict.fromkeys("a picture" if style is None else in_words(style).lower() for style in styles or [None])
    return f"{'A photo' if photo is None else in_words(photo)} in the manner of {' and '.join(manners)}"


def in_words(example: str) -> str:
    """What the page calls it."""
    return examples.LABELS[example]


def detail(config: StylizeConfig) -> str:
    """The stop that a config is at, or its recipe."""
    stops = {preset: stop for stop, preset in STOPS.items()}
    return stops.get(config.preset, config.preset if config.preset in PRESETS else "of its own")


def without_names(png: Path) -> bytes:
    """The same picture and settings, in which no picture but our examples has a name or a checksum."""
    text = PngInfo()
    text.add_text(SETTINGS_KEY, json.dumps(_nameless(read_settings(png))))
    file = io.BytesIO()
    with Image.open(png) as image:
        image.save(file, "PNG", pnginfo=text)
    return file.getvalue()


def _nameless(value: Any) -> Any:
    """A source is a dict of these two keys, wherever it stands."""
    if isinstance(value, dict) and value.keys() == {"name", "checksum"}:
        source = Source(str(value["name"]), str(value["checksum"]))
        found = examples.find(source)
        return vars(Source("", "")) if found is None else {"name": found, "checksum": source.checksum}
    if isinstance(value, dict):
        return {key: _nameless(each) for key, each in value.items()}
    return [_nameless(each) for each in value] if isinstance(value, list) else value
