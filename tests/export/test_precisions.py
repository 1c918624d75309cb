"""The registry of precisions: one entry is all that a new one needs."""

import re
from pathlib import Path

import pytest
from paths import ROOT
from stylecore_export.benchmark import Rules, export_bench_files, run_bench
from stylecore_export.extractor import ExtractorOptions, export_extractor
from stylecore_export.precisions import PRECISIONS, Precision, variants
from stylecore_export.report import write_views
from stylecore_export.sessions import read_metadata, session_on
from stylecore_export.verify import verify

from stylecore.encoders import Encoder


def test_the_documentation_has_the_registry_as_its_table() -> None:
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    rows = [f"| `{name}` | {each.summary} | {each.tolerance:g} |" for name, each in PRECISIONS.items()]
    table = "\n".join(["| precision | how | tolerance of `verify` |", "|---|---|---|", *rows])
    assert f"\n\n{table}\n\n" in text, f"docs/export.md should have:\n\n{table}"


def test_markers_tell_precisions_apart() -> None:
    assert len({each.marker for each in PRECISIONS.values()}) == len(PRECISIONS)


def test_variants_are_encoders_that_need_no_download() -> None:
    assert {f"vgg16-{precision}" for precision in PRECISIONS} < set(variants())
    assert variants()["vgg16-x2-int8"] == ("vgg16-x2", "int8")
    assert not [name for name in variants() if name.startswith("vgg19")]


@pytest.fixture
def doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A precision of the test's own, whose features are twice those of float32."""

    class Doubled:
        def __init__(self, encoder: Encoder, _: object) -> None:
            self.encoder = encoder

        def __call__(self, image: object, layers: object) -> dict[str, object]:
            return {name: 2 * value for name, value in self.encoder(image, layers).items()}

    monkeypatch.setitem(PRECISIONS, "doubled", Precision("twice as much", 1.5, "X", prepare=Doubled))


@pytest.mark.usefixtures("tiny_everywhere", "doubled")
def test_a_new_precision_is_an_entry_and_nothing_else(tmp_path: Path) -> None:
    """Exported, verified, benched and drawn."""
    layers = ("relu1_1",)
    path = export_extractor(ExtractorOptions(layers=layers, precision="doubled"), tmp_path / "doubled.onnx")
    found = verify(path)
    assert found.tolerance == 1.5
    assert found.passed
    assert found.checks[0].error == pytest.approx(1, abs=1e-3)
    record = run_bench([path], threads=[1], rules=Rules(num_runs=8, seconds=0, size_px=64))
    write_views(record, tmp_path)
    assert "| doubled |" in (tmp_path / "bench.md").read_text()
    assert "vgg16-doubled" in variants()


@pytest.mark.usefixtures("tiny_everywhere")
def test_all_files_are_made_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"vgg16-x2-fp16": ExtractorOptions(encoder="vgg16-x2", precision="fp16")}
    monkeypatch.setattr("stylecore_export.benchmark.bench_files", lambda: one)
    monkeypatch.setattr("stylecore_export.benchmark.export_bundle", lambda _, folder: folder)
    file, bundle = export_bench_files(tmp_path)
    assert (file.name, bundle.name) == ("vgg16-x2-fp16.onnx", "bundle")
    found = read_metadata(session_on(file))
    assert (found["encoder"], found["precision"]) == ("vgg16-x2", "fp16")


def test_nothing_else_lists_the_precisions() -> None:
    """In the code of export, page and Makefile a precision is named only to say which is the default, or what it is."""
    files = [path for path in (ROOT / "export").glob("*.py") if path.name != "precisions.py"]
    lists = re.compile(r"fp32.{1,12}fp16|fp16.{1,12}int8")
    assert not [path.name for path in (*files, ROOT / "Makefile") if lists.search(path.read_text(encoding="utf-8"))]
