"""The bench: what it records can be trusted, and its views say what the record says."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from paths import ROOT
from PIL import Image
from stylecore_export import report, sessions
from stylecore_export.benchmark import Rules, bench_files, run_bench
from stylecore_export.cli import main
from stylecore_export.energy import EnergyMeter
from stylecore_export.extractor import ExtractorOptions, export_extractor
from stylecore_export.footprint import measure
from stylecore_export.precisions import variants
from stylecore_export.record import Latency, Record, read_record, write_record
from stylecore_export.runtime import ModelError

from stylecore.encoders import Encoder

Refused = Callable[..., str]
RunWithout = Callable[..., Any]

BRIEF = Rules(num_runs=8, seconds=0.0, size_px=64)


@pytest.fixture
def file(tiny_file: Path, tiny_everywhere: Encoder) -> Path:  # noqa: ARG001 - torch beside it is tiny, too
    return tiny_file


@pytest.fixture
def record(file: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    monkeypatch.setattr("stylecore_export.benchmark.has_fast_bfloat16", lambda _: False)
    return run_bench([file], threads=[1], rules=BRIEF)


def test_the_record_holds_every_sample_and_where_it_comes_from(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_bytes(write_record(record))
    assert read_record(path) == record
    file, *torchs = record.rows
    assert (file.provider, file.actual, file.name, file.size_px) == ("cpu", "cpu", "tiny", 64)
    assert [row.name for row in torchs] == ["torch-float32"]
    for row in record.rows:
        assert len(row.milliseconds) == BRIEF.num_runs
        assert min(row.milliseconds) > 0
    assert file.error is not None
    assert file.error < 1e-5
    assert file.session_seconds is not None
    assert file.cold_start_seconds is not None
    assert 0 < file.session_seconds < file.cold_start_seconds
    assert set(file.provider_options) == {"CPUExecutionProvider"}
    assert {"cpu", "onnxruntime", "torch", "num_threads", "counts_energy"} <= set(record.environment)
    assert {row["provider"] for row in record.not_run} >= {"coreml", "xnnpack", "torch bfloat16"}


def test_torch_in_bfloat16_stands_beside_it_where_that_is_fast(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylecore_export.benchmark.has_fast_bfloat16", lambda _: True)
    record = run_bench([file], threads=[1], rules=BRIEF)
    half = record.rows[-1]
    assert half.name == "torch-bfloat16"
    assert half.error is not None
    assert 1e-4 < half.error < 0.1  # it keeps eight bits
    assert "torch bfloat16" not in {row["provider"] for row in record.not_run}


def test_whatever_goes_in_has_a_row_and_a_bundle_stylizes(
    file: Path, make_bundle: Callable[[str], Path], tmp_path: Path
) -> None:
    """Bytes and batches, and a folder that paints: beside torch, which sees single images of floats."""
    options = ExtractorOptions(layers=("relu1_1",), pixels=True, batch=4)
    pixels = export_extractor(options, tmp_path / "pixels.onnx")
    rules = Rules(num_runs=8, seconds=0.0, num_stylizations=2, size_px=64, sustained_minutes=1e-4)
    found = run_bench([file, pixels, make_bundle("pca")], threads=[1], rules=rules)
    rows = {row.name: row for row in found.rows}
    assert (rows["pixels"].input, rows["pixels"].batch, rows["pixels"].task) == ("uint8", 4, "features")
    assert (rows["bundle"].task, len(rows["bundle"].milliseconds)) == ("stylization", 2)
    assert rows["bundle"].peak_memory_mib
    assert rows["bundle"].cold_start_seconds
    assert all(bool(row.sustained_milliseconds) == (row.provider != "torch") for row in found.rows)
    page = report.to_markdown(found)
    for words in (
        "| stylization |",
        "| uint8 |",
        "`batch`",
        "`cold_s`",
        "`drift`",
        "Energy" if not rows["tiny"].joules else "`joules`",
    ):
        assert words in page
    assert report.picture(found)


def test_all_means_every_encoder_and_precision_and_what_else_can_go_in() -> None:
    files = bench_files()
    assert variants().keys() < files.keys()
    assert files["vgg16-fp32-pixels"] == ExtractorOptions(pixels=True)
    assert files["vgg16-int8-batch4"] == ExtractorOptions(precision="int8", batch=4)


def test_the_footprint_is_of_a_process_without_torch(file: Path, run_without: RunWithout) -> None:
    """Far less than this process holds, whose peak a child would inherit in getrusage."""
    script = (
        "from stylecore_export import footprint; print(footprint.measure(footprint.Path(sys.argv[1]), 'cpu', 1, 64))"
    )
    done = run_without(["torch", "stylecore"], script, file)
    assert done.returncode == 0, done.stderr
    of_fresh_process = run_bench([file], threads=[1], rules=BRIEF).rows[0].peak_memory_mib
    assert of_fresh_process is not None
    assert measure(file, "cpu", 1, 64)["peak_memory_mib"] > 1.5 * of_fresh_process


def test_a_profile_proves_what_ran(file: Path) -> None:
    """Only the profile of a run tells: the list of available providers is that of the build."""
    feeds = {"image": np.zeros((1, 3, 64, 64), np.float32)}
    assert set(sessions.profile_providers(file, "cpu", feeds)) == {"CPUExecutionProvider"}
    assert sessions.busiest_provider({"CPUExecutionProvider": 10, "CUDAExecutionProvider": 90}) == "cuda"


@pytest.mark.skipif("CUDAExecutionProvider" not in ort.get_available_providers(), reason="a build without CUDA")
def test_a_fallback_to_the_cpu_is_a_failure(file: Path, refused: Refused) -> None:
    """onnxruntime-gpu lists CUDA also where there is no GPU, and then runs on the CPU without an error."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("CUDA really runs here")
    assert sessions.is_built_in("cuda")
    error = refused("bench", file, "--providers", "cuda", "--threads", "1", "--quick", "--size", "64")
    assert "asked to run on cuda but ran on cpu" in error
    row = run_bench([file], providers=["cuda"], threads=[1], rules=BRIEF, allow_fallback=True).rows[0]
    assert (row.provider, row.actual) == ("cuda", "cpu")


