"""What the records say: Markdown tables and the distance-against-time figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from stylecore.bench.measure import REFERENCE
from stylecore.report.page import COLORS, INK, figure_png, new_figure

Records = Mapping[str, Any]


def bench_markdown(records: Records, figure: str) -> str:
    """The whole report; `figure` is the name of `bench_figure`'s file beside it."""
    environment = ", ".join(f"{key} {value}" for key, value in records["environment"].items())
    parts = [
        "# Benchmarks",
        "Made by `stylecore bench --json FILE` and drawn by `stylecore bench --report FILE`; every number is from the "
        f"records beside this page. Measured on: {environment}.",
        f"All at {records['options']['size']} px, in one process, in turns. Ratios are to `{REFERENCE}` on the same "
        "pair; distances are means over the pairs.",
        f"![Style distance against time]({figure})",
        *_section("Presets", _presets_table(records)),
        *_section("Each pair", _pairs_table(records)),
        *_section("One evaluation", _evaluations_table(records)),
        *_section("Losses inside a preset, at equal time", _losses_table(records)),
        *_section("Cost against size", _scale_table(records)),
    ]
    return "\n\n".join(parts) + "\n"


def _section(title: str, table: Sequence[Sequence[str]]) -> list[str]:
    """A heading and a table whose first row is its head; nothing for a table without rows."""
    if len(table) < 2:
        return []
    lines = ["| " + " | ".join(row) + " |" for row in table]
    rule = "|---" + "|---:" * (len(table[0]) - 1) + "|"
    return [f"## {title}", "\n".join([lines[0], rule, *lines[1:]])]


def _names(runs: Iterable[Mapping[str, Any]], key: str = "preset") -> list[str]:
    return list(dict.fromkeys(run[key] for run in runs))


def speed_ups(records: Records, preset: str) -> list[float]:
    """Seconds of the reference over the preset's, of each pair that has both."""
    reference = {run["pair"]: median(run["seconds"]) for run in records["runs"] if run["preset"] == REFERENCE}
    runs = [run for run in records["runs"] if run["preset"] == preset and run["pair"] in reference]
    return [reference[run["pair"]] / median(run["seconds"]) for run in runs]


def _presets_table(records: Records) -> list[list[str]]:
    rows = [["preset", "times faster", "style distance", "reference's", "content / reference's", "witness", "pairs"]]
    reference = {run["pair"]: run for run in records["runs"] if run["preset"] == REFERENCE}
    for preset in _names(records["runs"]):
        runs = [run for run in records["runs"] if run["preset"] == preset and run["pair"] in reference]
        mean = _mean_of(runs)
        of_reference = _mean_of([reference[run["pair"]] for run in runs])
        ratio = fmean(run["content"] / reference[run["pair"]]["content"] for run in runs)
        speed = fmean(speed_ups(records, preset))
        row = [speed, mean("style"), of_reference("style"), ratio, mean("witness")]
        rows.append([f"`{preset}`", f"{row[0]:.1f}", *(f"{value:.3f}" for value in row[1:]), str(len(runs))])
    return rows


def _mean_of(runs: Sequence[Mapping[str, Any]]) -> Callable[[str], float]:
    return lambda key: fmean(run[key] for run in runs)


def _pairs_table(records: Records) -> list[list[str]]:
    presets = _names(records["runs"])
    rows = [["pair", *(f"`{preset}`" for preset in presets)]]
    found = {(run["pair"], run["preset"]): run for run in records["runs"]}
    for pair in _names(records["runs"], "pair"):
        cells = []
        for preset in presets:
            run = found.get((pair, preset))
            text = "" if run is None else f"{run['style']:.3f} / {run['witness']:.3f}, {median(run['seconds']):.2f} s"
            cells.append(text)
        rows.append([pair, *cells])
    rows[0][0] = "pair: style / witness distance, seconds"
    return rows if len(rows) > 1 else []


def _evaluations_table(records: Records) -> list[list[str]]:
    stages = list(records["evaluations"][0].get("seconds_by_stage", {})) if records["evaluations"] else []
    for record in records["evaluations"]:
        stages = stages or list(record.get("seconds_by_stage", {}))
    rows = [["recipe", "times faster than plain", *(f"{stage.replace('_', ' ')}, %" for stage in stages)]]
    medians = {record["preset"]: median(record["seconds"]) for record in records["evaluations"]}
    for record in records["evaluations"]:
        parts = record.get("seconds_by_stage", {})
        shares = [f"{100 * parts[stage] / sum(parts.values()):.0f}" if parts else "" for stage in stages]
        rows.append([f"`{record['preset']}`", f"{medians['plain'] / medians[record['preset']]:.2f}", *shares])
    return rows


def _losses_table(records: Records) -> list[list[str]]:
    losses = _names(records["losses"], "loss")
    rows = [["preset: style distance (evaluations)", *losses]]
    for preset in _names(records["losses"]):
        cells = []
        for loss in losses:
            runs = [run for run in records["losses"] if (run["preset"], run["loss"]) == (preset, loss)]
            cells.append(f"{_mean_of(runs)('style'):.3f} ({_mean_of(runs)('num_steps'):.0f})" if runs else "")
        rows.append([f"`{preset}`", *cells])
    return rows


def _scale_table(records: Records) -> list[list[str]]:
    presets = _names(records["scale"])
    rows = [["px, square", *(f"`{preset}`: {what}" for preset in presets for what in ("cost / 256 px's", "peak GiB"))]]
    found = {(record["preset"], record["size_px"]): record for record in records["scale"]}
    for size in sorted({size for _, size in found}):
        cells = []
        for preset in presets:
            record, base = found.get((preset, size)), found.get((preset, 256))
            seconds = "seconds_per_evaluation"
            cells.append(f"{record[seconds] / base[seconds]:.2f}" if record and base else "")
            cells.append(f"{record['peak_memory_mib'] / 1024:.2f}" if record else "does not fit")
        rows.append([str(size), *cells])
    return rows


def bench_figure(records: Records) -> bytes:
    """PNG of style distance against seconds, both on log axes, every pair a thin line and the mean's end a dot."""
    figure, axes = new_figure(8.5, 5.2)
    for color, preset in zip(COLORS, _names(records["runs"]), strict=False):
        runs = [run for run in records["runs"] if run["preset"] == preset]
        for run in runs:
            axes.plot(*zip(*run["curve"], strict=True), color=color, alpha=0.35, linewidth=1)
        seconds, distance = fmean(median(run["seconds"]) for run in runs), _mean_of(runs)("style")
        axes.plot([seconds], [distance], "o", color=color, markersize=9, label=preset)
        axes.annotate(preset, (seconds, distance), (8, 6), textcoords="offset points", color=INK, fontsize=10)
    axes.set(xscale="log", yscale="log", xlabel="seconds", ylabel="style distance")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.xaxis.set_major_formatter("{x:g}")
    return figure_png(figure)
