"""What the README tells people to type runs as it stands there."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from paths import ROOT
from torch import Tensor

import stylecore
from stylecore.images import save_image
from stylecore.losses import STYLE_LOSSES

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_library_snippet_runs(
    make_image: Callable[..., Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for name in ("content", "style"):
        save_image(make_image(), tmp_path / f"{name}.png").rename(tmp_path / f"{name}.jpg")
    exec(snippet.replace("size=512", "size=64, num_steps=2"), {})  # small: the words are what is tested
    assert stylecore.read_settings(tmp_path / "out.png")["config"]["size"] == 64
    style_distance, seconds = (float(word) for word in capsys.readouterr().out.split())
    assert style_distance >= 0
    assert seconds > 0


def test_every_preset_and_every_loss_is_in_a_table() -> None:
    rows = re.findall(r"^\| (`.*?) \|", README, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([\w-]+)`", row)]
    assert sorted(named) == sorted([*stylecore.PRESETS, *STYLE_LOSSES])


def test_files_that_the_readme_links_are_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_every_command_in_the_readme_exists(capsys: pytest.CaptureFixture[str]) -> None:
    from stylecore.cli import main

    commands = set(re.findall(r"^stylecore ([\w-]+)", README, re.MULTILINE))
    assert commands
    for command in commands:
        assert main([command, "--help"]) == 0
        assert command in capsys.readouterr().out
