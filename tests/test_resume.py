"""A run that begins with a picture of one's own, and one that goes on where it was stopped."""

import itertools
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stylecore import ImageError, OptionError, Stage, make_config, stylize_steps
from stylecore.cli import main
from stylecore.encoders import Encoder
from stylecore.engine import Step, job_steps
from stylecore.images import load_image, read_settings, save_image
from stylecore.schedule import plan_stages, resume_plan

MakeImage = Callable[..., Tensor]
STAGES: dict[str, Any] = {"size": 128, "num_steps": 9, "stages": (Stage(0.5, 1), Stage(1, 2)), "preset": "draft"}


@pytest.mark.parametrize("num_made", [1, 3, 5])
def test_the_remaining_evaluations_are_made_at_the_stage_it_was_in(
    tiny_encoder: Encoder, make_image: MakeImage, num_made: int
) -> None:
    """Stopped within the first stage, between the two, and within the second."""
    pictures = make_image(128, 128), make_image(seed=1)
    options = STAGES | {"encoder": tiny_encoder}
    whole = list(stylize_steps(*pictures, **options))
    rest = list(stylize_steps(*pictures, start=whole[num_made - 1].image, num_made=num_made, **options))
    assert [(step.index, step.total, step.scale) for step in rest] == [
        (step.index, step.total, step.scale) for step in whole[num_made:]
    ]
    # At most one evaluation is lost: that by which L-BFGS gets to know the curvature again.
    assert float(rest[-1].losses.total) < float(whole[num_made].losses.total)


def test_between_two_stages_the_next_begins_as_it_would_have(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    """Bit for bit, with the style's detail: the image so far was saved at the result's size only by the CLI."""
    pictures = make_image(128, 128), make_image(seed=1)
    options = STAGES | {"encoder": tiny_encoder}
    whole = list(itertools.islice(stylize_steps(*pictures, **options), 4))
    (first,) = itertools.islice(stylize_steps(*pictures, start=whole[2].image, num_made=3, **options), 1)
    assert torch.equal(first.losses.total, whole[3].losses.total)


def test_a_start_has_any_size_and_the_contents_aspect(tiny_encoder: Encoder, make_image: MakeImage) -> None:
    pictures = make_image(96, 128), make_image(seed=1)
    options = {"encoder": tiny_encoder, "size": 64, "num_steps": 2}
    step = next(stylize_steps(*pictures, start=make_image(60, 81, seed=2), **options))
    assert step.image.shape == (1, 3, 48, 64)
    with pytest.raises(ImageError, match="start image of 64x64 px has another aspect than the result's 64x48 px"):
        stylize_steps(*pictures, start=make_image(64, 64), **options)


@pytest.mark.parametrize("num_made", [9, 12, -1])
def test_nothing_is_left_of_a_finished_run(num_made: int) -> None:
    with pytest.raises(OptionError, match="of 9 evaluations are made: nothing is left"):
        resume_plan(plan_stages(make_config(**STAGES), (128, 128)), num_made)


@pytest.fixture
def stopped(
    make_image: MakeImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Path:
    """A PNG that Ctrl-C saved after 2 of 5 evaluations, beside its pictures."""
    photo, style = (save_image(make_image(seed=seed), tmp_path / f"{seed}.png") for seed in (0, 1))

    def interrupted(*arguments: Any, **options: Any) -> Iterator[Step]:
        for step in job_steps(*arguments, **options):
            yield step
            if step.index == 2:
                signal.raise_signal(signal.SIGINT)

    path = tmp_path / "out.png"
    with monkeypatch.context() as patch:
        patch.setattr("stylecore.measured_run.job_steps", interrupted)
        assert main(["stylize", str(photo), str(style), "-o", str(path), "--size", "64", "--steps", "5"]) == 130
    assert "--resume goes on" in capsys.readouterr().err
    return path


def test_a_stopped_png_knows_how_far_it_was_and_is_finished_in_place(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_settings(stopped)
    assert before["num_steps_made"] == 2
    earlier = load_image(stopped)
    assert main(["stylize", "--resume", str(stopped), "--json"]) == 0
    assert '"num_steps": 5' in capsys.readouterr().out
    after = read_settings(stopped)
    assert after == {key: value for key, value in before.items() if key != "num_steps_made"}
    assert not torch.equal(load_image(stopped), earlier)


def test_a_run_that_cannot_be_resumed_says_why(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*arguments: object) -> str:
        assert main(["stylize", *map(str, arguments)]) == 2
        return capsys.readouterr().err

    assert "leave out all other options" in refused("--resume", stopped, "--size", "128")
    assert "leave out all other options" in refused("--resume", stopped, "--start", stopped)
    assert main(["stylize", "--resume", str(stopped)]) == 0
    capsys.readouterr()
    assert "is no stopped run: use --from" in refused("--resume", stopped)
    (stopped.parent / "1.png").unlink()
    assert "is not here any more" in refused("--from", stopped)


def test_a_start_may_be_one_of_our_pictures(stopped: Path, tmp_path: Path) -> None:
    out = tmp_path / "next.png"
    pictures = [str(tmp_path / name) for name in ("0.png", "1.png")]
    more = ["--start", str(stopped), "-o", str(out), "--size", "64", "--steps", "2"]
    assert main(["stylize", *pictures, *more]) == 0
    assert load_image(out).shape == load_image(stopped).shape
