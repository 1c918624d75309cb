"""What the demo relies on and Gradio does not promise. A failure here names it: mend `demo.server.gradio_internals`."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

import gradio as gr
import safehttpx
from gradio import processing_utils, route_utils
from paths import free_port

from demo.server.gradio_internals import close, current_visitor, example_files, num_jobs

CHANGED = "Gradio has changed"


@pytest.fixture
def example(tmp_path: Path) -> Path:
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "example.png")
    return tmp_path / "example.png"


@pytest.fixture
def slow(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[gr.Blocks, threading.Event]]:
    """A served app whose one endpoint, /visitor, takes until the event is set."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    done = threading.Event()

    def visitor() -> str:
        done.wait(30)
        return current_visitor()

    with gr.Blocks() as app:
        gr.Image(str(example))
        gr.api(visitor, api_name="visitor", concurrency_limit=1)
    app.queue().launch(server_name="127.0.0.1", server_port=free_port(), quiet=True, prevent_thread_lock=True)
    yield app, done
    done.set()
    app.close(verbose=False)


def test_the_queue_tells_whose_jobs_wait_and_run(slow: tuple[gr.Blocks, threading.Event]) -> None:
    app, done = slow
    for name in ("event_queue_per_concurrency_id", "active_jobs"):
        assert hasattr(app._queue, name), (
            f"{CHANGED}: Blocks._queue has no {name}, by which a visitor's jobs are counted"
        )
    url = f"{app.local_url}gradio_api/call/visitor"
    events = [httpx.post(url, json={"data": []}).json()["event_id"] for _ in range(3)]
    assert num_jobs(app, "127.0.0.1") == 3, f"{CHANGED}: events of Blocks._queue do not tell their request's client"
    assert num_jobs(app, "10.0.0.1") == 0
    done.set()
    for event in events:
        answer = httpx.get(f"{url}/{event}").text
        assert "127.0.0.1" in answer, f"{CHANGED}: LocalContext.request does not tell a job its visitor"
    end = time.monotonic() + 10
    while num_jobs(app, "127.0.0.1") and time.monotonic() < end:
        time.sleep(0.05)
    assert num_jobs(app, "127.0.0.1") == 0, f"{CHANGED}: ended jobs stay in Blocks._queue"


def test_the_page_says_which_files_it_shows_itself(slow: tuple[gr.Blocks, threading.Event]) -> None:
    app, _ = slow
    assert [Path(file).name for file in example_files(app)] == ["example.png"], f"{CHANGED}: no Block.keep_in_cache"


def test_all_fetching_goes_through_safehttpx() -> None:
    for module in (processing_utils, route_utils):
        found = [each for each in vars(module).values() if each is safehttpx]
        assert found, f"{CHANGED}: {module.__name__} does not fetch by safehttpx, which is where it is stopped"
    assert {"get", "async_validate_url"} <= vars(safehttpx).keys(), f"{CHANGED}: safehttpx has other functions"


def test_a_server_can_be_told_how_long_to_wait_for_open_connections(slow: tuple[gr.Blocks, threading.Event]) -> None:
    app, _ = slow
    assert hasattr(app.server.config, "timeout_graceful_shutdown"), f"{CHANGED}: Blocks.server is no server of uvicorn"
    close(app, 1)
    with pytest.raises(httpx.TransportError):
        httpx.get(app.local_url)
