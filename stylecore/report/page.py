"""What a comparison looks like: a labelled sheet, the curves, and one page that can be mailed.

Everything is drawn from records and saved images, so that it can be drawn again.
"""

from __future__ import annotations

import base64
import html
import io
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from stylecore.compare import Comparison, Record
from stylecore.files import write_file
from stylecore.images import ImageTensor, fit_image, to_uint8
from stylecore.metrics import DETAIL_SIGMA_PX
from stylecore.profiling import STAGES

PAPER_COLOR, INK, GREY, RULE = "#fbfaf8", "#26231f", "#77716a", "#e4e0da"
# Paul Tol's "bright" and "muted": told apart by most eyes, on white and in print.
COLORS: tuple[str, ...] = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
COLORS += ("#332288", "#999933", "#882255", "#44aa99", "#cc6677", "#777777")
REPORT_FILES = ("comparison.png", "curves.png", "index.html")
PAGE = Path(__file__).parent / "page.html"
PICTURE_PX = 240, 480  # longer side on the sheet, at least and at most
JPEG_QUALITY = 92


@dataclass(frozen=True)
class Picture:
    """An image of the comparison with what is said about it."""

    title: str
    lines: tuple[str, ...]
    image: Image.Image


def write_report(comparison: Comparison) -> list[Path]:
    """Write comparison.png, curves.png and index.html into the comparison's folder, and return their paths."""
    shown = pictures(comparison)
    curves = curves_png(comparison.records)
    contents = (sheet_png(shown, heading(comparison)), curves, page(comparison, shown, curves).encode())
    return [write_file(comparison.folder / name, data) for name, data in zip(REPORT_FILES, contents, strict=True)]


