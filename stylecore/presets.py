"""Named recipes. An option not given comes from the preset, then from `StylizeConfig`'s defaults.

`draft`, `preview`, `standard` and `full` are ours, from quick to careful, and `nnst` keeps more of the photo's shapes.
`gatys`, `paper`, `tutorial` and `nnst-paper` are references that everything else is compared with: they stay as
published, and fix float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stylecore.config import Stage, StylizeConfig, convert
from stylecore.encoders import STYLE_LAYERS, Layer, architecture_of
from stylecore.errors import unknown
from stylecore.strength import with_weight

DEFAULT_PRESET = "preview"
REFERENCES = ("gatys", "paper", "tutorial", "nnst-paper")
COARSEST_PX = 128  # about the longer side that a large picture is begun at: a quarter of the default size


def _per_channel_squared(factor: float, layers: tuple[str, ...]) -> tuple[float, ...]:
    return tuple(factor / Layer.parse(layer).num_channels ** 2 for layer in layers)


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
# fitting photos (tools/measure_feature_scales.py), which enters the content term squared and the style term to the
# fourth power.
TUTORIAL_STYLE_LAYERS = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1")
TUTORIAL_SCALES = {"conv1_1": 70.0, "conv1_2": 250.0, "conv2_1": 450.0, "conv2_2": 700.0, "conv3_1": 875.0}
TUTORIAL: dict[str, Any] = GATYS | {
    "content_layers": ("conv2_2",),
    "content_layer_weights": (1 / TUTORIAL_SCALES["conv2_2"] ** 2,),
    "style_layers": TUTORIAL_STYLE_LAYERS,
    "style_layer_weights": tuple(
        1e6 / Layer.parse(layer).num_channels ** 2 / TUTORIAL_SCALES[layer] ** 4 for layer in TUTORIAL_STYLE_LAYERS
    ),
    "clamp": True,
}

# Ours. All terms are relative to their targets, so that each of the five layers counts alike and the style weight means
# the same for every picture; the start has the style's colours; the optimiser stays within the displayable range.
RELATIVE_WEIGHTS = {"content": 0.02, "style": 5.0}  # summed over the layers
FAST: dict[str, Any] = {
    "terms": "relative",
    "content_layers": ("relu4_2",),
    "content_layer_weights": (RELATIVE_WEIGHTS["content"],),
    "style_layers": STYLE_LAYERS,
    "style_layer_weights": (RELATIVE_WEIGHTS["style"] / 5,) * 5,
    "optimizer": "projected",
    "history_size": 20,
    "init": "style_statistics",
    "pooling": "max",
    "basis": "joint",
}
# Low resolutions first: there an evaluation takes a quarter or a sixteenth of the time and settles what is large. The
# style's own detail follows it up, so that few evaluations are left for the result's own size.
COARSE_TO_FINE = FAST | {"enlarge": "detail"}
DRAFT = COARSE_TO_FINE | {
    "encoder": "vgg16-x3",
    "num_steps": 16,
    "stages": (Stage(0.25, 4.0), Stage(0.5, 6.0), Stage(1.0, 6.0)),
}
PREVIEW = COARSE_TO_FINE | {
    "encoder": "vgg16-x2",
    "num_steps": 27,
    "stages": (Stage(0.25, 4.0), Stage(0.5, 8.0), Stage(1.0, 15.0)),
}
STANDARD = COARSE_TO_FINE | {
    "num_steps": 56,
    "stages": (Stage(0.25, 6.0, "vgg16-x2"), Stage(0.5, 20.0, "vgg16-x2"), Stage(1.0, 30.0)),
}
FULL = FAST | {"num_steps": 300, "stages": (Stage(0.25, 80.0), Stage(0.5, 80.0), Stage(1.0, 140.0))}

# Nearest neighbours (Kolkin et al. 2022, NNST-Opt) with matches layer by layer, their "feature splitting". Theirs is
# NNST_PAPER: 200 steps of Adam on a Laplacian pyramid at each of four scales, from the photo, matches new at every
# step, no content term. Departures: the five layers of the others instead of all, split at all scales and not at the
# last alone, and no matching of colours afterwards.
NNST_PAPER = FAST | {
    "loss": "nnfm",
    "basis": "style",
    "components": "100%",
    "refresh_every": 1,
    "content_weight": 0.0,
    "optimizer": "pyramid",
    "learning_rate": 0.51,  # 0.002 of the range
    "init": "content",
    "num_steps": 800,
    "stages": (Stage(0.125, 1.0), Stage(0.25, 1.0), Stage(0.5, 1.0), Stage(1.0, 1.0)),
    "dtype": "float32",
}
# The same loss with our optimiser, whose 1 / frequency does what the pyramid does there. Histograms beside it hold what
# a cosine does not see, contrast, and with it the colours.
NNST = PREVIEW | {"loss": "nnfm", "refresh_every": 5, "histogram_weight": 0.4}

PRESETS: dict[str, dict[str, Any]] = {
    "draft": DRAFT,
    "preview": PREVIEW,
    "standard": STANDARD,
    "full": FULL,
    "nnst": NNST,
    "gatys": GATYS,
    "paper": PAPER,
    "tutorial": TUTORIAL,
    "nnst-paper": NNST_PAPER,
}


def _layer_weights(kind: str, layers: tuple[str, ...], relative: bool) -> tuple[float, ...]:
    """The weighting rule for layers that come without weights."""
    if kind == "style" and not relative:
        return _per_channel_squared(1e3 * len(STYLE_LAYERS) / len(layers), layers)
    return ((RELATIVE_WEIGHTS[kind] if relative else 1.0) / len(layers),) * len(layers)


def begun_smaller(stages: tuple[Stage, ...], halvings: int) -> tuple[Stage, ...]:
    """As many stages more before the first, each half as large as the one after it, with the share of the first.

    A large picture that begins as small as another has its composition and large strokes. The network sees as many
    pixels at every size: what it has not painted at a small one, it paints small, or not.
    """
    first = stages[0]
    return (*(replace(first, scale=first.scale / 2**i) for i in range(halvings, 0, -1)), *stages)


def begun_as_small(config: StylizeConfig, size: int) -> StylizeConfig:
    """A config that was made for `size` px and has a larger size now, begun as small as it was then."""
    if len(config.stages) == 1 or config.preset in REFERENCES:
        return config
    return config.replace(stages=begun_smaller(config.stages, round(math.log2(config.size / size))))


def _stages(preset: str, given: Mapping[str, Any]) -> tuple[Stage, ...]:
    """Of a recipe that has some, for a config that gives none."""
    stages = PRESETS[preset]["stages"]
    if "encoder" in given:
        stages = tuple(replace(stage, encoder="") for stage in stages)
    if preset in REFERENCES:
        return stages
    size = given.get("size", StylizeConfig.size)
    return begun_smaller(stages, round(math.log2(stages[0].scale * size / COARSEST_PX)))


def make_config(preset: str = DEFAULT_PRESET, **options: Any) -> StylizeConfig:
    """The preset's recipe with `options` laid over it: fields of `StylizeConfig`, or `strength` for the style weight;
    None means "not given".

    A change of layers or of the terms' kind without weights for them gets the preset's weighting rule: the same sum for
    content, in equal parts; for style 1e3 / N^2, or of relative terms the same sum in equal parts. An encoder that is
    given serves every stage. Our own presets begin a size above the default at about `COARSEST_PX`, with more stages.

    Raises:
        OptionError: an unknown preset or field, or a value out of range.
    """
    if not isinstance(preset, str) or preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    recipe = PRESETS[preset]
    given = {field: value for field, value in with_weight(options).items() if value is not None}
    given = {field: convert(field, value) for field, value in given.items()}
    terms = recipe.get("terms", StylizeConfig.terms)
    relative = given.get("terms", terms) == "relative"
    for kind in ("content", "style"):
        field = f"{kind}_layers"
        layers: tuple[str, ...] = given.get(field, recipe[field])
        if layers and (field in given or given.get("terms", terms) != terms):
            encoder = (recipe | given).get("encoder", StylizeConfig.encoder)
            architecture_of(encoder).check(layers, encoder)
            given.setdefault(f"{kind}_layer_weights", _layer_weights(kind, layers, relative))
    if "stages" in recipe and "stages" not in given:
        given["stages"] = _stages(preset, given)
    return StylizeConfig(**(recipe | given | {"preset": preset}))
