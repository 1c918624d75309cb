"""The variants of a comparison, from what the page or a program asks for."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from stylecore import OptionError, StylizeConfig
from stylecore.compare import Variant, same_start
from stylecore.config import SETTINGS
from stylecore.losses import option_names

from .server.settings import Settings

NUM_VARIANTS = (2, 8)


def make_grid(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """The product of fields' values, as changes to one config; the first field changes fastest, along a row."""
    cells = itertools.product(*reversed(list(axes.values())))
    return [dict(zip(axes, reversed(cell), strict=True)) for cell in cells]


def make_variants(
    settings: Settings, options: Mapping[str, Any], changes: Sequence[Mapping[str, Any]]
) -> list[Variant]:
    """One variant for each of `changes` to `options` (preset and fields of a config), all from one start.

    What makes no difference comes once: components of a loss that has none.

    Raises:
        OptionError: a value out of range, or not two to eight variants that differ.
    """
    variants: dict[StylizeConfig, Variant] = {}
    for change in changes:
        config = settings.make_config(**{**options, **change})
        if not _matters("components", config):
            config = config.replace(components=SETTINGS["components"].default)
        variants.setdefault(config, Variant(_name(change, config), config))
    low, high = NUM_VARIANTS
    if not low <= len(variants) <= high:
        differ = f"{len(variants)} that differ" if variants else "none"
        raise OptionError(f"Choose {low} to {high} variants: there {'is' if len(variants) == 1 else 'are'} {differ}.")
    return same_start(list(variants.values()))


def _name(change: Mapping[str, Any], config: StylizeConfig) -> str:
    """What was changed: `pca 12.5%`, `weight 3`."""
    fields = [field for field in change if _matters(field, config)]
    words = [f"weight {config.style_weight:g}" if field == "style_weight" else str(change[field]) for field in fields]
    return " ".join(words) or config.loss


def _matters(field: str, config: StylizeConfig) -> bool:
    """Components are of some losses alone."""
    return field != "components" or field in option_names(config.loss)
