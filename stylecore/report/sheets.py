"""Contact sheets: rows of pictures that stand on their captions."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from stylecore.images import ImageTensor, to_uint8
from stylecore.report.charts import GREY, INK, PAPER

LARGE_PX = 240  # cells from this size on have room for large letters
JPEG_QUALITY = 92


@dataclass(frozen=True)
class Picture:
    """A picture, its title, and what is said about it in smaller letters."""

    image: Image.Image
    title: str = ""
    lines: tuple[str, ...] = ()


def picture_of(image: ImageTensor, title: str = "", *lines: str) -> Picture:
    """Of an image (1, 3, H, W) in [0, 1]."""
    return Picture(Image.fromarray(to_uint8(image)), title, lines)


class _Layout(NamedTuple):
    """Sizes in px of a sheet whose pictures have a longer side of `cell` px at most."""

    cell: int
    margin: int
    gap: int

    @property
    def title(self) -> int:
        return 19 if self.cell >= LARGE_PX else 14

    @property
    def text(self) -> int:
        return 14 if self.cell >= LARGE_PX else 12

    @property
    def line(self) -> int:
        return round(1.35 * self.text)

    def fitted(self, image: Image.Image) -> tuple[int, int]:
        """Width and height of a picture in its cell."""
        factor = self.cell / max(image.size)
        return max(1, round(image.width * factor)), max(1, round(image.height * factor))

    def width(self, pictures: Sequence[Picture]) -> int:
        """Of all cells of a sheet: the widest picture's, with room for a caption where there is one."""
        needed = 200 if self.cell >= LARGE_PX else self.cell
        return max([self.fitted(picture.image)[0] for picture in pictures] + [needed * _has_captions(pictures)])

    def height(self, row: Sequence[Picture]) -> int:
        """Of the pictures of a row, without their captions."""
        return max(self.fitted(picture.image)[1] for picture in row)

    def caption(self, row: Sequence[Picture]) -> int:
        """Height of a row's captions."""
        num_lines = max(len(picture.lines) for picture in row)
        return _has_captions(row) * (8 + round(1.35 * self.title) + self.line * num_lines)


def _has_captions(pictures: Sequence[Picture]) -> bool:
    return any(picture.title or picture.lines for picture in pictures)


def contact_sheet(
    rows: Sequence[Sequence[Picture]],
    cell_px: int,
    *,
    heading: tuple[str, str] | None = None,
    foot: str = "",
    margin_px: int = 20,
    gap_px: int = 12,
) -> Image.Image:
    """The pictures, each with a longer side of `cell_px`, under a title with a line below it, above a foot line.

    A row is as high as its pictures need; all columns have one width.
    """
    layout = _Layout(cell_px, margin_px, gap_px)
    cell_width = layout.width([picture for row in rows for picture in row])
    heights = [layout.height(row) + layout.caption(row) for row in rows]
    above, below = 78 * (heading is not None), 38 * bool(foot)
    width = max(map(len, rows)) * (cell_width + gap_px) - gap_px
    height = above + sum(heights) + gap_px * (len(rows) - 1) + below
    sheet = Image.new("RGB", (width + 2 * margin_px, height + 2 * margin_px), PAPER)
    for line, size, color, top in zip(heading or (), (30, 15), (INK, GREY), (0, 42), strict=False):
        _write(sheet, (margin_px, margin_px - 4 + top), line, size, color, width)
    top = margin_px + above
    for row, row_height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            left = margin_px + column * (cell_width + gap_px)
            _place(sheet, picture, (left, top + layout.height(row)), cell_width, layout)
        top += row_height + gap_px
    _write(sheet, (margin_px, sheet.height - margin_px - 14), foot, 13, GREY, width)
    return sheet


def _place(sheet: Image.Image, picture: Picture, foot: tuple[int, int], width: int, layout: _Layout) -> None:
    """A picture flush left, standing on `foot`, with its caption below."""
    left, bottom = foot
    scaled = picture.image.convert("RGB").resize(layout.fitted(picture.image), Image.Resampling.LANCZOS)
    sheet.paste(scaled, (left, bottom - scaled.height))
    _write(sheet, (left, bottom + 8), picture.title, layout.title, INK, width)
    first = bottom + 8 + round(1.35 * layout.title)
    for number, line in enumerate(picture.lines):
        _write(sheet, (left, first + number * layout.line), line, layout.text, GREY, width)


def _write(sheet: Image.Image, at: tuple[int, int], text: str, size: int, color: str, width: int) -> None:
    """One line, in letters small enough for `width` px but at least 10 px high; what does not fit then is cut."""
    draw = ImageDraw.Draw(sheet)
    while size > 10 and draw.textlength(text, _font(size)) > width:
        size -= 1
    while len(text) > 1 and draw.textlength(text, _font(size)) > width:
        text = text[:-4] + "..."  # the bundled font has no ellipsis
    draw.text(at, text, color, _font(size))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def in_rows(pictures: Sequence[Picture]) -> list[Sequence[Picture]]:
    """Pictures of about one size in rows, so that their sheet comes near 3:2 and its last row is well filled."""
    width, height = (max(sides) for sides in zip(*(picture.image.size for picture in pictures), strict=True))

    def badness(columns: int) -> float:
        rows = math.ceil(len(pictures) / columns)
        shape = math.log(columns * width / (rows * 1.2 * height) / 1.5)  # a fifth for the caption
        return abs(shape) + 0.5 * (rows * columns - len(pictures)) / columns

    columns = min(range(1, len(pictures) + 1), key=badness)
    return [pictures[start : start + columns] for start in range(0, len(pictures), columns)]


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def jpeg(image: Image.Image, quality: int = JPEG_QUALITY) -> bytes:
    """Without colour subsampling: styles are made of small saturated strokes."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
    return buffer.getvalue()
