"""The variants of a comparison, from what the page or a program asks for."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stylecore import OptionError, StylizeConfig
from stylecore.compare import Variant, same_start
from stylecore.config import SETTINGS
from stylecore.errors import unknown
from stylecore.losses import option_names

from .server.settings import Settings

NUM_VARIANTS = (2, 8)
NAMED = {"style_weight": "weight {}", "strength": "strength {}"}  # numbers that do not say what they are
MAX_NAME = 60  # letters: a variant's file is named by it
# What a variant may name. No encoder, device or stage: they are the server's own.
FIELDS = (
    "preset",
    "loss",
    "content_layers",
    "style_layers",
    "pooling",
    "terms",
    "components",
    "threshold",
    "centered",
    "weights_from",
    "refresh_every",
    "num_samples",
    "num_positions",
    "num_directions",
    "histogram_weight",
    "content_weight",
    "style_weight",
    "strength",
    "tv_weight",
    "keep_colors",
    "init",
    "seed",
    "optimizer",
    "learning_rate",
    "clamp",
    "num_steps",
    "target_distance",
)


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
        OptionError: a field that is none of `FIELDS`, a value out of range, or not two to eight variants that differ.
    """
    variants: dict[StylizeConfig, Variant] = {}
    for change in _checked(changes):
        config = settings.make_config(**{**options, **change})
        if not _matters("components", config):
            config = config.replace(components=SETTINGS["components"].default)
        if config not in variants:
            variants[config] = _named(_name(change, config), config, variants.values())
    low, high = NUM_VARIANTS
    if not low <= len(variants) <= high:
        differ = f"{len(variants)} that differ" if variants else "none"
        raise OptionError(f"Choose {low} to {high} variants: there {'is' if len(variants) == 1 else 'are'} {differ}.")
    return same_start(list(variants.values()))


def _checked(changes: Any) -> Sequence[Mapping[str, Any]]:
    """As a program may send anything: a list of objects that name what a visitor may set."""
    if not isinstance(changes, Sequence) or not all(isinstance(change, Mapping) for change in changes):
        raise OptionError('variants must be a list of objects, such as [{"loss": "gram"}, {"loss": "pca"}].')
    for field in itertools.chain.from_iterable(changes):
        if field in SETTINGS and field not in FIELDS:
            raise OptionError(f"A variant cannot name its {field} on this server: choose from {', '.join(FIELDS)}.")
        if field not in FIELDS:
            raise unknown("setting", field, FIELDS)
    return changes


def _named(name: str, config: StylizeConfig, others: Iterable[Variant]) -> Variant:
    """With a number behind the name where another variant has its file already."""
    taken = {other.file_name.lower() for other in others}
    names = itertools.chain([name], (f"{name} ({number})" for number in itertools.count(2)))
    return next(each for each in (Variant(name, config) for name in names) if each.file_name.lower() not in taken)


def _name(change: Mapping[str, Any], config: StylizeConfig) -> str:
    """What was changed: `pca 12.5%`, `weight 3`."""
    fields = [field for field in change if _matters(field, config)]
    words = [NAMED[field].format(_word(change[field])) if field in NAMED else _word(change[field]) for field in fields]
    return " ".join(words)[:MAX_NAME] or config.loss


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _matters(field: str, config: StylizeConfig) -> bool:
    """Components are of some losses alone."""
    return field != "components" or field in option_names(config.loss)
