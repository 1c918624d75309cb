"""Sheets of pictures (JPEG) and charts (palette PNG), in the look of `stylecore.report.page`."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from studies.settings import Settings
from studies.store import Record
from stylecore.encoders.vgg import STYLE_LAYERS
from stylecore.report.page import COLORS, GREY, INK, PAPER_COLOR, RULE
from stylecore.sample_images import style_path

MARGIN_PX, GAP_PX, LINE_PX = 20, 12, 17
BLUE, RED, GREEN, YELLOW, CYAN, PURPLE = COLORS[:6]


@dataclass(frozen=True)
class Cell:
    """A picture of a sheet and the lines under it; the first line is its title."""

    path: Path
    lines: Sequence[str]


def style_cell(name: str, title: str) -> Cell:
    return Cell(style_path(name), [title, name.replace("_", " ")])


def sheet(rows: Sequence[Sequence[Cell]], target: Path, cell_px: int) -> None:
    """Rows of pictures with their lines; each picture fits into a square of `cell_px`, a row is as high as needed."""
    title_font, font = ImageFont.load_default(size=13), ImageFont.load_default(size=12)
    columns = max(map(len, rows))
    scaled = [[_fit(Image.open(cell.path).convert("RGB"), cell_px) for cell in row] for row in rows]
    num_lines = [max(len(cell.lines) for cell in row) for row in rows]
    heights = [max(picture.height for picture in row) for row in scaled]
    width = 2 * MARGIN_PX + columns * (cell_px + GAP_PX) - GAP_PX
    height = 2 * MARGIN_PX + sum(heights) + sum(LINE_PX * n + 8 for n in num_lines) + GAP_PX * (len(rows) - 1)
    canvas = Image.new("RGB", (width, height), PAPER_COLOR)
    draw = ImageDraw.Draw(canvas)
    top = MARGIN_PX
    for row, pictures, row_height, lines in zip(rows, scaled, heights, num_lines, strict=True):
        for column, (cell, picture) in enumerate(zip(row, pictures, strict=True)):
            left = MARGIN_PX + column * (cell_px + GAP_PX)
            canvas.paste(picture, (left, top + row_height - picture.height))
            for index, line in enumerate(cell.lines):
                at = (left, top + row_height + 5 + index * LINE_PX)
                draw.text(at, line, GREY if index else INK, font if index else title_font)
        top += row_height + LINE_PX * lines + 8 + GAP_PX
    canvas.save(target, quality=86, optimize=True)


def _fit(picture: Image.Image, side: int) -> Image.Image:
    factor = side / max(picture.size)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _figure(width: float, height: float, rows: int, columns: int, **options: Any) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained", facecolor=PAPER_COLOR)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for one in axes.flat:
        one.set_facecolor(PAPER_COLOR)
        one.spines[["top", "right"]].set_visible(False)
        one.spines[["left", "bottom"]].set_color(GREY)
        one.tick_params(which="both", colors=GREY, labelsize=9)
        one.set_axisbelow(True)
    return figure, axes


def _save(figure: Any, target: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    picture = Image.open(buffer).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    picture.save(target, optimize=True)


def mean_over(parts: Mapping[str, Record], keys: Sequence[str], name: str, quantity: str) -> float:
    """Mean of a quantity of the result of that name over parts."""
    return sum(parts[key]["results"][name][quantity] for key in keys) / len(keys)


def draw_sweep(parts: Mapping[str, Record], settings: Settings, target: Path) -> None:
    """Distances and detail against K and against the threshold, means over the pairs, the full Gram's dashed."""
    keys = ["+".join(pair) for pair in settings.sweep_pairs]
    figure, axes = _figure(10, 6.2, 2, 2, sharex="col", sharey="row")
    columns = [
        ("pca", ["0%", *settings.shares], "components kept by pca, share of N"),
        ("svd", list(settings.thresholds), "threshold of svd, times the mean singular value"),
    ]
    for column, (loss, values, label) in enumerate(columns):
        names = [f"{loss} {value}" for value in values]
        texts = [value.removeprefix("mean:").replace("%", " %") for value in values]
        for quantity, color in (("style", BLUE), ("witness", CYAN), ("content", RED), ("detail", GREEN)):
            panel = axes[int(quantity == "detail"), column]
            panel.plot(
                texts, [mean_over(parts, keys, name, quantity) for name in names], "o-", color=color, label=quantity
            )
            panel.axhline(mean_over(parts, keys, "gram", quantity), color=color, linestyle="--", linewidth=1, alpha=0.7)
            panel.grid(axis="y", color=RULE, linewidth=0.8)
        axes[1, column].set_xlabel(label, color=INK)
    for row, label in enumerate(("relative distance", "detail, full Gram = 1")):
        axes[row, 0].set_ylabel(label, color=INK)
        axes[row, 0].set_ylim(0, None)
    axes[0, 0].legend(frameon=False, ncols=3, fontsize=9, title="distance from (dashed: full Gram)", alignment="left")
    _save(figure, target)


