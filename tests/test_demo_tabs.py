"""What the tabs are made of: variants of a comparison, the study's words and figures."""

import re
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

from demo.server.settings import Settings
from demo.tabs import how
from demo.variants import make_grid, make_variants
from stylecore.errors import OptionError
from stylecore.losses import STYLE_LOSSES
from tools.copy_study import originals


def test_grid_is_the_product_row_by_row() -> None:
    grid = make_grid({"loss": ["gram", "pca"], "style_weight": ["1", "3"]})
    assert [tuple(change.values()) for change in grid] == [("gram", "1"), ("pca", "1"), ("gram", "3"), ("pca", "3")]


def test_variants_are_named_by_what_differs_and_come_once() -> None:
    options = {"preset": "gatys", "size": 64}
    variants = make_variants(Settings(), options, make_grid({"loss": ["gram", "pca"], "components": ["3%", "50%"]}))
    assert [variant.name for variant in variants] == ["gram", "pca 3%", "pca 50%"]
    variants = make_variants(Settings(), options, make_grid({"strength": ["20", "80"]}))
    assert [variant.name for variant in variants] == ["strength 20", "strength 80"]


@pytest.mark.parametrize("changes", [[], [{"loss": "gram"}], [{"style_weight": weight} for weight in range(1, 10)]])
def test_comparisons_have_two_to_eight_variants(changes: list[dict[str, Any]]) -> None:
    with pytest.raises(OptionError, match="Choose 2 to 8 variants"):
        make_variants(Settings(), {"preset": "gatys", "size": 64}, changes)


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
    names = [variant.file_name for variant in make_variants(Settings(), {"preset": "gatys", "size": 64}, changes)]
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