def test_bad_options_are_said_in_one_line(file: Path, refused: Refused) -> None:
    assert "did you mean 'cuda'" in refused("bench", file, "--providers", "cud")
    assert "--threads" in refused("bench", file, "--threads", "two")
    assert "no folder" in refused("bench", file, "-o", file.parent / "none")
    assert "no record" in refused("views", file)
    assert "--all" in refused("bench")
    assert "--all" in refused("bench", file, "--all")


def test_views_say_what_the_record_says(record: Record, tmp_path: Path) -> None:
    record.rows[0].milliseconds = [float(value) for value in range(1, 1001)]
    report.write_views(record, tmp_path)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "bench.csv").read_text())))
    assert float(rows[0]["p50_ms"]) == pytest.approx(500.5)
    assert float(rows[0]["p99_ms"]) == pytest.approx(990.01)
    assert float(rows[0]["speedup"]) == 1
    assert rows[1]["p99_ms"] == "", "a percent of a few runs says nothing"
    markdown = (tmp_path / "bench.md").read_text()
    assert "| tiny |" in markdown
    assert "xnnpack (this onnxruntime was built without it)" in markdown
    with Image.open(tmp_path / "bench.png") as picture:
        assert picture.width > 500
    before = (tmp_path / "bench.md").read_text()
    assert main(["views", str(tmp_path / "bench.json")]) == 0
    assert (tmp_path / "bench.md").read_text() == before


def test_unknown_providers_are_no_session() -> None:
    with pytest.raises(ModelError, match="choose from"):
        sessions.check_provider("abacus")


# ---- several machines


BY_HAND = {
    "kind": "export-bench",
    "environment": {"cpu": "A phone", "system": "Android 15"},
    "rows": [{"name": "tiny", "num_threads": 1, "provider": "nnapi", "size_px": 64, "milliseconds": [3.0, 2.0, 2.5]}],
}


def test_a_record_written_by_hand_stands_beside_a_machines_own(record: Record, tmp_path: Path) -> None:
    (tmp_path / "own.json").write_bytes(write_record(record))
    (tmp_path / "phone.json").write_text(json.dumps(BY_HAND))
    output = tmp_path / "both"
    output.mkdir()
    assert main(["views", str(tmp_path / "own.json"), str(tmp_path / "phone.json"), "-o", str(output)]) == 0
    rows = list(csv.DictReader(io.StringIO((output / "machines.csv").read_text())))
    assert {row["machine"].partition(",")[0] for row in rows} == {record.environment["cpu"], "A phone"}
    phone = next(row for row in rows if row["machine"].startswith("A phone"))
    assert (phone["p50_ms"], phone["provider"], phone["error"]) == ("2.5", "nnapi", "")
    assert Image.open(io.BytesIO((output / "machines.png").read_bytes())).width > 500


