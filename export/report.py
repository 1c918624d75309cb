"""Views of a bench's record: a table, CSV, Markdown, and a picture of latency against error."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from stylecore.encoders import ARCHITECTURES
from stylecore.files import check_writable, write_file
from stylecore.report import Table, chart, document, new_figure, plain_ticks
from stylecore.report.charts import COLORS, GREY

from .precisions import PRECISIONS
from .record import Latency, Record, Row, write_record

COLUMNS = {
    "name": "{}",
    "task": "{}",
    "encoder": "{}",
    "precision": "{}",
    "input": "{}",
    "batch": "{}",
    "threads": "{}",
    "asked": "{}",
    "actual": "{}",
    "mode": "{}",
    "px": "{}",
    "runs": "{}",
    "p50_ms": "{:.2f}",
    "p90_ms": "{:.2f}",
    "p99_ms": "{:.2f}",
    "mean_ms": "{:.2f}",
    "min_ms": "{:.2f}",
    "speedup": "{:.2f}",
    "error": "{:.4f}",
    "drift": "{:+.1%}",
    "joules": "{:.3f}",
    "file_mib": "{:.2f}",
    "peak_mib": "{:.0f}",
    "cold_s": "{:.2f}",
    "session_s": "{:.3f}",
    "first_run_s": "{:.3f}",
}
TORCH_MARKERS = {"float32": "o", "bfloat16": "D"}  # of the yardstick's rows; those of the files are the registry's
USUAL = {"task": "features", "input": "float32", "batch": 1, "mode": "arrays"}  # not worth a column
PLAIN = ("float32", 1)  # input and batch of what the picture shows
NO_ERROR = 1e-4  # of the pictures: the least that is shown
ERROR_LABEL = f"largest relative error ({NO_ERROR:g}: at most)"


def summarize(record: Record) -> list[dict[str, Any]]:
    """One dict a row, by `COLUMNS`; None where there is nothing to say. `speedup` is the median against onnxruntime's
    float32 of the same full encoder, provider, size, batch and number of threads in the same record."""
    medians = {_setting(row): row.latency.median for row in record.rows if _is_baseline(row)}
    return [_summary(row, medians.get(_setting(row))) for row in record.rows]


def _setting(row: Row) -> tuple[Any, ...]:
    provider = "cpu" if row.provider == "torch" else row.provider
    return row.task, provider, row.num_threads, row.size_px, row.batch


def _is_baseline(row: Row) -> bool:
    is_full = row.encoder in ARCHITECTURES  # a reduced one has a name of its own
    is_plain = row.precision == "fp32" and row.mode == "arrays" and row.input == "float32"
    return is_full and is_plain and row.provider != "torch"


def _summary(row: Row, baseline_ms: float | None) -> dict[str, Any]:
    latency = row.latency
    return {
        "name": row.name,
        "task": row.task,
        "encoder": row.encoder,
        "precision": row.precision,
        "input": row.input,
        "batch": row.batch,
        "threads": row.num_threads,
        "asked": row.provider,
        "actual": row.actual,
        "mode": row.mode,
        "px": row.size_px,
        "runs": len(row.milliseconds),
        "p50_ms": latency.median,
        "p90_ms": latency.p90,
        "p99_ms": latency.p99,
        "mean_ms": latency.milliseconds.mean(),
        "min_ms": latency.milliseconds.min(),
        "speedup": None if baseline_ms is None else baseline_ms / latency.median,
        "error": row.error,
        "drift": Latency(row.sustained_milliseconds).drift if row.sustained_milliseconds else None,
        "joules": row.joules,
        "file_mib": row.file_mib,
        "peak_mib": row.peak_memory_mib,
        "cold_s": row.cold_start_seconds,
        "session_s": row.session_seconds,
        "first_run_s": row.first_run_seconds,
    }


def table(record: Record) -> Table:
    """The rows by those of `COLUMNS` that say something."""
    summaries = summarize(record)
    said = {name: form for name, form in COLUMNS.items() if any(_says(summary, name) for summary in summaries)}
    rows = ([summary[name] for name in said] for summary in summaries)
    return Table.of(said, rows, left=("task", "encoder", "precision", "input", "asked", "actual", "mode"))


def _says(summary: dict[str, Any], name: str) -> bool:
    """Whether a row's value is there and not the usual one."""
    return summary[name] not in (None, "") and summary[name] != USUAL.get(name)


