"""The records of `make gpu` as a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from benchmarks.gpu.measure import FRAME_INTERVAL_S, PARITY_TOLERANCE
from stylecore.report import Table, document

TARGETS_S = {("draft", 512): 0.1, ("preview", 512): 0.25, ("standard", 512): 0.6, ("standard", 2048): 10.0}


def to_markdown(record: Mapping[str, Any]) -> str:
    """What has been measured so far."""
    environment = ", ".join(f"{key} {value}" for key, value in record["environment"].items())
    parts: list[str | Table] = [
        "# Measured on a GPU",
        f"Made by `make gpu`; every number is from gpu.json beside this page. Measured on: {environment}.",
    ]
    if "tests" in record:
        parts += ["## Tests that need a GPU", " ".join(record["tests"]["said"]) or "None ran."]
    if "parity" in record:
        parts += [
            "## The same pictures as the CPU's",
            f"`preview` in float32, the same seed: distances shall be within {PARITY_TOLERANCE}.",
            _parity_table(record),
        ]
    if "presets" in record:
        parts += [
            "## Presets",
            "Whole jobs from 8-bit pictures to an 8-bit picture, medians of a warm process. `rounds a second`: of the "
            "last stage's loop. `of the least time`: the time counted in docs/gpu.md over the time taken. `with "
            f"frames`: a frame fetched every {FRAME_INTERVAL_S} s.",
            _presets_table(record),
        ]
    if "extractor" in record:
        parts += ["## The extractor", *_extractor(record["extractor"])]
    if "soak" in record:
        held = record["soak"]["held_mib"]
        parts += [
            "## Memory",
            f"After {record['soak']['jobs']} jobs the device holds {held['end']} MiB, after the warm-up "
            f"{held['after_warm_up']} MiB.",
        ]
    return document(*parts)


def _parity_table(record: Mapping[str, Any]) -> Table:
    columns = ["pair", "style: here", "CPU", "content: here", "CPU's", "within"]
    rows = [
        [row["pair"], *(f"{value:.4f}" for value in (*row["style"], *row["content"])), "yes" if row["within"] else "NO"]
        for row in record["parity"]
    ]
    return Table.of(columns, rows)


def _presets_table(record: Mapping[str, Any]) -> Table:
    columns = {"preset": "`{}`", "px": "{}", "dtype": "{}", "seconds": "{:.3f}", "asked for": "{}"}
    columns |= {"without graph": "{:.3f}", "with frames": "{:.3f}", "frames": "{}", "rounds a second": "{:.1f}"}
    columns |= {"of the least time": "{:.0%}", "peak GiB": "{:.2f}", "style distance": "{:.3f}"}
    rows = [
        (
            row["preset"],
            row["size_px"],
            row["dtype"],
            median(row["seconds"]),
            TARGETS_S.get((row["preset"], row["size_px"])),
            median(row["seconds_without_graph"]),
            median(row["seconds_with_frames"]),
            max(row["frames"]),
            row["rounds"]["a_second"],
            row["rounds"]["share_of_least_time"],
            row["peak_memory_mib"] / 1024,
            row["style"],
        )
        for row in record["presets"]
    ]
    return Table.of(columns, rows)


def _extractor(found: Mapping[str, Any]) -> Iterator[str | Table]:
    """Torch and onnxruntime; why not, where it did not run."""
    rows = [["torch, float32", "on the device", median(found["torch_ms"])]]
    rows += [
        [f"onnxruntime on {row['actual']}", row["mode"], median(row["milliseconds"])] for row in found.get("rows", ())
    ]
    yield f"All layers of the yardstick of one image, {found['size_px']} px."
    yield Table.of({"": "{}", "buffers": "{}", "ms": "{:.2f}"}, rows, left=["buffers"])
    if "skipped" in found:
        yield f"onnxruntime did not run: {found['skipped']}"
