"""Processes that paint for the page: the same frames, stopped, lost in the middle, and bounded."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from torch import Tensor

from demo.live import Frame, run_job
from demo.server import workers as workers_module
from demo.server.painters import ProcessPainter
from demo.server.workers import Workers
from stylecore.errors import OptionError
from stylecore.job import Job
from stylecore.presets import make_config

MakeImage = Callable[..., Tensor]


def workers_of(number: int, **bounds: Any) -> Workers:
    return Workers(number, lambda index: ProcessPainter(index, number), **bounds)


@pytest.fixture(scope="module")
def pool() -> Iterator[Workers]:
    """Two processes."""
    found = workers_of(2)
    yield found
    found.close()


def job_of(make_image: MakeImage, num_steps: int = 8, size: int = 64, seed: int = 0) -> Job:
    config = make_config("draft", size=size, num_steps=num_steps, device="cpu", dtype="float32")
    return Job(make_image(seed=seed), (make_image(seed=1),), config)


def test_frames_are_those_of_the_server_itself(pool: Workers, make_image: MakeImage) -> None:
    job = job_of(make_image)
    found, expected = [*pool.frames(job)], [*run_job(job)]
    assert found[0].step == 0
    assert found[-1].step == expected[-1].step == 8
    assert found[-1].job is job
    assert found[0].jpeg.startswith(b"\xff\xd8"), "the page shows it as it comes"
    assert not found[-1].jpeg, "the result comes to the bit"
    assert float((found[-1].image - expected[-1].image).abs().mean()) < 0.01  # threads differ
    assert [point.step for point in found[-1].losses] == list(range(1, 9))
    assert found[-1].distances


def test_two_jobs_go_on_side_by_side(pool: Workers, make_image: MakeImage) -> None:
    first, second = (pool.frames(job_of(make_image, 200, 96, seed)) for seed in range(2))
    assert (next(first).step, next(second).step) == (0, 0)
    assert next(first).step < 200
    assert next(second).step < 200
    first.close()
    second.close()


def test_one_that_is_stopped_is_free_for_the_next(pool: Workers, make_image: MakeImage) -> None:
    for _ in range(4):  # twice as often as there are processes
        frames = pool.frames(job_of(make_image, 1000, 128))
        next(frames)
        started = time.monotonic()
        frames.close()
        assert time.monotonic() - started < 20
    assert list(pool.frames(job_of(make_image)))[-1].step == 8


def test_what_is_wrong_with_a_job_is_said_and_costs_no_process(pool: Workers, make_image: MakeImage) -> None:
    pids = pool.pids
    job = job_of(make_image)
    object.__setattr__(job.config, "encoder", "vgg19")  # whose weights are not here
    with pytest.raises(Exception, match="vgg19"):
        next(pool.frames(job))
    assert pool.pids == pids


def test_a_lost_process_is_replaced_and_the_job_goes_on(pool: Workers, make_image: MakeImage, said: list[str]) -> None:
    job, pids, frames = job_of(make_image, 120, 96), set(pool.pids), []
    for frame in pool.frames(job):
        frames.append(frame)
        if len(frames) == 3:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
    lost = frames[2]
    assert said == [workers_module.LOST]
    assert frames[3].step > lost.step > 0
    assert frames[3].seconds > lost.seconds
    assert frames[-1].step == 120
    assert [point.step for point in frames[-1].losses] == list(range(1, 121))


@pytest.mark.slow
def test_a_job_that_kills_its_processes_is_given_up(make_image: MakeImage, said: list[str]) -> None:
    pool = workers_of(1)

    def killed() -> Iterator[Frame]:
        for frame in pool.frames(job_of(make_image, 300, 96)):
            os.kill(pool.pids[0], signal.SIGKILL)
            yield frame

    with pytest.raises(OptionError, match="3 times"):
        list(killed())
    assert len(said) == workers_module.ATTEMPTS
    pool.close()


@pytest.mark.slow
@pytest.mark.parametrize("bound", [{"jobs_each": 1}, {"mib_each": 1.0}])
def test_a_process_that_has_done_its_part_is_renewed(bound: dict[str, float], make_image: MakeImage) -> None:
    pool = workers_of(1, **bound)
    before = pool.pids
    list(pool.frames(job_of(make_image, 2)))
    assert pool.pids != before
    assert not psutil.pid_exists(before[0])
    assert list(pool.frames(job_of(make_image, 2)))[-1].step == 2
    pool.close()


def test_closing_ends_a_job_in_the_middle(make_image: MakeImage) -> None:
    pool = workers_of(1)
    frames = pool.frames(job_of(make_image, 1000, 128))
    next(frames)
    closing = threading.Timer(0.5, pool.close)
    closing.start()
    started = time.monotonic()
    assert all(frame.step < 1000 for frame in frames)
    assert time.monotonic() - started < 20
    closing.join()  # the process ends a little before it is gone
    assert not psutil.pid_exists(pool.pids[0])
