"""The terms of the objective: content, total variation, and the family of style losses, found by name.

A new style loss is one module of this package: its class with `@style_loss(name)` and its options beside it.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Any

from stylecore.errors import unknown
from stylecore.fields import Options, settings_of
from stylecore.losses import base
from stylecore.losses.base import LayerStyles, Scalar, StyleLoss, Target, summary_gradient
from stylecore.losses.content import content_loss, total_variation
from stylecore.losses.gram import gram_loss

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

# The baseline first, then by the alphabet.
STYLE_LOSSES = dict(sorted(base.STYLE_LOSSES.items(), key=lambda item: (item[0] != "gram", item[0])))
_options = dict.fromkeys(loss.Options for loss in STYLE_LOSSES.values() if loss.Options is not Options)
# As bases of one class: what derives from others comes before them.
LOSS_OPTIONS: tuple[type[Options], ...] = tuple(sorted(_options, key=lambda options: -len(options.__mro__)))


def find_loss(name: str) -> type[StyleLoss]:
    """The style loss of that name; an OptionError suggests the nearest."""
    if name not in STYLE_LOSSES:
        raise unknown("loss", name, STYLE_LOSSES)
    return STYLE_LOSSES[name]


def style_losses(options: Any) -> dict[str, float]:
    """The style losses that a config asks for by name, and what each is multiplied by: its own, and histograms beside
    it."""
    beside = {"histogram": options.histogram_weight} if options.histogram_weight else {}
    return beside | {options.loss: 1.0 + beside.get(options.loss, 0.0)}


def at_once(options: Any) -> list[str]:
    """Those of them that look at all positions at once, so that images may not come in tiles."""
    return [name for name in style_losses(options) if not find_loss(name).adds_up(options)]


def option_names(loss: str) -> tuple[str, ...]:
    """The options that concern a loss."""
    return tuple(settings_of(find_loss(loss).Options))


__all__ = [
    "LOSS_OPTIONS",
    "STYLE_LOSSES",
    "LayerStyles",
    "Scalar",
    "StyleLoss",
    "Target",
    "at_once",
    "content_loss",
    "find_loss",
    "gram_loss",
    "option_names",
    "style_losses",
    "summary_gradient",
    "total_variation",
]
