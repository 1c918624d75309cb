"""Detail: the four stops of the page's main control, and what each of them is."""

from __future__ import annotations

from stylecore import StylizeConfig
from stylecore.config import Stage

# All compare whole Gram matrices: pca saves too little of an evaluation for what it costs (docs/benchmarks/bench.md has
# the rows), and a stop is to be the best that its seconds buy.
STOPS = {"Sketch": "draft", "Preview": "preview", "Fine": "standard", "Full": "full"}
FINE = STOPS["Fine"]
FINER_STEPS = 30  # of the full encoder at the result's own size, as `standard` has them


def finer(config: StylizeConfig) -> StylizeConfig:
    """What makes a finished sketch or preview a fine picture: the end of the fine recipe, from that image on."""
    return _going_on(config, (Stage(1.0, 1.0),))


def larger(config: StylizeConfig, size: int) -> StylizeConfig:
    """What makes a finished picture a larger one: the style's fine detail on top, and the end of the fine recipe."""
    return _going_on(config, (Stage(config.size / size, 1.0), Stage(1.0, float(FINER_STEPS)))).replace(
        size=size, num_steps=FINER_STEPS + 1
    )


def _going_on(config: StylizeConfig, stages: tuple[Stage, ...]) -> StylizeConfig:
    return config.replace(preset=FINE, encoder="vgg16", num_steps=FINER_STEPS, stages=stages)
