"""The wheel keeps its promises outside of the checkout: it holds every file, and its commands work."""

import os
import re
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

pytestmark = pytest.mark.timeout(1800)  # an empty environment takes minutes to fill

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS: dict[str, str] = PROJECT["tool"]["setuptools"]["package-dir"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

LIST_COMMANDS = """
import sys
import stylecore
from stylecore.cli import main
assert main(["--version"]) == main(["--help"]) == 0
print(stylecore.__file__)
print("loaded:", *{"gradio", "onnx", "onnxruntime", "onnxscript", "skimage", "sklearn"} & set(sys.modules))
"""
WITHOUT_EXTRAS = """
import sys
sys.modules |= {"gradio": None, "onnx": None}
from stylecore.cli import main
assert main(["demo"]) == main(["export", "extractor", "-o", "model.onnx"]) == 2
"""

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
    """A fresh environment with the wheel and its extras, or (quickly) with the packages of the tests.

    These are found by a .pth file, and the checkout is not: .pth files within folders that one names are not read.
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
        command = [str(installed / "bin" / program), *map(str, arguments)]
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


def test_every_extra_that_anything_advises_exists() -> None:
    advised = {
        extra
        for folder in (*FOLDERS.values(), "tests", "docs")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".md", ".html"}
        for extras in re.findall(r"(?:stylecore|'\.)\\?\[([a-z,]+)\\?\]", path.read_text(encoding="utf-8"))
        for extra in extras.split(",")
    }
    assert {"demo", "export", "photos"} <= advised <= set(PROJECT["project"]["optional-dependencies"])


def test_the_command_line_lists_all_commands_and_loads_no_extra(run: Run, installed: Path) -> None:
    lines = run("python", "-c", LIST_COMMANDS).stdout.splitlines()
    assert lines[0].startswith("stylecore 0.")
    assert {"stylize", "demo", "export"} <= {line.split()[0] for line in lines if line.startswith("  ")}
    assert Path(lines[-2]).is_relative_to(installed)
    assert lines[-1] == "loaded:"


def test_it_paints_a_sample_photo_in_a_sample_style(run: Run, installed: Path, tmp_path: Path) -> None:
    (samples,) = installed.glob("lib/python*/site-packages/stylecore/sample_images")
    pictures = samples / "astronaut.png", samples / "flow_strokes.jpg"
    done = run("stylecore", "stylize", *pictures, "-o", "out.png", "--size", "64", "--steps", "2")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.size == (64, 64)


@pytest.mark.parametrize("kind", ["extractor", pytest.param("step", marks=pytest.mark.slow)])
def test_it_exports(kind: str, run: Run, tmp_path: Path) -> None:
    done = run("stylecore", "export", kind, "-o", "model.onnx")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model.onnx").stat().st_size > 1e6


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


def test_without_an_extra_one_sentence_names_it(run: Run) -> None:
    done = run("python", "-c", WITHOUT_EXTRAS)
    assert done.returncode == 0, done.stderr
    for package, extra, line in zip(("gradio", "onnx"), ("demo", "export"), done.stderr.splitlines(), strict=True):
        assert package in line
        assert f"pip install 'stylecore[{extra}]'" in line


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
