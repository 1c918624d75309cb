"""A server that ends in the middle of a job, killed or asked to: what it stored is whole, and its links open again."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

import gradio as gr
from torch import Tensor

from demo import examples
from demo.finished import WALL
from demo.server import cleanup
from demo.server.models import Models
from demo.server.settings import Settings
from demo.server.shared_results import SharedResults
from demo.sharing import result_to_share
from demo.tabs import how
from stylecore import StylizeConfig
from stylecore.errors import ImageError
from stylecore.images import load_image, save_image
from tools.demo_server import DemoServer

OLD_S = 2 * cleanup.MAX_AGE_S
SETTINGS = {"config": {}}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DemoServer]:
    with DemoServer(tmp_path) as server:
        yield server


def upload(server: DemoServer, path: Path) -> dict[str, Any]:
    files = {"files": (path.name, path.read_bytes())}
    (stored,) = httpx.post(f"{server.url}/gradio_api/upload", files=files).json()
    return {"path": stored, "meta": {"_type": "gradio.FileData"}}


def begin_job(server: DemoServer, picture: dict[str, Any]) -> None:
    """A job of thousand evaluations; back when the first of them are done."""
    job = {"data": [picture, [picture], "gatys", None, 64, 1.0, 0, 1000, None]}
    event = httpx.post(f"{server.url}/gradio_api/call/stylize", json=job).json()["event_id"]
    with httpx.stream("GET", f"{server.url}/gradio_api/call/stylize/{event}", timeout=60) as answer:
        seen = (line for line in answer.iter_lines() if line.startswith("event: generating"))
        assert next(seen)
        assert next(seen)


def test_a_server_killed_in_a_job_finds_all_it_stored_again(
    server: DemoServer, make_image: Callable[..., Tensor], tmp_path: Path
) -> None:
    picture = upload(server, save_image(make_image(), tmp_path / "photo.png", SETTINGS))
    tokens = [server.share(picture) for _ in range(5)]
    begin_job(server, picture)
    server.kill()
    assert sorted(path.name for path in server.shared_results.iterdir()) == sorted(tokens)
    server.start()
    for token in tokens:
        assert httpx.get(f"{server.url}/r/{token}").status_code == 200
        shared = httpx.get(f"{server.url}/r/{token}/result.png").content
        assert load_image(shared).shape == (1, 3, 48, 64)
    begin_job(server, upload(server, tmp_path / "photo.png"))


def test_sigterm_in_a_job_ends_the_server_well_and_deletes_what_visitors_sent(
    server: DemoServer, make_image: Callable[..., Tensor], tmp_path: Path
) -> None:
    picture = upload(server, save_image(make_image(), tmp_path / "photo.png", SETTINGS))
    server.share(picture)
    begin_job(server, picture)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    assert "Traceback" not in server.log.read_text(encoding="utf-8")
    assert not Path(picture["path"]).exists()
    assert visitors_files(server) == []
    assert len(list(server.shared_results.iterdir())) == 1
    assert not list(tmp_path.glob("stylecore-*"))


def visitors_files(server: DemoServer) -> list[str]:
    """Names of what lies in the folder of uploads and is none of the page's own pictures."""
    own = {path.name for path in [*examples.PHOTOS.values(), *examples.STYLES.values(), *how.STUDY.parent.iterdir()]}
    own |= {each.file for each in WALL}
    return [path.name for path in server.uploads.rglob("*") if path.is_file() and path.name not in own]


def test_sigterm_deletes_live_frames_and_copies_of_photos_too(
    server: DemoServer, make_image: Callable[..., Tensor], tmp_path: Path
) -> None:
    """Of jobs that are done, of one at work, and of the page, whose frames and photos are files."""
    picture = upload(server, save_image(make_image(), tmp_path / "mine.png"))
    variants = [{"loss": loss, "num_steps": 2} for loss in ("gram", "bn")]
    for name, data in {
        "compare": [picture, picture, variants, 64, None, None],
        "stylize": [picture, [picture], "gatys", None, 64, 1.0, 0, 2, None],
    }.items():
        event = httpx.post(f"{server.url}/gradio_api/call/{name}", json={"data": data}).json()["event_id"]
        assert "event: complete" in httpx.get(f"{server.url}/gradio_api/call/{name}/{event}", timeout=60).text
    begin_on_page(server, picture)
    assert {"frame.jpg", "comparison.html", "mine_mine.png", "mine.png"} <= set(visitors_files(server))
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    assert visitors_files(server) == []
    assert "Traceback" not in server.log.read_text(encoding="utf-8")


