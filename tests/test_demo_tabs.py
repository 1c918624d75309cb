"""What the tabs are made of: variants of a comparison, the study's words and figures."""

import re
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

from demo.components.axes import choices_of
from demo.server.settings import Settings
from demo.tabs import how
from demo.variants import FIELDS, make_grid, make_variants, read_axes
from stylecore.errors import OptionError
from stylecore.losses import STYLE_LOSSES
from tools.copy_study import originals


def test_grid_is_the_product_row_by_row() -> None:
    grid = make_grid({"loss": ["gram", "pca"], "style_weight": ["1", "3"]})
    assert [tuple(change.values()) for change in grid] == [("gram", "1"), ("pca", "1"), ("gram", "3"), ("pca", "3")]


def test_variants_are_named_by_what_differs_and_come_once() -> None:
    options = {"preset": "gatys", "size": 64}
    axes = {"loss": ["gram", "pca"], "components": ["3%", "50%"]}
    asked = make_variants(Settings(), options, make_grid(axes))
    assert [variant.name for variant in asked.variants] == ["gram", "pca 3%", "pca 50%"]
    grid = asked.grid(axes)
    assert grid is not None
    assert (grid.columns.words, grid.rows.words) == (("gram", "pca"), ("3%", "50%"))
    assert grid.names == (("gram", "pca 3%"), ("gram", "pca 50%")), "what makes no difference stands in every place"
    asked = make_variants(Settings(), options, make_grid({"strength": ["20", "80"]}))
    assert [variant.name for variant in asked.variants] == ["strength 20", "strength 80"]
    assert asked.grid({"strength": ["20", "80"]}) is None


@pytest.mark.parametrize(
    "changes", [[], [{"loss": "gram"}], [{"style_weight": weight} for weight in range(1, 14)], [{"seed": 1}] * 10**6]
)
def test_comparisons_have_two_to_twelve_variants(changes: list[dict[str, Any]]) -> None:
    with pytest.raises(OptionError, match="Choose 2 to 12 variants"):
        make_variants(Settings(), {"preset": "gatys", "size": 64}, changes)


def test_a_grid_of_any_size_is_refused_before_it_is_made() -> None:
    with pytest.raises(OptionError, match="there are 1000000000000"):
        make_grid({"strength": range(10**6), "seed": range(10**6)})


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_can_be_an_axis_with_the_values_that_the_page_offers(field: str) -> None:
    offered = [value for _, value in choices_of(field)]
    assert len(offered) >= 2, "a second axis begins with two"
    for value in offered:
        given = value.split() if field.endswith("_layers") else value
        Settings().make_config(**{"preset": "gatys", field: given})


def test_a_seed_is_an_axis_where_something_is_drawn() -> None:
    seeds = make_grid({"seed": ["1", "2"]})
    asked = make_variants(Settings(), {"preset": "gatys", "size": 64, "init": "noise"}, seeds)
    assert [variant.config.seed for variant in asked.variants] == [1, 2]
    with pytest.raises(OptionError, match="A seed matters only where the start is noise"):
        make_variants(Settings(), {"preset": "gatys", "size": 64, "init": "content"}, seeds)


def test_what_is_compared_may_differ_and_all_else_starts_alike() -> None:
    changes = make_grid({"init": ["content", "noise"]})
    asked = make_variants(Settings(), {"preset": "gatys", "size": 64}, changes)
    assert [variant.config.init for variant in asked.variants] == ["content", "noise"]
    asked = make_variants(Settings(), {"size": 64}, make_grid({"preset": ["draft", "paper"]}))
    assert len({variant.config.init for variant in asked.variants}) == 1


@pytest.mark.parametrize(
    "axes",
    [
        [{"field": "loss"}],
        ["loss"],
        [{"field": "loss", "values": "gram"}],
        [{"field": ["loss"], "values": ["gram"]}],
        [{"field": "loss", "values": ["gram"]}] * 2,
    ],
)
def test_what_is_no_axis_is_told_what_one_is(axes: list[Any]) -> None:
    with pytest.raises(OptionError, match="An axis is"):
        read_axes(axes)


def test_a_programs_pictures_are_examples_by_name_or_uploads_by_number() -> None:
    axes, pictures = read_axes([{"field": "style", "values": ["flow_strokes", {"path": "mine.png"}]}, None])
    assert axes == {"style": ["flow_strokes", "style 2"]}
    assert pictures["style"]["style 2"] == {"path": "mine.png"}
    with pytest.raises(OptionError, match="did you mean 'flow_strokes'"):
        read_axes([{"field": "style", "values": ["flow_stroke"]}])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ('[{"loss": "gram"}]', "variants must be a list of objects"),
        ([{"loss": "gram"}, "pca"], "variants must be a list of objects"),
        (None, "variants must be a list of objects"),
        (
            [{"loss": "gram"}, {"encoder": "vgg19"}],
            "A variant cannot name its encoder on this server: choose from",
        ),
        ([{"loss": "gram"}, {"stages": "1:1:vgg19"}], "A variant cannot name its stages"),
        ([{"loss": "gram"}, {"device": "cuda"}], "A variant cannot name its device"),
        ([{"loss": "gram"}, {"lost": "pca"}], "did you mean 'loss'"),
        ([{"loss": "gram"}, {"preset": ["gatys"]}], "Unknown preset"),
        ([{"loss": "gram"}, {"loss": "pca", "components": 600}], "components must be between 1 and the 64 channels"),
    ],
)
def test_a_variant_names_what_a_visitor_may_set(changes: Any, message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        make_variants(Settings(), {"preset": "gatys", "size": 64}, changes)


def test_variants_have_files_of_their_own_with_names_of_any_length() -> None:
    layers = ["relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1", "relu3_2", "relu3_3", "relu4_1", "relu4_2"]
    changes = [
        {"style_layers": layers},
        {"style_layers": layers[:-1]},
        {"style_weight": 1.0000001},
        {"style_weight": 1},
    ]
    asked = make_variants(Settings(), {"preset": "gatys", "size": 64}, changes)
    names = [variant.file_name for variant in asked.variants]
    assert len(set(names)) == 4
    assert max(map(len, names)) < 100


def test_how_it_works_finds_its_words_and_figures_in_the_study() -> None:
    study = how.STUDY.read_text(encoding="utf-8")
    assert how.section(study, "In short").strip().startswith("- ")
    for name in how.FIGURES:
        _, caption = how.figure(study, name)
        assert len(caption) > 20


def test_the_page_shows_the_study_as_it_is() -> None:
    for path in originals():
        copy = how.STUDY.parent / path.name
        assert copy.read_bytes() == path.read_bytes(), f"{path.name} has changed: python -m tools.copy_study"


def test_every_loss_family_is_explained() -> None:
    for loss in STYLE_LOSSES:
        assert re.split(r"[-…]", loss)[0] in how.EXPLANATION
