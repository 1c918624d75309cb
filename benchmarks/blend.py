"""Photo and result mixed after the run, at the size of a 12-megapixel photo, and what it takes.

python -m benchmarks.blend      # two minutes on a quiet machine

There is no photo of 12 megapixels in this repository: `rocket` is enlarged and given grain, so that all pixels differ,
for the seconds; what becomes of a photo's own detail is shown on `astronaut`, whose result is a third as large as it.
Writes blend.json, the record, blend.md, its view, and blend.jpg.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import torch

import stylecore
from stylecore.blending import COLORS
from stylecore.devices import environment
from stylecore.files import write_file, write_json
from stylecore.images import ImageTensor, fit_image, image_size, resize_image
from stylecore.report import Table, contact_sheet, document, picture_of
from stylecore.report.sheets import jpeg
from stylecore.sample_images import load_photo, load_style

FOLDER = Path("docs/benchmarks")
STYLE = "woodblock_waves"
PHOTO_PX, RESULT_PX, SMALL_PX, CELL_PX = 4256, 1024, 171, 300
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
DETAILS = (0.0, 1.0, 2.0)
NUM_RUNS = 5


def main() -> None:
    photo = large_photo()
    result = stylecore.stylize(photo, load_style(STYLE), preset="preview", size=RESULT_PX).image
    seconds = [seconds_of(photo, result) for _ in range(NUM_RUNS)]
    record = {
        "environment": environment(torch.device("cpu")),
        "photo_px": list(image_size(photo)),
        "result_px": list(image_size(result)),
        "seconds": [round(each, 3) for each in seconds],
    }
    write_json(FOLDER / "blend.json", record)
    write_file(FOLDER / "blend.md", view(record).encode())
    write_file(FOLDER / "blend.jpg", jpeg(sheet(photo, result)))


def large_photo() -> ImageTensor:
    """`rocket` with 12 million pixels and grain."""
    photo = fit_image(load_photo("rocket"), PHOTO_PX)
    grain = torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
    return (photo + 0.01 * grain).clamp(0, 1)


def seconds_of(photo: ImageTensor, result: ImageTensor) -> float:
    started = time.perf_counter()
    stylecore.blend(photo, result, 0.5, "mix")
    return time.perf_counter() - started


def sheet(photo: ImageTensor, result: ImageTensor) -> Any:
    """Strengths, colours, details."""

    def shown(image: ImageTensor, title: str) -> Any:
        return picture_of(fit_image(image, CELL_PX), title)

    strengths = [shown(stylecore.blend(photo, result, each), f"strength {each:g}") for each in STRENGTHS]
    colors = [shown(stylecore.blend(photo, result, 0.75, each), f"0.75, colours {each}") for each in COLORS]
    face = load_photo("astronaut")
    small = stylecore.stylize(face, load_style(STYLE), preset="preview", size=SMALL_PX).image
    pictures = {f"detail {each:g}": stylecore.blend(face, small, 0.75, detail=each) for each in DETAILS}
    pictures = {"photo": face, "result, enlarged": resize_image(small, *image_size(face))} | pictures
    details = [picture_of(image[:, :, :CELL_PX, 80 : 80 + CELL_PX], title) for title, image in pictures.items()]
    return contact_sheet([strengths, colors, details], CELL_PX)


def view(record: dict[str, Any]) -> str:
    """The record as a page."""
    (height, width), (rows, columns) = record["photo_px"], record["result_px"]
    row = [width * height / 1e6, f"{columns}x{rows}", statistics.median(record["seconds"])]
    return document(
        "# Photo and result, mixed",
        "`stylecore blend` without files: the photo's pixels, the result's, and the median of "
        f"{len(record['seconds'])} runs. Below, `strength` and `--colors` on that photo; and a part of one of 512 px, "
        f"mixed at 0.75 with a result of {SMALL_PX} px. Made by `python -m benchmarks.blend`.",
        Table.of({"photo, megapixels": "{:.1f}", "result, px": "{}", "seconds": "{:.1f}"}, [row]),
        "![Strengths, colours and details](blend.jpg)",
    )


if __name__ == "__main__":
    main()
