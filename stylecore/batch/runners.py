"""Who makes the results: this process, several on this machine, or a Ray cluster. All do `make_result`, task by task.

Each runner is a generator of outcomes in the order in which they come; abandon it to stop. What is made is where it
belongs by then, so that nothing is lost, and whoever runs the same tasks again makes only the others.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

from stylecore.batch.plan import Task
from stylecore.batch.task import Outcome, make_result
from stylecore.cluster import HERE, connect

ATTEMPTS = 3  # at a task whose worker dies: that may be the task's fault
AHEAD = 2  # tasks given to each worker at a time: the next is there when one is done
LOOK_EVERY_S = 5.0  # how large the cluster is
LOST = "The process that made it died {} times: it may need less memory (a smaller --size, fewer --workers)."

Make = Callable[[Task, str], Outcome]  # does a task, where it runs: `make_result`, or a test's own


def run_here(tasks: Sequence[Task], place: str, *, make: Make = make_result) -> Iterator[Outcome]:
    """One after the other, in this process."""
    for task in tasks:
        yield make(task, place)


def run_processes(
    tasks: Sequence[Task], place: str, num_workers: int, *, make: Make = make_result
) -> Iterator[Outcome]:
    """Side by side in processes of this machine, which share its cores; one that dies is replaced, and its task is
    tried again."""
    waiting = deque(tasks)
    while waiting:
        running: dict[Future[Outcome], Task] = {}
        pool = _pool(num_workers, num_workers)
        try:
            while waiting or running:
                while waiting and len(running) < AHEAD * num_workers:
                    task = waiting.popleft()
                    running[pool.submit(make, task, place)] = task
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield future.result()  # raises if a process died, which breaks the pool
                    del running[future]
        except BrokenProcessPool:
            for future, task in running.items():
                is_done = future.done() and future.exception() is None
                yield future.result() if is_done else _alone(task, place, num_workers, make)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _alone(task: Task, place: str, num_workers: int, make: Make) -> Outcome:
    """A task that a broken pool had: one of those killed it. By itself, it shows whether it was that."""
    for _ in range(ATTEMPTS - 1):
        try:
            with _pool(1, num_workers) as pool:
                return pool.submit(make, task, place).result()
        except BrokenProcessPool:
            continue
    return _lost(task)


def _lost(task: Task) -> Outcome:
    return Outcome.failed(task, LOST.format(ATTEMPTS))


def _pool(num_processes: int, num_sharing: int) -> ProcessPoolExecutor:
    """Processes with the threads of one of so many that share the cores."""
    num_threads = max(1, (os.cpu_count() or 1) // num_sharing)
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    return ProcessPoolExecutor(num_processes, context, initializer=torch.set_num_threads, initargs=(num_threads,))


def run_on_ray(
    tasks: Sequence[Task],
    place: str,
    address: str = HERE,
    *,
    num_cpus: float = 1.0,
    num_gpus: float = 0.0,
    make: Make = make_result,
) -> Iterator[Outcome]:
    """A Ray task for each on a cluster whose nodes all reach the pictures and `place`, by the names that they have
    here.

    A task whose worker or node dies is tried again, at most three times (Ray's own `max_retries`).

    Args:
        address: as `cluster.connect` takes it.
        num_cpus, num_gpus: that a task asks for; fractions share one.

    Raises:
        OptionError: Ray is missing or no cluster of its version answers.
    """
    ray = connect(address)
    remote = ray.remote(num_cpus=num_cpus, num_gpus=num_gpus, max_retries=ATTEMPTS, retry_exceptions=False)(_make_in)
    tasks_left = iter(tasks)
    running: dict[Any, Task] = {}
    asked, most = -LOOK_EVERY_S, 0
    while True:
        if time.monotonic() - asked >= LOOK_EVERY_S:  # nodes come and go
            # More than there are workers; few enough to keep no long queue.
            most = AHEAD * max(8, int(ray.cluster_resources().get("CPU", 1) / max(num_cpus, 0.1)))
            asked = time.monotonic()
        for task in itertools.islice(tasks_left, max(0, most - len(running))):
            running[remote.remote(str(Path.cwd()), make, task, place)] = task
        if not running:
            return
        done, _ = ray.wait(list(running), num_returns=1)
        for reference in done:
            task = running.pop(reference)
            try:
                yield ray.get(reference)
            except ray.exceptions.RayError:
                yield _lost(task)


def _make_in(folder: str, make: Make, task: Task, place: str) -> Outcome:
    """In the folder that the names of pictures and results start from."""
    os.chdir(folder)
    return make(task, place)
