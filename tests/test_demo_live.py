"""Live frames of a job, and what is said while it runs."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

from torch import Tensor

import stylecore
from demo.components import progress
from demo.live import Frame, Point, run_job
from demo.server.settings import Settings
from stylecore.engine import job_steps, job_yardstick
from stylecore.errors import DivergenceError, OptionError
from stylecore.job import Job

QUICK = {"size": 64, "num_steps": 3}


@pytest.fixture
def make_job(make_image: Callable[..., Tensor]) -> Callable[..., Job]:
    """make_job(**options) -> a quick job on two small pictures."""

    def make(**options: Any) -> Job:
        config = Settings().make_config("gatys", **(QUICK | options))
        return Job(make_image(), (make_image(seed=1),), config, ("photo.png", "style.png"))

    return make


def test_job_starts_with_its_start_and_ends_with_its_last_step_measured(make_job: Callable[..., Job]) -> None:
    job = make_job()
    frames = list(run_job(job))
    assert frames[0].step == 0
    assert frames[0].seconds_left is None
    assert frames[0].image.shape == (1, 3, 48, 64)
    assert frames[-1].step == 3
    assert [point.step for point in frames[-1].losses] == [1, 2, 3]
    whole = stylecore.stylize(job.content, job.styles, job.config)
    assert frames[-1].image.equal(whole.image)
    last = frames[-1].distances[-1]
    assert (last.style, last.content) == pytest.approx((whole.style_distance, whole.content_distance), rel=1e-4)


def test_a_job_that_is_stopped_ends_with_the_step_at_work(make_job: Callable[..., Job]) -> None:
    asked: list[bool] = []

    def is_stopped() -> bool:
        asked.append(len(asked) >= 2)
        return asked[-1]

    frames = list(run_job(make_job(num_steps=50), is_stopped=is_stopped))
    assert not any(frame.is_last for frame in frames)
    assert asked == [False, False, True, True]  # after three evaluations, and that was the last


def test_frames_have_the_results_size_at_every_stage(make_job: Callable[..., Job]) -> None:
    job = make_job(size=128, stages=({"scale": 0.5, "share": 1}, {"scale": 1, "share": 1}))
    assert {tuple(frame.image.shape[2:]) for frame in run_job(job)} == {(96, 128)}


def test_job_that_diverges_ends_with_its_last_good_image(
    make_job: Callable[..., Job], make_image: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = make_image(seed=2)

    def diverge(job: Job, **_: Any) -> Iterator[stylecore.Step]:
        yield next(job_steps(job))
        raise DivergenceError("It diverged.", last_good=good)

    monkeypatch.setattr("stylecore.measured_run.job_steps", diverge)
    job = make_job()
    frame = list(run_job(job))[-1]
    assert frame.trouble == "It diverged."
    assert frame.image.equal(good)
    assert frame.distances[-1].style == pytest.approx(job_yardstick(job).measure(good).style)


def test_job_that_diverges_at_once_ends_with_its_start(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: Any, **__: Any) -> Iterator[stylecore.Step]:
        raise DivergenceError("It diverged.")
        yield

    monkeypatch.setattr("stylecore.measured_run.job_steps", diverge)
    start, end = run_job(make_job())
    assert end.trouble == "It diverged."
    assert end.image.equal(start.image)


# --- what is said while a job runs


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.44, "0.4 s"), (9.97, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s")]
)
def test_durations_read_well(seconds: float, words: str) -> None:
    assert progress.duration(seconds) == words


def test_status_tells_time_left_and_how_it_ended(make_job: Callable[..., Job]) -> None:
    job = make_job(num_steps=40)
    frame = Frame(job, job.content, step=10, seconds=5.0)
    assert "Step 10 of 40 · 5.0 s · about 15 s left" in progress.status(frame)
    assert "width: 25.0%" in progress.status(frame)
    assert "Stopped after 10 of 40 steps, 5.0 s on the CPU." in progress.status(frame, "Stopped")


def test_time_left_counts_pixels_not_steps(make_job: Callable[..., Job]) -> None:
    """A step at half the size takes a quarter of the time: 10 of these are 2.5 of the 22 that follow."""
    job = make_job(size=256, num_steps=32, stages=({"scale": 0.5, "share": 10}, {"scale": 1, "share": 22}))
    assert Frame(job, job.content, step=10, seconds=1.25).seconds_left == pytest.approx(11.0)
    assert Frame(job, job.content, step=21, seconds=6.75).seconds_left == pytest.approx(5.5)
    assert Frame(job, job.content, step=32, seconds=12.25).seconds_left == 0


def test_an_impossible_job_is_refused_before_its_first_frame(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OptionError("Impossible.")

    monkeypatch.setattr("stylecore.measured_run.job_steps", refuse)
    with pytest.raises(OptionError):
        run_job(make_job())


def test_curve_has_decades_and_skips_what_has_no_logarithm() -> None:
    drawing = progress.curve([Point(1, 0, 1000), Point(2, 10, 100)], 4, "loss")
    assert "10<sup>1</sup>" in drawing
    assert "10<sup>3</sup>" in drawing
    assert "<path class='style' d='M 25.00,0.00 50.00,50.00'/>" in drawing
    assert "<path class='content' d='M 50.00,100.00'/>" in drawing
    assert "<path" not in progress.curve([], 4, "loss")
