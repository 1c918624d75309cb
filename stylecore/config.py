"""`StylizeConfig`: everything that decides how a result looks, in one frozen dataclass that travels inside the PNG."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BeforeValidator, model_validator

from stylecore import fields
from stylecore.encoders import ENCODERS, STYLE_LAYERS, architecture_of, find_encoder
from stylecore.errors import OptionError
from stylecore.fields import CONFIG, Number, OneOf, Setting, Whole, about, settings_of
from stylecore.losses import LOSS_OPTIONS, STYLE_LOSSES
from stylecore.losses.base import SeedOptions
from stylecore.strength import strength_of

# Sizes below leave relu5_1 a handful of positions; above, one evaluation takes minutes and tens of GiB.
MIN_SIZE_PX, MAX_SIZE_PX = 64, 8192
MIN_STYLE_SCALE, MAX_STYLE_SCALE = 0.25, 4.0
MAX_STEPS = 100_000
FIRST_ORDER = ("adam", "pyramid")  # optimizers that keep no history of steps
MAX_WEIGHT = 1e12


@dataclass(frozen=True)
class Stage:
    """A part of the schedule: optimise at `scale` times the final size for `share` of the evaluations."""

    scale: float  # of the result's longer side, in (0, 1]
    share: float  # of num_steps, relative to the other stages' shares
    encoder: str = ""  # another one than the config's for this stage, a key of encoders.ENCODERS

    @classmethod
    def parse(cls, value: Any) -> Stage:
        """From `0.5:2`, `0.5:2:vgg16-x2`, a dictionary of the fields, or a stage. Raises a ValueError for all else."""
        if isinstance(value, str):
            value = dict(zip(("scale", "share", "encoder"), value.split(":", 2), strict=False))
        elif isinstance(value, Stage):
            value = dataclasses.asdict(value)
        if not isinstance(value, Mapping) or not {"scale", "share"} <= value.keys():
            raise ValueError("a stage has a scale and a share")
        return cls(float(value["scale"]), float(value["share"]), value.get("encoder") or "")


@pydantic.dataclasses.dataclass(frozen=True, config=CONFIG)
class BaseConfig(SeedOptions):
    """The fields that are of no single loss."""

    preset: Annotated[str, about("The recipe it started from: a label only.")] = "custom"
    size: Annotated[
        Whole, about("Longer side of the result.", low=MIN_SIZE_PX, high=MAX_SIZE_PX, unit="px", common=True)
    ] = 512
    encoder: Annotated[str, OneOf(ENCODERS, find_encoder), about("Which network compares the images.", common=True)] = (
        "vgg16"
    )
    pooling: Annotated[
        Literal["max", "average"], about("Between the encoder's blocks: max as it was trained, or average.")
    ] = "max"
    loss: Annotated[str, OneOf(STYLE_LOSSES), about("The style loss.", common=True)] = "gram"
    content_layers: Annotated[tuple[str, ...], about("Where the content is compared.")] = ("relu4_2",)
    style_layers: Annotated[tuple[str, ...], about("Where the style is compared.")] = STYLE_LAYERS
    content_layer_weights: Annotated[tuple[float, ...], about("One for each content layer.")] = (1.0,)
    style_layer_weights: Annotated[tuple[float, ...], about("One for each style layer.")] = (1.0, 1.0, 1.0, 1.0, 1.0)
    content_reduction: Annotated[
        Literal["mean", "half_sum"], about("Of the squared differences: their mean, or half their sum as papers print.")
    ] = "mean"
    terms: Annotated[
        Literal["absolute", "relative"],
        about("relative: each layer's term over its target's square, as the yardstick has them."),
    ] = "absolute"
    content_weight: Annotated[Number, about("Multiplies the content term.", low=0, high=MAX_WEIGHT)] = 1.0
    style_weight: Annotated[
        Number,
        about(
            "Multiplies the style term; strength (0 to 100) sets it on an even scale.",
            low=0,
            high=MAX_WEIGHT,
            common=True,
        ),
    ] = 1.0
    histogram_weight: Annotated[
        Number,
        about("Multiplies the histogram loss beside another style loss; 0: none.", low=0, high=MAX_WEIGHT),
    ] = 0.0
    tv_weight: Annotated[
        Number, about("Multiplies the total variation of the image in [0, 1].", low=0, high=MAX_WEIGHT)
    ] = 0.0
    style_weights: Annotated[
        tuple[float, ...], about("Of several styles, such as 0.7,0.3; none given: all alike.", common=True)
    ] = ()
    style_scale: Annotated[
        Number,
        about(
            "Stroke size: the styles' longer side over the result's, at every stage.",
            low=MIN_STYLE_SCALE,
            high=MAX_STYLE_SCALE,
            common=True,
        ),
    ] = 1.0
    style_size: Annotated[
        Whole,
        about(
            "The styles' longer side in pixels of the result, instead of style_scale; 0: by the scale.",
            low=0,
            high=int(MAX_STYLE_SCALE * MAX_SIZE_PX),
            unit="px",
            common=True,
        ),
    ] = 0
    init: Annotated[Literal["content", "noise", "style_statistics"], about("Where the optimisation starts.")] = (
        "content"
    )
    enlarge: Annotated[
        Literal["resample", "detail"],
        about("Between stages: the image resampled, or with the style's own fine detail on top."),
    ] = "resample"
    keep_colors: Annotated[
        Literal["none", "luminance", "match"],
        about("luminance: the photo's chroma; match: the style recoloured to the photo first.", common=True),
    ] = "none"
    alpha: Annotated[
        Literal["keep", "flatten"],
        about("A cut-out photo stays one, or its holes are painted as white.", common=True),
    ] = "keep"
    optimizer: Annotated[
        Literal["lbfgs", "adam", "projected", "pyramid"],
        about("L-BFGS, Adam, L-BFGS within the displayable range, preconditioned, or Adam on a Laplacian pyramid."),
    ] = "lbfgs"
    learning_rate: Annotated[
        Number, about("Of the quasi-Newton step; of adam and pyramid in 8-bit levels a step.", low=1e-6, high=1e3)
    ] = 1.0
    history_size: Annotated[Whole, about("Pairs that L-BFGS remembers.", low=1, high=1000)] = 100
    num_steps: Annotated[
        Whole, about("Loss-and-gradient evaluations over all stages.", low=1, high=MAX_STEPS, common=True)
    ] = 300
    stages: Annotated[
        tuple[Annotated[Stage, BeforeValidator(Stage.parse)], ...], about("scale:share[:encoder], coarse to fine.")
    ] = (Stage(1.0, 1.0),)
    clamp: Annotated[bool, about("Keep the image displayable after every step, as projected always does.")] = False
    time_budget: Annotated[
        Number,
        about("For the whole job, which is planned within it; 0: no limit.", low=0, high=1e6, unit="s", common=True),
    ] = 0.0
    target_distance: Annotated[
        Number, about("Stop at this style distance; 0: run to the end.", low=0, high=1e3, common=True)
    ] = 0.0
    device: Annotated[str, about("auto (CUDA, then MPS, then CPU), cpu, cuda, cuda:1 or mps.", common=True)] = "auto"
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"],
        about("Of the features; statistics and losses are float32 or better.", common=True),
    ] = "auto"


@pydantic.dataclasses.dataclass(frozen=True, config=CONFIG)
class StylizeConfig(*LOSS_OPTIONS, BaseConfig):  # type: ignore[misc]
    """How to stylize: the fields of `BaseConfig` and those of every loss.

    Made by `presets.make_config`, checked when made; an impossible value raises an OptionError.
    """

    @model_validator(mode="after")
    def _check(self) -> StylizeConfig:
        self._check_styles()
        self._check_stages()
        for kind in ("content", "style"):
            self._check_layers(kind)
        return self

    def _check_styles(self) -> None:
        if any(not 0 <= weight <= MAX_WEIGHT for weight in self.style_weights):
            raise OptionError(f"style_weights must be between 0 and {MAX_WEIGHT:g}.")
        if self.style_weights and not sum(self.style_weights) > 0:
            raise OptionError("style_weights must not all be 0.")

    def _check_stages(self) -> None:
        if not self.stages or any(not (0 < stage.scale <= 1 and 0 < stage.share <= MAX_STEPS) for stage in self.stages):
            raise OptionError("stages need scales in (0, 1] and positive shares, e.g. 0.5:2,1:1.")
        if self.stages[-1].scale != 1:
            raise OptionError("The last stage must have scale 1: the result's own size.")
        for encoder in self.encoders:
            if architecture_of(encoder) != architecture_of(self.encoder):
                raise OptionError(f"A stage's encoder must have the layers of {self.encoder}, unlike {encoder}.")

    def _check_layers(self, kind: str) -> None:
        layers, weights = getattr(self, f"{kind}_layers"), getattr(self, f"{kind}_layer_weights")
        architecture_of(self.encoder).check(layers, self.encoder)
        if not layers or len(set(layers)) < len(layers):
            raise OptionError(f"{kind}_layers must name at least one layer, each once.")
        if len(weights) != len(layers) or any(not math.isfinite(w) or w < 0 for w in weights):
            raise OptionError(f"{kind}_layer_weights must give each of {', '.join(layers)} a weight of 0 or more.")

    @property
    def encoders(self) -> tuple[str, ...]:
        """The encoder of each stage."""
        return tuple(stage.encoder or self.encoder for stage in self.stages)

    @property
    def strength(self) -> float:
        """The style weight from photo (0) to painting (100), on the scale of `stylecore.strength`."""
        return strength_of(self.style_weight)

    def style_side(self, longer_side: int) -> int:
        """Longer side of the styles in px at a stage of that longer side: strokes keep their size relative to the
        whole."""
        return round(longer_side * (self.style_size / self.size if self.style_size else self.style_scale))

    def style_shares(self, num_styles: int) -> tuple[float, ...]:
        """The styles' weights, normalised to sum 1; all alike where the config gives none."""
        weights = self.style_weights or (1.0,) * num_styles
        return tuple(weight / sum(weights) for weight in weights)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: tuples become lists, stages {scale, share, encoder}, components and threshold text."""
        return {name: _plain(getattr(self, name)) for name in SETTINGS}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StylizeConfig:
        """The inverse of `to_dict`. Raises an OptionError for unknown fields and values of the wrong type."""
        return cls(**{name: convert(name, value) for name, value in values.items()})


SETTINGS: Mapping[str, Setting] = settings_of(StylizeConfig)


def convert(name: str, value: Any) -> Any:
    """`value` as the config's field holds it. Raises an OptionError: no such field, or none of its values."""
    return fields.convert(StylizeConfig, name, value)


def parse_field(name: str, text: str) -> Any:
    """The value of a field from its text: `relu1_1,relu2_1`, `0.5:2,1:1`, `true`. Raises what `convert` does."""
    return fields.parse(StylizeConfig, name, text)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Stage):
        return dataclasses.asdict(value)
    return value if isinstance(value, bool | int | float | str) else str(value)
