"""The parts behind the page: what runs take here, results by their tokens, jobs that wait, words and stops."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

from torch import Tensor

from demo.app import links
from demo.components import progress
from demo.components.fields import in_labels
from demo.components.tiles import Tile, row_html, tile_uri
from demo.finished import AT_STOPS, WALL
from demo.server import queue
from demo.server.queue import JobQueue
from demo.server.results import GONE, Result, Results
from demo.server.settings import Settings
from demo.server.timings import Timings
from demo.stops import STOPS, finer, larger
from stylecore import make_config
from stylecore.engine import stylize_steps
from stylecore.errors import OptionError
from stylecore.images import save_image
from stylecore.schedule import plan_stages

PHOTO = (300, 400)


# ---- seconds


def test_a_stop_takes_what_its_last_run_took_at_the_size_asked() -> None:
    timings, config = Timings(), make_config("preview", size=256)
    assert timings.estimate(config) is None
    timings.note(config, PHOTO, 10)
    assert timings.estimate(config, PHOTO) == pytest.approx(10)
    assert timings.estimate(config.replace(size=512), PHOTO) == pytest.approx(40, rel=0.05)
    timings.note(config, PHOTO, 6)
    assert timings.estimate(config, PHOTO) == pytest.approx(6)


def test_a_stop_that_has_not_run_is_estimated_by_another() -> None:
    timings = Timings()
    timings.note(make_config("draft", size=256), PHOTO, 4)
    seconds = [timings.estimate(make_config(preset, size=256), PHOTO) or 0 for preset in STOPS.values()]
    assert seconds == sorted(seconds)
    assert seconds[0] == pytest.approx(4)


def test_the_wait_is_what_the_last_jobs_took() -> None:
    timings = Timings()
    assert timings.wait(2) is None
    for seconds in (10, 20):
        timings.note_job(seconds)
    assert timings.wait(2) == 30
    assert "2 jobs are before yours, about 30 s." in progress.waiting(2, 30)
    assert "You are next." in progress.waiting(0, 0)


# ---- results


@pytest.fixture
def result(make_image: Callable[..., Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    paths = [save_image(make_image(seed=seed), tmp_path / f"{seed}.png", {"config": {}}) for seed in (0, 1)]
    return Result(paths[0], paths[1], {"strength": 55}, make_config("draft"), "Done.", 2.0, tmp_path / "film.webp")


def test_a_result_is_found_by_its_token_until_its_file_is_gone(result: Result) -> None:
    results = Results()
    token = results.add(result)
    assert len(token) >= 22
    assert results.find(token) is result
    assert list(results.found(["nothing", token])) == [token]
    for other in ("", "nothing", token[:-1]):
        with pytest.raises(OptionError, match=GONE):
            results.find(other)
    result.photo.unlink()
    assert results.found([token]) == {}
    with pytest.raises(OptionError, match="keeps pictures for an hour"):
        results.find(token)


def test_old_results_are_forgotten(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    results = Results()
    old = results.add(result)
    monkeypatch.setattr("demo.server.results.MAX_AGE_S", -1)
    results.add(result)
    assert results.found([old]) == {}


# ---- jobs that wait for their page


def counted(closed: list[str]) -> Iterator[int]:
    try:
        yield from range(10)
    finally:
        closed.append("closed")


def test_a_parked_job_goes_on_where_it_was() -> None:
    jobs, closed = JobQueue(Settings()), list[str]()
    frames: Any = counted(closed)
    assert next(frames) == 0
    jobs.park("id", frames)
    assert jobs.is_parked("id")
    taken = jobs.unpark("id")
    assert taken is not None
    assert next(taken) == 1
    assert not jobs.is_parked("id")
    assert jobs.unpark("id") is None
    jobs.close()
    assert closed == []


def test_nobody_comes_back_and_the_job_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "PARKED_S", 0.05)
    jobs, closed = JobQueue(Settings()), list[str]()
    frames: Any = counted(closed)
    next(frames)
    jobs.park("id", frames)
    end = time.monotonic() + 10
    while not closed and time.monotonic() < end:
        time.sleep(0.02)
    assert closed == ["closed"]
    assert jobs.unpark("id") is None
    jobs.close()


def test_a_server_that_ends_ends_what_waits() -> None:
    jobs, closed = JobQueue(Settings()), list[str]()
    for key in ("one", "two"):
        frames: Any = counted(closed)
        next(frames)
        jobs.park(key, frames)
        jobs.close()
    assert closed == ["closed"] * 2


# ---- stops


@pytest.mark.parametrize("preset", STOPS.values())
def test_going_on_keeps_the_settings_and_begins_at_the_pictures_size(preset: str) -> None:
    config = make_config(preset, size=256, strength=40, keep_colors="luminance", seed=7)
    fine, large = finer(config), larger(config, 512)
    for each in (fine, large):
        assert (each.style_weight, each.keep_colors, each.seed) == (config.style_weight, "luminance", 7)
        assert set(each.encoders) == {"vgg16"}
    assert [stage.size for stage in plan_stages(fine, PHOTO)] == [(192, 256)]
    assert [stage.size for stage in plan_stages(large, PHOTO)] == [(192, 256), (384, 512)]


def test_a_rough_picture_gets_nearer_to_the_style_when_it_goes_on(
    make_image: Callable[..., Tensor], prepare_tiny: Callable[..., Any]
) -> None:
    config = make_config("draft", size=64, num_steps=4, encoder="vgg16")
    content, style = make_image(), make_image(seed=1)
    encoder = prepare_tiny(config)
    *_, rough = stylize_steps(content, style, config, encoder=encoder)
    *_, fine = stylize_steps(content, style, finer(config), encoder=encoder, start=rough.image)
    assert fine.losses.style < rough.losses.style


def test_the_finished_pictures_are_those_of_the_list() -> None:
    assert len(WALL) >= 6
    assert list(AT_STOPS) == list(STOPS.values())
    folder = WALL[0].path.parent
    assert {each.file for each in (*WALL, *AT_STOPS.values())} == {path.name for path in folder.glob("*.jpg")}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_000_000
    distances = [each.style_distance for each in AT_STOPS.values()]
    assert distances == sorted(distances, reverse=True), "a finer stop is nearer to the style"


# ---- words


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("size must be between 64 and 1024 on this page, not 2000.", "Size must be between 64 and 1024 on this page"),
        ("num_steps must be between 1 and 1000", "Steps must be between 1 and 1000"),
        ("Left out. strength must be between 0", "Left out. Strength must be between 0"),
        ("The seed must not change.", "The seed must not change."),
    ],
)
def test_a_sentence_on_the_page_calls_controls_by_their_labels(sentence: str, words: str) -> None:
    assert in_labels(sentence).startswith(words)


def test_the_page_links_licence_and_source_and_a_space_its_duplicate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert links(Settings()).startswith("[MIT licence](https://")
    assert links(Settings(source="https://example.org/code")).startswith("[Source](https://example.org/code) · [MIT")
    monkeypatch.setenv("SPACE_ID", "ada/stylecore")
    assert "[Source](https://huggingface.co/spaces/ada/stylecore/tree/main)" in links(Settings())
    assert links(Settings()).endswith(
        "[Duplicate this Space](https://huggingface.co/spaces/ada/stylecore?duplicate=true)"
    )


def test_tiles_have_names_and_small_pictures_of_their_own() -> None:
    html = row_html([Tile("a'b", "Cat & <dog>", tile_uri(WALL[0].path))], "Pets")
    assert "aria-label='Cat &amp; &lt;dog&gt;'" in html
    assert "data-name='a&#x27;b'" in html
    assert re.search(r"src='data:image/webp;base64,[^']{500,9000}'", html)
