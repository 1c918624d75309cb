"""Named recipes. An option not given comes from the preset, then from `StylizeConfig`'s defaults.

`gatys`, `paper` and `tutorial` are references that everything else is compared with: they stay exactly as published,
and fix float32.
"""

from __future__ import annotations

from typing import Any

from stylecore.config import StylizeConfig, convert
from stylecore.encoder import STYLE_LAYERS, check_layers, num_channels
from stylecore.errors import unknown

DEFAULT_PRESET = "gatys"


def _per_channel_squared(factor: float, layers: tuple[str, ...]) -> tuple[float, ...]:
    return tuple(factor / num_channels(layer) ** 2 for layer in layers)


# Gatys et al. 2016 as their own code has it: style weights 1e3 / N^2 on mean((G - A)^2), L-BFGS on an unclamped image.
GATYS: dict[str, Any] = {
    "content_layers": ("relu4_2",),
    "style_layers": STYLE_LAYERS,
    "style_layer_weights": _per_channel_squared(1e3, STYLE_LAYERS),
    "optimizer": "lbfgs",
    "history_size": 100,
    "num_steps": 300,
    "init": "content",
    "pooling": "max",
    "clamp": False,
    "dtype": "float32",
}

# Guo and Yuan, as printed: alpha * 1/2 sum (F - C)^2 over all five layers + beta * sum_l w_l / (4 N^2 M^2)
# sum (G - A)^2 with unnormalised Grams. Ours are divided by M already, each by its own image's (departure: the paper
# divides both by one M, which has no meaning where content and style differ in size), so a layer's factor on
# mean((G - A)^2) is w_l / 4.
# alpha = beta = 1 barely leaves the photo: the printed content term is a sum, the style term nearly a mean.
PAPER_ALPHA, PAPER_BETA, PAPER_LAYER_WEIGHT = 1e-5, 1.0, 1 / 5
PAPER: dict[str, Any] = GATYS | {
    "content_layers": STYLE_LAYERS,
    "content_layer_weights": (1.0,) * 5,
    "content_reduction": "half_sum",
    "content_weight": PAPER_ALPHA,
    "style_layer_weights": (PAPER_BETA * PAPER_LAYER_WEIGHT / 4,) * 5,
}

# PyTorch's tutorial: layers before ReLU, Gram / (C H W) so that mean((G - A)^2) gets 1 / N^2, style 1e6 to content 1,
# clamped in every evaluation. Its weights assume torchvision's features, near 1 in size; the bundled encoder's are
# those of inputs in 0..255. Each layer is therefore divided by its scale, the root mean square of its features on the
# fitting photos (scripts/measure_feature_scales.py), which enters the content term squared and the style term to the
# fourth power.
TUTORIAL_STYLE_LAYERS = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1")
TUTORIAL_SCALES = {"conv1_1": 70.0, "conv1_2": 250.0, "conv2_1": 450.0, "conv2_2": 700.0, "conv3_1": 875.0}
TUTORIAL: dict[str, Any] = GATYS | {
    "content_layers": ("conv2_2",),
    "content_layer_weights": (1 / TUTORIAL_SCALES["conv2_2"] ** 2,),
    "style_layers": TUTORIAL_STYLE_LAYERS,
    "style_layer_weights": tuple(
        1e6 / num_channels(layer) ** 2 / TUTORIAL_SCALES[layer] ** 4 for layer in TUTORIAL_STYLE_LAYERS
    ),
    "clamp": True,
}

PRESETS: dict[str, dict[str, Any]] = {"gatys": GATYS, "paper": PAPER, "tutorial": TUTORIAL}


def make_config(preset: str = DEFAULT_PRESET, **options: Any) -> StylizeConfig:
    """The preset's recipe with `options` (fields of `StylizeConfig`) laid over it; None means "not given".

    A change of layers without weights for them gets the preset's weighting rule: equal weights for content,
    1e3 / N^2 for style.

    Raises:
        OptionError: an unknown preset or field, or a value out of range.
    """
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    given = {field: value for field, value in options.items() if value is not None}
    given = {field: convert(field, value) for field, value in given.items()}
    layers: tuple[str, ...]
    if layers := given.get("content_layers", ()):
        check_layers(given.get("encoder", StylizeConfig.encoder), layers)
        given.setdefault("content_layer_weights", (1 / len(layers),) * len(layers))
    if layers := given.get("style_layers", ()):
        check_layers(given.get("encoder", StylizeConfig.encoder), layers)
        given.setdefault("style_layer_weights", _per_channel_squared(1e3 * len(STYLE_LAYERS) / len(layers), layers))
    return StylizeConfig(**(PRESETS[preset] | given | {"preset": preset}))
