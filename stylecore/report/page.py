"""What a comparison looks like: a labelled sheet, the curves, and one page that can be mailed.

Everything is drawn from records and saved images, so that it can be drawn again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import jinja2

from stylecore.compare import Comparison, Record
from stylecore.files import write_file
from stylecore.images import fit_image
from stylecore.metrics import DETAIL_SIGMA_PX
from stylecore.profiling import STAGES
from stylecore.report.charts import curves_png, sweep_png
from stylecore.report.sheets import Picture, contact_sheet, in_rows, jpeg, picture_of, png
from stylecore.report.tables import Table

REPORT_FILES = ("comparison.png", "curves.png", "index.html")
SWEEP_FILES = ("sweep.png", *REPORT_FILES)
SHEET_PX = 240, 480  # a picture's longer side on the sheet, at least and at most
FOOT = "style and content: relative distances by VGG-16 on the saved image, 0 is equal"


def write_report(comparison: Comparison) -> list[Path]:
    """Write comparison.png, curves.png and index.html into the comparison's folder, and return their paths."""
    shown = pictures(comparison)
    curves = curves_png(comparison.records)
    contents = (sheet_png(shown, heading(comparison)), curves, page(comparison, shown, curves).encode())
    return [write_file(comparison.folder / name, data) for name, data in zip(REPORT_FILES, contents, strict=True)]


def write_sweep_figure(comparison: Comparison, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write sweep.png from the rows of `sweep.sweep_table`, and return its path."""
    return write_file(comparison.folder / SWEEP_FILES[0], sweep_png(rows))


def pictures(comparison: Comparison) -> list[Picture]:
    """Content, styles and results, all with the results' longer side."""
    num_styles, longer = len(comparison.job.styles), comparison.variants[0].config.size
    titles = ["content", *(f"style {number}" if num_styles > 1 else "style" for number in range(1, 1 + num_styles))]
    images = [fit_image(image, longer) for image in (comparison.job.content, *comparison.job.styles)]
    shown = [
        picture_of(image, title, Path(source.name).name or title)  # nameless: made in Python
        for image, title, source in zip(images, titles, comparison.job.sources, strict=True)
    ]
    return shown + [
        picture_of(comparison.image(record), record.name, *_caption(record)) for record in comparison.records
    ]


def _caption(record: Record) -> tuple[str, str]:
    time = f"{seconds_text(record.seconds)}{', diverged' if record.diverged else ''}"
    return time, f"style {record.style_distance:.3f} · content {record.content_distance:.3f}"


def seconds_text(seconds: float) -> str:
    """Three digits: 0.45 s, 12.3 s, 151 s."""
    digits = 2 if seconds < 10 else 1 if seconds < 100 else 0
    return f"{seconds:.{digits}f} s"


def heading(comparison: Comparison) -> tuple[str, str]:
    """A title, and one line that says what was done where."""
    inputs = [Path(source.name).stem.replace("_", " ") for source in comparison.job.sources if source.name]
    title = f"{inputs[0]} in the manner of {' and '.join(inputs[1:])}" if inputs else "One photo, several variants"
    config, where = comparison.variants[0].config, comparison.environment
    presets = ", ".join(dict.fromkeys(variant.config.preset for variant in comparison.variants))
    steps = sorted({variant.config.num_steps for variant in comparison.variants})
    counts = f"{steps[0]}" if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"
    threads = f", threads: {where['num_threads']}" if comparison.device.type == "cpu" else ""
    line = f"{config.size} px, {counts} evaluations, preset {presets}, {where['device_name']}{threads}"
    return title[:1].upper() + title[1:], line


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
    columns = {"variant": "{}", "seconds": "{:.2f}", "speed-up": "{:.2f}"}
    columns |= {"style": "{:.3f}", "content": "{:.3f}", "witness": "{:.3f}", "patches": "{:.3f}"}
    return Table.of(columns | {"detail": "{:.2f}"}, (_result(record, records) for record in records))


def _result(record: Record, records: Sequence[Record]) -> tuple[Any, ...]:
    name = f"{record.name} (diverged)" if record.diverged else record.name
    distances = (record.style_distance, record.content_distance, record.witness_distance, fmean(record.patch_distance))
    return name, record.seconds, speed_up(record, records), *distances, record.detail


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


def page(comparison: Comparison, shown: Sequence[Picture], curves: bytes) -> str:
    """One HTML file with all images inside; nothing is fetched from anywhere."""
    title, line = heading(comparison)
    records = comparison.records
    return _template().render(
        title=title,
        line=line,
        pictures=shown,
        first_result=len(shown) - max(1, len(records)),
        table=results_table(records),
        baseline=baseline(records).name if records else "",
        curves=curves,
        records=records,
        stages=STAGES,
        longest=max((sum(record.seconds_by_stage.values()) for record in records), default=0),
        sigma_px=f"{DETAIL_SIGMA_PX:g}",
        settings=_settings_text(comparison),
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "jpeg_uri": lambda image: data_uri(jpeg(image), "jpeg"),
        "png_uri": lambda data: data_uri(data, "png"),
        "words": lambda stage: stage.replace("_", " "),
        "ms": lambda seconds: f"{1000 * seconds:.{0 if seconds >= 0.1 else 1}f} ms",
    }
    return environment.get_template("page.html")


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