def draw_costs(parts: Mapping[str, Record], target: Path) -> None:
    """How many times faster the reduced loss stage is, by layer; and where the time of a whole evaluation goes."""
    figure, axes = _figure(11, 4.2, 1, 2, width_ratios=(1, 1.25))
    left, right = axes[0]
    rows = [*STYLE_LAYERS, "all"]
    for index, (dtype, color) in enumerate((("float32", BLUE), ("bfloat16", YELLOW))):
        ratios = [parts[f"loss stage {dtype}"]["ratios"][row]["12.5%"] for row in rows]
        places = [place + (index - 0.5) * 0.36 for place in range(len(rows))]
        middle = [ratio["median"] for ratio in ratios]
        spread = [[r["median"] - r["low"] for r in ratios], [r["high"] - r["median"] for r in ratios]]
        left.bar(
            places, middle, 0.34, color=color, label=dtype, yerr=spread, error_kw={"ecolor": GREY, "elinewidth": 1}
        )
    left.set_xticks(range(len(rows)), [row.removeprefix("relu") for row in rows])
    left.axhline(1, color=INK, linewidth=1)
    left.grid(axis="y", color=RULE, linewidth=0.8)
    left.set_title("Loss stage: full Gram over pca at N/8", color=INK, fontsize=11, loc="left")
    left.set_ylabel("times as fast", color=INK)
    left.set_xlabel("relu layer", color=INK)
    left.legend(frameon=False, fontsize=9)

    stages = {
        "encoder": (("encoder_forward", "encoder_backward"), BLUE),
        "losses and their gradient": (("loss_forward", "loss_backward"), RED),
        "decompositions": (("refresh",), PURPLE),
        "L-BFGS": (("optimizer",), GREY),
    }
    evaluations = parts["evaluation"]["milliseconds"]
    names = list(evaluations)[::-1]
    starts = dict.fromkeys(names, 0.0)
    for label, (members, color) in stages.items():
        lengths = [sum(evaluations[name][member] for member in members) for name in names]
        right.barh(names, lengths, 0.6, left=list(starts.values()), color=color, label=label)
        starts = {name: starts[name] + length for name, length in zip(names, lengths, strict=True)}
    for place, name in enumerate(names):
        right.text(starts[name], place, f" {starts[name]:.0f} ms", va="center", color=INK, fontsize=9)
    right.set_xlim(0, 1.14 * max(starts.values()))
    right.set_ylim(-0.5, len(names) + 0.6)  # room for the legend
    right.set_title("One evaluation by stage, milliseconds", color=INK, fontsize=11, loc="left")
    right.grid(axis="x", color=RULE, linewidth=0.8)
    right.legend(frameon=False, fontsize=9, loc="upper left", ncols=2)
    _save(figure, target)


def draw_weights(parts: Mapping[str, Record], target: Path) -> None:
    """Style and witness distance of each weighting over the full Gram's, pair by pair and in the mean."""
    variants = [name for name in next(iter(parts.values()))["results"] if name != "gram"]
    pairs = list(parts)
    figure, axes = _figure(11, 1.4 + 0.36 * (len(pairs) + 1), 1, 2, sharey=True, sharex=True)
    labels = [*(pair.replace("+", " + ").replace("_", " ") for pair in pairs), "mean"]
    for axis, quantity, title in zip(
        axes[0], ("style", "witness"), ("Style distance", "Witness distance"), strict=True
    ):
        for variant, color, marker in zip(variants, (BLUE, CYAN, RED, PURPLE), "osD^", strict=False):
            ratios = [_over_gram(parts[pair], variant, quantity) for pair in pairs]
            values = [*ratios, sum(ratios) / len(ratios)]
            axis.plot(values, range(len(values)), marker, color=color, markersize=7, label=variant, alpha=0.9)
        axis.axvline(1, color=INK, linewidth=1.2)
        axis.axhline(len(pairs) - 0.5, color=GREY, linewidth=0.8)
        axis.grid(axis="y", color=RULE, linewidth=0.8)
        axis.set_title(f"{title} over the full Gram's: left of 1 is better", color=INK, fontsize=11, loc="left")
    axes[0, 0].set_yticks(range(len(labels)), labels)
    axes[0, 0].invert_yaxis()
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=9)
    _save(figure, target)


def _over_gram(part: Record, variant: str, quantity: str) -> float:
    return part["results"][variant][quantity] / part["results"]["gram"][quantity]
