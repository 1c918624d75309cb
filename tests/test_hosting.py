"""How the demo is served elsewhere: public links, a login, tools for language models, containers, Spaces."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("gradio", reason="the page needs its extra: pip install 'stylecore[demo]'")

import gradio.networking
import httpx
from paths import ROOT, free_port
from torch import Tensor

from stylecore.images import save_image
from tools.push_space import space_readme


def test_without_a_tunnel_the_page_is_served_locally(
    serve_demo: Callable[..., SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_tunnel(*_: object, **__: object) -> str:
        raise OSError("no network")

    monkeypatch.setattr(gradio.networking, "setup_tunnel", no_tunnel)
    served = serve_demo(share=True)
    assert served.public_url is None
    assert httpx.get(served.url).status_code == 200


def test_login_keeps_others_out(serve_demo: Callable[..., SimpleNamespace]) -> None:
    url = serve_demo(login=("ada", "secret")).url
    assert httpx.get(f"{url}/config").status_code == 401
    with httpx.Client() as visitor:
        answer = visitor.post(f"{url}/login", data={"username": "ada", "password": "secret"})
        assert answer.status_code == 200
        assert visitor.get(f"{url}/config").status_code == 200


def test_who_is_logged_in_has_the_same_limits(
    serve_demo: Callable[..., SimpleNamespace],
    make_image: Callable[..., Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STYLECORE_CLIENT_JOBS", "1")
    url = serve_demo(login=("ada", "secret")).url
    picture = save_image(make_image(), tmp_path / "photo.png").read_bytes()
    with httpx.Client(base_url=url) as visitor:
        assert visitor.post("/gradio_api/upload", files={"files": ("photo.png", picture)}).status_code == 401
        visitor.post("/login", data={"username": "ada", "password": "secret"})
        (path,) = visitor.post("/gradio_api/upload", files={"files": ("photo.png", picture)}).json()
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        job = {"data": [file, [file], "gatys", None, 64, 1.0, 0, 60, None]}
        statuses = [visitor.post("/gradio_api/call/stylize", json=job).status_code for _ in range(2)]
        assert statuses == [200, 429]
    assert httpx.post(f"{url}/gradio_api/call/stylize", json={"data": []}).status_code in (401, 429)


def test_language_models_get_the_public_endpoints_as_tools(serve_demo: Callable[..., SimpleNamespace]) -> None:
    url = serve_demo(mcp=True).url
    tools = httpx.get(f"{url}/gradio_api/mcp/schema").json()
    assert sorted(tool["name"].rpartition("_")[2] for tool in tools) == ["benchmark", "compare", "stylize"]
    assert all(tool["description"] for tool in tools)


def test_a_login_without_a_password_is_refused() -> None:
    command = [sys.executable, "-m", "demo", "--login", "ada:"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "such as --login ada:secret" in done.stderr


def test_a_space_finds_its_settings_and_its_app() -> None:
    readme = space_readme()
    assert readme.startswith("---\ntitle: stylecore\n")
    (app_file,) = re.findall(r"^app_file: (.*)$", readme, re.MULTILINE)
    assert (ROOT / app_file).is_file()
    assert "\n# stylecore" in readme


def test_the_container_copies_what_the_demo_needs() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    needed = {"stylecore", "demo", "export", "pyproject.toml", "README.md", "LICENSE", "NOTICE"}
    assert not needed & set(ignored)


def test_a_space_installs_what_the_project_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["demo"]]
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == wanted


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_containers_commands_work_in_a_clean_venv(tmp_path: Path) -> None:
    """The Dockerfile's `pip install`s and its CMD, outside a container. TORCH_INDEX names another index of torch."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (default,) = re.findall(r"^ARG TORCH_INDEX=(.*)$", dockerfile, re.MULTILINE)
    (command,) = re.findall(r"^CMD \[(.*)\]$", dockerfile, re.MULTILINE)
    folder, port = tmp_path / "app", free_port()
    ignored = shutil.ignore_patterns(*(ROOT / ".dockerignore").read_text(encoding="utf-8").split())
    shutil.copytree(ROOT, folder, ignore=ignored)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    environment = os.environ | {
        "PATH": f"{tmp_path / 'venv' / 'bin'}:{os.environ['PATH']}",
        "TORCH_INDEX": os.environ.get("TORCH_INDEX", default),
        "GRADIO_TEMP_DIR": str(tmp_path / "gradio"),
    }
    for run in re.findall(r"^RUN (pip .*)$", dockerfile, re.MULTILINE):
        subprocess.run(run, shell=True, cwd=folder, env=environment, check=True)
    arguments = shlex.split(command.replace(",", " ").replace("7860", str(port)))
    server = subprocess.Popen(arguments, cwd=folder, env=environment)
    try:
        assert answers(f"http://127.0.0.1:{port}/", within_s=120)
    finally:
        server.terminate()
        server.wait(timeout=30)


def answers(url: str, within_s: float) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            return httpx.get(url).status_code == 200
        except httpx.TransportError:
            time.sleep(1)
    return False