def to_markdown(record: Record) -> str:
    """The table, with where and how it was measured, and what was not run."""
    where, rules = record.environment, record.rules or {}
    not_run = "\n".join(f"- {row['provider']} ({row['reason']})" for row in record.not_run)
    return document(
        f"{_machine(record)}, torch {where['torch']}. At least "
        f"{rules['num_runs']} runs and {rules['seconds']:g} s of each variant, in turns, one image at a time. `error` "
        "is the largest relative error of any layer and image against the full encoder in torch float32; `speedup` is "
        "against onnxruntime float32 of the full encoder.",
        *_more_words(record),
        table(record),
        "Not run:" if not_run else "All providers were run.",
        not_run,
    )


def _more_words(record: Record) -> list[str]:
    """Of what only some records have."""
    minutes = (record.rules or {}).get("sustained_minutes")
    words = {
        "`stylization` is a whole one by a bundle, from photo and style to picture.": _any(record, "task", "features"),
        "`batch`: of that many images at a time, all of which a run's milliseconds are of.": _any(record, "batch", 1),
        "`cold_s` is from the start of a process to its first result.": _any(record, "cold_start_seconds"),
        f"`drift`: the last tenth's median over the first's, less 1, in {minutes} minutes without a pause.": _any(
            record, "sustained_milliseconds", []
        ),
        "`joules` are of one run, of all the machine's CPUs by RAPL.": _any(record, "joules"),
        "Energy: this machine has no counter that can be read.": record.environment.get("counts_energy") is False,
    }
    said = " ".join(text for text, holds in words.items() if holds)
    return [said] if said else []


def _any(record: Record, field: str, usual: Any = None) -> bool:
    """Whether a row has something else than usual there."""
    return any(getattr(row, field) != usual for row in record.rows)


def machines_table(records: Sequence[Record]) -> Table:
    """The rows of several machines' records, file by file."""
    columns = {"name": "{}", "machine": "{}", "provider": "{}", "mode": "{}", "threads": "{}", "px": "{}"}
    columns |= {"runs": "{}", "p50_ms": "{:.2f}", "p90_ms": "{:.2f}", "speedup": "{:.2f}", "error": "{:.4f}"}
    named = zip(_machines(records), records, strict=True)
    summaries = [(machine, summary) for machine, record in named for summary in summarize(record)]
    summaries.sort(key=lambda each: (each[1]["name"], each[1]["threads"]))
    rows = [
        [summary["name"], machine, summary["actual"], *(summary[name] for name in list(columns)[3:])]
        for machine, summary in summaries
    ]
    return Table.of(columns, rows, left=("machine", "provider", "mode"))


def _machines(records: Sequence[Record]) -> list[str]:
    """A name for each: its machine, and which of that machine's records it is where there are several."""
    machines = [_machine(record) for record in records]
    return [
        f"{machine}, record {machines[: place + 1].count(machine)}" if machines.count(machine) > 1 else machine
        for place, machine in enumerate(machines)
    ]


def _machine(record: Record) -> str:
    """`AMD EPYC, avx2, Linux x86_64, onnxruntime 1.31.1`, as much of it as the record says."""
    environment = record.environment
    words = {"cpu": "", "instructions": "", "system": "", "onnxruntime": "onnxruntime "}
    return ", ".join(f"{word}{environment[key]}" for key, word in words.items() if environment.get(key))


@chart
def machines_picture(records: Sequence[Record]) -> Any:
    """On each machine, at the number of threads that is fastest there: every file's median latency, and its error
    beside how many times as fast as float32 it is, which machines of different speeds have in common."""
    names = sorted({row.name for record in records for row in record.rows})
    figure, ((latencies, errors),) = new_figure(13, 1.8 + 0.35 * len(names), 1, 2)
    for color, machine, record in zip(itertools.cycle(COLORS), _machines(records), records, strict=False):
        best = _fastest(summarize(record))
        places = [names.index(name) for name in best]
        latencies.plot([row["p50_ms"] for row in best.values()], places, "o", color=color, label=machine)
        known = [row for row in best.values() if row["speedup"] is not None and row["error"] is not None]
        errors.plot([row["speedup"] for row in known], [_shown_error(row) for row in known], "o", color=color)
        _plot_frontier(errors, known, "speedup", color)
    latencies.set(xscale="log", xlabel="median latency, ms", yticks=range(len(names)), yticklabels=names)
    latencies.invert_yaxis()
    errors.set(xscale="log", yscale="log", xlabel="times as fast as float32", ylabel=ERROR_LABEL)
    for axes in (latencies, errors):
        plain_ticks(axes.xaxis)
    figure.legend(loc="outside upper left")
    return figure


