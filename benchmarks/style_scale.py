"""What the stroke size does to the distances: style scales side by side.

python -m benchmarks.style_scale      # two minutes

The yardstick keeps its own definition: the style with its longer side at the result's, whatever the job did with it. A
scale other than 1 is therefore further away by it, and is chosen by eye. Writes style_scale.json, the record,
style_scale.md, its view, and style_scale.jpg.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import stylecore
from stylecore.bench.pairs import parse_pair
from stylecore.devices import environment
from stylecore.files import write_file, write_json
from stylecore.report import Picture, Table, contact_sheet, document, picture_of
from stylecore.report.sheets import jpeg

FOLDER = Path("docs/benchmarks")
SCALES = (0.5, 1.0, 2.0)
PAIRS = ("astronaut:flow_strokes", "rocket:woodblock_waves")
SIZE_PX = 384


def main() -> None:
    rows: list[list[Any]] = []
    sheet: list[list[Picture]] = []
    for name in PAIRS:
        pair = parse_pair(name)
        sheet.append([])
        for scale in SCALES:
            result = stylecore.stylize(pair.content, pair.style, size=SIZE_PX, style_scale=scale, dtype="float32")
            distances = result.distances
            rows.append([name, scale, *(round(each, 4) for each in (distances.style, distances.witness))])
            rows[-1].append(round(distances.content, 4))
            sheet[-1].append(picture_of(result.image, f"{name}, scale {scale:g}", f"style distance {rows[-1][2]:.3f}"))
    record = {"environment": environment(torch.device("cpu")), "size_px": SIZE_PX, "rows": rows}
    write_json(FOLDER / "style_scale.json", record)
    write_file(FOLDER / "style_scale.md", view(record).encode())
    write_file(FOLDER / "style_scale.jpg", jpeg(contact_sheet(sheet, SIZE_PX)))


def view(record: dict[str, Any]) -> str:
    """The record as a page."""
    columns = {"pair": "{}", "style scale": "{:g}", "style": "{:.3f}", "witness": "{:.3f}", "content": "{:.3f}"}
    return document(
        "# Stroke size",
        f"`preview` in float32 at {record['size_px']} px, the style at other sizes beside the result. "
        "The yardstick has the style at the result's size in all rows: another scale is "
        "further away by it, and chosen by eye. Made by `python -m benchmarks.style_scale`.",
        Table.of(columns, record["rows"]),
        "![Scales 0.5, 1 and 2](style_scale.jpg)",
    )


if __name__ == "__main__":
    main()
