"""What the demo is made of, without a server: jobs and their limits, links, shared results, what is said meanwhile."""

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

import gradio as gr
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT
from PIL import Image
from torch import Tensor

import stylecore
from demo import examples
from demo import live as jobs
from demo.components import progress as watching
from demo.components import url_state as address
from demo.components.job_inputs import JobInputs
from demo.components.url_state import from_query, to_query
from demo.live import Frame, Job, LossPoint, make_grid, read_config, read_picture, read_variants, run_job
from demo.server.shared_results import KeptResults
from demo.server.uploads import read_inputs
from demo.tabs import how as how_tab
from stylecore.errors import DivergenceError, ImageError, OptionError
from stylecore.images import save_image
from stylecore.job import Inputs
from stylecore.losses import STYLE_LOSSES

QUICK = {"size": 64, "num_steps": 3}


@pytest.fixture
def make_job(make_image: Callable[..., Tensor]) -> Callable[..., Job]:
    """make_job(**options) -> a quick job on two small pictures."""

    def make(**options: Any) -> Job:
        records = [{"name": name, "checksum": ""} for name in ("photo.png", "style.png")]
        return Job(Inputs(make_image(), [make_image(seed=1)], records), read_config("gatys", **(QUICK | options)))

    return make


@pytest.fixture
def photo(make_image: Callable[..., Tensor], tmp_path: Path) -> Path:
    return save_image(make_image(), tmp_path / "photo.png")


# --- jobs: what stands between the page and the engine


