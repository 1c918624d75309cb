"""This browser's pictures: a strip of what was painted here within the hour, and what a click on one does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from ..server.results import Result, Results
from .tiles import Tile, row_html, tile_row, tile_uri

MAX_PICTURES = 12
SHOW, AS_PHOTO, AS_STYLE, COMPARE = "Show it", "Use as photo", "Use as style", "Compare with it"


class History:
    """The strip; made inside a `gr.Blocks`. Only the browser knows the tokens of its pictures."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.tokens = gr.BrowserState([])
        with gr.Column(visible=False, elem_id="history") as self.container:
            self.action = gr.Radio([SHOW, AS_PHOTO, AS_STYLE, COMPARE], value=SHOW, label="Your pictures, for an hour")
            self.strip = tile_row([], "Your pictures", elem_classes="strip")

    @property
    def outputs(self) -> list[Any]:
        """All that its methods change."""
        return [self.tokens, self.container, self.strip]

    def show(self, tokens: Sequence[str]) -> dict[Any, Any]:
        """The pictures of these tokens that are still there, the newest first."""
        found = self.results.found(list(tokens)[:MAX_PICTURES])
        tiles = [_tile(token, result) for token, result in found.items()]
        return {
            self.tokens: list(found),
            self.container: gr.Column(visible=bool(found)),
            self.strip: row_html(tiles, "Your pictures"),
        }

    def add(self, token: str, tokens: Sequence[str]) -> dict[Any, Any]:
        """A new picture in front of the others."""
        return self.show([token, *(each for each in tokens if each != token)])

    def newest(self, tokens: Any) -> Result | None:
        """The last picture that is still there."""
        found = self.results.found(list(tokens) if isinstance(tokens, list) else [])
        return next(iter(found.values()), None)


def values_of(result: Result, by_name: Mapping[str, Any]) -> dict[Any, Any]:
    """The controls as they were: pictures by their files."""
    return {by_name[name]: _value(value) for name, value in result.values.items() if name in by_name}


def _value(value: Any) -> Any:
    return value["path"] if isinstance(value, Mapping) else value


def _tile(token: str, result: Result) -> Tile:
    named = (f"{result.path.stem.replace('_', ' ')}", f"strength {result.config.strength:.0f}", result.config.preset)
    return Tile(token, ", ".join(named), tile_uri(result.path))
