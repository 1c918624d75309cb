"""Pictures for the previews of links: 1200 x 630, as chats and social networks want them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageOps

from stylecore.report.sheets import jpeg

WIDTH_PX, HEIGHT_PX = CARD_PX = (1200, 630)
GAP_PX = 4
WIDE = 1.25  # width over height from which a photo and its painting share one picture, half each
QUALITY = 88


def card_of_result(result: Path, photo: Path | None = None) -> bytes:
    """A JPEG of before and after; without a photo, of the result alone."""
    with Image.open(result) as after:
        if photo is None:
            return _packed(_whole(after.convert("RGB")))
        with Image.open(photo) as before:
            return _packed(_before_and_after(before.convert("RGB"), after.convert("RGB")))


def card_of_comparison(pictures: Sequence[Path]) -> bytes:
    """A JPEG of as many of the pictures as fill it."""
    images = [Image.open(path).convert("RGB") for path in pictures]
    rows, columns = _layout(len(images), images[0].width / images[0].height)
    card = Image.new("RGB", CARD_PX, "white")
    for number, (row, column) in enumerate(itertools.product(range(rows), range(columns))):
        left, right = _cut(column, columns, WIDTH_PX)
        top, bottom = _cut(row, rows, HEIGHT_PX)
        card.paste(_filled(images[number], (right - left, bottom - top)), (left, top))
    return _packed(card)


def _before_and_after(before: Image.Image, after: Image.Image) -> Image.Image:
    """One picture, half of it painted, where it is wide enough; else one beside the other."""
    half = WIDTH_PX // 2
    if after.width / after.height >= WIDE:
        card, photo = _filled(after, CARD_PX), _filled(before, CARD_PX)
        card.paste(photo.crop((0, 0, half, HEIGHT_PX)), (0, 0))
    else:
        card = Image.new("RGB", CARD_PX)
        card.paste(_filled(before, (half, HEIGHT_PX)), (0, 0))
        card.paste(_filled(after, (half, HEIGHT_PX)), (half, 0))
    draw = ImageDraw.Draw(card)
    draw.rectangle((half - GAP_PX // 2, 0, half + GAP_PX // 2 - 1, HEIGHT_PX), "white")
    return card


def _whole(image: Image.Image) -> Image.Image:
    """All of a picture, on itself out of focus."""
    if image.width / image.height >= WIDE:
        return _filled(image, CARD_PX)
    card = _filled(image, CARD_PX).filter(ImageFilter.GaussianBlur(40)).point(lambda level: level * 0.7)
    shown = ImageOps.contain(image, CARD_PX, Image.Resampling.LANCZOS)
    card.paste(shown, ((WIDTH_PX - shown.width) // 2, (HEIGHT_PX - shown.height) // 2))
    return card


def _layout(count: int, aspect: float) -> tuple[int, int]:
    """Rows and columns that show the most of so many pictures of one aspect, and cut the least off each."""

    def badness(shape: tuple[int, int]) -> float:
        rows, columns = shape
        cell = (WIDTH_PX / columns) / (HEIGHT_PX / rows)
        return max(cell / aspect, aspect / cell) - 1 + 2 * (count - rows * columns) / count

    shapes = [(rows, columns) for rows in range(1, 4) for columns in range(1, 7) if rows * columns <= count]
    return min(shapes, key=badness)


def _cut(number: int, count: int, length: int) -> tuple[int, int]:
    """Where one of so many parts begins and ends, with a gap between two."""
    part = (length - GAP_PX * (count - 1)) / count
    return round(number * (part + GAP_PX)), round(number * (part + GAP_PX) + part)


def _filled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of a picture, as much as fits."""
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS, centering=(0.5, 0.4))


def _packed(image: Image.Image) -> bytes:
    return jpeg(image, QUALITY)
