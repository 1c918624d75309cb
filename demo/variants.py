"""The variants of a comparison, from what the page or a program asks for: a list of changes, or the product of axes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stylecore import OptionError, StylizeConfig
from stylecore.compare import Variant, same_start
from stylecore.config import SETTINGS
from stylecore.errors import unknown
from stylecore.job import Job
from stylecore.losses import option_names
from stylecore.report.viewer import Axis, Grid

from . import examples
from .components.fields import label_of
from .server.settings import Settings
from .stops import STOPS

NUM_VARIANTS = (2, 12)
MAX_CHANGES = 100  # asked for, alike or not
NAMED = {"style_weight": "weight {}", "strength": "strength {}", "seed": "seed {}", "size": "{} px"}
NAMED |= {"style_scale": "strokes {}", "num_steps": "{} steps"}  # numbers that do not say what they are
MAX_NAME = 60  # letters: a variant's file is named by it
PICTURES = ("style", "photo")  # what a variant may have of its own besides fields
LABELS = {"preset": "Detail", "style": "Style", "photo": "Photo"}
# What a variant may name. No encoder, device or stage: they are the server's own.
FIELDS = (
    "preset",
    "strength",
    "size",
    "seed",
    "loss",
    "components",
    "keep_colors",
    "style_scale",
    "num_steps",
    "init",
    "style_layers",
    "content_layers",
    "pooling",
    "terms",
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
    "tv_weight",
    "optimizer",
    "learning_rate",
    "clamp",
    "target_distance",
)

Change = Mapping[str, Any]  # of fields, and of pictures by their names


@dataclass(frozen=True)
class Asked:
    """What a comparison is to run."""

    variants: list[Variant]
    names: list[str]  # of the variant that each change led to: what makes no difference comes once

    def grid(self, axes: Mapping[str, Sequence[Any]]) -> Grid | None:
        """The product of two axes, laid out with its headings; None for one axis."""
        if len(axes) < 2:
            return None
        across, down = (Axis(label(field), tuple(word(field, v) for v in values)) for field, values in axes.items())
        width = len(across.words)
        rows = (self.names[start : start + width] for start in range(0, len(self.names), width))
        return Grid(across, down, tuple(map(tuple, rows)))


def make_grid(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """The product of fields' values, as changes to one config; the first field changes fastest, along a row."""
    _check_number(math.prod(map(len, axes.values())))
    cells = itertools.product(*reversed(list(axes.values())))
    return [dict(zip(axes, reversed(cell), strict=True)) for cell in cells]


def read_axes(axes: Sequence[Any]) -> tuple[dict[str, list[Any]], dict[str, dict[str, Any]]]:
    """Axes as a program sends them: each a field with its values; and the pictures of those that compare pictures.

    A picture is an upload, or an example by its name; None is no axis.

    Raises:
        OptionError: what is no axis, or two of one field.
    """
    read: dict[str, list[Any]] = {}
    pictures: dict[str, dict[str, Any]] = {}
    for axis in axes:
        if axis is None:
            continue
        field, values = (axis.get("field"), axis.get("values")) if isinstance(axis, Mapping) else (None, None)
        if not isinstance(field, str) or not isinstance(values, list) or not values or field in read:
            raise OptionError(
                'An axis is {"field": "preset", "values": ["draft", "standard"]}, and two differ in field.'
            )
        if field in PICTURES:
            pictures[field] = _named_pictures(field, values)
            values = list(pictures[field])
        read[field] = values
    return read, pictures


def _named_pictures(kind: str, values: Sequence[Any]) -> dict[str, Any]:
    """Examples by their own names; an upload's name is its visitor's, so it gets a number."""
    named: dict[str, Any] = {}
    for number, value in enumerate(values, start=1):
        if isinstance(value, str):
            named[value] = {"path": examples.served_as(kind, value)}
        else:
            named[f"{kind} {number}"] = value
    return named