def write_sweep_figure(comparison: Comparison, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write sweep.png from the rows of `sweep.sweep_table`, and return its path."""
    return write_file(comparison.folder / "sweep.png", sweep_png(rows))


def pictures(comparison: Comparison) -> list[Picture]:
    """Content, styles and results, all with the results' longer side."""
    names = [record["name"] for record in comparison.inputs] or ["content", *("style" for _ in comparison.styles)]
    longer = max(comparison.variants[0].config.size, 1)
    shown = []
    for index, image in enumerate((comparison.content, *comparison.styles)):
        kind = "content" if index == 0 else "style" if len(comparison.styles) == 1 else f"style {index}"
        scaled = fit_image(image, longer)
        shown.append(Picture(kind, (Path(names[index]).name,), _pil(scaled)))
    for record in comparison.records:
        shown.append(Picture(record.name, _caption(record), _pil(comparison.image(record))))
    return shown


def _pil(image: ImageTensor) -> Image.Image:
    return Image.fromarray(to_uint8(image))


def _caption(record: Record) -> tuple[str, ...]:
    time = f"{seconds_text(record.seconds)}{', diverged' if record.diverged else ''}"
    return (time, f"style {record.style_distance:.3f} · content {record.content_distance:.3f}")


def seconds_text(seconds: float) -> str:
    """Three digits: 0.45 s, 12.3 s, 151 s."""
    digits = 2 if seconds < 10 else 1 if seconds < 100 else 0
    return f"{seconds:.{digits}f} s"


def heading(comparison: Comparison) -> tuple[str, str]:
    """A title and one line on what was done where."""
    inputs = [Path(record["name"]).stem.replace("_", " ") for record in comparison.inputs]
    title = f"{inputs[0]} in the manner of {' and '.join(inputs[1:])}" if inputs else "One photo, several variants"
    config, where = comparison.variants[0].config, comparison.environment
    presets = ", ".join(dict.fromkeys(variant.config.preset for variant in comparison.variants))
    steps = sorted({variant.config.num_steps for variant in comparison.variants})
    counts = f"{steps[0]}" if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"
    threads = f", threads: {where['num_threads']}" if comparison.device.type == "cpu" else ""
    line = f"{config.size} px, {counts} evaluations, preset {presets}, {where['device_name']}{threads}"
    return title[:1].upper() + title[1:], line


# The sheet


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def sheet_png(shown: Sequence[Picture], title: tuple[str, str]) -> bytes:
    """All pictures with their captions, as a PNG."""
    width, height = (max(sides) for sides in zip(*(_fit(picture.image) for picture in shown), strict=True))
    width = max(width, 200)  # room for a caption
    columns = _num_columns(len(shown), width, height)
    rows = math.ceil(len(shown) / columns)
    margin, gap, caption, top = 36, 24, 74, 104
    sheet = Image.new(
        "RGB",
        (2 * margin + columns * (width + gap) - gap, top + rows * (height + caption + gap) + 52),
        PAPER_COLOR,
    )
    draw = ImageDraw.Draw(sheet)
    _text(draw, (margin, 28), title[0], 30, INK, sheet.width - 2 * margin)
    _text(draw, (margin, 68), title[1], 15, GREY, sheet.width - 2 * margin)
    for index, picture in enumerate(shown):
        left = margin + index % columns * (width + gap)
        above = top + index // columns * (height + caption + gap)
        _draw_picture(sheet, draw, picture, (left, above), (width, height))
    foot = "style and content: relative distances by VGG-16 on the saved image, 0 is equal"
    _text(draw, (margin, sheet.height - 40), foot, 13, GREY, sheet.width - 2 * margin)
    return _encoded(sheet, "PNG")


def _num_columns(count: int, width: int, height: int) -> int:
    """Columns that bring the sheet near 3:2 and leave the last row least empty."""

    def badness(columns: int) -> float:
        rows = math.ceil(count / columns)
        shape = math.log(columns * width / (rows * (height + 98)) / 1.5)
        return abs(shape) + 0.5 * (rows * columns - count) / columns

    return min(range(1, count + 1), key=badness)


def _fit(image: Image.Image) -> tuple[int, int]:
    longer = max(image.size)
    factor = min(max(longer, PICTURE_PX[0]), PICTURE_PX[1]) / longer
    return max(1, round(image.width * factor)), max(1, round(image.height * factor))


def _draw_picture(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, picture: Picture, corner: tuple[int, int], cell: tuple[int, int]
) -> None:
    """Flush left, standing on its caption."""
    scaled = picture.image.resize(_fit(picture.image), Image.Resampling.LANCZOS)
    (left, above), (width, height) = corner, cell
    sheet.paste(scaled, (left, above + height - scaled.height))
    _text(draw, (left, above + height + 8), picture.title, 19, INK, width)
    for index, line in enumerate(picture.lines):
        _text(draw, (left, above + height + 34 + 19 * index), line, 14, GREY, width)


def _text(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, color: str, width: int) -> None:
    """One line, in letters small enough for `width` px, at least 10 px high; then cut."""
    while size > 10 and draw.textlength(text, _font(size)) > width:
        size -= 1
    while len(text) > 1 and draw.textlength(text, _font(size)) > width:
        text = text[:-4] + "..."  # the bundled font has no ellipsis
    draw.text(at, text, color, _font(size))


def _encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    options = {"quality": JPEG_QUALITY, "subsampling": 0} if kind == "JPEG" else {"optimize": True}
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


# Curves


def curves_png(records: Sequence[Record]) -> bytes:
    """Style distance against seconds, both logarithmic, a line a variant; the list is in the order of the ends."""
    figure, axes = new_figure(9, 5.2)
    ordered = sorted(records, key=lambda record: record.style_distance)
    places = {record.name: index for index, record in enumerate(records)}
    for record in ordered:
        if not record.curve:
            continue
        place = places[record.name]
        style = {"color": COLORS[place % len(COLORS)], "linestyle": "-" if place < len(COLORS) else "--"}
        seconds, distances = zip(*record.curve, strict=True)
        label = f"{record.style_distance:.3f}  {record.name}"
        axes.plot(seconds, distances, **style, linewidth=1.8, label=label, solid_capstyle="round")
        axes.plot(seconds[-1], distances[-1], "o", color=style["color"], markersize=5)
    axes.set(xscale="log", yscale="log", xlabel="seconds", ylabel="style distance")
    _plain_ticks(axes.xaxis)
    _plain_ticks(axes.yaxis)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=10, handlelength=1.4)
    return figure_png(figure)