def by_hand(**changes: Any) -> dict[str, Any]:
    """`BY_HAND` with other values in its row."""
    return BY_HAND | {"rows": [BY_HAND["rows"][0] | changes]}  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps(BY_HAND | {"kind": "bench"}), "kind"),
        (json.dumps(BY_HAND | {"rows": [{"name": "tiny"}]}), "rows.0.num_threads"),
        (json.dumps(BY_HAND | {"rows": []}), "rows"),
        (json.dumps(BY_HAND | {"rows": "none"}), "rows"),
        (json.dumps(BY_HAND | {"environment": None}), "environment"),
        (json.dumps(by_hand(milliseconds=[])), "rows.0.milliseconds"),
        (json.dumps(by_hand(milliseconds=["fast"])), "rows.0.milliseconds.0"),
        (json.dumps(by_hand(milliseconds=[0.0])), "rows.0.milliseconds.0"),
        (json.dumps(by_hand(milliseconds=[float("nan")])), "rows.0.milliseconds.0"),
        (json.dumps(by_hand(num_threads=0)), "rows.0.num_threads"),
        (json.dumps(by_hand(num_threads=True)), "rows.0.num_threads"),
        (json.dumps(by_hand(size_px="64")), "rows.0.size_px"),
        (json.dumps(by_hand(name="")), "rows.0.name"),
        (json.dumps(by_hand(task="juggling")), "rows.0.task"),
        (json.dumps([BY_HAND]), "it"),
        ("[" * 10_000, "it"),
        ("", "it"),
        ("kind,rows\n", "it"),
    ],
)
def test_a_file_that_is_no_record_is_refused_with_its_first_fault(
    text: str, said: str, tmp_path: Path, refused: Refused
) -> None:
    path = tmp_path / "theirs.json"
    path.write_text(text)
    error = refused("views", path, "-o", tmp_path / "out")
    assert f"is no record of stylecore export bench ({said}: " in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("record", ["bundle.json", "runtimes.json", "../bench.json"])
def test_records_of_other_benches_are_refused(record: str, tmp_path: Path, refused: Refused) -> None:
    path = ROOT / "docs" / "benchmarks" / "export" / record
    assert "is no record of stylecore export bench" in refused("views", path, "-o", tmp_path / "out")


def test_several_records_need_a_folder(tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(BY_HAND))
    assert "-o FOLDER" in refused("views", path)


# ---- latency, energy


def test_drift_is_how_much_slower_the_end_is() -> None:
    steady, throttled = Latency([10.0] * 100), Latency([10.0] * 50 + [12.0] * 50)
    assert steady.drift == 0
    assert throttled.drift == pytest.approx(0.2)
    assert Latency([5.0]).drift == 0


def powercap(folder: Path, **microjoules: int) -> Path:
    """What Linux shows of two packages and a part of one."""
    for zone, name in {"intel-rapl:0": "first", "intel-rapl:1": "second", "intel-rapl:0:0": "core"}.items():
        (folder / zone).mkdir(parents=True, exist_ok=True)
        (folder / zone / "energy_uj").write_text(str(microjoules[name]))
        (folder / zone / "max_energy_range_uj").write_text("9999999")
    return folder


def test_energy_is_that_of_all_packages_also_when_a_counter_begins_anew(tmp_path: Path) -> None:
    meter = EnergyMeter(powercap(tmp_path, first=1_000_000, second=9_000_000, core=7))
    powercap(tmp_path, first=3_500_000, second=500_000, core=9_000)
    assert meter.joules == pytest.approx(2.5 + 1.5)


def test_where_no_counter_can_be_read_there_is_no_energy(tmp_path: Path) -> None:
    assert EnergyMeter(tmp_path).joules is None
    folder = powercap(tmp_path, first=1, second=1, core=1)
    (folder / "intel-rapl:0" / "energy_uj").write_text("")
    assert EnergyMeter(folder).joules is None
