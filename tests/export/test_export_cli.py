"""The command line: light to start, and its errors are one line wherever it is mounted."""

import subprocess
import sys
from collections.abc import Callable
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


def test_a_checkout_runs_it_by_its_folder() -> None:
    command = [sys.executable, "-m", "export", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "python -m export" in done.stdout


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
