"""Pictures that were painted beforehand, by tools/make_finished.py: the first one that a visitor sees, and the wall."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from .stops import STOPS

FOLDER = Path(__file__).parent / "painted"
LIST = FOLDER / "finished.json"
STOP_PICTURES = {preset: f"stop_{preset}.jpg" for preset in STOPS.values()}  # a part of one, at each stop


class Finished(NamedTuple):
    """A picture and how it was made."""

    file: str
    settings: dict[str, Any]  # by name of the page's controls
    style_distance: float
    content_distance: float

    @property
    def path(self) -> Path:
        return FOLDER / self.file

    @property
    def title(self) -> str:
        """Chelsea as stained glass."""
        photo, style = (self.settings[name].replace("_", " ") for name in ("photo", "style"))
        return f"{photo.capitalize()} as {style}"


_ALL = [Finished(**each) for each in json.loads(LIST.read_text(encoding="utf-8"))] if LIST.is_file() else []
WALL = [each for each in _ALL if each.file not in STOP_PICTURES.values()]
AT_STOPS = {each.settings["preset"]: each for each in _ALL if each.file in STOP_PICTURES.values()}
