"""Workers on a real Ray cluster: the same frames, lost in the middle, bounded, and nothing of a picture stays there."""

import gc
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray", reason="Ray is tested apart: make test-extras")

from ray.cluster_utils import Cluster  # noqa: E402
from test_demo_workers import job_of  # noqa: E402

from demo.live import run_job  # noqa: E402
from demo.server import actors, workers  # noqa: E402
from demo.server.actors import ActorPainter  # noqa: E402
from demo.server.services import Services  # noqa: E402
from demo.server.settings import Settings  # noqa: E402
from demo.server.workers import Workers  # noqa: E402
from stylecore.errors import OptionError  # noqa: E402
from stylecore.job import Job  # noqa: E402

pytestmark = pytest.mark.timeout(300)
MakeImage = Callable[..., Tensor]
STORE_BYTES = 80 * 2**20  # the least that Ray allows itself


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """One node of two cores, whose object store is soon full."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": STORE_BYTES})
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture(scope="module")
def pool(cluster: Any) -> Iterator[Workers]:
    """One worker."""
    found = Workers(1, lambda _: ActorPainter(cluster.address, 1, 0))
    yield found
    found.close()


def bytes_in_store() -> float:
    return float(ray.cluster_resources()["object_store_memory"] - ray.available_resources()["object_store_memory"])


def spilled() -> list[Path]:
    folder = Path(ray._private.worker._global_node.get_session_dir_path())
    return [path for path in folder.glob("ray_spilled_objects*/*") if path.is_file()]


def becomes_true(condition: Callable[[], bool], within_s: float = 30) -> bool:
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.2)
    return condition()


def test_frames_are_those_of_the_server_itself(pool: Workers, make_image: MakeImage) -> None:
    job = job_of(make_image)
    found, expected = [*pool.frames(job)], [*run_job(job)]
    assert found[0].step == 0
    assert found[-1].step == expected[-1].step == 8
    assert float((found[-1].image - expected[-1].image).abs().mean()) < 0.01  # threads differ
    assert found[0].jpeg.startswith(b"\xff\xd8")
    assert not found[-1].jpeg
    assert [point.step for point in found[-1].losses] == list(range(1, 9))
    assert found[-1].distances


def test_one_that_is_stopped_is_free_for_the_next(pool: Workers, make_image: MakeImage) -> None:
    pids = pool.pids
    for _ in range(2):
        frames = pool.frames(job_of(make_image, 1000, 128))
        next(frames)
        frames.close()  # else the next job would wait for a thousand steps
    assert list(pool.frames(job_of(make_image)))[-1].step == 8
    assert pool.pids == pids


def test_what_is_wrong_with_a_job_is_said_as_it_is(pool: Workers, make_image: MakeImage) -> None:
    pids = pool.pids
    job = job_of(make_image)
    object.__setattr__(job.config, "encoder", "vgg19")  # whose weights are not here
    with pytest.raises(Exception, match="vgg19") as caught:
        next(pool.frames(job))
    assert "Traceback" not in str(caught.value)
    assert pool.pids == pids


def test_a_lost_actor_is_replaced_and_the_job_goes_on(pool: Workers, make_image: MakeImage, said: list[str]) -> None:
    frames, pids = [], pool.pids
    for frame in pool.frames(job_of(make_image, 80, 96)):
        frames.append(frame)
        if len(frames) == 3:
            os.kill(pids[0], signal.SIGKILL)
    lost = frames[2]
    assert said == [workers.LOST]
    assert frames[-1].step == 80
    assert frames[-1].seconds > lost.seconds > 0
    assert [point.step for point in frames[-1].losses] == list(range(1, 81))
    assert pool.pids != pids


def test_one_that_has_done_its_part_is_renewed(cluster: Any, make_image: MakeImage) -> None:
    few = Workers(1, lambda _: ActorPainter(cluster.address, 1, 0), mib_each=1.0)
    before = few.pids
    assert list(few.frames(job_of(make_image, 2)))[-1].step == 2
    assert few.pids != before
    few.close()


@pytest.mark.parametrize("is_stopped", [False, True])
def test_nothing_of_a_job_stays_in_the_store_or_on_its_disk(
    pool: Workers, make_image: MakeImage, is_stopped: bool
) -> None:
    """With the store so full of others' objects that the job's own pictures are spilled."""
    assert becomes_true(lambda: bytes_in_store() == 0)
    others = [ray.put(np.ones(24 * 2**20, np.uint8)) for _ in range(3)]
    config = job_of(make_image, 1000 if is_stopped else 4).config
    frames = pool.frames(Job(make_image(1600, 1600), (make_image(1500, 1600, seed=1),), config))
    next(frames)
    assert spilled()
    if is_stopped:
        frames.close()
    else:
        assert [*frames][-1].step == 4
    del others, frames
    assert becomes_true(lambda: bytes_in_store() == 0 and not spilled()), (bytes_in_store(), spilled())


def test_the_page_paints_there(cluster: Any, make_image: MakeImage, tmp_path: Path) -> None:
    settings = Settings.read(ray=cluster.address, shared_results=tmp_path / "shared", models=tmp_path / "models")
    services = Services(settings)
    assert services.workers is not None
    assert [*services.frames(job_of(make_image))][-1].step == 8
    services._time_a_sketch()
    assert services.timings.estimate(job_of(make_image).config)
    services.close()


def test_a_cluster_without_room_is_said_to_have_none(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors, "START_S", 1.0)
    painter = ActorPainter(cluster.address, 100, 0)
    with pytest.raises(OptionError, match="gives no worker with 100 CPUs"):
        painter.wait()
    painter.end()


def test_nodes_that_cannot_start_a_worker_are_told_of(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Broken:
        def __init__(self) -> None:
            raise ImportError("no stylecore here")

        def pid(self) -> int:
            return 0

    monkeypatch.setattr(actors, "_Actor", Broken)
    with pytest.raises(OptionError, match="cannot start a worker: install"):
        Services(Settings.read(ray=cluster.address, shared_results=tmp_path / "shared", models=tmp_path / "models"))
