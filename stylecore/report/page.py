"""What a comparison looks like: a labelled sheet, the curves, and one page that can be mailed.

Everything is drawn from records and saved images, so that it can be drawn again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from stylecore.compare import Comparison, Record
from stylecore.files import write_file
from stylecore.images import fit_image
from stylecore.metrics import DETAIL_SIGMA_PX
from stylecore.profiling import STAGES
from stylecore.report.charts import curves_png, sweep_png
from stylecore.report.curves import curves_html
from stylecore.report.sheets import Picture, contact_sheet, in_rows, jpeg, picture_of, png
from stylecore.report.tables import Table
from stylecore.report.viewer import Grid, View, environment, viewer_html

REPORT_FILES = ("comparison.png", "curves.png", "index.html")
SWEEP_FILES = ("sweep.png", *REPORT_FILES)
SHEET_PX = 240, 480  # a picture's longer side on the sheet, at least and at most
FOOT = "style and content: relative distances by VGG-16 on the saved image, 0 is equal"


def write_report(comparison: Comparison) -> list[Path]:
    """Write comparison.png, curves.png and index.html into the comparison's folder, and return their paths."""
    title, made_from = heading(comparison), inputs(comparison)
    sheet = sheet_png([*made_from, *results(comparison)], title)
    contents = (sheet, curves_png(comparison.records), page(comparison, made_from, title).encode())
    return [write_file(comparison.folder / name, data) for name, data in zip(REPORT_FILES, contents, strict=True)]