def sweep_png(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """One panel for K, one for the threshold: distances of each value, and the full Gram's as dashed lines."""
    reference = next(row for row in rows if row["loss"] == "gram")
    panels = [
        ("pca", "components kept"),
        ("svd", "singular values kept (threshold)"),
    ]
    panels = [panel for panel in panels if any(row["loss"] == panel[0] for row in rows)]
    figure, all_axes = new_figure(4.2 + 4.8 * len(panels), 4.6, len(panels))
    for axes, (loss, label) in zip(_as_list(all_axes), panels, strict=True):
        values = [row for row in rows if row["loss"] == loss]
        texts = [str(row["value"]) for row in values]
        for kind, color in (("style", COLORS[0]), ("content", COLORS[1])):
            for number, group in enumerate(_by_rule(values)):
                places = [texts.index(str(row["value"])) for row in group]
                heights = [row[f"{kind}_distance"] for row in group]
                axes.plot(places, heights, "o-", color=color, label=None if number else f"{kind} distance")
            axes.axhline(reference[f"{kind}_distance"], color=color, linestyle="--", linewidth=1, alpha=0.7)
        axes.set(xlabel=label, ylim=(0, None))
        axes.set_xticks(range(len(texts)), texts, rotation=30 if max(map(len, texts)) > 6 else 0)
    _as_list(all_axes)[0].legend(frameon=False, title="dashed: full Gram", alignment="left")
    return figure_png(figure)


def _by_rule(rows: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Neighbours whose values are comparable, `energy:0.5` and `energy:0.8`: no line joins them to `mean:1`."""
    groups = itertools.groupby(rows, lambda row: str(row["value"]).rpartition(":")[0])
    return [list(group) for _, group in groups]


def _as_list(axes: Any) -> list[Any]:
    return list(axes) if isinstance(axes, Iterable) else [axes]


def new_figure(width: float, height: float, num_panels: int = 1) -> tuple[Any, Any]:
    """A figure of its own, apart from pyplot's state and from the user's settings."""
    from matplotlib import rc_context, rcdefaults  # takes half a second: only where something is drawn
    from matplotlib.figure import Figure

    with rc_context():
        rcdefaults()
        figure = Figure(figsize=(width, height), dpi=160, layout="constrained", facecolor=PAPER_COLOR)
        axes = figure.subplots(1, num_panels, sharey=True)
    for one in _as_list(axes):
        one.set_facecolor(PAPER_COLOR)
        one.spines[["top", "right"]].set_visible(False)
        one.spines[["left", "bottom"]].set_color(GREY)
        one.tick_params(which="both", colors=GREY, labelsize=10)
        one.grid(axis="y", which="major", color=RULE, linewidth=0.8)
        one.set_axisbelow(True)
        one.xaxis.label.set(color=INK, fontsize=11)
        one.yaxis.label.set(color=INK, fontsize=11)
    return figure, axes


def _plain_ticks(axis: Any) -> None:
    """Several plain numbers in each decade: a curve seldom spans more than one."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def figure_png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")  # a Figure without pyplot draws with Agg
    return buffer.getvalue()


# The page


def page(comparison: Comparison, shown: Sequence[Picture], figure: bytes) -> str:
    """One HTML file with all images inside; nothing is fetched from anywhere."""
    title, line = heading(comparison)
    records = comparison.records
    return Template(PAGE.read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        line=html.escape(line),
        gallery="\n".join(_figure_html(index, picture) for index, picture in enumerate(shown)),
        first=0,
        second=len(shown) - len(records) if records else len(shown) - 1,
        rows="\n".join(_row_html(record, records) for record in records),
        against=html.escape(_baseline(records).name) if records else "",
        bars="\n".join(_bar_html(record, records) for record in records),
        figure=data_uri(figure, "png"),
        sigma=f"{DETAIL_SIGMA_PX:g}",
        settings=html.escape(_settings_text(comparison)),
    )


def data_uri(data: bytes, kind: str) -> str:
    """`data:image/...;base64,...`."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _figure_html(index: int, picture: Picture) -> str:
    source = data_uri(_encoded(picture.image, "JPEG"), "jpeg")
    title = html.escape(picture.title)
    lines = "".join(f"<span>{html.escape(line)}</span>" for line in picture.lines)
    for word in ("style", "content"):  # a narrow caption breaks between the distances, not within
        lines = lines.replace(f"{word} ", f"{word}&nbsp;")
    width, height = picture.image.size
    return (
        f'<figure><img id="image-{index}" alt="{title}" width="{width}" height="{height}" src="{source}">'
        f"<figcaption><b>{title}</b>{lines}</figcaption></figure>"
    )


def _baseline(records: Sequence[Record]) -> Record:
    """What speed-ups are against: `gram`, or the slowest where there is none."""
    grams = [record for record in records if record.loss == "gram"]
    return (grams or sorted(records, key=lambda record: -record.seconds))[0]


def speed_up(record: Record, records: Sequence[Record]) -> float:
    """How many times faster than the baseline of the records."""
    return _baseline(records).seconds / max(record.seconds, 1e-9)


def _row_html(record: Record, records: Sequence[Record]) -> str:
    cells = (
        f"{record.seconds:.{2 if record.seconds < 10 else 1}f}",
        f"{speed_up(record, records):.2f}",
        f"{record.style_distance:.3f}",
        f"{record.content_distance:.3f}",
        f"{record.witness_distance:.3f}",
        "" if record.detail is None else f"{record.detail:.2f}",
    )
    name = html.escape(record.name) + (" <i>diverged</i>" if record.diverged else "")
    return f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _bar_html(record: Record, records: Sequence[Record]) -> str:
    longest = max(sum(other.seconds_by_stage.values()) for other in records)
    stages = {stage: record.seconds_by_stage.get(stage, 0.0) for stage in STAGES}
    parts = "".join(
        f'<span class="{stage}" style="width:{100 * seconds / longest:.2f}%" '
        f'title="{stage.replace("_", " ")}: {1000 * seconds:.1f} ms"></span>'
        for stage, seconds in stages.items()
    )
    total = 1000 * sum(stages.values())
    described = ", ".join(f"{stage.replace('_', ' ')} {1000 * seconds:.1f} ms" for stage, seconds in stages.items())
    return (
        f"<div><b>{html.escape(record.name)}</b><div class=track role=img aria-label='{described}'>{parts}</div>"
        f"<span class=ms>{total:.{0 if total >= 100 else 1}f} ms</span></div>"
    )


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
