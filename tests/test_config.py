"""StylizeConfig: what it accepts, how it reads text and JSON, and that what it refuses says what to do."""

import dataclasses
import json
import math
import re
import typing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylecore.config import SETTINGS, BaseConfig, Stage, StylizeConfig, convert, parse_field
from stylecore.encoders import STYLE_LAYERS, architecture_of
from stylecore.errors import OptionError
from stylecore.fields import Setting, settings_of
from stylecore.losses import STYLE_LOSSES, option_names
from stylecore.losses.basis import Components
from stylecore.losses.svd import Threshold
from stylecore.presets import DEFAULT_PRESET, PRESETS, make_config

FIELDS = [field.name for field in dataclasses.fields(StylizeConfig)]
RANGES = {name: (setting.low, setting.high) for name, setting in SETTINGS.items() if setting.low is not None}
LAYERS = {encoder: [str(layer) for layer in architecture_of(encoder).layers] for encoder in SETTINGS["encoder"].choices}
weights = st.floats(0, 1e6)


@st.composite
def allowed(draw: st.DrawFn) -> dict[str, Any]:
    """Every field with a value that is allowed, and allowed beside the others; stages as (scale, share)."""
    options = {name: draw(st.sampled_from(setting.choices)) for name, setting in SETTINGS.items() if setting.choices}
    for field, (low, high) in RANGES.items():
        number = st.integers(int(low), int(high)) if SETTINGS[field].kind is int else st.floats(low, high)
        options[field] = draw(number)
    for kind in ("content", "style"):
        names = st.sampled_from(LAYERS[options["encoder"]])
        layers = draw(st.lists(names, min_size=1, max_size=6, unique=True).map(tuple))
        options[f"{kind}_layers"] = layers
        options[f"{kind}_layer_weights"] = tuple(draw(weights) for _ in layers)
    options["style_weights"] = draw(st.lists(st.floats(1e-3, 1e3), max_size=4).map(tuple))
    shares = st.floats(1e-3, 1e3)
    options["stages"] = [*draw(st.lists(st.tuples(st.floats(1e-3, 1), shares), max_size=3)), (1.0, draw(shares))]
    options["clamp"] = draw(st.booleans())
    options["device"] = draw(st.sampled_from(["auto", "cpu", "cuda:1"]))
    options["preset"] = draw(st.sampled_from(["custom", *PRESETS]))
    options["components"] = draw(st.sampled_from(["64", "12.5%", "33%", "var:0.95"]))
    options["threshold"] = draw(st.sampled_from(["mean:1.0", "abs:2.5", "energy:0.99"]))
    return options


def make(**values: Any) -> StylizeConfig:
    """A config from values as JSON or a caller has them; the constructor's own arguments are checked by the hook."""
    return StylizeConfig.from_dict(values)


def as_text(value: object) -> str:
    """How a user types a field's value."""
    if isinstance(value, tuple):
        return ",".join(as_text(item) for item in value)
    if isinstance(value, Stage):
        return f"{value.scale!r}:{value.share!r}"
    return str(value)


# ---- there and back -------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(allowed())
def test_a_config_survives_its_dict_and_json(options: dict[str, Any]) -> None:
    config = StylizeConfig(**options | {"stages": tuple(Stage(*stage) for stage in options["stages"])})
    assert StylizeConfig.from_dict(config.to_dict()) == config
    assert StylizeConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert list(config.to_dict()) == FIELDS


@settings(deadline=None, max_examples=60)
@given(allowed())
def test_every_field_can_be_typed(options: dict[str, Any]) -> None:
    config = StylizeConfig(**options | {"stages": tuple(Stage(*stage) for stage in options["stages"])})
    typed = {field: parse_field(field, as_text(getattr(config, field))) for field in FIELDS}
    assert StylizeConfig(**typed) == config


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_survives_json(preset: str) -> None:
    config = make_config(preset)
    assert config.preset == preset
    assert StylizeConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_json_with_its_keys_in_another_order_means_the_same() -> None:
    values = {"stages": [{"share": 2.0, "scale": 0.5}, {"share": 1.0, "scale": 1.0}]}
    assert StylizeConfig.from_dict(values).stages == (Stage(0.5, 2.0), Stage(1.0, 1.0))


def test_lists_and_whole_numbers_become_what_the_fields_are() -> None:
    config = make(content_layers=["relu3_1"], content_layer_weights=[1], style_weight=2, stages=[Stage(1, 1)])
    same = StylizeConfig(content_layers=("relu3_1",), style_weight=2.0)
    assert config == same
    assert hash(config) == hash(same)
    assert isinstance(config.style_weight, float)


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        StylizeConfig().size = 64  # type: ignore[misc]


