"""Charts in one style, as PNG; and the two that show a comparison."""

from __future__ import annotations

import functools
import io
import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec

from PIL import Image

from stylecore.compare import Record

Arguments = ParamSpec("Arguments")

PAPER, INK, GREY, RULE = "#fbfaf8", "#26231f", "#77716a", "#e4e0da"
# Paul Tol's "bright" and "muted": told apart by most eyes, on white and in print.
COLORS: tuple[str, ...] = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
COLORS += ("#332288", "#999933", "#882255", "#44aa99", "#cc6677", "#777777")
BLUE, RED, GREEN, YELLOW, CYAN, PURPLE = COLORS[:6]
STYLE: dict[Any, Any] = {
    "figure.dpi": 160,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelcolor": INK,
    "axes.labelsize": 11,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.frameon": False,
    "legend.fontsize": 10,
}
_DRAWING = threading.Lock()  # matplotlib's settings are of the whole process


def chart(draw: Callable[Arguments, Any]) -> Callable[Arguments, bytes]:
    """Makes a function that draws a matplotlib figure one that returns it as a PNG, in the style of this project.

    Neither pyplot's state nor the user's settings change the style, and neither is changed.
    """

    @functools.wraps(draw)
    def drawn(*args: Arguments.args, **options: Arguments.kwargs) -> bytes:
        from matplotlib import rc_context, rcdefaults, rcParams  # takes half a second: only where something is drawn

        with _DRAWING, rc_context():
            rcdefaults()
            rcParams.update(STYLE)
            return _packed(draw(*args, **options))

    return drawn


def _packed(figure: Any) -> bytes:
    """With a palette: a third of the size, and nobody sees it."""
    plain, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(plain, format="png")  # a Figure without pyplot draws with Agg
    Image.open(plain).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Any, Any]:
    """A figure of that many inches and an array (rows, columns) of axes; `options` are those of `Figure.subplots`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def plain_ticks(axis: Any) -> None:
    """Of a logarithmic axis: several plain numbers in each decade, for a curve seldom spans more than one."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


@chart
def curves_png(records: Sequence[Record]) -> Any:
    """Style distance against seconds, both logarithmic, a line a variant; the legend is in the order of the ends."""
    figure, ((axes,),) = new_figure(9, 5.2)
    places = {record.name: place for place, record in enumerate(records)}
    for record in sorted(records, key=lambda record: record.style_distance):
        if not record.curve:
            continue
        turn, color = divmod(places[record.name], len(COLORS))
        line = {"color": COLORS[color], "linestyle": "--" if turn else "-", "linewidth": 1.8}
        seconds, distances = zip(*record.curve, strict=True)
        axes.plot(seconds, distances, **line, label=f"{record.style_distance:.3f}  {record.name}")
        axes.plot(seconds[-1], distances[-1], "o", color=COLORS[color], markersize=5)
    axes.set(xscale="log", yscale="log", xlabel="seconds", ylabel="style distance")
    plain_ticks(axes.xaxis)
    plain_ticks(axes.yaxis)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), handlelength=1.4)
    return figure


@chart
def sweep_png(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A panel for K and one for the threshold: distances at each value, and the full Gram's as dashed lines.

    Args:
        rows: of `sweep.sweep_table`.
    """
    reference = next(row for row in rows if row["loss"] == "gram")
    labels = {"pca": "components kept", "svd": "singular values kept (threshold)"}
    panels = {loss: found for loss in labels if (found := [row for row in rows if row["loss"] == loss])}
    figure, (all_axes,) = new_figure(4.2 + 4.8 * len(panels), 4.6, 1, len(panels), sharey=True)
    for axes, (loss, values) in zip(all_axes, panels.items(), strict=True):
        texts = [str(row["value"]) for row in values]
        for kind, color in (("style_distance", BLUE), ("content_distance", RED)):
            _plot_by_rule(axes, values, kind, color)
            axes.axhline(reference[kind], color=color, linestyle="--", linewidth=1, alpha=0.7)
        axes.set(xlabel=labels[loss], ylim=(0, None))
        axes.set_xticks(range(len(texts)), texts, rotation=30 if max(map(len, texts)) > 6 else 0)
    all_axes[0].legend(title="dashed: full Gram", alignment="left")
    return figure


def _plot_by_rule(axes: Any, rows: Sequence[Mapping[str, Any]], kind: str, color: str) -> None:
    """A line for each rule: `energy:0.5` and `energy:0.8` are comparable, and no line joins them to `mean:1`."""
    label: str | None = kind.replace("_", " ")
    for _, group in itertools.groupby(enumerate(rows), lambda row: str(row[1]["value"]).rpartition(":")[0]):
        places, values = zip(*group, strict=True)
        axes.plot(places, [row[kind] for row in values], "o-", color=color, label=label)
        label = None
