"""A run that is measured on the way: its curve, how it ended, and that measuring is no part of its seconds."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stylecore import Job, MeasuredRun, Stage, make_config
from stylecore.encoders import Encoder
from stylecore.engine import job_steps, run_to_end
from stylecore.errors import OptionError
from stylecore.images import image_size
from stylecore.measured_run import curve_steps, in_turns
from stylecore.metrics import Distances, Yardstick

MakeImage = Callable[..., Tensor]
MakeRun = Callable[..., MeasuredRun]


@pytest.fixture
def make_run(make_image: MakeImage, tiny_everywhere: Encoder) -> MakeRun:
    """make_run(marks=, ...options of the config) -> a run of six steps by the tiny encoder."""

    def make(marks: tuple[int, ...] = (), **options: object) -> MeasuredRun:
        config = make_config(**{"preset": "gatys", "size": 64, "num_steps": 6, "encoder": "vgg16"} | options)
        job = Job(make_image(), (make_image(seed=1),), config)
        return MeasuredRun(job, encoder=tiny_everywhere, marks=marks)

    return make


def test_a_run_to_its_end_is_the_job(make_run: MakeRun, tiny_everywhere: Encoder) -> None:
    run = make_run(loss="pca").to_end()
    result = run_to_end(run.job, job_steps(run.job, encoder=tiny_everywhere))
    assert torch.equal(run.image, result.image)
    assert (run.reason, run.trouble, run.num_steps) == ("finished", "", 6)
    assert run.distances == result.distances
    assert torch.equal(run.fitted["relu1_1"]["components"], result.ending.fitted["relu1_1"]["components"])
    assert run.seconds > 0


def test_the_curve_has_the_marks_and_the_end(make_run: MakeRun) -> None:
    run = make_run(marks=(1, 4)).to_end()
    assert [point.step for point in run.curve] == [1, 4, 6]
    assert all(earlier.seconds < later.seconds for earlier, later in itertools.pairwise(run.curve))
    assert run.curve[-1] == (6, run.seconds, run.distances)
    assert run.curve[0].distances.style > run.curve[-1].distances.style


def test_what_is_measured_is_measured_once(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Tensor] = []
    monkeypatch.setattr(Yardstick, "measure", lambda _, image: measured.append(image) or Distances(1.0, 1.0, 1.0))
    run = make_run(marks=(6,)).to_end()
    assert run.distances == run.measure().distances
    assert len(measured) == 1


def test_measuring_is_no_part_of_the_seconds(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that only measuring sets forward."""
    now, measure = [0.0], Yardstick.measure

    def slow(self: Yardstick, image: Tensor) -> Distances:
        now[0] += 1000
        return measure(self, image)

    monkeypatch.setattr(Yardstick, "measure", slow)
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    run = make_run(marks=(1, 2, 3)).to_end()
    assert run.seconds == 0
    assert run.seconds_measuring == 4000


def test_a_run_that_is_abandoned_was_stopped_and_can_be_measured(make_run: MakeRun) -> None:
    run = make_run()
    for step in run:
        if step.index == 3:
            break
    assert (run.reason, run.num_steps, run.fitted) == ("stopped", 3, {})
    assert torch.equal(run.image, step.image)
    assert run.measure().step == 3
    assert [point.step for point in run.curve] == [3]


def test_a_run_says_that_its_distance_is_reached(make_run: MakeRun) -> None:
    run = make_run(num_steps=80, target_distance=1e3).to_end()
    assert (run.reason, run.trouble) == ("target", "")
    assert run.num_steps == 10, "at the first look"


def test_a_run_says_that_its_seconds_are_spent(make_run: MakeRun) -> None:
    run = make_run(num_steps=10_000, time_budget=0.3).to_end()
    assert (run.reason, run.trouble) == ("budget", "")
    assert 1 <= run.num_steps < 10_000


def test_a_run_that_diverges_ends_with_its_last_good_image(make_run: MakeRun) -> None:
    run = make_run(marks=(1,), num_steps=60, learning_rate=1000.0).to_end()
    assert run.reason == "diverged"
    assert "--style-weight" in run.trouble
    assert run.num_steps < 60
    assert image_size(run.image) == (48, 64)
    assert bool(run.image.isfinite().all())
    assert float(run.image.std()) > 0.01
    assert [point.step for point in run.curve] == [1], "the last good image is of no step"
    assert run.distances == run.yardstick.measure(run.image)


def test_a_coarse_stages_image_is_shown_at_the_results_size(make_run: MakeRun) -> None:
    run = make_run(size=128, marks=(1,), stages=(Stage(0.75, 1.0), Stage(1.0, 1.0)))
    first = next(iter(run))
    assert image_size(first.image) == (72, 96)
    assert image_size(run.image) == run.job.size == (96, 128)
    assert len(run.curve) == 1


def test_an_impossible_job_is_refused_when_its_run_is_made(make_run: MakeRun) -> None:
    with pytest.raises(OptionError, match="average pooling"):
        make_run(pooling="average")


def test_a_given_yardstick_is_taken(make_run: MakeRun) -> None:
    first = make_run()
    again = MeasuredRun(first.job, yardstick=first.yardstick)
    assert again.yardstick is first.yardstick


def test_curve_points_are_log_spaced_and_hold_the_ends() -> None:
    assert sorted(curve_steps(300)) == [1, 2, 3, 5, 8, 13, 22, 38, 63, 106, 179, 300]
    for num_steps in range(1, 40):
        steps = curve_steps(num_steps)
        assert {1, num_steps} <= steps <= set(range(1, num_steps + 1))
        assert len(steps) <= 12


def test_runs_take_turns_until_each_has_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    now, order = [0.0], []

    def work(name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            order.append(name)
            now[0] += seconds

        return run

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    samples = in_turns([work("a", 1.0), work("b", 4.0)], min_runs=2, min_seconds=6.0, turn=2)
    assert order == ["a", "b"] + ["a", "a", "b", "b"] + ["a", "a"] * 2
    assert samples == [[1.0] * 6, [4.0] * 2]
