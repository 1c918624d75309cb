"""Fields that are written once: type, range, choices, unit and help stand at the field of a pydantic dataclass, and the
command line, the page and the documentation are made from them.

A field reads `size: Annotated[int, about("Longer side of the result.", low=64, high=4096, unit="px")] = 512`. A class
of such fields derives from `Options`, whose errors are OptionErrors in one sentence.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError, core_schema

from stylecore.errors import OptionError, unknown

AnyOptions = TypeVar("AnyOptions", bound="Options")
CONFIG = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True)


@dataclass(frozen=True)
class OneOf:
    """Metadata of a text field that names an entry of a registry."""

    choices: Collection[str]
    find: Callable[[str], object] | None = None  # raises an OptionError of its own for other names

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, value: str) -> str:
        if value not in self.choices:
            if self.find:
                self.find(value)
            raise PydanticCustomError("literal_error", "not one of the choices")
        return value


@dataclass(frozen=True)
class Setting:
    """What is known of one field, for whoever shows or reads it."""

    name: str
    kind: Any  # its type, without metadata: int, tuple[str, ...], ...
    default: Any
    help: str  # one sentence
    unit: str  # "px", "s" or empty
    choices: tuple[str, ...]  # empty: free
    low: float | None  # None: no range
    high: float | None
    is_common: bool  # often wanted: has an option of its own on the command line

    def describe(self) -> str:
        """What a value looks like: `a whole number`, `adam, lbfgs or projected`."""
        if self.choices:
            return f"{', '.join(self.choices[:-1])} or {self.choices[-1]}"
        if typing.get_origin(self.kind) is tuple:
            items = {str: "names", float: "numbers"}.get(typing.get_args(self.kind)[0])
            return f"a list of {items or 'scale:share pairs or scale:share:encoder'}, separated by commas,"
        return {bool: "true or false", int: "a whole number", float: "a number"}.get(self.kind, "a name")

    @property
    def label(self) -> str:
        """The name in words."""
        return self.name.replace("_", " ")


def about(
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
    common: bool = False,
) -> Any:
    """The description of a field, to stand in its `Annotated` type. The range includes its ends."""
    return Field(description=help, ge=low, le=high, json_schema_extra={"unit": unit, "is_common": common})


def _refuse_bool(value: Any) -> Any:
    """Python's True is 1; a user's is a mistake."""
    if isinstance(value, bool):
        raise ValueError("a number, not a truth value")
    return value


Whole = Annotated[int, BeforeValidator(_refuse_bool)]
Number = Annotated[float, BeforeValidator(_refuse_bool)]


def parsed_by(parse: Callable[[Any], Any]) -> BeforeValidator:
    """Metadata of a field whose value is made by `parse` from text, or is such a value already."""
    return BeforeValidator(parse)


@pydantic.dataclasses.dataclass(frozen=True, config=CONFIG)
class Options:
    """Base of every class of fields: an impossible value raises an OptionError."""

    @model_validator(mode="wrap")
    @classmethod
    def _say_kindly(cls, values: Any, build: Any) -> Any:
        try:
            return build(values)
        except ValidationError as error:
            raise _option_error(error, settings_of(cls)) from None

    def replace(self: AnyOptions, **changes: Any) -> AnyOptions:
        """The same with other values, checked again."""
        return dataclasses.replace(self, **changes)


def settings_of(options: Any) -> Mapping[str, Setting]:
    """The fields of a class of `Options`, in their order."""
    return _settings_of(options)


@functools.cache
def _settings_of(options: Any) -> Mapping[str, Setting]:
    hints = typing.get_type_hints(options, include_extras=True)
    return {field.name: _setting(field, hints[field.name]) for field in dataclasses.fields(options)}


def _setting(field: dataclasses.Field[Any], hint: Any) -> Setting:
    kind, *metadata = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
    info = next((item for item in metadata if isinstance(item, FieldInfo)), FieldInfo())
    extra: dict[str, Any] = typing.cast(dict[str, Any], info.json_schema_extra) or {}
    bounds = {name: getattr(item, name) for item in info.metadata for name in ("ge", "le") if hasattr(item, name)}
    choices = next((tuple(item.choices) for item in metadata if isinstance(item, OneOf)), ())
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
    return Setting(
        name=field.name,
        kind=kind,
        default=field.default,
        help=info.description or "",
        unit=extra.get("unit", ""),
        choices=choices,
        low=bounds.get("ge"),
        high=bounds.get("le"),
        is_common=extra.get("is_common", False),
    )


def convert(options: Any, name: str, value: Any) -> Any:
    """`value` as the field holds it: lists become tuples, 300.0 becomes 300, text is parsed.

    Raises:
        OptionError: no such field, or a value that it cannot have.
    """
    setting = _known(options, name)
    if setting.choices and not isinstance(value, str):
        raise unknown(setting.label, value, setting.choices)
    try:
        return _adapter(options, name).validate_python(value)
    except ValidationError as error:
        raise _option_error(error, {name: setting}, name) from None


def parse(options: Any, name: str, text: str) -> Any:
    """The value of a field from its text: `relu1_1,relu2_1`, `0.5:2,1:1`, `true`, `300`. Raises what `convert` does."""
    if typing.get_origin(_known(options, name).kind) is tuple:
        return convert(options, name, [part.strip() for part in text.split(",") if part.strip()])
    return convert(options, name, text.strip())


def _known(options: Any, name: str) -> Setting:
    settings = settings_of(options)
    if name not in settings:
        raise unknown("setting", name, settings)
    return settings[name]


@functools.cache
def _adapter(options: Any, name: str) -> TypeAdapter:
    return TypeAdapter(typing.get_type_hints(options, include_extras=True)[name])


def _option_error(error: ValidationError, settings: Mapping[str, Setting], name: str = "") -> OptionError:
    """The first of pydantic's complaints, as one sentence of ours."""
    first = error.errors(include_url=False)[0]
    name = name or str(first["loc"][0])
    if name not in settings:
        return unknown("setting", name, settings)
    setting, value = settings[name], first["input"]
    if first["type"] == "literal_error":
        return unknown(setting.label, value, setting.choices)
    if first["type"] in ("greater_than_equal", "less_than_equal"):
        return OptionError(f"{name} must be between {setting.low:g} and {setting.high:g}, not {value}.")
    return OptionError(f"{name} cannot be '{value}': {setting.describe()} is expected.")
