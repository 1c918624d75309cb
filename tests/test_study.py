"""The study runs, goes on where it stopped, and its document says what its records hold."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT
from torch import Tensor

from studies import __main__ as study
from studies import costs, document, race, shuffle
from studies.settings import FULL, QUICK, recipe
from studies.store import Store, read
from stylecore.encoders.vgg import Encoder

TINY = dataclasses.replace(
    QUICK,
    num_steps=1,
    cost_repeats=2,
    texture_steps=1,
    num_pairs=1,
    num_sweep_pairs=1,
    shares=("12.5%", "50%", "100%"),
    thresholds=("mean:1",),
)


def test_the_document_is_what_its_records_say() -> None:
    """Whoever changes a number in it by hand, or the template without rendering it again, is told so here."""
    rendered = document.render(read(study.RECORDS), document.by_eye(study.RECORDS.parent / "by_eye.json"))
    assert study.DOCUMENT.read_text(encoding="utf-8") == rendered, f"run {document.COMMAND} --render"


def test_the_records_are_of_the_full_study() -> None:
    settings = read(study.RECORDS)["settings"]
    assert settings == json.loads(json.dumps(dataclasses.asdict(FULL)))


def test_figures_and_links_of_the_document_are_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", document.TEMPLATE.read_text(encoding="utf-8"))
    assert links
    for link in links:
        assert (study.DOCUMENT.parent / link).exists(), link


def test_no_number_is_typed_into_the_template() -> None:
    """Digits stand in names and formulas, in what a scale's ends mean, and nowhere else."""
    text = " ".join(document.TEMPLATE.read_text(encoding="utf-8").split())
    names = (r"relu\d_\d", "VGG-16", "b?float(32|16)", r"\$\{\w+\}", "K = 0", "K from 0 to N")
    scales = ("in 8 bits", "0 is equal", "below 1 is smoother", "1 is the paper's rule")
    for known in (*names, *scales):
        text, number = re.subn(known, "", text)
        assert number or known.startswith("b?"), f"{known} is not in the template any more"
    assert re.findall(r".{0,30}\d.{0,30}", text) == []


def test_everything_runs_and_can_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All experiments, as small as they get, and the document made of them; memory has a test of its own."""
    memory = {"beyond_features_mib": {"gram": 8.0, "svd": 9.0}, "features_mib": 6.0, "positions_squared_gib": 2.25}
    monkeypatch.setattr(costs, "memory", lambda _: memory)
    store = Store(tmp_path / "study" / "records.json", tmp_path / "images", TINY)
    study.experiments(store, study.EXPERIMENTS)
    document.write(store.path, tmp_path / "study.md")
    text = (tmp_path / "study.md").read_text(encoding="utf-8")
    assert "${" not in text
    assert str(ROOT) not in text + store.path.read_text(encoding="utf-8")
    for figure in re.findall(r"!\[[^]]*\]\((\S+)\)", text):
        assert (tmp_path / figure).stat().st_size > 0


def test_a_finished_part_is_not_run_again(tmp_path: Path) -> None:
    def run(settings: Any, calls: list[str]) -> None:
        store = Store(tmp_path / "records.json", tmp_path / "images", settings)
        (tmp_path / "images" / "a.png").touch()
        store.part("one", "a", lambda: calls.append("a") or {"images": ["a.png"]})  # type: ignore[func-returns-value]
        store.part("one", "b", lambda: calls.append("b") or {"images": ["lost.png"]})  # type: ignore[func-returns-value]

    calls: list[str] = []
    for settings, expected in ((QUICK, ["a", "b"]), (QUICK, ["b"]), (TINY, ["a", "b"])):
        calls.clear()
        run(settings, calls)  # an image that is gone is made again; other settings start afresh
        assert calls == expected


@pytest.mark.parametrize("equal", ["evaluations", "seconds"])
def test_a_race_is_fair(equal: race.Equal, tiny_encoder: Encoder, make_image: Callable[..., Tensor]) -> None:
    configs = {loss: recipe(QUICK, loss=loss, num_steps=8) for loss in ("gram", "bn", "pca-paper")}
    runners = race.race(make_image(64, 64), make_image(64, 64, 1), configs, tiny_encoder, equal)
    assert runners["gram"].num_steps == 8
    for runner in runners.values():
        if equal == "evaluations":
            assert runner.num_steps == 8
        else:
            assert runner.seconds <= runners["gram"].seconds


def test_positions_do_not_matter_to_the_gram(tiny_encoder: Encoder, make_image: Callable[..., Tensor]) -> None:
    for change in shuffle.permutation_distances(make_image(64, 64), tiny_encoder).values():
        assert change["gram"] < 1e-5
        assert change["features"] > 0.01


@pytest.mark.parametrize(("factor", "verdict"), [(0.8, "beats"), (1.2, "loses"), (0.99, "mixed")])
def test_the_verdict_follows_the_numbers(factor: float, verdict: str) -> None:
    gram = {"style": 0.2, "witness": 0.2, "content": 1.0, "num_steps": 9}
    other = gram | {"style": 0.2 * factor, "witness": 0.2 * factor}
    parts = {f"photo+style {i}": {"results": {"gram": gram, "adversarial rows": other}} for i in range(6)}
    assert document.judged(parts)["adversarial rows"]["verdict"] == verdict
    told = document.weights(parts)
    assert ("no weighting beats" in told["verdict"]) == (verdict != "beats")
    assert ("do not pay" in told["short_weights"]) == (verdict != "beats")
