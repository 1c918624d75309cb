"""What a comparison compares: one axis or two, each a field, the style or the photo, and its values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from stylecore import PRESETS
from stylecore.config import SETTINGS

from .. import examples
from ..server.queue import AT_ONCE
from ..server.settings import Settings
from ..stops import STOPS
from ..variants import FIELDS, label, word
from . import fields
from .job_inputs import COMPONENTS
from .url_state import Control, choice_control, list_control

NOTHING = "nothing"
OWN = "own"  # of pictures: the one at the left
KINDS = ("preset", "style", "photo", *FIELDS[1:])  # what can be compared, in the page's order
NUM_FIRST = {"x": 3, "y": 2}  # values that an axis begins with
FIRST = {"preset": ["draft", "preview", "standard"], "loss": ["gram", "pca", "bn"], "strength": ["30", "60", "90"]}
# Numbers and texts that have no list of choices: some to begin with, others can be typed.
SUGGESTED = {
    "strength": ["20", "30", "40", "60", "80", "90", "100"],
    "size": ["128", "256", "384", "512", "768", "1024"],
    "seed": ["0", "1", "2", "3"],
    "components": COMPONENTS,
    "style_scale": ["0.5", "1", "2"],
    "num_steps": ["10", "30", "100"],
    "style_layers": ["relu1_1 relu2_1", "relu3_1 relu4_1", "relu1_1 relu2_1 relu3_1 relu4_1 relu5_1"],
    "content_layers": ["relu3_1", "relu4_2", "relu5_1"],
    "threshold": ["mean:0.5", "mean:1.0", "energy:0.95"],
    "refresh_every": ["5", "10", "20"],
    "num_samples": ["256", "512", "1024"],
    "num_positions": ["1024", "4096", "16384"],
    "num_directions": ["16", "32", "64"],
    "histogram_weight": ["0", "0.2", "0.4"],
    "content_weight": ["0.5", "1", "2"],
    "style_weight": ["0.1", "0.3", "1"],
    "tv_weight": ["0", "0.1", "1"],
    "learning_rate": ["0.5", "1", "2"],
    "target_distance": ["0.3", "0.2", "0.1"],
}


class AxisInput:
    """A field and its values; made inside a `gr.Blocks`.

    Args:
        name: x or y, as a link has it.
        kind: what it compares at first.
    """

    def __init__(self, name: str, title: str, kind: str, settings: Settings) -> None:
        self.name, self.settings = name, settings
        kinds = [(label(each), each) for each in KINDS]
        self.kinds = [*KINDS] if kind != NOTHING else [NOTHING, *KINDS]
        with gr.Column(min_width=200):
            choices = kinds if kind != NOTHING else [(NOTHING, NOTHING), *kinds]
            self.kind = gr.Dropdown(choices, value=kind, label=title)
            self.values = gr.Dropdown(
                choices_of(kind), value=self._first(kind), multiselect=True, allow_custom_value=True, label="Values",
                visible=kind != NOTHING,
            )  # fmt: skip
        self.kind.change(_offered, self.kind, self.values, **AT_ONCE)
        self.kind.input(self._first, self.kind, self.values, **AT_ONCE)

    @property
    def components(self) -> set[Any]:
        """What it is read from."""
        return {self.kind, self.values}

    @property
    def controls(self) -> dict[str, Control]:
        """What of it is in the address."""
        kind = choice_control(self.kind, "axis", self.kinds)
        return {self.name: kind, f"{self.name}s": list_control(self.values)}

    def read(self, values: Mapping[Any, Any]) -> tuple[str, list[str]] | None:
        """What it compares, and the values; None: nothing."""
        kind = values[self.kind]
        return None if kind == NOTHING else (kind, [each.strip() for each in values[self.values] or ()])

    def _first(self, kind: str) -> list[str]:
        """Values to begin with, as many as the axis can be sure of."""
        named = FIRST.get(kind) or [value for _, value in choices_of(kind) if value != OWN]
        if kind == "size":
            named = [value for value in named if int(value) <= self.settings.range("size")[1]]
        return named[: NUM_FIRST[self.name]]


def _offered(kind: str) -> gr.Dropdown:
    return gr.Dropdown(choices_of(kind), visible=kind != NOTHING)


def choices_of(kind: str) -> list[tuple[str, str]]:
    """Words and values that the page offers."""
    if kind in ("style", "photo"):
        files = examples.STYLES if kind == "style" else examples.PHOTOS
        return [*((word(kind, name), name) for name in files), ("the one at the left", OWN)]
    if kind == "preset":
        return [*STOPS.items(), *((name, name) for name in PRESETS if name not in STOPS.values())]
    if kind in SUGGESTED:
        return [(value, value) for value in SUGGESTED[kind]]
    if kind == NOTHING:
        return []
    return fields.in_words(kind) if SETTINGS[kind].choices else [("yes", "true"), ("no", "false")]
