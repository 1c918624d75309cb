"""Strength: the style weight on a scale on which equal moves look equal, from the photo (0) to the painting (100).

A result's way from the photo to the painting, measured by its content distance, is near a share of two weights against
each other, w / (w + m), over three decades of the style weight w. Strength is this share, scaled so that a style weight
of 1, a preset's own, is 100. docs/benchmarks/strength.md shows its moves on pictures; with this m, half the strength is
half the way on their mean.

The weight is what a config holds and a PNG stores; strength is another way to say it, for our presets, whose terms are
relative. Weights above 1, which change little more, are past the scale's end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from stylecore.errors import OptionError

FULL_STRENGTH = 100.0
MIDDLE_WEIGHT = 0.012  # m: the style weight half way


def weight_of(strength: Any) -> float:
    """The style weight of a strength, or of its text. Raises an OptionError unless it is a number from 0 to 100."""
    try:
        share = math.nan if isinstance(strength, bool) else float(strength) / FULL_STRENGTH
    except (TypeError, ValueError):
        share = math.nan
    if not 0 <= share <= 1:
        raise OptionError(
            f"strength must be between 0 (the photo) and {FULL_STRENGTH:g} (the painting), not {strength}."
        )
    return 1.0 if share == 1 else MIDDLE_WEIGHT * share / (1 + MIDDLE_WEIGHT - share)


def strength_of(style_weight: float) -> float:
    """The strength of a style weight, which is 0 or more; of every weight from 1 on it is 100."""
    weight = min(1.0, style_weight)
    return FULL_STRENGTH * weight * (1 + MIDDLE_WEIGHT) / (weight + MIDDLE_WEIGHT)


def with_weight(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a config in which a `strength` has become the style weight; None means "not given".

    Raises:
        OptionError: both are given, or a strength out of range.
    """
    options = dict(options)
    strength = options.pop("strength", None)
    if strength is None:
        return options
    if options.get("style_weight") is not None:
        raise OptionError("Give a strength or a style weight, not both: each says the other.")
    return options | {"style_weight": weight_of(strength)}