def test_config_leaves_to_the_preset_what_is_not_given() -> None:
    config = read_config("gatys", size=64, style_weight=3, num_steps=None)
    assert config == stylecore.make_config("gatys", size=64, style_weight=3.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 4096}, "size must be between 64 and 1024 on this page"),
        ({"num_steps": 100_000}, "num_steps must be between 1 and 1000 on this page"),
        ({"seed": 1.5}, "seed cannot be '1.5': a whole number is expected"),
        ({"size": "large"}, "size cannot be 'large'"),
        ({"init": "nosie"}, "did you mean 'noise'"),
    ],
)
def test_config_refuses_by_name_what_one_page_for_all_cannot_do(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        read_config("gatys", **options)


def test_job_starts_with_its_start_and_ends_with_its_last_step_measured(make_job: Callable[..., Job]) -> None:
    job = make_job()
    frames = list(run_job(job))
    assert frames[0].step == 0
    assert frames[0].seconds_left is None
    assert frames[0].image.shape == (1, 3, 48, 64)
    assert frames[-1].step == 3
    assert [point.step for point in frames[-1].losses] == [1, 2, 3]
    whole = stylecore.engine(job.inputs.content, job.inputs.styles, job.config)
    assert frames[-1].image.equal(whole.image)
    last = frames[-1].distances[-1]
    assert (last.style, last.content) == pytest.approx((whole.style_distance, whole.content_distance), rel=1e-4)


def test_frames_have_the_results_size_at_every_stage(make_job: Callable[..., Job]) -> None:
    job = make_job(size=128, stages=({"scale": 0.5, "share": 1}, {"scale": 1, "share": 1}))
    assert {tuple(frame.image.shape[2:]) for frame in run_job(job)} == {(96, 128)}


def test_job_that_diverges_ends_with_its_last_good_image(
    make_job: Callable[..., Job], make_image: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = make_image(seed=2)

    def diverge(*_: Any, **__: Any) -> Iterator[stylecore.Step]:
        raise DivergenceError("It diverged.", last_good=good)
        yield

    monkeypatch.setattr(jobs, "stylize_steps", diverge)
    frame = list(run_job(make_job()))[-1]
    assert frame.trouble == "It diverged."
    assert frame.image.equal(good)


def test_notes_and_errors_say_which_picture_and_no_folder(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (32, 32), color) for color in ("red", "blue")]
    pages[0].save(tmp_path / "moving.gif", save_all=True, append_images=pages[1:])
    image, notes = read_picture(tmp_path / "moving.gif", "style")
    assert image.shape == (1, 3, 32, 32)
    assert notes == ["About the style: The image is animated: only its first frame is used."]
    (tmp_path / "broken.png").write_text("no picture at all")
    for name, message in (("broken.png", "cannot be used"), ("deleted.png", "not on the server any more")):
        with pytest.raises(ImageError, match=f"The photo .*{message}") as error:
            read_picture(tmp_path / name, "photo")
        assert str(tmp_path) not in str(error.value)


def test_uploads_cannot_name_files_of_the_server(photo: Path) -> None:
    for upload in ({"path": str(photo)}, {"path": f"{photo.parent}/../{photo.parent.name}/photo.png"}, "photo.png"):
        with pytest.raises(ImageError, match="The photo must be an uploaded file"):
            read_inputs(upload, [None])
    with pytest.raises(ImageError, match="Choose a photo first"):
        read_inputs(None, [None])


# --- comparisons


def test_grid_is_the_product_row_by_row() -> None:
    grid = make_grid({"loss": ["gram", "pca"], "style_weight": ["1", "3"]})
    assert [tuple(change.values()) for change in grid] == [("gram", "1"), ("pca", "1"), ("gram", "3"), ("pca", "3")]


def test_variants_are_named_by_what_differs_and_come_once() -> None:
    options = {"preset": "gatys", "size": 64}
    variants = read_variants(options, make_grid({"loss": ["gram", "pca"], "components": ["3%", "50%"]}))
    assert [variant.name for variant in variants] == ["gram", "pca 3%", "pca 50%"]
    variants = read_variants(options, make_grid({"style_weight": ["0.3", "3"]}))
    assert [variant.name for variant in variants] == ["weight 0.3", "weight 3"]


@pytest.mark.parametrize("changes", [[], [{"loss": "gram"}], [{"style_weight": weight} for weight in range(1, 10)]])
def test_comparisons_have_two_to_eight_variants(changes: list[dict[str, Any]]) -> None:
    with pytest.raises(OptionError, match="Choose 2 to 8 variants"):
        read_variants({"preset": "gatys", "size": 64}, changes)


# --- links


@pytest.fixture(scope="module")
def controls() -> dict[str, address.Control]:
    with gr.Blocks():
        return JobInputs().controls


@given(
    values=st.fixed_dictionaries(
        {
            "preset": st.sampled_from(list(stylecore.PRESETS)),
            "loss": st.sampled_from(list(STYLE_LOSSES)),
            "components": st.sampled_from(["12.5%", "64", "var:0.95"]),
            "size": st.integers(64, 1024),
            "style_weight": st.floats(0, 1e6),
            "keep_colors": st.sampled_from(["none", "luminance", "match"]),
            "num_steps": st.integers(1, 1000),
            "init": st.sampled_from(["content", "noise", "style_statistics"]),
            "seed": st.integers(0, 2**53),
            "share": st.floats(0, 1),
        }
    )
)
def test_a_link_brings_back_every_setting(controls: dict[str, address.Control], values: dict[str, Any]) -> None:
    mine = {name: controls[name] for name in values}
    assert from_query(mine, "?" + to_query(mine, values)) == (values, [])


def test_a_link_names_examples_and_keeps_a_visitors_own_pictures_to_themselves(
    controls: dict[str, address.Control], photo: Path
) -> None:
    pictures = {name: control for name, control in controls.items() if name in ("photo", "style", "style2")}
    shown = {"photo": {"path": examples.served("coffee")}, "style": {"path": str(photo)}, "style2": None}
    query = to_query(pictures, shown)
    assert query == "photo=coffee&style=own&style2="
    values, complaints = from_query(pictures, query)
    assert values == {"photo": examples.served("coffee"), "style": gr.skip(), "style2": None}
    assert complaints == []


def test_a_link_that_names_a_preset_alone_gets_its_recipe() -> None:
    with gr.Blocks():
        inputs = JobInputs()
    values = inputs.complete({"preset": "gatys", "num_steps": 5})
    assert values == {"preset": "gatys", "num_steps": 5, "loss": "gram", "components": "12.5%", "init": "content"}


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("size=2000", "The link's size was left out. size must be between 64 and 1024"),
        ("loss=grm", "did you mean 'gram'"),
        ("style_weight=heavy", "style_weight cannot be 'heavy'"),
        ("share=2", "'2' is no number between 0 and 1"),
        ("photo=../../secret", "Unknown example '../../secret'"),
        ("preset=%00", "Unknown preset"),
    ],
)
def test_what_a_link_gives_wrongly_is_left_out_and_said(
    controls: dict[str, address.Control], query: str, complaint: str
) -> None:
    values, complaints = from_query(controls, f"?seed=7&{query}&unknown=1")
    assert values == {"seed": 7}
    assert complaint in complaints[0]


