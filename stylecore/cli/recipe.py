"""The options that decide how a result looks, made from the config's fields for all commands that take them."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from stylecore.config import SETTINGS, parse_field
from stylecore.encoders import weights_architecture
from stylecore.encoders.weights import SUFFIXES
from stylecore.errors import OptionError
from stylecore.fields import Setting
from stylecore.images import image_size, load_image
from stylecore.presets import DEFAULT_PRESET, PRESETS
from stylecore.strength import with_weight

ORIGINAL = "original"
# Names of an option beside its field's, shown in the help or (of an earlier release) not.
SHORT = {"num_steps": "--steps"}
EARLIER = {"refresh_every": "--svd-every"}


@dataclass(frozen=True)
class Recipe:
    """What was typed of the options that decide how a result looks."""

    typed: Mapping[str, Any]  # by field of the config; None: not typed
    weights: Path | None = None
    assignments: tuple[str, ...] = ()  # FIELD=VALUE

    @property
    def encoder_file(self) -> Path | None:
        """What `--encoder` names, if that is a file."""
        encoder = self.typed.get("encoder")
        return Path(encoder) if encoder and Path(encoder).suffix in SUFFIXES else None

    @property
    def weights_file(self) -> Path | None:
        """The encoder's weights, where they are not bundled."""
        return self.weights or self.encoder_file

    @property
    def names_preset(self) -> bool:
        """Whether a preset was typed, in whatever way."""
        return self.typed.get("preset") is not None or any(text.startswith("preset=") for text in self.assignments)

    def options(self, photo: str | None = None) -> dict[str, Any]:
        """As fields of `StylizeConfig`, and the preset. The size may be that of `photo`, the content's file."""
        options = with_weight({name: value for name, value in self.typed.items() if value is not None})
        if self.encoder_file is not None and self.weights is not None:
            raise OptionError("Two files of weights were given: leave out --weights, or name an encoder.")
        if self.weights_file is not None and ("encoder" not in options or self.encoder_file is not None):
            options["encoder"] = weights_architecture(self.weights_file)
        if options.get("size") == ORIGINAL:
            if photo is None:
                raise OptionError("--size original is that of the content image: name it.")
            options["size"] = str(max(image_size(load_image(photo))))
        if "size" in options and not options["size"].strip().isdecimal():
            raise OptionError(f"--size takes a whole number of pixels, or {ORIGINAL}, not '{options['size']}'.")
        for name, value in options.items():
            if name == "size" or typing.get_origin(SETTINGS[name].kind) is tuple:
                options[name] = parse_field(name, value)
        return options | dict(map(_assigned, self.assignments))


def _assigned(assignment: str) -> tuple[str, Any]:
    field, separator, text = assignment.partition("=")
    if not separator:
        raise OptionError(f"--set takes FIELD=VALUE, such as --set optimizer=adam, not '{assignment}'.")
    return field.strip(), parse_field(field.strip(), text)


def takes_recipe(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """Give a command an option for every common field of the config, and hand it the filled `Recipe` as `recipe`.

    A parameter of the command takes the place of the option of the same name, which stays untyped.
    """
    hints = typing.get_type_hints(command, include_extras=True)
    own = [
        each.replace(annotation=hints[each.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for each in inspect.signature(command).parameters.values()
        if each.name != "recipe"
    ]
    names = {each.name for each in own}
    added = [each for each in _parameters() if each.name not in names]

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> int | None:
        typed = {each.name: arguments.pop(each.name) for each in added}
        for field in EARLIER:
            earlier = typed.pop(_earlier(field), None)
            typed[field] = earlier if typed.get(field) is None else typed[field]
        weights, assignments = typed.pop("weights", None), typed.pop("set_", None)
        return command(recipe=Recipe(typed, weights, tuple(assignments or ())), **arguments)

    wrapped.__signature__ = inspect.Signature(own + added)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {each.name: each.annotation for each in own + added}
    return wrapped


def _parameters() -> list[inspect.Parameter]:
    common = {name: setting for name, setting in SETTINGS.items() if setting.is_common}
    fields = [_parameter(name, _type_of(setting), _help(setting), *_flags(name)) for name, setting in common.items()]
    earlier = [_parameter(_earlier(name), int, "", flag, hidden=True) for name, flag in EARLIER.items()]
    return [
        _parameter("preset", str, f"{', '.join(PRESETS)} (default {DEFAULT_PRESET})."),
        _parameter(
            "strength", float, "From the photo (0) to the painting (100), even to the eye: sets --style-weight."
        ),
        *fields,
        *earlier,
        _parameter("weights", Path, "Encoder weights, .safetensors or .pth."),
        _parameter("set_", list[str], "Any other field of the config.", "--set", metavar="FIELD=VALUE"),
    ]


def _parameter(name: str, kind: Any, help: str, *flags: str, **options: Any) -> inspect.Parameter:
    annotation = Annotated[kind | None, typer.Option(*flags, help=help, **options)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _flags(name: str) -> tuple[str, ...]:
    flag = f"--{name.replace('_', '-')}"
    return (flag, SHORT[name]) if name in SHORT else (flag,)


def _earlier(name: str) -> str:
    return f"earlier_{name}"


def _type_of(setting: Setting) -> type:
    """Numbers as numbers; all else is text, which the config parses; and so is the size, which may be `original`."""
    if setting.name == "size":
        return str
    return setting.kind if setting.kind in (int, float) else str


def _help(setting: Setting) -> str:
    """The field's sentence with its unit, choices and default."""
    words = setting.help.rstrip(".")
    words += f", in {setting.unit}" if setting.unit else ""
    words += f", or {ORIGINAL}: the content image's" if setting.name == "size" else ""
    words += f": {', '.join(setting.choices)}" if setting.choices else ""
    is_recipes = any(setting.name in recipe for recipe in PRESETS.values())
    default = "the preset's" if is_recipes else setting.default
    return f"{words}." if default in ((), 0) else f"{words} (default {default})."


def parse_list(text: str | None) -> list[str]:
    """`a,b,c` -> its parts, without spaces and repetitions; nothing typed is an empty list.

    Raises:
        OptionError: a list of nothing.
    """
    if text is None:
        return []
    parts = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not parts:
        raise OptionError(f"'{text}' names nothing: give one or more values, separated by commas.")
    return parts
