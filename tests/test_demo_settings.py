"""The server's settings: where they come from, and what they refuse."""

import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

from starlette.testclient import TestClient
from torch import Tensor
from typer.testing import CliRunner

import stylecore
from demo.__main__ import app as command
from demo.app import build_app
from demo.server.middleware import RequestLimits
from demo.server.settings import Settings
from demo.server.shared_results import SharedRecord, SharedResults
from stylecore.errors import OptionError
from stylecore.images import save_image


def test_settings_come_from_the_environment_and_options_over_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STYLECORE_CLIENT_JOBS", "2")
    monkeypatch.setenv("STYLECORE_TOTAL_SECONDS", "1e9")
    monkeypatch.setenv("STYLECORE_MODELS", "elsewhere")
    settings = Settings.read(models=tmp_path, shared_results=None)
    assert (settings.client_jobs, settings.total_seconds, settings.models) == (2, 1e9, tmp_path)
    monkeypatch.undo()
    assert settings == Settings(client_jobs=2, total_seconds=1e9, models=tmp_path)


@pytest.mark.parametrize("text", ["", "many", "0", "-1", "nan"])
def test_a_limit_that_is_no_positive_number_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("STYLECORE_JOB_SECONDS", text)
    with pytest.raises(OptionError, match=f"^STYLECORE_JOB_SECONDS must be a number above 0, not '{text}'.$"):
        Settings.read()


def test_too_few_pixels_for_any_job_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLECORE_JOB_PIXELS", "100")
    with pytest.raises(OptionError, match=r"^STYLECORE_JOB_PIXELS must be 4096 or more, not '100'\.$"):
        Settings.read()


@pytest.mark.parametrize("store", ["shared_results", "models"])
@pytest.mark.parametrize("folder", ["/proc/none", "a file"])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, store: str, folder: str) -> None:
    (tmp_path / "a file").write_bytes(b"")
    settings = Settings(**{store: tmp_path / folder})
    option = store.replace("_", "-")
    with pytest.raises(OptionError, match=rf"^The folder '.*' cannot be written \(.*\): name another by --{option}\.$"):
        build_app(settings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--port", "0"], "--port must be between 1 and 65535, not 0."),
        (["--port", "99999"], "--port must be between 1 and 65535, not 99999."),
        (["--host", "no.such.host.invalid"], "cannot serve on no.such.host.invalid:7860"),
        (["--kept", "/proc/none"], "name another by --shared-results."),
    ],
)
def test_a_server_that_cannot_be_says_so_in_one_line(options: list[str], message: str) -> None:
    done = CliRunner().invoke(command, options)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("stylecore demo: ")
    assert message in line


def test_a_port_that_somebody_has_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = CliRunner().invoke(command, ["--port", str(taken.getsockname()[1])])
    assert done.exit_code == 2
    assert "choose a free --port" in done.stderr


def test_config_leaves_to_the_preset_what_is_not_given() -> None:
    config = Settings().make_config("gatys", size=64, style_weight=3, num_steps=None)
    assert config == stylecore.make_config("gatys", size=64, style_weight=3.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 4096}, "size must be between 64 and 1024 on this page"),
        ({"num_steps": 100_000}, "num_steps must be between 1 and 1000 on this page"),
        ({"seed": 1.5}, "seed cannot be '1.5': a whole number is expected"),
        ({"size": "large"}, "size cannot be 'large'"),
        ({"init": "nosie"}, "did you mean 'noise'"),
        ({"seed": 2**53}, "seed must be between 0 and 9007199254740991 on this page, not 9007199254740992"),
        ({"loss": "pca", "components": "65"}, "components must be between 1 and the 64 channels of relu1_1"),
    ],
)
def test_config_refuses_by_name_what_one_page_for_all_cannot_do(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Settings().make_config("gatys", **options)


@pytest.mark.parametrize(("pixels", "largest"), [("262144", 512), ("300000", 547), ("4096", 64), ("inf", 2**31)])
def test_pixels_bound_the_size(monkeypatch: pytest.MonkeyPatch, pixels: str, largest: int) -> None:
    monkeypatch.setenv("STYLECORE_JOB_PIXELS", pixels)
    settings = Settings.read()
    assert settings.make_config("gatys", size=min(largest, 4096)).size == min(largest, 4096)
    if largest < 4096:
        with pytest.raises(OptionError, match=f"^size must be between 64 and {largest} on this page, not 600.$"):
            settings.make_config("gatys", size=600)


def test_the_page_offers_no_size_that_it_would_refuse(tmp_path: Path) -> None:
    settings = Settings(job_pixels=16384, shared_results=tmp_path / "shared", models=tmp_path / "models")
    app = build_app(settings)
    (slider,) = (each for each in app.blocks.values() if getattr(each, "label", "") == "Size")
    assert (slider.maximum, slider.value) == (128, 128)


def test_a_page_of_one_size_alone_can_be_served(tmp_path: Path) -> None:
    app = build_app(Settings(job_pixels=4096, shared_results=tmp_path / "shared", models=tmp_path / "models"))
    (slider,) = (each for each in app.blocks.values() if getattr(each, "label", "") == "Size")
    assert (slider.value, slider.interactive) == (64, False)


# --- what is refused before Gradio sees it


async def answer(_: Any, __: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def test_a_visitor_with_too_many_jobs_is_refused_and_others_may_still_come() -> None:
    limits = RequestLimits(answer, Settings(client_jobs=3), num_jobs={"10.0.0.1": 3, "10.0.0.2": 2}.__getitem__)
    for host, status in (("10.0.0.1", 429), ("10.0.0.2", 200)):
        client = TestClient(limits, client=(host, 50_000))
        assert client.post("/gradio_api/queue/join").status_code == status
        assert client.post("/gradio_api/call/stylize").status_code == status
        assert client.post("/stylecore/gradio_api/queue/join/").status_code == status
        assert client.get("/").status_code == 200


def test_a_visitor_with_too_many_jobs_is_told_so(
    serve_demo: Callable[..., SimpleNamespace], make_image: Callable[..., Tensor], tmp_path: Path
) -> None:
    picture = save_image(make_image(), tmp_path / "photo.png").read_bytes()
    with httpx.Client(base_url=f"{serve_demo().url}/gradio_api") as client:
        (path,) = client.post("/upload", files={"files": ("photo.png", picture)}).json()
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        job = {"data": [file, [file], "gatys", None, 64, 1.0, 0, 60, None]}
        answers = [client.post("/call/stylize", json=job) for _ in range(int(Settings().client_jobs) + 1)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 429]
    assert "You have 4 jobs here already" in answers[-1].json()["detail"]


def test_nothing_is_uploaded_or_shared_on_a_disk_that_is_nearly_full(
    serve_demo: Callable[..., SimpleNamespace],
    monkeypatch: pytest.MonkeyPatch,
    make_image: Callable[..., Tensor],
    tmp_path: Path,
) -> None:
    result = save_image(make_image(), tmp_path / "result.png", {"config": {}})
    url, files = serve_demo().url, {"files": ("photo.png", result.read_bytes())}
    assert httpx.post(f"{url}/gradio_api/upload", files=files).status_code == 200
    monkeypatch.setattr("demo.server.settings.shutil.disk_usage", lambda _: SimpleNamespace(free=1000 * 2**20))
    answer = httpx.post(f"{url}/gradio_api/upload", files=files)
    assert answer.status_code == 507
    with pytest.raises(OptionError) as error:
        SharedResults(Settings(shared_results=tmp_path / "shared")).add(SharedRecord("r", "", ""), {})
    assert answer.json() == {"detail": str(error.value)}
