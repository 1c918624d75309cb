"""Commands that installed packages bring: listed without the packages that they need, which a sentence names."""

from pathlib import Path

import pytest

from stylecore.cli import main

MODULE = """
from typing import Annotated
import typer

def greet(name: Annotated[str, typer.Option(help="Whom.")] = "world") -> int:
    \"\"\"Say hello.\"\"\"
    print(f"Hello, {name}.")
    return 1

def broken() -> None:
    import a_package_that_nobody_has

tools = typer.Typer(help="Several commands.", rich_markup_mode=None)
tools.command()(greet)
tools.command()(broken)
"""
ENTRY_POINTS = """
[stylecore.commands]
greet = greeting_plugin:greet
tools = greeting_plugin:tools
broken = greeting_plugin:broken
gone = greeting_plugin.gone:command
"""


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package, installed as far as importlib.metadata can tell."""
    metadata = tmp_path / "greeting_plugin-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: greeting-plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "greeting_plugin.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


def test_the_help_lists_them_after_stylecores_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert text.index("devices") < text.index("greet") < text.index("Several commands.")


def test_a_function_and_a_typer_become_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["greet", "--name", "Ada"]) == 1
    assert main(["tools", "greet"]) == 1
    assert capsys.readouterr().out == "Hello, Ada.\nHello, world.\n"
    assert main(["greet", "--help"]) == 0
    assert "Say hello." in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "extra"), [(["broken"], "broken"), (["tools", "broken"], "tools")])
def test_a_missing_package_is_one_sentence_that_names_the_extra(
    arguments: list[str], extra: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err == (
        f"stylecore: The command '{extra}' needs a_package_that_nobody_has, which is not installed: "
        f"pip install 'stylecore[{extra}]'.\n"
    )


def test_an_unknown_command_is_refused_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stylise"]) == 2
    assert "stylize" in capsys.readouterr().err


def test_a_command_whose_module_has_gone_is_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gone"]) == 2
    assert "No such command 'gone'" in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert "gone" not in capsys.readouterr().out