def _fastest(summaries: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By name, the row with the least median."""
    slowest_first = sorted(summaries, key=lambda row: -row["p50_ms"])
    return {row["name"]: row for row in slowest_first}


def write_machines(records: Sequence[Record], folder: Path) -> None:
    """Write machines.csv, .md and .png, all of them or none. Raises an OutputError where the folder takes none."""
    for suffix in (".csv", ".md", ".png"):
        check_writable(folder / f"machines{suffix}", suffix)
    table_of_all = machines_table(records)
    said = "Rows of several records of `stylecore export bench`; `speedup` is within a record."
    files = {".csv": table_of_all.csv().encode(), ".md": document(said, table_of_all).encode()}
    for suffix, data in (files | {".png": machines_picture(records)}).items():
        write_file(folder / f"machines{suffix}", data)


@chart
def picture(record: Record) -> Any:
    """Median latency against error: a panel for each number of threads, a colour for each encoder, a marker for each
    precision (hollow: torch); the frontier joins the variants that nothing beats in both."""
    summaries = [row for row in summarize(record) if row["error"] is not None and (row["input"], row["batch"]) == PLAIN]
    threads = sorted({summary["threads"] for summary in summaries})
    encoders = list(dict.fromkeys(summary["encoder"] for summary in summaries))
    figure, (panels,) = new_figure(2.5 + 4 * len(threads), 4.6, 1, len(threads), sharey=True)
    for axes, number in zip(panels, threads, strict=True):
        points = [summary for summary in summaries if summary["threads"] == number]
        _plot_frontier(axes, points, "p50_ms", GREY)
        for point in points:
            is_torch = point["asked"] == "torch"
            color = COLORS[encoders.index(point["encoder"]) % len(COLORS)]
            axes.scatter(
                point["p50_ms"],
                _shown_error(point),
                s=70,
                marker=_marker(point["precision"]),
                edgecolors=color,
                facecolors="none" if is_torch else color,
                label=f"{point['encoder']} {point['precision']}{' (torch)' * is_torch}",
                zorder=3,
            )
        axes.set(xscale="log", yscale="log", xlabel="median latency, ms")
        axes.set_title(f"{number} thread{'s' * (number > 1)}")
        plain_ticks(axes.xaxis)
    panels[0].set_ylabel(ERROR_LABEL)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    return figure


def _marker(precision: str) -> str:
    """For a precision that has left the registry, a cross."""
    return PRECISIONS[precision].marker if precision in PRECISIONS else TORCH_MARKERS.get(precision, "X")


def _shown_error(summary: dict[str, Any]) -> float:
    """float32 has no error to speak of, and a logarithm would send it far away."""
    return max(summary["error"], NO_ERROR)


def _plot_frontier(axes: Any, points: Iterable[dict[str, Any]], x: str, color: str) -> None:
    """Joins the variants that none is both faster and nearer than, fastest first, at their values of `x`."""
    best: list[dict[str, Any]] = []
    for point in sorted(points, key=lambda point: point["p50_ms"]):
        if not best or _shown_error(point) < _shown_error(best[-1]):
            best.append(point)
    errors = [_shown_error(point) for point in best]
    axes.plot([point[x] for point in best], errors, color=color, alpha=0.5, drawstyle="steps-post")


# By the suffix of its file: the record itself, and its views.
VIEWS: dict[str, Callable[[Record], bytes]] = {
    ".json": write_record,
    ".csv": lambda record: table(record).csv().encode(),
    ".md": lambda record: to_markdown(record).encode(),
    ".png": picture,
}


def check_views(folder: Path) -> None:
    """Raise an OutputError now if `write_views` could not write to `folder` later."""
    for suffix in VIEWS:
        check_writable(folder / f"bench{suffix}", suffix)


def write_views(record: Record, folder: Path) -> None:
    """Write bench.json, bench.csv, bench.md and bench.png, all of them or, where one cannot be made, none."""
    for suffix, data in [(suffix, view(record)) for suffix, view in VIEWS.items()]:
        write_file(folder / f"bench{suffix}", data)
