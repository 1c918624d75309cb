"""Jobs compute in one thread, are charged to their visitor, and none of the app is wired past that."""

import errno
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

import gradio as gr
from gradio.context import LocalContext

from demo.app import build_app
from demo.server.messages import DISK_IS_FULL, NOT_STORED, UNFORESEEN
from demo.server.queue import BESIDE_JOBS, JOBS, JobQueue
from demo.server.quota import NoTimeLeftError
from demo.server.settings import Settings
from stylecore.errors import ImageError, OptionError, OutputError, WeightsError

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


def once() -> Iterator[Place]:
    yield place()


def test_every_step_of_every_job_is_in_the_same_thread() -> None:
    jobs = JobQueue(Settings())
    steps, whole = jobs.as_job(stepwise), jobs.as_job(once)
    closed: list[Place] = []

    def visit(name: str) -> list[Place]:
        VISITOR.set(name)
        frames = steps(closed)
        seen = [next(frames), next(frames), *whole()]
        frames.close()  # type: ignore[attr-defined]
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

    with pytest.raises(gr.Error, match="no"):
        list(JobQueue(Settings()).as_job(fails)())


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OptionError("size must be larger."), "size must be larger."),
        (ImageError("'/tmp/some where/photo.png' is empty."), "'photo.png' is empty."),
        (
            WeightsError("No file ~/.cache/torch/vgg19.pth, see https://a.org/b/c."),
            "No file vgg19.pth, see https://a.org/b/c.",
        ),
        (OutputError("'/srv/uploads/x.png' could not be written: File name too long."), NOT_STORED),
        (OSError(errno.ENOSPC, "No space left", "/srv/uploads/x.png"), DISK_IS_FULL),
        (RuntimeError("Given input size: (512x1x8) in /usr/lib/python3"), UNFORESEEN),
        (FileNotFoundError(errno.ENOENT, "No such file", "/srv/uploads/x.png"), UNFORESEEN),
        (gr.Error("The file /srv/uploads/x.png is odd."), "The file x.png is odd."),
    ],
)
def test_whatever_ends_a_job_ends_in_one_sentence_without_a_folder(error: Exception, sentence: str) -> None:
    def fails() -> Iterator[str]:
        yield "a frame"
        raise error

    jobs = JobQueue(Settings())
    assert list(jobs.as_job(fails, say=lambda words: words)()) == ["a frame", sentence]
    with pytest.raises(gr.Error) as raised:
        list(jobs.as_job(fails)())
    assert raised.value.message == sentence


def test_a_closed_queue_has_ended_its_job_and_computes_no_more() -> None:
    jobs = JobQueue(Settings())
    closed: list[Place] = []
    frames = jobs.as_job(stepwise)(closed)
    next(frames)
    jobs.close()
    assert len(closed) == 1
    with pytest.raises(gr.Error):
        next(frames)


def test_every_job_of_the_app_is_wired_as_one(tmp_path: Any) -> None:
    app = build_app(Settings(shared_results=tmp_path / "shared", models=tmp_path / "models"))
    queued = [each for each in app.fns.values() if each.fn is not None and each.queue is not False]
    jobs = [each for each in queued if each.concurrency_id == JOBS]
    assert {"stylize", "compare", "benchmark"} <= {each.api_name for each in jobs}
    assert all(each.fn.__globals__["__name__"] == "demo.server.queue" for each in jobs)
    beside = [each for each in queued if each not in jobs]
    assert all(each.concurrency_limit is BESIDE_JOBS["concurrency_limit"] for each in beside)


# --- quotas


@pytest.fixture
def as_visitor() -> Iterator[Callable[[str], None]]:
    """as_visitor("10.0.0.1"): from now on jobs are this address's."""
    token = LocalContext.request.set(None)
    yield lambda host: LocalContext.request.set(SimpleNamespace(client=(host, 50_000))) and None
    LocalContext.request.reset(token)


def charged_job(
    seconds: Iterator[float], monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> Callable[[], list[int]]:
    """A job of three frames, run to its end; the clock goes on by `seconds`."""
    monkeypatch.setattr("demo.server.quota.time", SimpleNamespace(monotonic=lambda: next(seconds)))

    def job() -> Iterator[int]:
        yield from range(3)

    run = JobQueue(settings).as_job(job)
    return lambda: list(run())


def test_a_job_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch, as_visitor: Callable[[str], None]) -> None:
    as_visitor("10.0.0.1")
    run = charged_job(itertools.count(0, 5), monkeypatch, Settings(job_seconds=6))
    with pytest.raises(gr.Error, match="takes longer"):
        run()


def test_a_job_that_takes_too_long_may_show_what_it_has_got(
    monkeypatch: pytest.MonkeyPatch, as_visitor: Callable[[str], None]
) -> None:
    as_visitor("10.0.0.1")
    clock = itertools.count(0, 5)
    monkeypatch.setattr("demo.server.quota.time", SimpleNamespace(monotonic=lambda: next(clock)))

    def endless() -> Iterator[str]:
        try:
            while True:
                yield "frame"
        except NoTimeLeftError as error:
            yield f"result: {error}"
            yield "and its file"

    *frames, result, file = JobQueue(Settings(job_seconds=6)).as_job(endless)()
    assert frames == ["frame"] * 2
    assert result.startswith("result: This job takes longer than the server allows")
    assert file == "and its file"


def test_a_visitor_has_a_quota_and_others_theirs(
    monkeypatch: pytest.MonkeyPatch, as_visitor: Callable[[str], None]
) -> None:
    run = charged_job(itertools.count(0, 5), monkeypatch, Settings(client_seconds=38, total_seconds=78))
    for host in ("10.0.0.1", "10.0.0.2"):
        as_visitor(host)
        assert run() == run() == [0, 1, 2]  # each 20 s, of which the second was begun in time
        with pytest.raises(gr.Error, match="your time"):
            run()
    as_visitor("10.0.0.3")
    with pytest.raises(gr.Error, match="Visitors have used all"):
        run()


def test_quotas_are_given_anew_after_an_hour(
    monkeypatch: pytest.MonkeyPatch, as_visitor: Callable[[str], None]
) -> None:
    as_visitor("10.0.0.1")
    settings = Settings(job_seconds=1e6, client_seconds=1e4, total_seconds=1e6)
    run = charged_job(itertools.count(0, 1000), monkeypatch, settings)
    assert [run() for _ in range(5)]