def write_sweep_figure(comparison: Comparison, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write sweep.png from the rows of `sweep.sweep_table`, and return its path."""
    return write_file(comparison.folder / SWEEP_FILES[0], sweep_png(rows))


def inputs(comparison: Comparison) -> list[Picture]:
    """Content and styles, with the results' longer side."""
    num_styles, longer = len(comparison.job.styles), comparison.variants[0].config.size
    titles = ["content", *(f"style {number}" if num_styles > 1 else "style" for number in range(1, 1 + num_styles))]
    images = [fit_image(image, longer) for image in (comparison.job.content, *comparison.job.styles)]
    return [
        picture_of(image, title, Path(source.name).name or title)  # nameless: made in Python
        for image, title, source in zip(images, titles, comparison.job.sources, strict=True)
    ]


def results(comparison: Comparison) -> list[Picture]:
    """What came of the variants that are done."""
    return [picture_of(comparison.image(record), record.name, *caption(record)) for record in comparison.records]


def caption(record: Record) -> tuple[str, str]:
    """What is said below a result: what it took, how near it came."""
    time = f"{seconds_text(record.seconds)}{', diverged' if record.diverged else ''}"
    return time, f"style {record.style_distance:.3f} · content {record.content_distance:.3f}"


def seconds_text(seconds: float) -> str:
    """The two digits that one run can tell: 0.46 s, 2.0 s, 12 s, 150 s."""
    return f"{two_digits(seconds)} s"


def two_digits(number: float) -> str:
    """Without an exponent: 0.46, 2.0, 12, 150."""
    rounded = float(f"{number:.1e}")
    return f"{rounded:.{1 if rounded >= 1 else 2}f}" if rounded < 10 else f"{rounded:.0f}"


def heading(comparison: Comparison) -> tuple[str, str]:
    """A title, and one line that says what was done where."""
    inputs = [Path(source.name).stem.replace("_", " ") for source in comparison.job.sources if source.name]
    title = f"{inputs[0]} in the manner of {' and '.join(inputs[1:])}" if inputs else "One photo, several variants"
    where = comparison.environment
    sizes = _range(variant.config.size for variant in comparison.variants)
    presets = ", ".join(dict.fromkeys(variant.config.preset for variant in comparison.variants))
    counts = _range(variant.config.num_steps for variant in comparison.variants)
    threads = f", threads: {where['num_threads']}" if comparison.device.type == "cpu" else ""
    line = f"{sizes} px, {counts} evaluations, preset {presets}, {where['device_name']}{threads}"
    return title[:1].upper() + title[1:], line


def _range(numbers: Iterable[int]) -> str:
    low, high = min(found := set(numbers)), max(found)
    return f"{low}" if low == high else f"{low} to {high}"


def sheet_png(shown: Sequence[Picture], title: tuple[str, str]) -> bytes:
    """All pictures with their captions, as a PNG."""
    least, most = SHEET_PX
    cell_px = min(max(least, *(max(picture.image.size) for picture in shown)), most)
    return png(contact_sheet(in_rows(shown), cell_px, heading=title, foot=FOOT, margin_px=36, gap_px=24))


# Tables


def baseline(records: Sequence[Record]) -> Record:
    """What speed-ups are against: `gram`, or the slowest where there is none."""
    grams = [record for record in records if record.loss == "gram"]
    return (grams or sorted(records, key=lambda record: -record.seconds))[0]


def speed_up(record: Record, records: Sequence[Record]) -> float:
    """How many times faster than the baseline of the records."""
    return baseline(records).seconds / max(record.seconds, 1e-9)


def results_table(records: Sequence[Record]) -> Table:
    """A row a variant: what it took and how near it came."""
    columns = {"variant": "{}", "seconds": "{}", "speed-up": "{}"}
    columns |= {"style": "{:.3f}", "content": "{:.3f}", "witness": "{:.3f}", "detail": "{:.2f}"}
    return Table.of(columns, (_result(record, records) for record in records))


def _result(record: Record, records: Sequence[Record]) -> tuple[Any, ...]:
    name = f"{record.name} (diverged)" if record.diverged else record.name
    distances = (record.style_distance, record.content_distance, record.witness_distance)
    return name, two_digits(record.seconds), two_digits(speed_up(record, records)), *distances, record.detail


def sweep_results_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The rows of `sweep.sweep_table`."""
    columns = {
        "loss": ("loss", "{}"),
        "value": ("value", "{}"),
        "seconds": ("seconds", "{:.2f}"),
        "style_distance": ("style", "{:.3f}"),
        "content_distance": ("content", "{:.3f}"),
        "detail": ("detail", "{:.2f}"),
        "levels_from_content": ("from content", "{:.1f}"),
        "levels_from_gram": ("from gram", "{:.1f}"),
    }
    return Table.of(dict(columns.values()), ([row[key] for key in columns] for row in rows))


# The page


def page(
    comparison: Comparison,
    shown: Sequence[Picture],
    title: tuple[str, str],
    grid: Grid | None = None,
    missing: str = "",
) -> str:
    """One HTML file with all images inside; nothing is fetched from anywhere.

    Args:
        shown: pictures that stand before the results: what they were made from, as far as it may be seen.
        title: as `heading` has it.
        grid: of the variants' names; None: one after the other.
        missing: said of variants that have no result and no trouble of their own.
    """
    records = comparison.records
    views = [_view(picture) for picture in (*shown, *results(comparison))]
    names = [view.name for view in views]
    pair = (names[0], names[len(shown)] if shown and records else names[-1])
    for name in (variant.name for variant in comparison.variants if variant.name not in names):
        views.append(View(name, trouble=comparison.troubles.get(name, missing)))
    template = environment().get_template("page.html")
    return template.render(
        title=title[0],
        line=title[1],
        viewer=Markup(viewer_html(views, pair, grid)),
        table=results_table(records),
        baseline=baseline(records).name if records else "",
        curves=Markup(curves_html(records)),
        records=records,
        stages=STAGES,
        longest=max((sum(record.seconds_by_stage.values()) for record in records), default=0),
        sigma_px=f"{DETAIL_SIGMA_PX:g}",
        settings=_settings_text(comparison),
        words=lambda stage: stage.replace("_", " "),
        ms=lambda seconds: f"{1000 * seconds:.{0 if seconds >= 0.1 else 1}f} ms",
    )


def _view(picture: Picture) -> View:
    return View(picture.title, data_uri(jpeg(picture.image), "jpeg"), picture.image.size, picture.lines)


def data_uri(data: bytes, kind: str) -> str:
    """`data:image/...;base64,...`."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _settings_text(comparison: Comparison) -> str:
    """Environment, and the config: what all variants share, then what each has of its own."""
    configs = {record.name: record.config for record in comparison.records}
    shared = {
        field: value
        for field, value in next(iter(configs.values()), {}).items()
        if all(config[field] == value for config in configs.values())
    }
    own = {
        name: {field: value for field, value in config.items() if field not in shared}
        for name, config in configs.items()
    }
    lines = [f"{key}: {value}" for key, value in comparison.environment.items()]
    lines += ["", *(f"{field}: {json.dumps(value)}" for field, value in shared.items())]
    lines += ["", *(f"{name}: {json.dumps(fields)}" for name, fields in own.items())]
    return "\n".join(lines)
