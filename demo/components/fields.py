"""Controls of the config's fields: choices, ranges and words are the config's, but for the page's own words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import gradio as gr

from stylecore.config import SETTINGS

from ..server.settings import Settings

PRESETS_OWN = ""  # the choice that leaves a field to the preset
# Where the page, made for people who do not know the field's words, has others than the config.
LABELS = {
    "preset": "Recipe",
    "loss": "Style loss",
    "keep_colors": "Keep colours",
    "num_steps": "Steps",
    "init": "Start from",
    "strength": "Strength",
    "style_scale": "Stroke size",
}
INFOS = {
    "preset": "Detail sets it; the last four are references",
    "size": "Longer side, px",
    "loss": "How the style is compared",
    "strength": "From the photo to the painting",
    "style_scale": "Below 1: finer",
    "components": "Kept by pca, w2, swd, nnfm, histogram",
    "seed": "Of a start from noise",
}
CHOICES = {
    "init": {"content": "the photo", "style_statistics": "the photo, recoloured"},
    "keep_colors": {
        "none": "no",
        "luminance": "the photo's colours in the result",
        "match": "recolour the style first",
    },
    "preset": {
        "draft": "draft: the idea of the picture",
        "preview": "preview: a smaller network",
        "standard": "standard: the whole network at the end",
        "full": "full: the whole network throughout",
        "nnst": "nnst: every place like one of the style's",
        "gatys": "gatys: the method of 2016, as a reference",
        "paper": "paper: Guo and Yuan's equations as printed",
        "tutorial": "tutorial: PyTorch's, which changes the photo least",
        "nnst-paper": "nnst-paper: nearest features as of 2022, as a reference",
    },
    # Grouped: in this order, what comes first in their words.
    "loss": {
        "gram": "gram: whole matrices, the baseline",
        "pca": "Reduced · pca",
        "pca-covariance": "Reduced · pca, mean and covariance apart",
        "svd": "Reduced · svd",
        "weighted": "Weighted · feature maps",
        "weighted-element": "Weighted · single entries",
        "bn": "Other statistics · means and deviations",
        "mmd-gaussian": "Other statistics · Gaussian kernel",
        "mmd-linear": "Other statistics · linear kernel",
        "mmd-poly": "Other statistics · polynomial kernel",
        "w2": "Transport · Gaussians",
        "swd": "Transport · sliced",
        "histogram": "Transport · histograms of components",
        "nnfm": "Nearest features",
        "pca-paper": "For study · pca as printed",
        "svd-paper": "For study · svd as printed",
    },
}

NAMED = re.compile(rf"(^|[.] )({'|'.join([*SETTINGS, 'strength'])}) (must|cannot)")


def dropdown(field: str, value: str, choices: Sequence[str] = (), **options: Any) -> gr.Dropdown:
    """One of the field's choices, or of those given."""
    return gr.Dropdown(in_words(field, choices), value=value, **_words(field) | options)


def in_words(field: str, choices: Sequence[str] = ()) -> list[tuple[str, str]]:
    """(words, value) of the field's choices, or of those given."""
    labels = CHOICES.get(field, {})
    named = choices or sorted(SETTINGS[field].choices, key=lambda name: [*labels, name].index(name))
    return [(labels.get(name, name), name) for name in named]


def optional_dropdown(field: str, **options: Any) -> gr.Dropdown:
    """One of the field's choices, or the preset's."""
    return gr.Dropdown([("the recipe's", PRESETS_OWN), *in_words(field)], value=PRESETS_OWN, **_words(field) | options)


def slider(field: str, value: float, settings: Settings, **options: Any) -> gr.Slider:
    """A number in the field's range, as far as this server allows it."""
    low, high = settings.range(field)
    is_free = low < high  # else Gradio wants a range all the same
    return gr.Slider(low, max(high, low + 1), value=min(high, value), interactive=is_free, **_words(field) | options)


def whole_number(field: str, value: int | None, settings: Settings, **options: Any) -> gr.Number:
    """A whole number to be typed; none leaves it to the preset."""
    low, high = settings.range(field)
    return gr.Number(value, minimum=low, maximum=high, precision=0, **_words(field) | options)


def label_of(field: str) -> str:
    """What the page calls it."""
    return LABELS.get(field) or SETTINGS[field].label.capitalize()


def in_labels(sentence: str) -> str:
    """What is wrong with a setting, in the page's words: fields are called by their names only in programs."""
    return NAMED.sub(lambda found: f"{found[1]}{label_of(found[2])} {found[3]}", sentence)


def _words(field: str) -> dict[str, Any]:
    setting = SETTINGS.get(field)
    info = f"{setting.help.rstrip('.')}, {setting.unit}".removesuffix(", ") if setting else ""
    return {"label": label_of(field), "info": INFOS.get(field, info)}