# --- shared results


@pytest.fixture
def result(make_image: Callable[..., Tensor], tmp_path: Path) -> Path:
    return save_image(make_image(), tmp_path / "photo.png", {"config": {}})


def test_shared_results_last_for_their_time(tmp_path: Path, result: Path) -> None:
    kept = KeptResults(tmp_path / "kept", keep_s=100)
    token, other = kept.keep(result), kept.keep(result)
    assert kept.find(token).read_bytes() == result.read_bytes()
    os.utime(kept.find(token), (time.time() - 101,) * 2)
    with pytest.raises(OptionError, match="This result is gone"):
        kept.find(token)
    kept.delete_old()
    assert [path.stem for path in kept.folder.iterdir()] == [other]


@pytest.mark.parametrize("token", ["../photo", "", "x" * 22, "../../../../etc/passwd"])
def test_nobody_finds_a_result_without_its_token(tmp_path: Path, result: Path, token: str) -> None:
    kept = KeptResults(tmp_path)
    kept.keep(result)
    with pytest.raises(OptionError, match="This result is gone"):
        kept.find(token)


# --- what is said while a job runs


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.44, "0.4 s"), (9.97, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s")]
)
def test_durations_read_well(seconds: float, words: str) -> None:
    assert watching.duration(seconds) == words


def test_status_tells_time_left_and_how_it_ended(make_job: Callable[..., Job]) -> None:
    job = make_job(num_steps=40)
    frame = Frame(job, job.inputs.content, step=10, seconds=5.0)
    assert "Step 10 of 40 · 5.0 s · about 15 s left" in watching.status(frame)
    assert "width: 25.0%" in watching.status(frame)
    assert "Stopped after 10 of 40 steps, 5.0 s." in watching.status(frame, "Stopped")


def test_curve_has_decades_and_skips_what_has_no_logarithm() -> None:
    drawing = watching.curve([LossPoint(1, 1000, 0, 1000), LossPoint(2, 110, 10, 100)], 4, "loss")
    assert "10<sup>1</sup>" in drawing
    assert "10<sup>3</sup>" in drawing
    assert "<path class='style' d='M 25.00,0.00 50.00,50.00'/>" in drawing
    assert "<path class='content' d='M 50.00,100.00'/>" in drawing
    assert "<path" not in watching.curve([], 4, "loss")


# --- documents


def test_how_it_works_finds_its_words_and_figures_in_the_study() -> None:
    study = how_tab.STUDY.read_text(encoding="utf-8")
    assert how_tab.section(study, "In short").strip().startswith("- ")
    for name in how_tab.FIGURES:
        picture, caption = how_tab.figure(study, name)
        assert (how_tab.STUDY.parent / picture).is_file()
        assert len(caption) > 20


def test_every_loss_family_is_explained() -> None:
    for loss in STYLE_LOSSES:
        assert re.split(r"[-…]", loss)[0] in how_tab.EXPLANATION


def test_a_space_installs_what_the_project_says() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["demo"]]
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == wanted
