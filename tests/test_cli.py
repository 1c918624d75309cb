"""The command line as its users meet it: records on stdout, one line on stderr, an exit status, nothing lost."""

import json
import pickle
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import stylecore
from stylecore.cli import main
from stylecore.encoders.vgg import STYLE_LAYERS, Encoder
from stylecore.engine import Ending, Step, Steps, job_steps
from stylecore.errors import DivergenceError
from stylecore.fitted import load_fitted, save_fitted
from stylecore.images import load_image, read_settings, save_image
from stylecore.job import Job
from stylecore.losses import STYLE_LOSSES
from stylecore.presets import DEFAULT_PRESET

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
    assert record["config"]["preset"] == DEFAULT_PRESET
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
    assert config["stages"] == [{"scale": 0.5, "share": 1, "encoder": ""}, {"scale": 1, "share": 2, "encoder": ""}]
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


def test_a_saved_png_is_made_larger_from_as_small_a_beginning(
    photo: str, style: str, out: Path, tmp_path: Path
) -> None:
    main(["stylize", photo, style, "-o", str(out), *QUICK, "--set", "stages=0.5:1,1:1"])
    larger, given = tmp_path / "larger.png", tmp_path / "given.png"
    size = str(2 * read_settings(out)["config"]["size"])
    assert main(["stylize", "--from", str(out), "-o", str(larger), "--size", size]) == 0
    assert [stage["scale"] for stage in read_settings(larger)["config"]["stages"]] == [0.25, 0.5, 1.0]
    assert main(["stylize", "--from", str(out), "-o", str(given), "--size", size, "--set", "stages=0.5:1,1:1"]) == 0
    assert [stage["scale"] for stage in read_settings(given)["config"]["stages"]] == [0.5, 1.0]


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
        (["stylize", "PHOTO", "STYLE", "--size", "5"], "size must be between 64 and 8192"),
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
    monkeypatch.setattr("stylecore.cli.stylize.prepare_encoder", lambda *_: pytest.fail("the encoder was loaded"))
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
    line = refused(capsys, "stylize", photo, style, "-o", out, "--size", "64", "--steps", "40", "--preset", "gatys",
                   "--set", "learning_rate=1000", status=1)  # fmt: skip
    assert "diverged" in line
    assert float(load_image(out).std()) > 0.01


def test_divergence_errors_survive_a_process_boundary() -> None:
    assert str(pickle.loads(pickle.dumps(DivergenceError("so")))) == "so"


