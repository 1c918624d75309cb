"""The study runs, goes on where it stopped, and what its document says is true of its records."""

import copy
import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from paths import ROOT
from torch import Tensor

from studies import __main__ as study
from studies import costs, race, shuffle
from studies.claims import CLAIMS, beats, broken
from studies.findings import Study, Weights
from studies.render import COMMAND, TEMPLATE, render
from studies.settings import FULL, QUICK, recipe
from studies.store import Store, read
from stylecore.encoders import Encoder

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


STUDY = Study(read(study.RECORDS))
TEXT = " ".join(TEMPLATE.read_text(encoding="utf-8").split())


def test_the_document_is_what_its_records_say() -> None:
    """Whoever changes a number in it by hand, or the template without rendering it again, is told so here."""
    assert study.DOCUMENT.read_text(encoding="utf-8") == render(STUDY), f"run {COMMAND} --render"


@pytest.mark.parametrize("sentence", CLAIMS)
def test_a_conclusion_holds_for_the_records(sentence: str) -> None:
    assert sentence in TEXT, "a claim is checked that nobody makes"
    assert CLAIMS[sentence](STUDY), f"not true any more: {sentence}"


def test_a_conclusion_that_fails_is_named() -> None:
    """One that follows from a few numbers each, turned round."""
    records = copy.deepcopy(read(study.RECORDS))
    for part in records["experiments"]["weights"].values():
        for result in part["results"].values():
            distance = 0.2 if result is part["results"]["gram"] else 0.1
            result.update(style=distance, witness=distance)
    records["experiments"]["costs"]["evaluation"]["milliseconds"]["svd"]["refresh"] = 1e3
    records["experiments"]["sweep"]["astronaut+flow_strokes"]["results"]["pca 3%"]["diverged"] = True
    assert broken(Study(records)) == [
        "with that, `svd` is cheaper than `gram`",
        "No run of the study diverged.",
        "Weights on feature maps do not pay: none",
        "Not at equal time, see below.",
        "At equal time no weighting beats `gram`.",
        "The best, fisher rows,",
        "All are worse than `gram` by style and by witness in the mean.",
    ]


@pytest.mark.parametrize(("factor", "is_better"), [(0.8, True), (0.99, False), (1.2, False)])
def test_what_beats_is_clearly_better_on_most_pairs(factor: float, is_better: bool) -> None:
    gram = {"style": 0.2, "witness": 0.2}
    other = {"style": 0.2 * factor, "witness": 0.2 * factor}
    weights = Weights({f"photo+style {i}": {"results": {"gram": gram, "other": other}} for i in range(6)})
    assert beats(SimpleNamespace(weights=weights), "other") == is_better  # type: ignore[arg-type]


def test_the_records_are_of_the_full_study() -> None:
    settings = read(study.RECORDS)["settings"]
    assert settings == json.loads(json.dumps(dataclasses.asdict(FULL)))


def test_figures_and_links_of_the_document_are_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", study.DOCUMENT.read_text(encoding="utf-8"))
    assert links
    for link in links:
        assert (study.DOCUMENT.parent / link).exists(), link


def test_no_number_is_typed_into_the_template() -> None:
    """Digits stand in names, formulas, what a scale's ends mean and conclusions that are checked; nowhere else."""
    text = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", TEXT)
    for sentence in CLAIMS:
        text = text.replace(sentence, "")
    names = (r"relu\d_\d", "VGG-16", "b?float(32|16)", "K = 0", "K from 0 to N", "K near 0", "K = N/2", "`w2`")
    scales = ("in 8 bits", "0 is equal", "below 1 is smoother", "1 is the paper's rule", "`(pca|svd) [^`]*`")
    for known in (*names, *scales):
        text = re.sub(known, "", text)
    assert re.findall(r".{0,30}\d.{0,30}", text) == []


def test_everything_runs_and_can_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_encoder: Encoder
) -> None:
    """All experiments, as small as they get, and the document made of them; memory has a test of its own."""
    memory = {"beyond_features_mib": {"gram": 8.0, "svd": 9.0}, "features_mib": 6.0, "positions_squared_gib": 2.25}
    monkeypatch.setattr(costs, "memory", lambda _: memory)
    monkeypatch.setattr("stylecore.metrics.yardstick_encoder", lambda _: tiny_encoder)
    of_tiny = torch.eye(6), torch.ones(6, 6)
    monkeypatch.setattr("stylecore.losses.weighted.photo_statistics", lambda _: of_tiny)
    store = Store(tmp_path / "study" / "records.json", tmp_path / "images", TINY, tiny_encoder)
    study.experiments(store, study.EXPERIMENTS)
    text = render(Study(read(store.path)))
    broken(Study(read(store.path)))  # whatever they say, all of them can be asked
    assert str(ROOT) not in text + store.path.read_text(encoding="utf-8")
    for figure in re.findall(r"!\[[^]]*\]\((\S+)\)", text):
        assert (tmp_path / figure).stat().st_size > 0


def test_a_finished_part_is_not_run_again(tmp_path: Path, tiny_encoder: Encoder) -> None:
    def run(settings: Any, calls: list[str]) -> None:
        store = Store(tmp_path / "records.json", tmp_path / "images", settings, tiny_encoder)
        (tmp_path / "images" / "a.png").touch()
        store.part("one", "a", lambda: calls.append("a") or {"images": ["a.png"]})  # type: ignore[func-returns-value]
        store.part("one", "b", lambda: calls.append("b") or {"images": ["lost.png"]})  # type: ignore[func-returns-value]
        (tmp_path / "c.jpg").touch()
        store.part("one", "c", lambda: calls.append("c") or {"figures": ["c.jpg"]})  # type: ignore[func-returns-value]
        store.part("one", "d", lambda: calls.append("d") or {"figures": ["lost.jpg"]})  # type: ignore[func-returns-value]

    calls: list[str] = []
    for settings, expected in ((QUICK, [*"abcd"]), (QUICK, [*"bd"]), (TINY, [*"abcd"])):
        calls.clear()
        run(settings, calls)  # a picture that is gone is made again; other settings start afresh
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
