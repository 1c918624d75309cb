"""The options that decide how a result looks, once for all commands that take them."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from stylecore.config import parse_field
from stylecore.encoders.vgg import ENCODERS, WEIGHTS_SUFFIXES, weights_architecture
from stylecore.errors import OptionError
from stylecore.presets import DEFAULT_PRESET, PRESETS

# Options that are fields of `StylizeConfig` under another name.
RENAMED = {"steps": "num_steps", "svd_every": "refresh_every"}


@dataclass(frozen=True)
class Recipe:
    """The options that decide how a result looks; None means "not typed"."""

    size: Annotated[int | None, typer.Option(help="Longer side of the result in px (default 512).")] = None
    preset: Annotated[str | None, typer.Option(help=f"{', '.join(PRESETS)} (default {DEFAULT_PRESET}).")] = None
    loss: Annotated[str | None, typer.Option(help="The style loss (default gram).")] = None
    components: Annotated[
        str | None, typer.Option(help="Kept by pca: 64, 12.5% of the channels, or var:0.95 (default 12.5%).")
    ] = None
    threshold: Annotated[
        str | None, typer.Option(help="Of svd: mean:1.0, abs:X or energy:0.95 (default mean:1.0).")
    ] = None
    svd_every: Annotated[int | None, typer.Option(help="Evaluations between new projectors (default 10).")] = None
    weights_from: Annotated[str | None, typer.Option(help="Of weighted: adversarial or fisher.")] = None
    steps: Annotated[int | None, typer.Option(help="Loss-and-gradient evaluations over all scales.")] = None
    time_budget: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Plan the schedule for that time and stop by then.")
    ] = None
    target_distance: Annotated[
        float | None, typer.Option(metavar="D", help="Stop when the style distance is D or less.")
    ] = None
    style_weight: Annotated[float | None, typer.Option(help="Times the preset's style term (default 1.0).")] = None
    style_weights: Annotated[str | None, typer.Option(help="Of several styles, e.g. 0.7,0.3.")] = None
    encoder: Annotated[
        str | None, typer.Option(help=f"{', '.join(ENCODERS)}, or a file of reduce-encoder (default the preset's).")
    ] = None
    weights: Annotated[Path | None, typer.Option(help="Encoder weights, .safetensors or .pth.")] = None
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = None
    dtype: Annotated[str | None, typer.Option(help="auto, float32 or bfloat16.")] = None
    seed: Annotated[int | None, typer.Option(help="Of the noise start (default 0).")] = None
    keep_colors: Annotated[str | None, typer.Option(help="luminance or match.")] = None
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Any other field of the config.")
    ] = None

    @property
    def encoder_file(self) -> Path | None:
        """What `--encoder` names, if that is a file."""
        return Path(self.encoder) if self.encoder and Path(self.encoder).suffix in WEIGHTS_SUFFIXES else None

    @property
    def weights_file(self) -> Path | None:
        """The encoder's weights, where they are not bundled."""
        return self.weights or self.encoder_file

    def options(self) -> dict[str, Any]:
        """What was typed, as fields of `StylizeConfig`."""
        typed = {RENAMED.get(f.name, f.name): getattr(self, f.name) for f in dataclasses.fields(self)}
        if self.encoder_file is not None and self.weights is not None:
            raise OptionError("Two files of weights were given: leave out --weights, or name an encoder.")
        if self.weights_file is not None and (self.encoder is None or self.encoder_file is not None):
            typed["encoder"] = weights_architecture(self.weights_file)
        options = {name: value for name, value in typed.items() if name not in ("weights", "set_", "style_weights")}
        if self.style_weights is not None:
            options["style_weights"] = parse_field("style_weights", self.style_weights)
        for assignment in self.set_ or ():
            field, separator, text = assignment.partition("=")
            if not separator:
                raise OptionError(f"--set takes FIELD=VALUE, such as --set optimizer=adam, not '{assignment}'.")
            options[field.strip()] = parse_field(field.strip(), text)
        return {name: value for name, value in options.items() if value is not None}


def takes_recipe(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command every option of `Recipe`, and hand it the filled `Recipe` as its argument `recipe`.

    A parameter of the command takes the place of the recipe's option of the same name, which stays untyped.
    """
    hints = typing.get_type_hints(Recipe, include_extras=True)
    own_hints = typing.get_type_hints(command, include_extras=True)
    own = [
        p.replace(annotation=own_hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for p in inspect.signature(command).parameters.values()
        if p.name != "recipe"
    ]
    names = {p.name for p in own}
    fields = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name])
        for f in dataclasses.fields(Recipe)
        if f.name not in names
    ]

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> None:
        recipe = Recipe(**{p.name: arguments.pop(p.name) for p in fields})
        command(recipe=recipe, **arguments)

    wrapped.__signature__ = inspect.Signature(own + fields)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in own + fields}
    return wrapped


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
