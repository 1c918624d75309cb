"""The study's charts, drawn from the records."""

from __future__ import annotations

from typing import Any

from studies.findings import Costs, Sweep, Weights, spaced
from stylecore.encoders import STYLE_LAYERS
from stylecore.report import chart, new_figure
from stylecore.report.charts import BLUE, CYAN, GREEN, GREY, INK, PURPLE, RED, YELLOW

# What an evaluation's time goes into: a part of its stages' names, and a colour.
STAGES = {"encoder": ("encoder", BLUE), "losses and their gradient": ("loss", RED)}
STAGES |= {"decompositions": ("refresh", PURPLE), "L-BFGS": ("optimizer", GREY)}


@chart
def sweep_png(sweep: Sweep) -> Any:
    """Distances and detail against K and against the threshold, means over the pairs, the full Gram's dashed."""
    figure, panels = new_figure(10, 6.2, 2, 2, sharex="col", sharey="row")
    columns = [
        ("pca", ["0%", *sweep.shares], "components kept by pca, share of N"),
        ("svd", sweep.thresholds, "threshold of svd, times the mean singular value"),
    ]
    for (above, below), (loss, values, label) in zip(panels.T, columns, strict=True):
        texts = [spaced(value.removeprefix("mean:")) for value in values]
        for quantity, color in (("style", BLUE), ("witness", CYAN), ("content", RED), ("detail", GREEN)):
            axes = below if quantity == "detail" else above
            means = [sweep.mean(f"{loss} {value}", quantity) for value in values]
            axes.plot(texts, means, "o-", color=color, label=quantity)
            axes.axhline(sweep.mean("gram", quantity), color=color, linestyle="--", linewidth=1, alpha=0.7)
        below.set_xlabel(label)
    for axes, label in zip(panels[:, 0], ("relative distance", "detail, full Gram = 1"), strict=True):
        axes.set(ylabel=label, ylim=(0, None))
    panels[0, 0].legend(ncols=3, title="distance from (dashed: full Gram)", alignment="left")
    return figure


@chart
def costs_png(costs: Costs) -> Any:
    """How many times faster the reduced loss stage is, by layer; and where the time of a whole evaluation goes."""
    figure, ((left, right),) = new_figure(11, 4.2, 1, 2, width_ratios=(1, 1.25))
    _draw_ratios(left, costs)
    _draw_stages(right, costs)
    return figure


def _draw_ratios(axes: Any, costs: Costs) -> None:
    layers = [*STYLE_LAYERS, "all"]
    for shift, (dtype, color) in zip((-0.18, 0.18), (("float32", BLUE), ("bfloat16", YELLOW)), strict=True):
        places = [place + shift for place in range(len(layers))]
        bars = axes.bar(places, [costs.ratio(layer, dtype) for layer in layers], 0.34, color=color, label=dtype)
        for bar, layer in zip(bars, layers, strict=True):
            axes.plot([bar.get_center()[0]] * 2, costs.quartiles(layer, dtype), color=GREY, linewidth=1)
    axes.set_xticks(range(len(layers)), [layer.removeprefix("relu") for layer in layers])
    axes.axhline(1, color=INK, linewidth=1)
    axes.set_title("Loss stage: full Gram over pca at N/8")
    axes.set(ylabel="times as fast", xlabel="relu layer")
    axes.legend()


def _draw_stages(axes: Any, costs: Costs) -> None:
    losses = list(costs.evaluations)[::-1]
    starts = dict.fromkeys(losses, 0.0)
    for label, (kind, color) in STAGES.items():
        lengths = {loss: costs.ms(loss, kind) for loss in losses}
        axes.barh(losses, list(lengths.values()), 0.6, left=list(starts.values()), color=color, label=label)
        starts = {loss: starts[loss] + lengths[loss] for loss in losses}
    for place, end in enumerate(starts.values()):
        axes.text(end, place, f" {end:.0f} ms", va="center", color=INK, fontsize=10)
    axes.set(xlim=(0, 1.14 * max(starts.values())), ylim=(-0.5, len(losses) + 0.6))  # room for the legend
    axes.set_title("One evaluation by stage, milliseconds")
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x")
    axes.legend(loc="upper left", ncols=2)


@chart
def weights_png(weights: Weights) -> Any:
    """Style and witness distance of each weighting over the full Gram's, pair by pair and in the mean."""
    labels = [*weights.pairs, "mean"]
    figure, (panels,) = new_figure(11, 1.4 + 0.36 * len(labels), 1, 2, sharey=True, sharex=True)
    for axes, quantity in zip(panels, ("style", "witness"), strict=True):
        for weighting, color, marker in zip(weights.weightings, (BLUE, CYAN, RED, PURPLE), "osD^", strict=True):
            values = [*weights.ratios(weighting, quantity), weights.mean_ratio(weighting, quantity)]
            axes.plot(values, range(len(labels)), marker, color=color, markersize=7, label=weighting, alpha=0.9)
        axes.axvline(1, color=INK, linewidth=1.2)
        axes.axhline(len(labels) - 1.5, color=GREY, linewidth=0.8)
        axes.set_title(f"{quantity.capitalize()} distance over the full Gram's: left of 1 is better")
    panels[0].set_yticks(range(len(labels)), labels)
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(weights.weightings))
    return figure