def test_a_config_with_other_values_is_checked_again() -> None:
    config = make_config("gatys")
    assert config.replace(size=300, components="25%") == make_config("gatys", size=300, components="25%")
    with pytest.raises(OptionError, match="size must be between 64 and 8192, not 3"):
        config.replace(size=3)
    with pytest.raises(OptionError, match="'sise': did you mean 'size'"):
        config.replace(sise=300)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=FIELDS)
def test_every_field_says_what_it_is(setting: Setting) -> None:
    """In one sentence, which the command line, the page and the documentation show."""
    assert re.fullmatch(r"\S[^\n]*\S\.", setting.help), setting.name
    assert setting.default == getattr(StylizeConfig(), setting.name)
    assert setting.name.replace("_", " ") == setting.label
    assert setting.describe()


def test_settings_are_the_fields_in_their_order() -> None:
    assert list(SETTINGS) == FIELDS
    assert (SETTINGS["size"].unit, SETTINGS["time_budget"].unit, SETTINGS["seed"].unit) == ("px", "s", "")
    assert SETTINGS["size"].is_common
    assert not SETTINGS["clamp"].is_common
    assert SETTINGS["loss"].choices == tuple(STYLE_LOSSES)
    assert SETTINGS["optimizer"].choices == ("lbfgs", "adam", "projected", "pyramid")


def test_every_loss_owns_its_options() -> None:
    """A field that is not of the base is some loss's, and has one meaning for all that have it."""
    owned = {name for loss in STYLE_LOSSES for name in option_names(loss)}
    assert set(FIELDS) - set(settings_of(BaseConfig)) == owned - {"seed"}
    for loss in STYLE_LOSSES.values():
        for name, setting in settings_of(loss.Options).items():
            assert setting == SETTINGS[name]


# ---- text -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("num_steps", "300", 300),
        ("num_steps", " 300 ", 300),
        ("style_weight", "1e3", 1000.0),
        ("style_weight", "2", 2.0),
        ("clamp", "true", True),
        ("clamp", "Yes", True),
        ("clamp", "1", True),
        ("clamp", "FALSE", False),
        ("clamp", "no", False),
        ("clamp", "0", False),
        ("optimizer", "adam", "adam"),
        ("style_layers", "relu1_1,relu2_1", ("relu1_1", "relu2_1")),
        ("style_layers", " relu1_1 , relu2_1, ", ("relu1_1", "relu2_1")),
        ("style_weights", "0.7,0.3", (0.7, 0.3)),
        ("style_weights", "", ()),
        ("stages", "0.5:2,1:1", (Stage(0.5, 2.0), Stage(1.0, 1.0))),
        ("device", "cuda:1", "cuda:1"),
        ("components", " 12.5% ", Components(share=0.125)),
        ("components", "64", Components(count=64)),
        ("threshold", "energy:0.9", Threshold("energy", 0.9)),
        ("stages", "0.5:2:vgg16-x2,1:1", (Stage(0.5, 2.0, "vgg16-x2"), Stage(1.0, 1.0))),
    ],
)
def test_text_is_read_as_the_field_is_meant(field: str, text: str, value: object) -> None:
    parsed = parse_field(field, text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        ("num_steps", "3.5", "a whole number"),
        ("num_steps", "many", "a whole number"),
        ("num_steps", "", "a whole number"),
        ("num_steps", "true", "a whole number"),
        ("size", "512px", "a whole number"),
        ("seed", "1" * 5000, "a whole number"),
        ("clamp", "perhaps", "true or false"),
        ("clamp", "", "true or false"),
        ("style_weight", "heavy", "a number"),
        ("style_weight", "1,5", "a number"),
        ("style_weights", "0.7;0.3", "a list of numbers"),
        ("stages", "0.5", "a list of scale:share pairs"),
        ("stages", "a:b", "a list of scale:share pairs"),
        ("stages", ":", "a list of scale:share pairs"),
    ],
)
def test_text_that_is_no_such_value_is_told_what_is_expected(field: str, text: str, expected: str) -> None:
    with pytest.raises(OptionError, match=rf"{field} cannot be .*{expected}"):
        parse_field(field, text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_steps", 3.5),
        ("num_steps", True),
        ("num_steps", None),
        ("num_steps", math.nan),
        ("style_weight", True),
        ("style_weight", [1.0]),
        ("style_weight", 10**400),
        ("style_layers", "relu1_1"),
        ("style_layers", 5),
        ("style_layers", None),
        ("stages", [{"scale": 1.0}]),
        ("stages", [{"scale": 1.0, "part": 1.0}]),
        ("stages", [[1.0, 1.0]]),
        ("stages", 1.0),
        ("clamp", 2),
        ("clamp", None),
    ],
)
def test_values_of_another_type_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(OptionError, match=f"{field} cannot be"):
        make(**{field: value})


