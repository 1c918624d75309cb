"""The command line: light to start, and its errors are one line wherever it is mounted."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from paths import ROOT
from stylecore_export.cli import app, main
from typer.exceptions import TyperException

RunWithout = Callable[..., Any]
HEAVY = ("torch", "stylecore", "onnx", "onnxruntime")


def test_it_starts_without_torch_and_onnx(run_without: RunWithout) -> None:
    done = run_without(HEAVY, "from stylecore_export.cli import main; sys.exit(main(sys.argv[1:]))")
    assert done.returncode == 0, done.stderr
    assert "stylize" in done.stdout


def test_a_missing_extra_is_said_in_one_line(run_without: RunWithout) -> None:
    script = "from stylecore_export.cli import main; sys.exit(main(sys.argv[1:]))"
    for arguments in (["verify", "x.onnx"], ["stylize", "a.png", "b.png", "--models", "x"]):
        done = run_without(["onnx", "onnxruntime"], script, *arguments)
        assert done.returncode == 2
        assert done.stderr.endswith("pip install 'stylecore[export]'.\n")
        assert done.stderr.count("\n") == 1


def test_another_thing_called_onnxruntime_is_said_in_one_line(run_without: RunWithout) -> None:
    script = (
        "import types; sys.modules['onnxruntime'] = types.ModuleType('onnxruntime')\n"
        "from stylecore_export.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = run_without([], script, "stylize", "a.png", "b.png", "--models", "x")
    assert done.returncode == 2
    assert done.stderr == "export: onnxruntime is not installed or not whole: pip install 'stylecore[export]'.\n"


def test_a_checkout_runs_it_by_its_folder() -> None:
    command = [sys.executable, "-m", "export", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "python -m export" in done.stdout


LONG = "x" * 300


@pytest.mark.parametrize(
    ("command", "output", "reason"),
    [
        ("extractor", "folder", "is a folder"),
        ("extractor", "/proc/x.onnx", "cannot be written"),
        ("extractor", "none/x.onnx", "no folder"),
        ("extractor", f"{LONG}.onnx", "cannot be written"),
        ("extractor", "m.ort", r"'m\.onnx': --ort writes 'm\.ort' beside it"),
        ("extractor", "m.pb", r"m\.onnx"),
        ("extractor --ort", "taken.onnx", r"taken\.ort' is a folder"),
        ("step", "folder", "is a folder"),
        ("step", "/proc/x.onnx", "cannot be written"),
        ("bundle", "/proc/b", "cannot be written"),
        ("bundle", LONG, "cannot be written"),
        ("bundle", "none/b", "no folder"),
        ("bundle", "file.txt", "is no bundle"),
        ("bundle", ".", "is no bundle"),
        ("bench x.onnx", "/proc", "cannot be written"),
        ("bench x.onnx", "folder", r"bench\.md' is a folder"),
        ("views record/bench.json", "", r"bench\.csv' is a folder"),
    ],
)
def test_every_output_is_tried_before_the_work(
    command: str,
    output: str,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("the work began")

    for name in ("extractor.load_encoder", "bundle.load_encoder", "benchmark.run_bench", "report.write_views"):
        monkeypatch.setattr(f"stylecore_export.{name}", work)
    for folder in ("folder/bench.md", "taken.ort", "record/bench.csv"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "file.txt").touch()
    (tmp_path / "record" / "bench.json").write_text(
        '{"kind": "export-bench", "environment": {}, "rules": {}, "rows": [{"name": "x", "num_threads": 1, '
        '"provider": "cpu", "size_px": 64, "milliseconds": [1]}]}'
    )
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main([*command.split(), *(["-o", output] if output else [])]) == 2
    error = capsys.readouterr().err
    assert re.search(reason, error)
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("extractor -o x.onnx --size 99999", "at most 8192"),
        ("extractor -o x.onnx --layers ,", "--layers"),
        ("bench x.onnx --threads ,", "--threads"),
        ("bench x.onnx --threads 0", "--threads"),
        ("bench x.onnx --providers ,", "--providers"),
        (f"verify {LONG}", "no model file"),
        (f"views {LONG}", "no record"),
        ("bundle -o b --steps 0", "num_steps"),
        ("bundle -o b --size 5", "size"),
    ],
)
def test_options_out_of_range_are_one_line(arguments: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments.split()) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["verify", "none.onnx"], "no model file"),
        (["bundle", "-o", "none/bundle"], "no folder"),
        (["extractor", "-o", "x.onnx", "--precision", "fp8"], "did you mean"),
    ],
)
def test_mounted_its_errors_are_the_command_lines_own(arguments: list[str], reason: str) -> None:
    """The torch-free runtime's and the library's alike, so that `stylecore` prints them like its own."""
    parent = typer.Typer(rich_markup_mode=None)
    parent.callback()(lambda: None)
    parent.add_typer(app, name="export")
    with pytest.raises(TyperException, match=reason) as error:
        parent(["export", *arguments], standalone_mode=False)
    assert error.value.exit_code == 2
    assert "\n" not in error.value.format_message()


def test_an_interrupt_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("stylecore_export.runtime.run_job", interrupt)
    assert main(["stylize", "a.png", "b.png", "--models", "x"]) == 130
    assert capsys.readouterr().err == "export: Stopped: nothing was written.\n"
