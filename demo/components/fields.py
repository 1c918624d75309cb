"""Controls of the config's fields: choices, ranges and words are the config's, but for the page's own words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from stylecore.config import SETTINGS

from ..server.settings import Settings

# Where the page, made for people who do not know the field's words, has others than the config.
LABELS = {"loss": "Style loss", "keep_colors": "Keep colours", "num_steps": "Steps", "init": "Start from"}
INFOS = {
    "preset": "The recipe",
    "size": "Longer side, px",
    "loss": "How the style is compared",
    "style_weight": "Less keeps the photo, more lets the style take over.",
}
CHOICES = {
    "init": {"content": "the photo", "style_statistics": "the photo, recoloured"},
    "keep_colors": {
        "none": "no",
        "luminance": "the photo's colours in the result",
        "match": "recolour the style first",
    },
}


def dropdown(field: str, value: str, choices: Sequence[str] = (), **options: Any) -> gr.Dropdown:
    """One of the field's choices, or of those given."""
    labels = CHOICES.get(field, {})
    shown = [(labels.get(name, name), name) for name in choices or SETTINGS[field].choices]
    return gr.Dropdown(shown, value=value, **_words(field) | options)


def radio(field: str, value: float, choices: Sequence[float], **options: Any) -> gr.Radio:
    """A few numbers to choose from."""
    return gr.Radio(choices, value=value, **_words(field) | options)


def slider(field: str, value: float, settings: Settings, **options: Any) -> gr.Slider:
    """A number in the field's range, as far as this server allows it."""
    low, high = settings.range(field)
    is_free = low < high  # else Gradio wants a range all the same
    return gr.Slider(low, max(high, low + 1), value=min(high, value), interactive=is_free, **_words(field) | options)


def whole_number(field: str, value: int, settings: Settings, **options: Any) -> gr.Number:
    """A whole number to be typed."""
    low, high = settings.range(field)
    return gr.Number(value, minimum=low, maximum=high, precision=0, **_words(field) | options)


def _words(field: str) -> dict[str, Any]:
    setting = SETTINGS[field]
    label = LABELS.get(field, setting.label.capitalize())
    return {"label": label, "info": INFOS.get(field, f"{setting.help.rstrip('.')}, {setting.unit}".removesuffix(", "))}
