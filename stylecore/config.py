"""`StylizeConfig`: everything that decides how a result looks, in one frozen dataclass that travels inside the PNG."""

from __future__ import annotations

import dataclasses
import math
import typing
from dataclasses import dataclass
from typing import Any, Literal

from stylecore.encoders.vgg import ENCODERS, POOLINGS, STYLE_LAYERS, Pooling, architecture_of, check_layers
from stylecore.errors import OptionError, unknown
from stylecore.losses import STYLE_LOSSES, LossOptions
from stylecore.losses.base import WeightsFrom
from stylecore.losses.basis import Components
from stylecore.losses.reduced import Threshold

Init = Literal["content", "noise", "style_statistics"]
KeepColors = Literal["none", "luminance", "match"]
OptimizerName = Literal["lbfgs", "adam", "projected"]
Terms = Literal["absolute", "relative"]
ContentReduction = Literal["mean", "half_sum"]
DType = Literal["auto", "float32", "bfloat16"]

# Which losses fit something to the images that can be saved and given again.
LOSSES_WITH_BASIS = ("pca", "pca-covariance")
LOSSES_WITH_WEIGHTS = ("weighted", "weighted-element")

# Sizes below leave relu5_1 a handful of positions; above, one evaluation takes minutes and tens of GiB.
MIN_SIZE_PX, MAX_SIZE_PX = 64, 4096
MAX_STEPS = 100_000
MAX_WEIGHT = 1e12


@dataclass(frozen=True)
class Stage:
    """A part of the schedule: optimise at `scale` times the final size for `share` of the evaluations."""

    scale: float  # of the result's longer side, in (0, 1]
    share: float  # of num_steps, relative to the other stages' shares
    encoder: str = ""  # another one than the config's for this stage, a key of encoder.ENCODERS