# ---- names and ranges -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "near"), [("num_step", "num_steps"), ("optimiser", "optimizer"), ("style_layer", "style_layers")]
)
def test_an_unknown_field_suggests_the_nearest(wrong: str, near: str) -> None:
    for refuse in (
        lambda: convert(wrong, 1),
        lambda: parse_field(wrong, "1"),
        lambda: StylizeConfig.from_dict({wrong: 1}),
        lambda: make_config(**{wrong: 1}),
    ):
        with pytest.raises(OptionError, match=f"'{wrong}': did you mean '{near}'"):
            refuse()


@pytest.mark.parametrize(
    ("field", "wrong", "near"),
    [
        ("encoder", "vgg91", "vgg19"),
        ("pooling", "averag", "average"),
        ("loss", "grams", "gram"),
        ("init", "nois", "noise"),
        ("keep_colors", "luminanc", "luminance"),
        ("optimizer", "lbgfs", "lbfgs"),
        ("content_reduction", "halfsum", "half_sum"),
        ("dtype", "float23", "float32"),
    ],
)
def test_an_unknown_choice_suggests_the_nearest(field: str, wrong: str, near: str) -> None:
    with pytest.raises(OptionError, match=f"'{wrong}': did you mean '{near}'"):
        make(**{field: wrong})
    with pytest.raises(OptionError, match=f"did you mean '{near}'"):
        parse_field(field, wrong)


def test_a_choice_far_from_all_lists_them() -> None:
    with pytest.raises(OptionError, match="choose from lbfgs, adam"):
        make(optimizer="qqqqqq")


def test_an_unknown_preset_suggests_the_nearest() -> None:
    with pytest.raises(OptionError, match="preset 'gatsy': did you mean 'gatys'"):
        make_config("gatsy")


def test_an_unknown_layer_suggests_the_nearest() -> None:
    for field in ("content_layers", "style_layers"):
        with pytest.raises(OptionError, match="'rellu4_1': did you mean 'relu4_1'"):
            make_config(**{field: ("rellu4_1",)})


def test_layers_are_those_of_the_encoder_asked_for() -> None:
    assert make_config(encoder="vgg19", content_layers=("relu3_4",)).content_layers == ("relu3_4",)
    with pytest.raises(OptionError, match="layer of vgg16"):
        make_config(encoder="vgg16", content_layers=("relu3_4",))


@pytest.mark.parametrize("field", RANGES)
def test_both_ends_of_a_range_are_allowed_and_nothing_beyond(field: str) -> None:
    low, high = RANGES[field]
    for value in (low, high):
        assert getattr(make_config(**{field: value}), field) == value
    step = 1 if SETTINGS[field].kind is int else 1e-7
    for value in (low - step, high * (1 + 1e-7) if SETTINGS[field].kind is float else high + 1):
        with pytest.raises(OptionError, match=f"{field} must be between"):
            make_config(**{field: value})


@pytest.mark.parametrize("field", [field for field in RANGES if SETTINGS[field].kind is float])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_are_finite(field: str, value: float) -> None:
    with pytest.raises(OptionError, match=f"{field} must be between"):
        make_config(**{field: value})


def test_a_whole_number_beyond_any_float_is_out_of_range() -> None:
    with pytest.raises(OptionError, match="seed must be between"):
        make_config(seed=10**400)


def test_every_number_has_a_range_and_every_literal_its_choices() -> None:
    """A new field cannot come in unchecked."""
    for name, setting in SETTINGS.items():
        if setting.kind in (int, float):
            assert name in RANGES, name
        if typing.get_origin(setting.kind) is typing.Literal:
            assert setting.choices == typing.get_args(setting.kind), name


@pytest.mark.parametrize("style_weights", [(-1.0, 2.0), (0.0, 0.0), (math.nan, 1.0), (math.inf, 1.0), (1e308, 1e308)])
def test_style_weights_that_cannot_be_normalised_are_refused(style_weights: tuple[float, ...]) -> None:
    with pytest.raises(OptionError, match="style_weights"):
        make_config(style_weights=style_weights)


def test_a_style_may_have_weight_0() -> None:
    assert make_config(style_weights=(1.0, 0.0)).style_weights == (1.0, 0.0)