def begin_on_page(server: DemoServer, picture: dict[str, Any]) -> None:
    """The page's Stylize, with what its controls show at first, until it shows frames."""
    config = httpx.get(f"{server.url}/config").json()
    index = server.function("run")
    (call,) = (each for each in config["dependencies"] if each["id"] == index)
    shown = {each["id"]: each["props"].get("value") for each in config["components"]}
    labels = {each["id"]: each["props"].get("label") for each in config["components"]}
    data = [1000 if labels[each] == "Steps" else shown[each] for each in call["inputs"]]
    data = [picture if labels[each] == "Photo" else value for each, value in zip(call["inputs"], data, strict=True)]
    join = {"data": data, "fn_index": index, "session_hash": "page"}
    httpx.post(f"{server.url}/gradio_api/queue/join", json=join).raise_for_status()
    with httpx.stream("GET", f"{server.url}/gradio_api/queue/data?session_hash=page", timeout=60) as answer:
        seen = (line for line in answer.iter_lines() if "frame.jpg" in line)
        assert next(seen)
        assert next(seen)


def aged(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As if it had been written long ago: the clock goes on, for the time of a file's change cannot be set."""
    now = time.time()
    monkeypatch.setattr("demo.server.cleanup.time", SimpleNamespace(time=lambda: now + OLD_S, sleep=time.sleep))
    for each in (path, path.parent):
        os.utime(each, (now - OLD_S,) * 2)
    return path


def test_what_a_killed_server_left_is_deleted_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setattr("demo.server.cleanup.tempfile.gettempdir", lambda: str(tmp_path))
    shared = SharedResults(Settings(shared_results=tmp_path / "shared"), max_age_s=OLD_S / 2)
    left = [
        tmp_path / "uploads" / ("a" * 32) / "frame.jpg",
        tmp_path / "uploads" / ("b" * 64) / "photo.png",
        tmp_path / "stylecore-compare-x" / "1.png",
        shared.folder / ".stylecore-0123456789abcdef.part" / "result.png",
    ]
    others = [tmp_path / "uploads" / "notes" / "mine.txt", tmp_path / "uploads" / ("c" * 64) / "example.jpg"]
    for path in left + others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    app = SimpleNamespace(blocks={1: SimpleNamespace(keep_in_cache={str(others[1])}), 2: gr.Number()})
    shared.delete_old()
    cleanup.delete_leftovers(app)  # type: ignore[arg-type]
    assert all(path.exists() for path in left + others), "nothing is old yet"
    for path in left:
        aged(path, monkeypatch)
    shared.delete_old()
    cleanup.delete_leftovers(app)  # type: ignore[arg-type]
    assert [path for path in left + others if path.exists()] == others
    assert not left[0].parent.exists()


@pytest.mark.parametrize("when", ["export", "archive"])
def test_a_bundle_that_was_not_finished_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def export(_: object, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "step.onnx").write_bytes(b"x" * 1000)
        if when == "export":
            raise KeyboardInterrupt

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    models = Models(tmp_path)
    monkeypatch.setattr("export.bundle.export_bundle", export)
    monkeypatch.setattr("export.bundle.bundle_config", lambda **_: None)
    with monkeypatch.context() as patch:
        patch.setattr("demo.server.models.ZipFile.write", killed)
        with pytest.raises(KeyboardInterrupt):
            models.make_bundle()
    assert not models.bundle_zip.exists()
    when = "now"
    models.make_bundle()
    assert models.bundle_zip.is_file()


@pytest.mark.parametrize("data", [b"", b"\x89PNG....", b"<html>"])
def test_only_results_can_be_shared(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "any.png").write_bytes(data)
    with pytest.raises(ImageError, match=r"any\.png' "):
        result_to_share(tmp_path / "any.png", None, StylizeConfig(), (), None, "")
