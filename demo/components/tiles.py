"""Rows of small pictures to click on: named buttons whose pictures are part of the page, and ask for no requests."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from PIL import Image, ImageOps

from stylecore.report.page import data_uri

from ..server.queue import AT_ONCE

TILE_PX = 88
QUALITY = 60  # of WebP: a few kilobytes each
# One listener for all tiles, whichever there are by now.
CLICK = """element.addEventListener('click', event => {
    const tile = event.target.closest('button');
    if (tile) trigger('click', {name: tile.dataset.name});
});"""


class Tile(NamedTuple):
    """A picture to click on."""

    name: str  # what the click says
    label: str  # what is said of it, by a tooltip and to those who do not see it
    picture: str  # an address; `tile_uri` makes one
    caption: str = ""  # written beneath


def tile_row(tiles: Sequence[Tile], label: str, **options: Any) -> gr.HTML:
    """The tiles as a component, whose `click` has the `name` of one."""
    return gr.HTML(row_html(tiles, label), js_on_load=CLICK, padding=False, **options)


def row_html(tiles: Sequence[Tile], label: str) -> str:
    """The HTML of a row, for a component that has it already."""
    return f"<div class='tiles' role='group' aria-label='{html.escape(label)}'>{''.join(map(_tile_html, tiles))}</div>"


def _tile_html(tile: Tile) -> str:
    name, label, caption = (html.escape(text) for text in (tile.name, tile.label, tile.caption))
    under = f"<span>{caption}</span>" if caption else ""
    return (
        f"<button type='button' data-name='{name}' title='{label}' aria-label='{label}'>"
        f"<img src='{tile.picture}' alt='' width='{TILE_PX}' height='{TILE_PX}'>{under}</button>"
    )


def on_click(row: gr.HTML, chosen: Any, inputs: Any, outputs: Any) -> Any:
    """Wire `chosen(..., event)` to the clicks on a row's tiles: `event.name` says which."""
    return row.click(chosen, inputs, outputs, preprocess=False, **AT_ONCE)


def tile_uri(path: Path, size_px: int = TILE_PX) -> str:
    """A picture file as a small square, inside an address."""
    with Image.open(path) as image:
        image.draft("RGB", (2 * size_px, 2 * size_px))
        small = ImageOps.fit(image.convert("RGB"), (size_px, size_px))
    file = io.BytesIO()
    small.save(file, "WEBP", quality=QUALITY, method=6)
    return data_uri(file.getvalue(), "webp")
