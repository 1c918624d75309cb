"""All jobs compute in one thread, and Gradio's messages still find their visitor."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

import gradio as gr

from demo.server.queue import Worker
from demo.server.uploads import ONE_JOB, jobs_of

VISITOR = ContextVar("VISITOR", default="nobody")
Place = tuple[str, str]


def place() -> Place:
    return threading.current_thread().name, VISITOR.get()


def stepwise(closed: list[Place]) -> Iterator[Place]:
    try:
        while True:
            yield place()
    finally:
        closed.append(place())


def test_every_step_of_every_job_is_in_the_same_thread() -> None:
    with gr.Blocks() as app:
        gr.Button().click(stepwise, gr.State(), gr.JSON(), **ONE_JOB)
        gr.Button().click(place, None, gr.JSON(), **ONE_JOB)
        gr.Button().click(place, None, gr.JSON())  # no job
    Worker().put_on(app)
    steps, whole = (function.fn for function in jobs_of(app))
    closed: list[Place] = []

    def visit(name: str) -> list[Place]:
        VISITOR.set(name)
        frames = steps(closed)
        seen = [next(frames), next(frames), whole()]
        frames.close()
        return seen

    with ThreadPoolExecutor(3) as pool:
        seen = [each for name in ("ada", "bob", "eve") for each in pool.submit(visit, name).result()]
    assert len({thread for thread, _ in seen + closed}) == 1
    assert [name for _, name in seen] == ["ada"] * 3 + ["bob"] * 3 + ["eve"] * 3
    assert [name for _, name in closed] == ["ada", "bob", "eve"]


def test_an_error_of_a_job_is_the_visitors() -> None:
    def fails() -> Iterator[int]:
        yield 1
        raise gr.Error("no")

    with gr.Blocks() as app:
        gr.Button().click(fails, None, gr.Number(), **ONE_JOB)
    Worker().put_on(app)
    (function,) = jobs_of(app)
    with pytest.raises(gr.Error, match="no"):
        list(function.fn())
