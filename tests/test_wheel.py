"""The wheel keeps its promises outside of the checkout: it holds every file, and its commands work."""

import os
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from paths import ROOT
from PIL import Image

pytest.importorskip("gradio", reason="the commands need their extras: pip install -e '.[demo,export]'")
pytest.importorskip("onnx", reason="the commands need their extras: pip install -e '.[demo,export]'")
pytest.importorskip("setuptools", minversion="77", reason="wheels are built with: pip install -e '.[dev]'")

SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
FOLDERS: dict[str, str] = SETUPTOOLS["package-dir"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, for setuptools puts into a wheel what an earlier build left in the folder."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for folder in FOLDERS.values():
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / file, source)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", target, source)
    (built,) = target.iterdir()
    return built


@pytest.fixture(
    scope="module",
    params=["with the packages of the tests", pytest.param("with the extras", marks=pytest.mark.slow)],
)
def installed(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel: empty but for that and its extras, or with all that is installed here but us.

    The latter's .pth file names the folders of these packages; .pth files in there, such as the checkout's, are not read.
    """
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, symlinks=True)
    if request.param == "with the extras":
        pip("--python", environment, "install", f"{wheel}[demo,export]")
        return environment
    pip("--python", environment, "install", "--no-deps", wheel)
    (packages,) = environment.glob("lib/python*/site-packages")
    folders = [path for path in sys.path if path.endswith("-packages")]
    (packages / "packages_of_the_tests.pth").write_text("\n".join(folders), encoding="utf-8")
    return environment


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Run:
    """run(program of the environment, *arguments) in an empty folder."""

    def run_in(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [installed / "bin" / program, *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)

    return run_in


def pip(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "pip", *map(str, arguments), "--quiet"], check=True, env=ENVIRONMENT)


def test_it_holds_every_file_of_its_packages(wheel: Path) -> None:
    there = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = {
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
        for package, folder in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert there == files, "pyproject.toml lists the packages, and the patterns of their other files"


def test_the_command_line_lists_all_commands_and_loads_no_extra(run: Run, installed: Path) -> None:
    script = """import sys, stylecore, stylecore.cli
        stylecore.cli.main(["--version"]); stylecore.cli.main(["--help"]); print(stylecore.__file__)
        print("loaded:", *{"gradio", "onnx", "onnxruntime", "onnxscript", "skimage", "sklearn"} & set(sys.modules))"""
    lines = run("python", "-c", "\n".join(map(str.strip, script.splitlines()))).stdout.splitlines()
    assert lines[0].startswith("stylecore 0.")
    assert {"stylize", "demo", "export"} <= {line.split()[0] for line in lines if line.startswith("  ")}
    assert Path(lines[-2]).is_relative_to(installed)
    assert lines[-1] == "loaded:"


def test_it_paints_a_sample_photo_in_a_sample_style(run: Run, tmp_path: Path) -> None:
    script = "from stylecore.sample_images import *; print(photo_path('astronaut'), style_path('flow_strokes'))"
    pictures = run("python", "-c", script).stdout.split()
    done = run("stylecore", "stylize", *pictures, "-o", "out.png", "--size", "64", "--steps", "2")
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "out.png").size == (64, 64)


def test_it_exports(run: Run, tmp_path: Path) -> None:
    for kind in ("extractor", "step"):
        done = run("stylecore", "export", kind, "-o", f"{kind}.onnx")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / f"{kind}.onnx").stat().st_size > 1e6


def test_it_serves_the_page(installed: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [installed / "bin" / "stylecore", "demo", "--port", str(port)],
        cwd=tmp_path,
        env=ENVIRONMENT | {"GRADIO_TEMP_DIR": str(tmp_path / "gradio")},
    )
    try:
        assert "stylecore" in page(f"http://127.0.0.1:{port}/", server)
    finally:
        server.terminate()
        assert server.wait(timeout=30) == 0


@pytest.mark.parametrize(
    ("package", "arguments"), [("gradio", ["demo"]), ("onnx", ["export", "extractor", "-o", "vgg16.onnx"])]
)
def test_without_the_extra_one_sentence_names_it(run: Run, package: str, arguments: list[str]) -> None:
    hidden = (
        f"import sys; sys.modules['{package}'] = None; from stylecore.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = run("python", "-c", hidden, *arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert package in done.stderr
    assert f"pip install 'stylecore[{arguments[0]}]'" in done.stderr


def page(url: str, server: subprocess.Popen[bytes], within_s: float = 100) -> str:
    """What a server answers, once it does; raises if it has ended or time is over."""
    end = time.monotonic() + within_s
    while True:
        try:
            with urllib.request.urlopen(url) as answer:
                return str(answer.read(), "utf-8")
        except urllib.error.URLError:
            if server.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.2)