def make_variants(
    settings: Settings,
    options: Mapping[str, Any],
    changes: Sequence[Change] | None,
    job_of: Callable[[Change, StylizeConfig], Job] | None = None,
) -> Asked:
    """One variant for each of `changes` to `options` (preset and fields of a config), all from one start.

    What makes no difference comes once: components of a loss that has none, a seed where nothing is drawn.

    Args:
        job_of: the job of a change that names pictures.

    Raises:
        OptionError: a field that is none of `FIELDS`, a value out of range, or not two to twelve that differ.
    """
    variants: dict[Any, Variant] = {}
    names = []
    changes = _checked(changes)
    for change in changes:
        pictures = {kind: str(change[kind]) for kind in PICTURES if kind in change}
        config = settings.make_config(**{**options, **{k: v for k, v in change.items() if k not in pictures}})
        for field in ("components", "seed"):
            if not _matters(field, config):
                config = config.replace(**{field: SETTINGS[field].default})
        key = (config, *pictures.items())
        if key not in variants:
            job = job_of(pictures, config) if pictures and job_of else None
            variants[key] = _named(_name(change, config), config, job, variants.values())
        names.append(variants[key].name)
    low, high = NUM_VARIANTS
    if not low <= len(variants) <= high:
        differ = f"{len(variants)} that differ" if variants else "none"
        why = " A seed matters only where the start is noise." if any("seed" in each for each in changes) else ""
        are = "is" if len(variants) == 1 else "are"
        raise OptionError(f"Choose {low} to {high} variants: there {are} {differ}.{why}")
    compared = set(itertools.chain.from_iterable(changes))
    shared = [field for field in ("init", "seed") if field not in compared]
    return Asked(same_start(list(variants.values()), shared), names)


def picture_of(kind: str, name: str, uploads: Mapping[str, Mapping[str, Any]]) -> Any:
    """The upload of that name, or the example. Raises an OptionError that suggests the nearest."""
    given = uploads.get(kind, {})
    return given[name] if name in given else {"path": examples.served_as(kind, name)}


def label(field: str) -> str:
    """What the page calls what is compared."""
    return LABELS.get(field) or label_of(field)


def word(field: str, value: Any) -> str:
    """A value as a heading has it: Sketch, Stained glass, 256."""
    if field in PICTURES:
        return examples.LABELS.get(value, str(value))
    if field == "preset":
        return next((stop for stop, preset in STOPS.items() if preset == value), str(value))
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _checked(changes: Any) -> Sequence[Change]:
    """As a program may send anything: a list of objects that name what a visitor may set."""
    if not isinstance(changes, Sequence) or not all(isinstance(change, Mapping) for change in changes):
        raise OptionError('variants must be a list of objects, such as [{"loss": "gram"}, {"loss": "pca"}].')
    _check_number(len(changes))
    for field in itertools.chain.from_iterable(changes):
        if field in SETTINGS and field not in FIELDS:
            raise OptionError(f"A variant cannot name its {field} on this server: choose from {', '.join(FIELDS)}.")
        if field not in (*FIELDS, *PICTURES):
            raise unknown("setting", field, FIELDS)
    return changes


def _check_number(number: int) -> None:
    """Before anything is made of them: some may be alike, but not thousands."""
    if number > MAX_CHANGES:
        raise OptionError(f"Choose {NUM_VARIANTS[0]} to {NUM_VARIANTS[1]} variants: there are {number}.")


def _named(name: str, config: StylizeConfig, job: Job | None, others: Iterable[Variant]) -> Variant:
    """With a number behind the name where another variant has its file already."""
    taken = {other.file_name.lower() for other in others}
    names = itertools.chain([name], (f"{name} ({number})" for number in itertools.count(2)))
    made = (Variant(each, config, job) for each in names)
    return next(each for each in made if each.file_name.lower() not in taken)


def _name(change: Change, config: StylizeConfig) -> str:
    """What was changed: `pca 12.5%`, `weight 3`."""
    words = [NAMED.get(field, "{}").format(word(field, change[field])) for field in change if _matters(field, config)]
    return " ".join(words)[:MAX_NAME] or config.loss


def _matters(field: str, config: StylizeConfig) -> bool:
    """Components and draws are of some losses alone."""
    if field == "seed":
        return config.init == "noise" or field in option_names(config.loss)
    return field != "components" or field in option_names(config.loss)
