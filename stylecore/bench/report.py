"""What the records say: Markdown tables and the distance-against-time figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from stylecore.bench.measure import BASELINE, REFERENCE
from stylecore.report import Table, chart, document, new_figure, plain_ticks
from stylecore.report.charts import COLORS, INK

Record = Mapping[str, Any]


def bench_markdown(records: Record, figure: str) -> str:
    """The whole report; `figure` is the name of `bench_figure`'s file beside it."""
    environment = ", ".join(f"{key} {value}" for key, value in records["environment"].items())
    sections = {
        "Presets": _presets_table(records),
        "Each pair": _pairs_table(records),
        "One evaluation": _evaluations_table(records),
        "Losses inside a preset, at equal time": _losses_table(records),
        "Cost against size": _scale_table(records),
    }
    return document(
        "# Benchmarks",
        "Made by `stylecore bench --json FILE` and drawn by `stylecore bench --report FILE`; every number is from the "
        f"records beside this page. Measured on: {environment}.",
        f"All at {records['options']['size']} px, in one process, in turns. Ratios are to `{REFERENCE}` on the same "
        f"pair; distances are means over the pairs. `{BASELINE}` is the same recipe written with torch alone.",
        f"![Style distance against time]({figure})",
        *(part for title, table in sections.items() if table.rows for part in (f"## {title}", table)),
    )


def _names(records: Iterable[Record], key: str = "preset") -> list[str]:
    return list(dict.fromkeys(record[key] for record in records))


def _mean(records: Iterable[Record], key: str) -> float:
    return fmean(record[key] for record in records)


def _with_reference(records: Record, preset: str) -> list[tuple[Record, Record]]:
    """Each run of a preset, and the reference's of the same pair."""
    reference = {run["pair"]: run for run in records["runs"] if run["preset"] == REFERENCE}
    runs = [run for run in records["runs"] if run["preset"] == preset and run["pair"] in reference]
    return [(run, reference[run["pair"]]) for run in runs]


def speed_ups(records: Record, preset: str) -> list[float]:
    """Seconds of the reference over the preset's, of each pair that has both."""
    return [
        median(reference["seconds"]) / median(run["seconds"]) for run, reference in _with_reference(records, preset)
    ]


def _presets_table(records: Record) -> Table:
    columns = {"preset": "`{}`", "times faster": "{:.1f}", "style distance": "{:.3f}", "reference's": "{:.3f}"}
    columns |= {"content / reference's": "{:.3f}", "witness": "{:.3f}"}
    judged = ["patches"] if all("patches" in run for run in records["runs"]) else []  # older records are without
    columns |= dict.fromkeys(judged, "{:.3f}") | {"finest grid / style's": "{:.2f}", "pairs": "{}"}
    rows = []
    for preset in _names(records["runs"]):
        runs, references = zip(*_with_reference(records, preset), strict=True)
        content = fmean(run["content"] / other["content"] for run, other in zip(runs, references, strict=True))
        style = _mean(runs, "style"), _mean(references, "style")
        others = [_mean(runs, kind) for kind in ("witness", *judged, "hatching")]
        rows.append((preset, fmean(speed_ups(records, preset)), *style, content, *others, len(runs)))
    return Table.of(columns, rows)


def _pairs_table(records: Record) -> Table:
    presets = _names(records["runs"])
    texts = {
        (run["pair"], run["preset"]): f"{run['style']:.3f} / {run['witness']:.3f}, {median(run['seconds']):.2f} s"
        for run in records["runs"]
    }
    rows = [[pair, *(texts.get((pair, preset)) for preset in presets)] for pair in _names(records["runs"], "pair")]
    return Table.of(["pair: style / witness distance, seconds", *(f"`{preset}`" for preset in presets)], rows)


def _evaluations_table(records: Record) -> Table:
    medians = {record["preset"]: median(record["seconds"]) for record in records["evaluations"]}
    shares = {record["preset"]: _shares(record.get("seconds_by_stage", {})) for record in records["evaluations"]}
    stages = list(dict.fromkeys(stage for found in shares.values() for stage in found))
    columns = {"recipe": "`{}`", f"times faster than `{BASELINE}`": "{:.2f}"}
    columns |= {f"{stage.replace('_', ' ')}, %": "{:.0f}" for stage in stages}
    rows = [
        [name, medians[BASELINE] / medians[name], *(shares[name].get(stage) for stage in stages)] for name in medians
    ]
    return Table.of(columns, rows)


def _shares(seconds: Mapping[str, float]) -> dict[str, float]:
    """Per cent of the sum."""
    return {name: 100 * value / sum(seconds.values()) for name, value in seconds.items()}


def _losses_table(records: Record) -> Table:
    losses = _names(records["losses"], "loss")
    rows = []
    for preset in _names(records["losses"]):
        runs = [[run for run in records["losses"] if (run["preset"], run["loss"]) == (preset, loss)] for loss in losses]
        texts = [_raced(found) if found else None for found in runs]
        rows.append([f"`{preset}`", *texts])
    judges = "style distance, patches" if all("patches" in record for record in records["losses"]) else "style distance"
    return Table.of([f"preset: {judges} (evaluations)", *losses], rows)


def _raced(runs: Sequence[Record]) -> str:
    patches = f", {_mean(runs, 'patches'):.3f}" if all("patches" in run for run in runs) else ""
    return f"{_mean(runs, 'style'):.3f}{patches} ({_mean(runs, 'num_steps'):.0f})"


def _scale_table(records: Record) -> Table:
    presets = _names(records["scale"])
    found = {(record["preset"], record["size_px"]): record for record in records["scale"]}
    columns = [f"`{preset}`: {what}" for preset in presets for what in ("cost / 256 px's", "peak GiB")]
    sizes = sorted({size for _, size in found})
    rows = [[size, *(cell for preset in presets for cell in _scale_cells(found, preset, size))] for size in sizes]
    return Table.of(["px, square", *columns], rows)


def _scale_cells(found: Mapping[tuple[str, int], Record], preset: str, size: int) -> tuple[str | None, str]:
    """Cost against 256 px, and peak memory."""
    record, base = found.get((preset, size)), found.get((preset, 256))
    if record is None:
        return None, "does not fit"
    key = "seconds_per_evaluation"
    return f"{record[key] / base[key]:.2f}" if base else None, f"{record['peak_memory_mib'] / 1024:.2f}"


@chart
def bench_figure(records: Record) -> Any:
    """Style distance against seconds, both on log axes, every pair a thin line and the mean's end a dot; their variants
    are too near to the presets to be told apart, and stand in the table."""
    figure, ((axes,),) = new_figure(8.5, 5.2)
    shown = [name for name in _names(records["runs"]) if name in (REFERENCE, *records["options"]["presets"])]
    for color, preset in zip(COLORS, shown, strict=False):
        runs: Sequence[Record] = [run for run in records["runs"] if run["preset"] == preset]
        for run in runs:
            axes.plot(*zip(*run["curve"], strict=True), color=color, alpha=0.35, linewidth=1)
        end = fmean(median(run["seconds"]) for run in runs), _mean(runs, "style")
        axes.plot(*end, "o", color=color, markersize=9, zorder=3)
        axes.annotate(preset, end, (8, 6), textcoords="offset points", color=INK, fontsize=10)
    axes.set(xscale="log", yscale="log", xlabel="seconds", ylabel="style distance")
    axes.xaxis.set_major_formatter("{x:g}")
    plain_ticks(axes.yaxis)
    return figure
