"""What a bundle's manifest holds, written once, and whether a file holds it: by Python alone.

A part of `runtime.py`, into whose one file a bundle joins it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict, get_args, get_origin, get_type_hints, is_typeddict

FORMAT = 3
MAX_STEPS, MAX_WEIGHT = 100_000, 10**12
GRAPHS = ("targets.onnx", "step.onnx")


@dataclass(frozen=True)
class Rule:
    """What a value must be besides being of its type."""

    words: str
    holds: Callable[[Any], bool]


def between(low: float, high: float) -> Rule:
    """A number within a range, ends included."""
    return Rule(f"between {low:g} and {high:g}", lambda value: low <= value <= high)  # NaN is not


def like(pattern: str, words: str) -> Rule:
    """A text of that form."""
    return Rule(words, lambda text: re.fullmatch(pattern, text) is not None)


def names(*keys: str) -> Rule:
    """An object with at least these keys."""
    return Rule(f"an object that names {' and '.join(keys)}", lambda values: set(keys) <= values.keys())


FileName = Annotated[str, like(r"[\w.-]{1,100}", "the name of a file beside it")]
Checksum = Annotated[str, like(r"[0-9a-f]{64}", "a SHA-256 checksum")]
Layers = Annotated[list[str], Rule("names of layers", lambda names: len(names) > 0)]
Weight = Annotated[float, between(0, MAX_WEIGHT)]


class SlotFields(TypedDict):
    """A `StateSlot` of optimizers.py: where one input of the step gets its value from."""

    next: str
    start: Literal["image", "zeros"]


class StageFields(TypedDict):
    """A `Stage` of the schedule."""

    scale: Annotated[float, between(0.001, 1)]
    share: Annotated[float, between(1e-9, 1e9)]


class Recipe(TypedDict):
    """The fields of a `StylizeConfig` that the runtime reads; those that it does not may be there as well."""

    encoder: str
    loss: Literal["gram", "pca"]
    terms: Literal["absolute", "relative"]
    init: Literal["content", "noise", "style_statistics"]
    size: Annotated[int, between(64, 8192)]
    num_steps: Annotated[int, between(1, MAX_STEPS)]
    style_scale: Annotated[float, between(0.25, 4)]
    style_size: Annotated[int, between(0, 32768)]  # 0: by scale
    stages: Annotated[list[StageFields], Rule("a list of stages", lambda stages: len(stages) > 0)]
    content_layers: Layers
    style_layers: Layers
    content_layer_weights: list[Weight]
    style_layer_weights: list[Weight]
    content_weight: Weight
    style_weight: Weight
    centered: bool


class Manifest(TypedDict):
    """manifest.json."""

    format: int
    files: Annotated[dict[FileName, Checksum], names(*GRAPHS)]  # of every other file
    config: Recipe
    precision: str  # of the convolutions: it changes nothing for who runs them
    num_components: dict[str, Annotated[int, between(1, 4096)]]  # by style layer, for "pca"; else empty
    state: dict[str, SlotFields]  # by input of the step


NAMES = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a whole number"}


def find_fault(value: Any, kind: Any, place: str) -> str | None:
    """What is wrong with a value from JSON, in words such as "'size' must be between 64 and 4096"; None: nothing.

    Args:
        kind: one of the classes above, or what their fields have as types.
        place: what the value is called.
    """
    kind, *rules = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    if get_origin(kind) is Literal:
        return None if value in get_args(kind) else f"{place} must be one of {', '.join(get_args(kind))}"
    plain = dict if is_typeddict(kind) else get_origin(kind) or kind
    if not _is(value, plain):
        return f"{place} must be {NAMES.get(plain, 'a number')}"
    broken = (f"{place} must be {rule.words}" for rule in rules if not rule.holds(value))
    return next(broken, None) or _first(find_fault(*part) for part in _parts(value, kind, place))


def _is(value: Any, plain: type) -> bool:
    if isinstance(value, bool) or plain is bool:  # Python's true is 1
        return plain is bool and isinstance(value, bool)
    return isinstance(value, (int, float) if plain is float else plain)


def _parts(value: Any, kind: Any, place: str) -> Iterable[tuple[Any, Any, str]]:
    """What is inside a value, with the kind it must have and what it is called; for a field that is missing, None."""
    if is_typeddict(kind):
        fields = get_type_hints(kind, include_extras=True)
        return [(value.get(name), inner, f"'{name}'") for name, inner in fields.items()]
    if get_origin(kind) is list:
        return [(item, get_args(kind)[0], f"an item of {place}") for item in value]
    if get_origin(kind) is dict:
        keys, values = get_args(kind)
        names = [(name, keys, f"'{name}' in {place}") for name in value]
        return names + [(item, values, f"'{name}' in {place}") for name, item in value.items()]
    return []


def _first(faults: Iterable[str | None]) -> str | None:
    return next((fault for fault in faults if fault), None)
