"""Pictures to compare in a browser: two of them in one place with zoom and pan in step, and all of them, as HTML.

The page of a comparison and the demo show the same; it stands there without scripts too, as plain pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2

from stylecore.version import VERSION

FOLDER = Path(__file__).parent
VIEWER_CSS = (FOLDER / "viewer.css").read_text(encoding="utf-8")
VIEWER_JS = (FOLDER / "viewer.js").read_text(encoding="utf-8")  # defines startViewer(root)


@dataclass(frozen=True)
class View:
    """A picture to look at, or why there is none."""

    name: str  # unique among them
    source: str = ""  # its address; "": there is none
    size: tuple[int, int] = (0, 0)  # width and height in px
    lines: tuple[str, ...] = ()  # said below, in smaller letters
    trouble: str = ""  # why there is no picture

    @property
    def width(self) -> int:
        return self.size[0]

    @property
    def height(self) -> int:
        return self.size[1]


@dataclass(frozen=True)
class Axis:
    """What a row or a column of headings says."""

    label: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """Pictures in rows and columns with headings, as in an X/Y plot."""

    columns: Axis
    rows: Axis
    names: tuple[tuple[str, ...], ...]  # of the views, row by row; a view may stand in several places

    @property
    def lines(self) -> list[tuple[str, tuple[str, ...]]]:
        """Each row's heading and its names."""
        return list(zip(self.rows.words, self.names, strict=True))


def viewer_html(views: Sequence[View], pair: tuple[str, str] | None = None, grid: Grid | None = None) -> str:
    """All views, and above them a place for two, `pair` to begin with (their names); None: without it.

    Args:
        views: in the order of the pictures; those that the grid has not stand before it.
    """
    by_name = {view.name: view for view in views}
    placed = [name for line in grid.names for name in line] if grid else []
    loose = [view for view in views if view.name not in placed]
    # As the script finds them in the document: the loose ones, then row by row.
    order = [view.name for view in loose if view.source]
    order += [name for name in placed if name in by_name and by_name[name].source]
    numbers = tuple(order.index(name) for name in pair) if pair else None
    return environment().get_template("viewer.html").render(loose=loose, by_name=by_name, grid=grid, pair=numbers)


def two_pictures_html(label: str, left: str) -> str:
    """The place for the first two pictures of a `.comparison`, whatever else it holds.

    Args:
        label: what it is called, for screen readers.
        left: what the left picture is called, within a sentence.
    """
    return environment().get_template("two_pictures.html").render(pair=(0, 1), label=label, left=left)


@cache
def environment() -> jinja2.Environment:
    """Of all HTML templates here: escaped, and nothing left out in silence."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals["version"] = VERSION
    return found
