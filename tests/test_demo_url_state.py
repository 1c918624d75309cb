"""Links that carry the page's settings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

import gradio as gr
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import stylecore
from demo import examples
from demo.components.job_inputs import JobInputs
from demo.components.url_state import Control, encoded, from_query, to_query
from demo.server.settings import Settings
from demo.server.timings import Timings
from stylecore.images import save_image
from stylecore.job import SavedSettings, Source
from stylecore.losses import STYLE_LOSSES
from stylecore.sample_images import load_photo


@pytest.fixture
def photo(make_image: Callable[..., Tensor], tmp_path: Path) -> Path:
    return save_image(make_image(), tmp_path / "photo.png")


@pytest.fixture(scope="module")
def controls() -> dict[str, Control]:
    with gr.Blocks():
        return JobInputs(Settings(), Timings()).controls


@given(
    values=st.fixed_dictionaries(
        {
            "preset": st.sampled_from(list(stylecore.PRESETS)),
            "loss": st.sampled_from(list(STYLE_LOSSES)),
            "components": st.sampled_from(["12.5%", "64", "var:0.95"]),
            "size": st.integers(64, 1024),
            "strength": st.floats(0, 100),
            "keep_colors": st.sampled_from(["none", "luminance", "match"]),
            "num_steps": st.integers(1, 1000),
            "init": st.sampled_from(["content", "noise", "style_statistics"]),
            "seed": st.integers(0, 2**53 - 1),
            "share": st.floats(0, 1),
        }
    )
)
def test_a_link_brings_back_every_setting(controls: dict[str, Control], values: dict[str, Any]) -> None:
    mine = {name: controls[name] for name in values}
    assert from_query(mine, "?" + to_query(mine, values)) == (values, [])


def test_a_link_names_examples_and_keeps_a_visitors_own_pictures_to_themselves(
    controls: dict[str, Control], photo: Path
) -> None:
    pictures = {name: control for name, control in controls.items() if name in ("photo", "style", "style2")}
    shown = {"photo": {"path": examples.served("coffee")}, "style": {"path": str(photo)}, "style2": None}
    query = to_query(pictures, shown)
    assert query == "photo=coffee&style=own&style2="
    values, complaints = from_query(pictures, query)
    assert values == {"photo": examples.served("coffee"), "style": gr.skip(), "style2": None}
    assert complaints == []


def test_a_link_leaves_to_the_preset_what_it_does_not_name(controls: dict[str, Control]) -> None:
    values, complaints = from_query(controls, "?preset=gatys&num_steps=5&loss=&init=")
    assert values == {"preset": "gatys", "num_steps": 5, "loss": "", "init": ""}
    assert complaints == []


@pytest.mark.parametrize(("weight", "strength"), [("1", 100), ("3", 100), ("0", 0), ("0.012", 50.6), ("1e-3", 7.785)])
def test_a_link_of_before_there_was_strength_has_its_weight(
    controls: dict[str, Control], weight: str, strength: float
) -> None:
    assert from_query(controls, f"?style_weight={weight}&seed=3") == ({"strength": strength, "seed": 3}, [])


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("size=2000", "The link's size was left out. Size must be between 64 and 1024"),
        ("loss=grm", "did you mean 'gram'"),
        ("strength=heavy", "'heavy' is no number between 0 and 100"),
        ("share=2", "'2' is no number between 0 and 1"),
        ("photo=../../secret", "Unknown example '../../secret'"),
        ("preset=%00", "Unknown preset"),
        ("seed=9007199254740993", "Seed must be between 0 and 9007199254740991"),  # a browser's would be another
    ],
)
def test_what_a_link_gives_wrongly_is_left_out_and_said(
    controls: dict[str, Control], query: str, complaint: str
) -> None:
    values, complaints = from_query(controls, f"?seed=7&{query}&unknown=1")
    assert values == {} if query.startswith("seed") else {"seed": 7}
    assert complaint in complaints[0]


@pytest.mark.parametrize("weights", [(), (3, 1), (1e6, 1), (0.5, 0.25), (0, 7)])
def test_settings_of_a_png_make_a_link_that_the_page_accepts(
    make_image: Callable[..., Tensor], tmp_path: Path, weights: tuple[float, ...]
) -> None:
    config = stylecore.make_config("gatys", size=128, style_weights=weights, seed=5)
    pictures = [{"name": name, "checksum": ""} for name in ("coffee.png", "mine.png", "ink_marbling.jpg")]
    path = save_image(make_image(), tmp_path / "made.png", {"config": config.to_dict(), "inputs": pictures})
    with gr.Blocks():
        inputs = JobInputs(Settings(), Timings())
    texts = inputs.saved_settings(SavedSettings.read(path))
    values, complaints = from_query(inputs.controls, encoded(texts))
    assert complaints == []
    assert values["photo"] == examples.served("coffee")
    assert (texts["style"], texts["style2"], texts["style3"]) == ("own", "ink_marbling", "")
    assert (values["preset"], values["size"], values["seed"]) == ("gatys", 128, 5)
    wanted = weights or (1, 1)
    assert [values["share"] / sum(wanted), values["share2"] / sum(wanted)] == pytest.approx(
        [weight / sum(wanted) / max(1, *wanted) for weight in wanted]
    )


def test_a_picture_is_an_example_by_what_it_shows_not_by_its_name() -> None:
    mine, example = Source("coffee.jpg", "0" * 12), Source.of(load_photo("coffee"), "coffee.png")
    assert examples.find(mine) is None
    assert examples.find(example) == "coffee"