def test_ctrl_c_saves_the_image_so_far(
    photo: str, style: str, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> Iterator[Step]:
        for step in job_steps(*arguments, **options):
            yield step
            if step.index == 2:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("stylecore.measured_run.job_steps", interrupted)
    assert main(["stylize", photo, style, "-o", str(out), "--size", "64", "--steps", "50"]) == 130
    assert "Stopped after 2 of 50" in capsys.readouterr().err
    assert read_settings(out)["config"]["num_steps"] == 50


def test_ctrl_c_before_the_first_image_saves_nothing(
    photo: str, style: str, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stylecore.cli.stylize.prepare_encoder", lambda *_: signal.raise_signal(signal.SIGINT))
    assert "nothing was saved" in refused(capsys, "stylize", photo, style, "-o", out, status=130)
    assert not out.exists()


# Options of the losses


def test_the_losses_options_reach_the_config(photo: str, style: str, out: Path) -> None:
    typed = "--loss svd --components 25% --threshold energy:0.9 --svd-every 2 --weights-from fisher"
    assert main(["stylize", photo, style, "-o", str(out), *QUICK, *typed.split()]) == 0
    config = read_settings(out)["config"]
    assert (config["components"], config["threshold"]) == ("25%", "energy:0.9")
    assert (config["refresh_every"], config["weights_from"]) == (2, "fisher")


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("--loss pca --components 0", "between 1 and the 64 channels of relu1_1, not 0"),
        ("--loss pca --components 65", "between 1 and the 64 channels of relu1_1, not 65"),
        ("--components 0%", "components cannot be '0%'"),
        ("--threshold 3", "threshold cannot be '3'"),
        ("--svd-every 0", "refresh_every must be between 1"),
        ("--weights-from fischer", "did you mean 'fisher'"),
        (
            "--basis b.safetensors",
            "--basis is of the losses histogram, nnfm, pca, pca-covariance, swd and w2, not of gram",
        ),
        ("--loss pca --gram-weights w.safetensors", "--gram-weights is of the losses weighted"),
        ("--loss pca --basis nowhere/b.safetensors", "name one in a folder that is there"),
    ],
)
def test_impossible_options_of_the_losses_are_refused(
    typed: str, words: str, photo: str, style: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(capsys, "stylize", photo, style, "-o", out, *QUICK, *typed.split())
    assert not out.exists()


@pytest.mark.parametrize(
    ("loss", "option", "kind"), [("pca", "--basis", "components"), ("weighted", "--gram-weights", "gram_weights")]
)
def test_what_one_job_fits_another_uses(
    loss: str,
    option: str,
    kind: str,
    photo: str,
    style: str,
    out: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    vgg16: Encoder,
) -> None:
    file = tmp_path / "fitted.safetensors"
    job = [photo, style, "-o", str(out), *QUICK, "--loss", loss, "--dtype", "float32", "--encoder", "vgg16"]
    assert main(["stylize", *job, option, str(file)]) == 0
    fitted = load_fitted(file, vgg16)
    assert list(fitted) == list(STYLE_LAYERS)
    assert {name for kinds in fitted.values() for name in kinds} == {kind}
    assert option.strip("-").replace("-", "_") not in read_settings(out), "it was fitted, and would be again"
    before = file.read_bytes()
    assert main(["stylize", *job, option, str(file), "--components", "100%"]) == 0
    assert file.read_bytes() == before
    assert capsys.readouterr().err.count("Note: ") == (loss == "pca")  # of the option that counts for nothing
    settings = read_settings(out)
    assert settings[option.strip("-").replace("-", "_")] == "fitted.safetensors"
    assert settings["config"]["components"] == ("12.5%" if loss == "pca" else "100%"), (
        "what was used, not what was asked"
    )
    again = tmp_path / "again.png"
    assert main(["stylize", "--from", str(out), "-o", str(again)]) == 0
    assert again.read_bytes() == out.read_bytes()
    file.unlink()
    capsys.readouterr()
    assert f"name it with {option}" in refused(capsys, "stylize", "--from", out, "-o", again)


def test_a_basis_for_another_encoder_layer_or_kind_is_refused(
    photo: str, style: str, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_encoder: Encoder
) -> None:
    job = [photo, style, "-o", str(out), *QUICK, "--loss", "pca", "--dtype", "float32"]
    file = tmp_path / "fitted.safetensors"
    save_fitted(file, {"relu1_1": {"components": torch.eye(64)}}, tiny_encoder)
    assert "was fitted for the encoder" in refused(capsys, "stylize", *job, "--basis", file)
    file.write_bytes(b"nonsense")
    assert "cannot be read" in refused(capsys, "stylize", *job, "--basis", file)
    file.unlink()
    main(["stylize", *job, "--set", "style_layers=relu1_1", "--basis", str(file)])
    out.unlink()
    capsys.readouterr()
    assert "holds no components for relu2_1" in refused(capsys, "stylize", *job, "--basis", file)
    weighted = [photo, style, "-o", str(out), *QUICK, "--loss", "weighted", "--set", "style_layers=relu1_1"]
    assert "holds no gram_weights for relu1_1" in refused(capsys, "stylize", *weighted, "--gram-weights", file)
    assert not out.exists()


# texture


def test_a_texture_starts_from_noise_and_has_no_content(
    style: str, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["texture", style, "-o", str(out), *QUICK, "--seed", "4", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert "content_distance" not in record
    assert record["size_px"] == [48, 64]
    config = read_settings(out)["config"]
    assert (config["content_weight"], config["init"], config["seed"]) == (0, "noise", 4)
    again = tmp_path / "again.png"
    assert main(["stylize", "--from", str(out), "-o", str(again)]) == 0
    assert again.read_bytes() == out.read_bytes()
    assert main(["texture", style, style, "-o", str(out), *QUICK]) == 0
    assert "content distance" not in capsys.readouterr().out.splitlines()[-1]
    assert "a.png" in refused(capsys, "texture", style, "-o", tmp_path / "a.gif")
    assert "did you mean 'texture'" in refused(capsys, "textur", style).lower()


# compare and sweep-components


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tiny_encoder: Encoder, prepare_tiny: Callable[..., Encoder]) -> None:
    """Comparisons run with the tiny encoder."""
    monkeypatch.setattr("stylecore.compare.prepare_encoder", prepare_tiny)
    monkeypatch.setattr("stylecore.compare.warm_up", lambda *_: None)
    monkeypatch.setattr("stylecore.metrics.yardstick_encoder", lambda _: tiny_encoder)


def results(folder: Path, name: str = "results.json") -> dict[str, Any]:
    return json.loads((folder / name).read_text(encoding="utf-8"))


@pytest.mark.usefixtures("tiny")
def test_compare_writes_one_folder_and_prints_one_table(
    photo: str, style: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    lists = ["--losses", "gram, pca", "--presets", "gatys,paper", "--components", "20%,50%"]
    typed = ["--seed", "2", "--style-weight", "3", "--components", "20%,50%"]
    assert main(["compare", photo, style, "-o", str(folder), *QUICK, *lists, *typed]) == 0
    stored = results(folder)
    names = ["gatys gram", "gatys pca 20%", "gatys pca 50%", "paper gram", "paper pca 20%", "paper pca 50%"]
    assert [record["name"] for record in stored["records"]] == names
    assert {(r["config"]["seed"], r["config"]["style_weight"]) for r in stored["records"]} == {(2, 3)}
    assert [record["name"] for record in stored["inputs"]] == ["photo.png", "style.png"]
    printed = capsys.readouterr().out
    assert all(name in printed for name in names)
    assert {"comparison.png", "curves.png", "index.html", "gatys-gram.png"} <= {path.name for path in folder.iterdir()}


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("--loss bn", ["bn"]),
        ("--loss bn --losses gram", ["gram"]),
        ("--losses all", list(STYLE_LOSSES)),
        ("", ["gram", "pca", "svd", "weighted"]),
        ("--losses gram,gram,bn", ["gram", "bn"]),
    ],
)
def test_a_list_wins_over_its_single_option(
    typed: str, names: list[str], photo: str, style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stylecore.cli.compare.Comparison.run", lambda _: iter(()))
    made: list[Any] = []
    monkeypatch.setattr("stylecore.cli.compare.write_report", made.append)
    assert main(["compare", photo, style, "-o", str(tmp_path / "out"), *QUICK, *typed.split()]) == 0
    assert [variant.name for variant in made[0].variants] == names


@pytest.mark.usefixtures("tiny")
def test_ctrl_c_keeps_the_finished_variants_and_the_same_command_goes_on(
    photo: str, style: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    def interrupted(job: Job, **options: Any) -> Steps:
        steps, loss = job_steps(job, **options), job.config.loss
        for step in steps:
            started.append(loss)
            if loss == "bn" and started.count("bn") == 2:
                signal.raise_signal(signal.SIGINT)
            yield step
        return Ending()

    monkeypatch.setattr("stylecore.measured_run.job_steps", interrupted)
    folder = tmp_path / "out"
    command = ["compare", photo, style, "-o", str(folder), *QUICK, "--losses", "gram,bn"]
    assert "1 of 2 variants are in" in refused(capsys, *command, status=130)
    assert {path.name for path in folder.iterdir()} == {"results.json", "gram.png"}
    assert main(command) == 0
    assert (started.count("gram"), started.count("bn")) == (3, 2 + 3)
    assert [record["name"] for record in results(folder)["records"]] == ["gram", "bn"]


@pytest.mark.usefixtures("tiny")
def test_sweep_components_shows_both_claims(
    photo: str, style: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    lists = ["--components", "0,50%,100%", "--thresholds", "energy:0.5,mean:0.5"]
    assert main(["sweep-components", photo, style, "-o", str(folder), *QUICK, *lists]) == 0
    stored = results(folder, "sweep.json")
    assert [(row["loss"], row["value"]) for row in stored["table"]] == [
        ("gram", None), ("pca", "0"), ("pca", "50%"), ("pca", "100%"), ("svd", "energy:0.5"), ("svd", "mean:0.5"),
    ]  # fmt: skip
    assert stored["table"][1]["levels_from_content"] < 0.5
    assert "energy:0.5" in capsys.readouterr().out
    assert {"sweep.png", "comparison.png", "index.html"} <= {path.name for path in folder.iterdir()}


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("compare PHOTO STYLE --losses gram,pcaa", "did you mean 'pca'"),
        ("compare PHOTO STYLE --presets gatis", "did you mean 'gatys'"),
        ("compare PHOTO STYLE --losses pca --components 0", "between 1 and the 64 channels"),
        ("compare PHOTO STYLE --losses ,", "names nothing"),
        ("compare PHOTO nowhere.png", "no file 'nowhere.png'"),
        ("compare PHOTO", "STYLE"),
        ("compare PHOTO STYLE --style-weights 1,2", "2 style weights were given for 1"),
        ("compare PHOTO STYLE --sise 3", "--size"),
        ("sweep-components PHOTO STYLE --thresholds median:1", "threshold cannot be 'median:1'"),
        ("sweep-components PHOTO STYLE --loss gram", "leave out --loss"),
        ("sweep-component PHOTO STYLE", "sweep-components"),
    ],
)
def test_bad_comparisons_are_one_line_and_make_no_folder(
    typed: str, words: str, photo: str, style: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [{"PHOTO": photo, "STYLE": style}.get(word, word) for word in typed.split()]
    assert words in refused(capsys, *arguments, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_is_refused(
    photo: str, style: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is a file" in refused(capsys, "compare", photo, style, "-o", photo)
    (tmp_path / "taken" / "index.html").mkdir(parents=True)
    assert "index.html' is a folder: name a file in it" in refused(
        capsys, "compare", photo, style, "-o", tmp_path / "taken"
    )
    assert "no folder" in refused(capsys, "compare", photo, style, "-o", tmp_path / "a" / "b")
