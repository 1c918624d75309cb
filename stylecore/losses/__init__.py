"""The terms of the objective: content, total variation, and the family of style losses, found by name.

A new style loss is one module of this package: its class with `@style_loss(name)` and its options beside it.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

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
LOSS_OPTIONS: tuple[type[Options], ...] = tuple(
    dict.fromkeys(loss.Options for loss in STYLE_LOSSES.values() if loss.Options is not Options)
)


def find_loss(name: str) -> type[StyleLoss]:
    """The style loss of that name; an OptionError suggests the nearest."""
    if name not in STYLE_LOSSES:
        raise unknown("loss", name, STYLE_LOSSES)
    return STYLE_LOSSES[name]


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
    "content_loss",
    "find_loss",
    "gram_loss",
    "option_names",
    "summary_gradient",
    "total_variation",
]
