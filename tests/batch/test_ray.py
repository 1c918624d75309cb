"""The same on a real Ray cluster of two nodes: workers and nodes may go, nothing is lost and nothing made twice."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray", reason="Ray is tested apart: make test-extras")

import stubs  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402
from test_batch import SMALL, VARIANTS, stub_tasks  # noqa: E402

from stylecore.batch import Outcome, Task, make_result, plan_products, run_on_ray  # noqa: E402
from stylecore.errors import OptionError  # noqa: E402
from stylecore.images import load_image  # noqa: E402
from stylecore.sample_images import photo_path, style_path  # noqa: E402

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one core each; the driver is this process."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.add_node(num_cpus=1)
    ray.cloudpickle.register_pickle_by_value(stubs)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield nodes
    ray.shutdown()
    nodes.shutdown()


def test_two_nodes_make_what_this_process_makes(cluster: Any, tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there, here):
        folder.mkdir()
    tasks = plan_products([str(photo_path("astronaut"))], [str(style_path("flow_strokes"))], VARIANTS)
    (outcome,) = run_on_ray(tasks, str(there), cluster.address)
    assert outcome.made, outcome.error
    make_result(tasks[0], str(here))
    difference = load_image(there / tasks[0].file) - load_image(here / tasks[0].file)
    assert float(difference.abs().mean()) < 0.01
    assert not next(iter(run_on_ray(tasks, str(there), cluster.address))).made


def test_a_worker_that_is_killed_repeats_its_task_alone(cluster: Any, tmp_path: Path) -> None:
    tasks = stub_tasks("a", "b", "deadly", "c", "d")
    outcomes = list(run_on_ray(tasks, str(tmp_path), cluster.address, make=stubs.die_once))
    assert {outcome.task.row for outcome in outcomes if not outcome.error} == {task.row for task in tasks}
    assert {path.read_text().count("\n") for path in tmp_path.glob("*.made")} == {1}


def test_a_task_that_kills_its_workers_fails_alone(cluster: Any, tmp_path: Path) -> None:
    outcomes = list(run_on_ray(stub_tasks("a", "deadly", "b"), str(tmp_path), cluster.address, make=stubs.die_always))
    assert {outcome.task.row: bool(outcome.error) for outcome in outcomes} == {"a": False, "deadly": True, "b": False}


def wait_and_write(task: Task, place: str) -> Outcome:
    time.sleep(0.3)
    return stubs.write_line(task, place)


def test_a_node_may_leave_in_the_middle(cluster: Any, tmp_path: Path) -> None:
    leaving = cluster.add_node(num_cpus=2)
    tasks = stub_tasks(*map(str, range(12)))
    outcomes = []
    for outcome in run_on_ray(tasks, str(tmp_path), cluster.address, make=wait_and_write):
        outcomes.append(outcome)
        if len(outcomes) == 3:
            cluster.remove_node(leaving, allow_graceful=False)
    assert sorted(outcome.task.row for outcome in outcomes) == sorted(task.row for task in tasks)
    assert not any(outcome.error for outcome in outcomes)


def test_a_driver_that_is_killed_is_gone_on_with(cluster: Any, tmp_path: Path) -> None:
    """By the command itself: killed after its first result, and run again."""
    place = tmp_path / "out"
    options = [f"--{name.replace('num_', '')}={value}" for name, value in SMALL.items() if name != "dtype"]
    command = [
        *(sys.executable, "-m", "stylecore", "batch", str(photo_path("astronaut")), str(photo_path("rocket"))),
        *("--styles", str(style_path("flow_strokes")), str(style_path("pointillism")), "--preset", "draft"),
        *("--ray", cluster.address, "-o", str(place), *options),
    ]
    first = subprocess.Popen(command)
    deadline = time.monotonic() + 120
    while not list(place.glob("*.png")) and time.monotonic() < deadline:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    time.sleep(2)  # what the killed driver had given out may end
    before = {path: path.stat().st_mtime_ns for path in place.glob("*.png")}
    assert before
    subprocess.run(command, check=True)
    assert len(list(place.glob("*.png"))) == 4
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not list(place.glob("*.part"))


def test_another_version_of_ray_is_refused(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray.shutdown()
    monkeypatch.setattr(ray, "__version__", "2.54.0")
    with pytest.raises(OptionError, match=r"another version of Ray or Python than 2\.54\.0 here"):
        next(run_on_ray(stub_tasks("a"), str(tmp_path), cluster.address))


@pytest.mark.parametrize("kind", ["nobody", "client", "silent"])
def test_where_no_cluster_answers_that_is_said_soon(kind: str, tmp_path: Path) -> None:
    ray.shutdown()
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{place.getsockname()[1]}"
        if kind == "silent":
            place.listen()
        started = time.monotonic()
        with pytest.raises(OptionError, match="No Ray cluster answers"):
            next(run_on_ray(stub_tasks("a"), str(tmp_path), f"ray://{address}" if kind == "client" else address))
        assert time.monotonic() - started < 10
