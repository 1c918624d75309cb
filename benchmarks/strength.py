"""Where the style weight acts, and whether equal moves of strength look equal.

python -m benchmarks.strength      # ten minutes on two cores

Pairs of pictures that anything may be calibrated on are painted at rising style weights. Of every picture the record
has its distances, and how far it looks from the one before: the content distance between the two. The scale of
`stylecore.strength` is laid through the way that the pictures go; the view shows its moves beside what they do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import numpy as np
import torch
import typer

from stylecore import stylize
from stylecore.devices import environment
from stylecore.files import write_file, write_json
from stylecore.metrics import content_distance
from stylecore.report import Table, document
from stylecore.sample_images import load_photo, load_style
from stylecore.strength import strength_of, weight_of

FOLDER = Path("docs/benchmarks")
SIZE_PX = 256
PAIRS = (("chelsea", "ink_marbling"), ("coffee", "pointillism"), ("china", "ink_marbling"))
WEIGHTS = {
    "draft": (0.0, 1e-4, 3e-4, 1e-3, 2e-3, 4e-3, 8e-3, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 3.0, 10.0),
    "preview": (0.0, 3e-4, 1e-3, 4e-3, 0.015, 0.06, 0.25, 1.0, 10.0),
}


def measure() -> Iterator[dict[str, Any]]:
    """A record for each picture."""
    for preset, weights in WEIGHTS.items():
        for photo, style in PAIRS:
            before, content, painted = None, load_photo(photo), load_style(style)
            for weight in weights:
                result = stylize(content, painted, preset=preset, size=SIZE_PX, style_weight=weight)
                yield {
                    "preset": preset,
                    "pair": f"{photo}:{style}",
                    "style_weight": weight,
                    "style_distance": round(result.style_distance, 4),
                    "content_distance": round(result.distances.content, 4),
                    "change": 0.0 if before is None else round(content_distance(result.image, before), 4),
                }
                before = result.image


def curves(record: dict[str, Any]) -> Iterator[tuple[str, list[float], list[float]]]:
    """Of each preset and pair: its name, the weights, and how much of the way to the last picture each has gone."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for picture in record["pictures"]:
        groups.setdefault((picture["preset"], picture["pair"]), []).append(picture)
    for (preset, pair), pictures in groups.items():
        distances = [each["content_distance"] for each in pictures]
        low, high = distances[0], distances[[each["style_weight"] for each in pictures].index(1.0)]
        way = [(distance - low) / (high - low) for distance in distances]
        yield f"{preset}, {pair}", [each["style_weight"] for each in pictures], way


def at(strength: float, weights: Sequence[float], way: Sequence[float]) -> float:
    """The share of the way at a strength, between the pictures there are."""
    return float(np.interp(strength, [strength_of(weight) for weight in weights], way))


def mean_way(record: dict[str, Any]) -> dict[int, float]:
    """By strength in tens: the mean share of the way."""
    return {tens: mean(at(tens, weights, way) for _, weights, way in curves(record)) for tens in range(0, 101, 10)}


def to_markdown(record: dict[str, Any]) -> str:
    """What each tenth of strength does to each pair."""
    tens = range(0, 101, 10)
    columns = {"strength": "{}"} | {str(strength): "{:.0f}" for strength in tens}
    weight_row = ("style weight", *(f"{weight_of(strength):.2g}" for strength in tens))
    rows = [(name, *(100 * at(strength, weights, way) for strength in tens)) for name, weights, way in curves(record)]
    rows.append(("mean", *(100 * share for share in mean_way(record).values())))
    where = record["environment"]
    return document(
        "# Strength",
        f"{where['cpu']}, {where['system']}, torch {where['torch']}; {SIZE_PX} px. Made by `python -m "
        "benchmarks.strength`, on pictures that may be calibrated on. How far, in percent, a result has gone from the "
        "picture without a style term to that of a preset's own weight, by its content distance.",
        Table.of(dict.fromkeys(columns, "{}"), [weight_row]),
        Table.of(columns, rows),
    )


def main(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the record and its view.")] = FOLDER,
) -> None:
    """Measure, write the record and its view, and print the view."""
    record: dict[str, Any] = {"environment": environment(torch.device("cpu")), "pictures": []}
    for picture in measure():
        print(picture, flush=True)
        record["pictures"].append(picture)
    write_json(output / "strength.json", record, indent=None)
    view = to_markdown(record)
    write_file(output / "strength.md", view.encode())
    print(view)


if __name__ == "__main__":
    typer.run(main)
