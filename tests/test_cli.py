"""The command line as its users meet it: records on stdout, one line on stderr, an exit status, nothing lost."""

import json
import pickle
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from torch import Tensor

import stylecore
from stylecore.cli import main
from stylecore.errors import DivergenceError
from stylecore.images import load_image, read_settings, save_image
from stylecore.stylize import Step, stylize_steps

QUICK = ["--size", "64", "--steps", "3"]


@pytest.fixture
def photo(make_image: Callable[..., Tensor], tmp_path: Path) -> str:
    return str(save_image(make_image(), tmp_path / "photo.png"))


@pytest.fixture
def style(make_image: Callable[..., Tensor], tmp_path: Path) -> str:
    return str(save_image(make_image(seed=1), tmp_path / "style.png"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.png"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    """Run a command that must fail, and return its one line on stderr."""
    assert main([str(argument) for argument in arguments]) == status
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("stylecore: ")
    assert output.err.count("\n") == 1
    assert "Traceback" not in output.err
    return output.err


def test_a_run_prints_one_json_object_with_everything_about_it(
    photo: str, style: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stylize", photo, style, "-o", str(out), *QUICK, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    keys = "output style_distance content_distance seconds seconds_setup num_steps device dtype encoder loss size_px"
    assert set(record) == {*keys.split(), "peak_memory_mib", "config"}
    assert record["size_px"] == [48, 64]
    assert record["num_steps"] == 3
    assert record["config"]["preset"] == "gatys"
    image, content, style_image = (load_image(path) for path in (out, photo, style))
    assert record["style_distance"] == pytest.approx(stylecore.style_distance(image, style_image), abs=1e-4)
    assert record["content_distance"] == pytest.approx(stylecore.content_distance(image, content), abs=1e-4)


def test_without_json_a_sentence_says_what_came_out(
    photo: str, style: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stylize", photo, style, "-o", str(out), *QUICK]) == 0
    assert "64x48 px" in capsys.readouterr().out


def test_every_option_reaches_the_config(photo: str, style: str, out: Path) -> None:
    typed = "--preset tutorial --style-weight 2 --style-weights 0.7,0.3 --seed 5 --keep-colors luminance --device cpu"
    fields = ("optimizer=adam", "style_layers=relu1_1,relu2_1", "stages=0.5:1,1:2")
    more = [word for field in fields for word in ("--set", field)]
    assert main(["stylize", photo, style, style, "-o", str(out), *QUICK, *typed.split(), *more]) == 0
    config = read_settings(out)["config"]
    assert config["preset"] == "tutorial"
    assert config["style_weight"] == 2
    assert config["style_weights"] == [0.7, 0.3]
    assert (config["seed"], config["keep_colors"], config["optimizer"]) == (5, "luminance", "adam")
    assert config["style_layers"] == ["relu1_1", "relu2_1"]
    assert config["stages"] == [{"scale": 0.5, "share": 1}, {"scale": 1, "share": 2}]
    assert config["clamp"] is True  # from the preset


def test_a_saved_png_runs_again_from_its_settings(
    photo: str, style: str, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["stylize", photo, style, "-o", str(out), *QUICK, "--set", "init=noise", "--seed", "7"])
    again = tmp_path / "again.png"
    assert main(["stylize", "--from", str(out), "-o", str(again)]) == 0
    assert again.read_bytes() == out.read_bytes()
    other = tmp_path / "other.png"
    assert main(["stylize", style, photo, "--from", str(out), "-o", str(other), "--seed", "8"]) == 0
    assert read_settings(other)["config"] == read_settings(out)["config"] | {"seed": 8}
    Path(photo).unlink()
    capsys.readouterr()
    assert "photo.png" in refused(capsys, "stylize", "--from", out, "-o", again)
    assert "leave out --preset" in refused(capsys, "stylize", "--from", out, "--preset", "paper")


def test_show_prints_the_settings_and_they_name_no_folder_of_this_machine(
    photo: str, style: str, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["stylize", photo, style, "-o", str(out), *QUICK])
    capsys.readouterr()
    assert main(["show", str(out)]) == 0
    printed = capsys.readouterr().out
    settings = json.loads(printed)
    assert settings["version"] == stylecore.__version__
    assert [record["name"] for record in settings["inputs"]] == ["photo.png", "style.png"]
    assert str(tmp_path) not in printed


def test_devices_and_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[-1]["device"] == "cpu"
    assert main(["devices"]) == 0
    assert "cpu" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"stylecore {stylecore.__version__}\n"
    for arguments in ([], ["--help"], ["stylize", "--help"]):
        assert main(arguments) == 0
        assert "Usage: stylecore" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stylise"], "stylize"),
        (["stylize", "--sise", "3"], "--size"),
        (["stylize", "PHOTO", "STYLE", "--size", "big"], "--size"),
        (["stylize", "PHOTO", "STYLE", "--size", "5"], "size must be between 64 and 4096"),
        (["stylize", "PHOTO"], "at least one style image"),
        (["stylize", "PHOTO", "nowhere.jpg"], "There is no file 'nowhere.jpg'"),
        (["stylize", "PHOTO", "STYLE", "--preset", "gatis"], "did you mean 'gatys'"),
        (["stylize", "PHOTO", "STYLE", "--loss", "grim"], "did you mean 'gram'"),
        (["stylize", "PHOTO", "STYLE", "--device", "cudda"], "did you mean 'cuda'"),
        (["stylize", "PHOTO", "STYLE", "--device", "cuda:99"], "no device 'cuda:99'"),
        (["stylize", "PHOTO", "STYLE", "--encoder", "vgg17"], "did you mean 'vgg1"),
        (["stylize", "PHOTO", "STYLE", "--set", "style_layers=relu4-1"], "did you mean 'relu4_1'"),
        (["stylize", "PHOTO", "STYLE", "--set", "optimiser=adam"], "did you mean 'optimizer'"),
        (["stylize", "PHOTO", "STYLE", "--set", "optimizer"], "FIELD=VALUE"),
        (["stylize", "PHOTO", "STYLE", "--style-weight", "-1"], "style_weight must be between 0"),
        (["stylize", "PHOTO", "STYLE", "--style-weights", "1,2"], "2 style weights were given for 1"),
        (["stylize", "PHOTO", "STYLE", "--steps", "0"], "num_steps must be between 1"),
        (["stylize", "PHOTO", "STYLE", "--weights", "nowhere.pth"], "no weights file 'nowhere.pth'"),
        (["show", "PHOTO"], "no stylecore settings"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    arguments: list[str], words: str, photo: str, style: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [{"PHOTO": photo, "STYLE": style}.get(argument, argument) for argument in arguments]
    if arguments[0] == "stylize":
        arguments += ["-o", str(out)]
    assert words in refused(capsys, *arguments)
    assert not out.exists()


def test_an_old_output_survives_bad_input(photo: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out.write_bytes(b"precious")
    refused(capsys, "stylize", photo, "nowhere.png", "-o", out)
    assert out.read_bytes() == b"precious"


def test_an_unwritable_output_is_refused_before_the_slow_part(
    photo: str, style: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stylecore.cli.prepare_encoder", lambda *_: pytest.fail("the encoder was loaded"))
    assert "no folder" in refused(capsys, "stylize", photo, style, "-o", tmp_path / "nowhere" / "out.png")
    assert "folder" in refused(capsys, "stylize", photo, style, "-o", tmp_path)


def test_an_animation_is_noted_once_and_used(
    style: str, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert main(["stylize", str(tmp_path / "moving.gif"), style, "-o", str(out), *QUICK]) == 0
    assert capsys.readouterr().err.count("first frame") == 1


def test_divergence_keeps_the_last_good_image_and_fails(
    photo: str, style: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, "stylize", photo, style, "-o", out, "--size", "64", "--steps", "40", "--set",
                   "learning_rate=1000", status=1)  # fmt: skip
    assert "diverged" in line
    assert float(load_image(out).std()) > 0.01


def test_divergence_errors_survive_a_process_boundary() -> None:
    assert str(pickle.loads(pickle.dumps(DivergenceError("so")))) == "so"


def test_ctrl_c_saves_the_image_so_far(
    photo: str, style: str, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> Iterator[Step]:
        for step in stylize_steps(*arguments, **options):
            yield step
            if step.index == 2:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("stylecore.cli.stylize_steps", interrupted)
    assert main(["stylize", photo, style, "-o", str(out), "--size", "64", "--steps", "50"]) == 130
    assert "Stopped after 2 of 50" in capsys.readouterr().err
    assert read_settings(out)["config"]["num_steps"] == 50


def test_ctrl_c_before_the_first_image_saves_nothing(
    photo: str, style: str, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stylecore.cli.prepare_encoder", lambda *_: signal.raise_signal(signal.SIGINT))
    assert "nothing was saved" in refused(capsys, "stylize", photo, style, "-o", out, status=130)
    assert not out.exists()
