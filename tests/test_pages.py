"""The committed pages are what the records beside them give: whoever changes a number by hand is told so here."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from paths import ROOT
from stylecore_export import report
from stylecore_export.record import read_record

from benchmarks import bundle, regions, security_figures, web
from stylecore.bench import bench_markdown, read_bench
from stylecore.cli.bench import FIGURE
from tools import build_reduced_encoders

DOCS = ROOT / "docs"
EXPORT = "benchmarks/export"


def of_json(view: Callable[[Any], str], record: str) -> str:
    return view(json.loads((DOCS / record).read_text(encoding="utf-8")))


PAGES: dict[str, Callable[[], str]] = {
    "benchmarks/bench.md": lambda: bench_markdown(read_bench(DOCS / "benchmarks/bench.json"), FIGURE),
    "benchmarks/reduced_encoders.md": lambda: of_json(
        build_reduced_encoders.to_markdown, "benchmarks/reduced_encoders.json"
    ),
    "benchmarks/regions.md": lambda: of_json(regions.view, "benchmarks/regions.json"),
    f"{EXPORT}/bundle.md": lambda: of_json(bundle.to_markdown, f"{EXPORT}/bundle.json"),
    f"{EXPORT}/web.md": lambda: of_json(web.to_markdown, f"{EXPORT}/web.json"),
    "security/figures.md": lambda: security_figures.render(DOCS / "security"),
}
BENCHES = ("", "full/", "vnni/", "sustained/")


@pytest.mark.parametrize("folder", BENCHES)
def test_a_bench_is_what_its_record_says(folder: str) -> None:
    record = read_record(DOCS / EXPORT / folder / "bench.json")
    assert (DOCS / EXPORT / folder / "bench.md").read_text(encoding="utf-8") == report.to_markdown(record)
    assert (DOCS / EXPORT / folder / "bench.csv").read_text(encoding="utf-8") == report.table(record).csv()


def test_the_benches_side_by_side_are_their_records() -> None:
    records = [read_record(DOCS / EXPORT / folder / "bench.json") for folder in ("full", "", "vnni")]
    assert (DOCS / EXPORT / "machines.csv").read_text(encoding="utf-8") == report.machines_table(records).csv()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_what_its_record_says(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == PAGES[page]()