@dataclass(frozen=True)
class StylizeConfig:
    """How to stylize. Made by `presets.make_config`, checked when made; an impossible value raises an OptionError."""

    preset: str = "custom"  # the recipe it started from: a label only
    size: int = 512  # longer side of the result, px
    encoder: str = "vgg16"  # which network compares the images, a key of encoder.ENCODERS
    pooling: Pooling = "max"  # between the encoder's blocks: "max" as it was trained, or "average"
    loss: str = "gram"  # the style loss, a key of losses.STYLE_LOSSES
    components: str = LossOptions.components  # kept by the pca losses: a count, a share of N, or var:SHARE
    centered: bool = LossOptions.centered  # pca: directions of the covariance (true) or of the second moment
    threshold: str = LossOptions.threshold  # svd: drop singular values below mean:1.0, abs:X or energy:0.95
    refresh_every: int = LossOptions.refresh_every  # evaluations between new svd projectors, weights or samples
    weights_from: WeightsFrom = LossOptions.weights_from  # how the weighted losses find their weights
    num_samples: int = LossOptions.num_samples  # positions that the mmd kernels draw from each image
    content_layers: tuple[str, ...] = ("relu4_2",)  # where the content is compared
    style_layers: tuple[str, ...] = STYLE_LAYERS  # where the style is compared
    content_layer_weights: tuple[float, ...] = (1.0,)  # one for each content layer
    style_layer_weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)  # one for each style layer
    content_reduction: ContentReduction = "mean"  # of the squared differences: "mean", or "half_sum" as papers print it
    terms: Terms = "absolute"  # "relative": each layer's term over its target's square, as the yardstick has them
    content_weight: float = 1.0  # multiplies the content term
    style_weight: float = 1.0  # multiplies the style term: the knob from photo (0) to painting (large)
    tv_weight: float = 0.0  # multiplies the total variation of the image in [0, 1]
    style_weights: tuple[float, ...] = ()  # of several styles, normalised to sum 1; empty: all alike
    init: Init = "content"  # where the optimisation starts
    keep_colors: KeepColors = "none"  # "luminance": the photo's chroma; "match": style recoloured to the photo first
    optimizer: OptimizerName = "lbfgs"  # L-BFGS, Adam, or L-BFGS within the displayable range, preconditioned
    learning_rate: float = 1.0  # of the quasi-Newton step; adam: in 8-bit levels a step
    history_size: int = 100  # pairs that L-BFGS remembers
    num_steps: int = 300  # loss-and-gradient evaluations over all stages
    stages: tuple[Stage, ...] = (Stage(1.0, 1.0),)  # coarse to fine
    clamp: bool = False  # keep the image displayable after every step; "projected" always does
    time_budget: float = 0.0  # seconds for the whole job, within which the schedule is planned; 0: no limit
    target_distance: float = 0.0  # stop at this style distance by the yardstick; 0: run to the end
    seed: int = 0  # of the noise start and of any sampling
    device: str = "auto"  # "auto" (CUDA, then MPS, then CPU) or a torch device
    dtype: DType = "auto"  # of the features; statistics and losses are float32 or better

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_numbers()
        self._check_layers()
        Components.parse(self.components)
        Threshold(self.threshold)

    def _check_choices(self) -> None:
        for field in CHOICES:
            _check_choice(field, getattr(self, field))

    def _check_numbers(self) -> None:
        for field, (low, high) in RANGES.items():
            value = getattr(self, field)
            if not low <= value <= high:  # NaN is never in between
                raise OptionError(f"{field} must be between {low:g} and {high:g}, not {value}.")
        if any(not 0 <= weight <= MAX_WEIGHT for weight in self.style_weights):
            raise OptionError(f"style_weights must be between 0 and {MAX_WEIGHT:g}.")
        if self.style_weights and not sum(self.style_weights) > 0:
            raise OptionError("style_weights must not all be 0.")
        if not self.stages or any(not (0 < stage.scale <= 1 and 0 < stage.share <= MAX_STEPS) for stage in self.stages):
            raise OptionError("stages need scales in (0, 1] and positive shares, e.g. 0.5:2,1:1.")
        if self.stages[-1].scale != 1:
            raise OptionError("The last stage must have scale 1: the result's own size.")
        for encoder in self.encoders:
            if architecture_of(encoder) != architecture_of(self.encoder):
                raise OptionError(f"A stage's encoder must have the layers of {self.encoder}, unlike {encoder}.")

    def _check_layers(self) -> None:
        for kind in ("content", "style"):
            layers, weights = getattr(self, f"{kind}_layers"), getattr(self, f"{kind}_layer_weights")
            check_layers(self.encoder, layers)
            if not layers or len(set(layers)) < len(layers):
                raise OptionError(f"{kind}_layers must name at least one layer, each once.")
            if len(weights) != len(layers) or any(not math.isfinite(w) or w < 0 for w in weights):
                raise OptionError(f"{kind}_layer_weights must give each of {', '.join(layers)} a weight of 0 or more.")

    @property
    def encoders(self) -> tuple[str, ...]:
        """The encoder of each stage."""
        return tuple(stage.encoder or self.encoder for stage in self.stages)

    @property
    def loss_options(self) -> LossOptions:
        """The fields that concern the style losses."""
        return LossOptions(**{field.name: getattr(self, field.name) for field in dataclasses.fields(LossOptions)})

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: tuples become lists, stages {scale, share, encoder}."""
        plain = dataclasses.asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> StylizeConfig:
        """The inverse of `to_dict`. Raises an OptionError for unknown fields and values of the wrong type."""
        return cls(**{field: convert(field, value) for field, value in values.items()})


CHOICES: dict[str, tuple[str, ...]] = {
    "encoder": tuple(ENCODERS),
    "pooling": POOLINGS,
    "terms": typing.get_args(Terms),
    "loss": tuple(STYLE_LOSSES),
    "init": typing.get_args(Init),
    "keep_colors": typing.get_args(KeepColors),
    "weights_from": typing.get_args(WeightsFrom),
    "optimizer": typing.get_args(OptimizerName),
    "content_reduction": typing.get_args(ContentReduction),
    "dtype": typing.get_args(DType),
}
RANGES: dict[str, tuple[float, float]] = {
    "size": (MIN_SIZE_PX, MAX_SIZE_PX),
    "content_weight": (0, MAX_WEIGHT),
    "style_weight": (0, MAX_WEIGHT),
    "tv_weight": (0, MAX_WEIGHT),
    "refresh_every": (1, MAX_STEPS),
    "num_samples": (2, 16384),
    "learning_rate": (1e-6, 1e3),
    "history_size": (1, 1000),
    "num_steps": (1, MAX_STEPS),
    "time_budget": (0, 1e6),
    "target_distance": (0, 1e3),
    "seed": (0, 2**63 - 1),
}
FIELD_TYPES = typing.get_type_hints(StylizeConfig)
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _check_field(field: str) -> None:
    """Raise an OptionError that suggests the nearest field if there is none of that name."""
    if field not in FIELD_TYPES:
        raise unknown("setting", field, FIELD_TYPES)


def _check_choice(field: str, value: object) -> None:
    if value not in CHOICES.get(field, (value,)):
        raise unknown(field.replace("_", " "), value, CHOICES[field])


def parse_field(field: str, text: str) -> Any:
    """The value of a field from its text: `relu1_1,relu2_1`, `0.5:2,1:1`, `true`, `300`."""
    _check_field(field)
    kind = FIELD_TYPES[field]
    if typing.get_origin(kind) is tuple:
        return convert(field, [part.strip() for part in text.split(",") if part.strip()])
    return convert(field, text.strip())


def convert(field: str, value: Any) -> Any:
    """`value` in the field's own type: lists become tuples, 300.0 becomes 300, "adam" is checked to be a choice.

    Raises:
        OptionError: no such field, or a value of another kind.
    """
    _check_field(field)
    kind = FIELD_TYPES[field]
    try:
        if typing.get_origin(kind) is tuple:
            item = typing.get_args(kind)[0]
            if isinstance(value, str):
                raise ValueError
            return tuple(_coerce_one(item, part) for part in value)
        value = _coerce_one(kind, value)
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise OptionError(f"{field} cannot be '{value}': {_describe(kind)} is expected.") from error
    _check_choice(field, value)
    return value


def _coerce_one(kind: Any, value: Any) -> Any:
    if kind is bool:
        return _BOOLEANS[str(value).lower()]
    if kind is Stage:
        if isinstance(value, Stage):
            value = dataclasses.asdict(value)
        if not isinstance(value, dict):
            value = dict(zip(("scale", "share", "encoder"), str(value).split(":", 2), strict=False))
        return Stage(float(value["scale"]), float(value["share"]), value.get("encoder") or "")
    if kind not in (int, float):
        return str(value)
    if isinstance(value, bool) or (kind is int and isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return kind(value)


def _describe(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        names = {str: "names", float: "numbers", Stage: "scale:share pairs or scale:share:encoder"}
        return f"a list of {names[typing.get_args(kind)[0]]}, separated by commas,"
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "a name")
