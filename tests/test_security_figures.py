"""The figures of docs/security are those of the records beside them."""

import json
from pathlib import Path

import pytest
from paths import ROOT

from benchmarks.load import failures
from benchmarks.security_figures import write_record

FOLDER = ROOT / "docs" / "security"
LOAD = json.loads((FOLDER / "load.json").read_text(encoding="utf-8"))


def test_the_load_that_is_recorded_went_well() -> None:
    assert failures(LOAD) == []
    assert LOAD["seconds"] >= 180
    assert LOAD["clients"] >= 50
    assert LOAD["killed"]["shared"] > 0


def test_a_record_that_is_not_there_yet_is_left_out(tmp_path: Path) -> None:
    write_record(LOAD, tmp_path / "new" / "load.json")
    page = (tmp_path / "new" / "figures.md").read_text(encoding="utf-8")
    assert "make load" in page
    assert "## `make soak`" not in page


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        ({"visits": LOAD["visits"] | {"swapped": 1}}, "lost or swapped results"),
        ({"visits": LOAD["visits"] | {"trouble: ReadError": 1}}, "broken connections"),
        ({"tracebacks_logged": 1}, "tracebacks"),
        ({"memory_mib": LOAD["memory_mib"] | {"end": LOAD["memory_mib"]["middle"] + 100}}, "growing memory"),
        ({"killed": LOAD["killed"] | {"opened": 0}}, "links that do not open"),
    ],
)
def test_what_must_not_be_is_named(change: dict[str, object], failure: str) -> None:
    assert failures(LOAD | change) == [failure]
