"""The bench: references and presets in turns, and a report that says nothing the records do not."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stylecore.bench import (
    Bench,
    BenchOptions,
    Pair,
    baseline,
    bench_figure,
    bench_markdown,
    default_pairs,
    measure,
    parse_pair,
    read_bench,
    write_bench,
)
from stylecore.cli import main
from stylecore.devices import find_device, has_fast_bfloat16
from stylecore.encoders import load_encoder
from stylecore.errors import ImageError, OptionError
from stylecore.images import save_image
from stylecore.objective import make_objective
from stylecore.optimizers import LBFGS, make_optimizer
from stylecore.presets import make_config
from stylecore.sample_images import EVALUATION, EVALUATION_STYLES

MakeImage = Callable[..., Tensor]


@pytest.fixture(scope="module")
def short_presets() -> Iterator[None]:
    """Every preset and the reference with a handful of evaluations."""
    make = make_config
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "make_config", lambda preset, **options: make(preset, **{"num_steps": 4} | options))
        patch.setattr(measure, "ENOUGH_S", 0.0)
        yield


@pytest.fixture(scope="module")
def bench(short_presets: None, make_image: MakeImage) -> Bench:  # noqa: ARG001 - for its effect
    pairs = [Pair("photo:style", make_image(64, 64), make_image(64, 80, seed=1))]
    options = BenchOptions(
        presets=("draft", "standard"), size=64, num_evaluations=4, reduced_in=("draft",), max_scale_px=0
    )
    bench = Bench(options, pairs)
    assert all("photo:style" in line or "evaluations" in line for line in bench.run())
    return bench


def test_what_is_measured_is_in_the_records(bench: Bench, tmp_path: Path) -> None:
    records = read_bench(write_bench(bench, tmp_path / "bench.json"))
    reduced = ["draft, pca 25%", "draft, pca 12.5%"]
    in_float32 = ["draft, float32", "standard, float32"] if has_fast_bfloat16(find_device()) else []
    assert [run["preset"] for run in records["runs"]] == ["gatys", "draft", "standard", *reduced, *in_float32]
    for run in records["runs"]:
        assert run["num_steps"] == 4
        assert len(run["seconds"]) == 1
        assert run["curve"][-1][1] == pytest.approx(run["style"], abs=1e-3)
    assert {record["preset"]: len(record["seconds"]) for record in records["evaluations"]} == {
        "baseline": 4, "gatys": 4, "draft": 4, "standard": 4,
    }  # fmt: skip
    assert [record["loss"] for record in records["losses"]] == list(measure.REDUCED_LOSSES)
    assert "torch" in records["environment"]


def test_the_report_is_made_of_the_records(bench: Bench, tmp_path: Path) -> None:
    records = read_bench(write_bench(bench, tmp_path / "bench.json"))
    for run, seconds in zip(records["runs"], (30.0, 0.5, 3.0), strict=False):
        run["seconds"] = [seconds]
    text = bench_markdown(records, "figure.png")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert any(row.startswith(f"| `draft` | 60.0 | {records['runs'][1]['style']:.3f} ") for row in rows)
    assert any(row.startswith("| `standard` | 10.0 |") for row in rows)
    assert bench_figure(records).startswith(b"\x89PNG")


def test_the_losses_race_within_the_presets_own_seconds(bench: Bench) -> None:
    for record in bench.losses:
        assert record["time_budget"] > 0
        assert 1 <= record["num_steps"] <= measure.MORE_STEPS * 4


def test_the_baseline_is_the_reference_in_other_words(make_image: MakeImage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loss falls as ours does: the first steps differ by design, the first loss does not."""
    encoder, config = load_encoder(), make_config("gatys", size=64)
    content, style = make_image(64, 64), make_image(64, 64, seed=1)
    seen: list[float] = []
    step = torch.optim.LBFGS.step

    def watched(self: torch.optim.LBFGS, closure: Callable[[], Tensor]) -> object:
        def noted() -> Tensor:
            loss = closure()
            seen.append(float(loss.detach()))
            return loss

        return step(self, noted)

    monkeypatch.setattr(torch.optim.LBFGS, "step", watched)
    assert len(baseline.baseline_seconds(encoder, content, style, 5)) == 5
    ours = float(make_objective(encoder, content, [style], config).evaluate(255 * content).losses.total)
    assert seen[0] == pytest.approx(ours, rel=1e-4)
    assert isinstance(make_optimizer(config, 20), LBFGS)


def test_scaling_is_measured_in_a_process_of_its_own() -> None:
    record = measure.measure_scale("draft", 64)
    assert record["seconds_per_evaluation"] > 0
    assert 100 < record["peak_memory_mib"] < 4000


def test_pairs_are_names_or_files(tmp_path: Path, make_image: MakeImage) -> None:
    file = save_image(make_image(), tmp_path / "mine.png")
    assert parse_pair(f"astronaut:{file}").name == "astronaut:mine"
    assert {pair.name for pair in default_pairs()} == {f"{p}:{s}" for p in EVALUATION for s in EVALUATION_STYLES}
    for wrong in ("astronaut", "astronaut:", ":flow_strokes"):
        with pytest.raises(OptionError, match="PHOTO:STYLE"):
            parse_pair(wrong)
    with pytest.raises(ImageError, match="nowhere"):
        parse_pair("nowhere.jpg:flow_strokes")


@pytest.mark.usefixtures("short_presets")
def test_the_command_measures_and_draws_again(
    tmp_path: Path, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stylecore.cli.bench.QUICK", BenchOptions(num_evaluations=4, reduced_in=(), max_scale_px=0))
    photo, style = (save_image(make_image(64, 64, s), tmp_path / f"{n}.png") for s, n in enumerate(("photo", "style")))
    out = tmp_path / "bench.json"
    words = [
        "bench",
        "--quick",
        "--pairs",
        f"{photo}:{style}",
        "--presets",
        "draft",
        "--size",
        "64",
        "--json",
        str(out),
    ]
    assert main(words) == 0
    assert json.loads(out.read_text())["pairs"] == ["photo:style"]
    page = tmp_path / "bench.md"
    drawn = page.read_text()
    page.unlink()
    assert main(["bench", "--report", str(out)]) == 0
    assert page.read_text() == drawn
    assert (tmp_path / "distance_against_time.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--presets", "drift"], "did you mean 'draft'"),
        (["--pairs", "astronaut"], "PHOTO:STYLE"),
        (["--report", "nothing.json"], "holds no records"),
        (["--json", "nowhere/bench.json"], "nowhere"),
    ],
)
def test_bad_input_is_refused_before_anything_is_measured(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *words]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