@pytest.mark.parametrize(
    "stages",
    [
        (),
        (Stage(0.5, 1.0),),
        (Stage(1.0, 1.0), Stage(0.5, 1.0)),
        (Stage(0.0, 1.0), Stage(1.0, 1.0)),
        (Stage(1.5, 1.0), Stage(1.0, 1.0)),
        (Stage(-0.5, 1.0), Stage(1.0, 1.0)),
        (Stage(0.5, 0.0), Stage(1.0, 1.0)),
        (Stage(0.5, -1.0), Stage(1.0, 1.0)),
        (Stage(math.nan, 1.0), Stage(1.0, 1.0)),
        (Stage(1.0, math.nan),),
        (Stage(1.0, math.inf),),
    ],
)
def test_stages_end_at_full_size_with_scales_and_shares_that_make_sense(stages: tuple[Stage, ...]) -> None:
    with pytest.raises(OptionError, match="scale"):
        make_config(stages=stages)


def test_a_stage_may_be_as_large_as_the_next() -> None:
    stages = (Stage(1.0, 1.0), Stage(1.0, 3.0))
    assert make_config(stages=stages).stages == stages


@pytest.mark.parametrize("kind", ["content", "style"])
def test_layers_are_named_once_each_with_one_weight_each(kind: str) -> None:
    for layers in ((), ("relu2_1", "relu2_1")):
        with pytest.raises(OptionError, match=f"{kind}_layers must name"):
            make(**{f"{kind}_layers": layers})
    for layer_weights in ((1.0,), (1.0, 1.0, 1.0), (1.0, -1.0), (1.0, math.nan), (1.0, math.inf)):
        with pytest.raises(OptionError, match=f"{kind}_layer_weights"):
            make(**{f"{kind}_layers": ("relu1_1", "relu2_1"), f"{kind}_layer_weights": layer_weights})


# ---- where values come from -----------------------------------------------------------------------------------------


def test_an_option_goes_before_the_preset_and_the_preset_before_the_default() -> None:
    default, tutorial = StylizeConfig(), make_config("tutorial")
    assert tutorial.clamp != default.clamp  # the preset's own
    assert tutorial.size == default.size  # nobody's but the default
    typed = make_config("tutorial", clamp=False, size=300)
    assert (typed.clamp, typed.size) == (False, 300)
    assert typed.replace(clamp=True, size=default.size) == tutorial


def test_options_that_are_none_were_not_given() -> None:
    assert make_config("paper", size=None, content_layers=None, optimizer=None) == make_config("paper")


def test_no_preset_named_is_the_default_preset() -> None:
    assert make_config() == make_config(DEFAULT_PRESET)


def test_style_layers_without_weights_get_the_rule_of_gatys() -> None:
    """1e3 / N^2 a layer, times 5 over the number of layers, so that the style term keeps its size."""
    assert make_config("gatys", style_layers=STYLE_LAYERS) == make_config("gatys")
    two = make_config("gatys", style_layers=("relu2_1", "relu3_1"))
    assert two.style_layer_weights == pytest.approx((2.5e3 / 128**2, 2.5e3 / 256**2))
    assert make_config("gatys", style_layers=("relu2_1",), style_layer_weights=(7.0,)).style_layer_weights == (7.0,)


def test_relative_terms_share_their_sum_equally() -> None:
    assert make_config("preview", style_layers=STYLE_LAYERS) == make_config("preview")
    two = make_config("preview", style_layers=("relu2_1", "relu3_1"), content_layers=("relu3_1", "relu4_2"))
    assert two.style_layer_weights == (2.5, 2.5)
    assert two.content_layer_weights == (0.01, 0.01)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("field", ["style_layers", "content_layers"])
def test_no_layers_at_all_are_refused_by_name(preset: str, field: str) -> None:
    with pytest.raises(OptionError, match=f"{field} must name at least one layer"):
        make_config(preset, **{field: ()})


def test_terms_of_the_other_kind_get_its_weights() -> None:
    """Or one style weight would mean a thousandth or a million of what it meant."""
    assert make_config("gatys", terms="relative").style_layer_weights == make_config("preview").style_layer_weights
    assert make_config("preview", terms="absolute").style_layer_weights == make_config("gatys").style_layer_weights


def test_content_layers_without_weights_share_1_equally() -> None:
    assert make_config("gatys", content_layers=("relu3_1", "relu4_2")).content_layer_weights == (0.5, 0.5)


def test_making_a_config_leaves_the_preset_as_it_was() -> None:
    before = {name: dict(preset) for name, preset in PRESETS.items()}
    make_config("gatys", style_layers=("relu1_1",), num_steps=5)
    assert before == PRESETS
