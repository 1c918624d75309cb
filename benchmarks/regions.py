"""Regions on a bundled photo: a face that stays with a second style behind it, a cut-out, and what regions cost.

python -m benchmarks.regions      # three minutes; --size 128 --steps 2: a try

Masks are drawn here, soft at their edges as a brush's are. The cost is that of one evaluation with three regions over
one with none: multiplications counted, and with --time seconds taken in turns.
Writes regions.json, the record, regions.md, its view, and regions.jpg.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFilter
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms.v2.functional import pil_to_tensor

from stylecore.devices import environment
from stylecore.encoders import load_encoder
from stylecore.engine import job_steps, run_to_end
from stylecore.files import write_file, write_json
from stylecore.images import LEVELS, ImageTensor, resize_image
from stylecore.job import Job
from stylecore.measured_run import in_turns
from stylecore.objective import Objective, make_objective
from stylecore.presets import make_config
from stylecore.regions import MaskImage, Region
from stylecore.report import Picture, Table, contact_sheet, document, picture_of
from stylecore.report.sheets import jpeg
from stylecore.sample_images import load_photo, load_style
from stylecore.start import job_images, stage_images

FOLDER = Path("docs/benchmarks")
FACE = [(212, 52, 276, 158)]  # ellipses in the 512 px of the photo: left, top, right, bottom
PERSON = [(180, 8, 300, 150), (190, 90, 300, 230), (40, 170, 330, 640), (250, 330, 500, 640)]
THIRDS = [(0, 0, 512, 171), (0, 171, 512, 342), (0, 342, 512, 512)]
SOFT_PX = 8


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=384, help="longer side in px")
    parser.add_argument("--steps", type=int, help="evaluations of each picture (default: the preset's)")
    parser.add_argument("--time", action="store_true", help="time an evaluation too, on a quiet machine")
    parser.add_argument("-o", "--output", type=Path, default=FOLDER, help="the folder to write to")
    typed = parser.parse_args(arguments)
    options = {"size": typed.size} | ({"num_steps": typed.steps} if typed.steps else {})
    rows, pictures = _painted(options)
    record = {
        "environment": environment(torch.device("cpu")),
        **options,
        "rows": rows,
        "cost": cost(typed.size, typed.time),
    }
    typed.output.mkdir(parents=True, exist_ok=True)
    write_json(typed.output / "regions.json", record)
    write_file(typed.output / "regions.md", view(record).encode())
    write_file(typed.output / "regions.jpg", jpeg(contact_sheet([pictures], min(320, typed.size))))


def _painted(options: dict[str, Any]) -> tuple[list[list[Any]], list[Picture]]:
    """A row of distances and a picture of each job."""
    photo, style, other = load_photo("astronaut"), load_style("woodblock_waves"), load_style("flow_strokes")
    config = make_config("preview", dtype="float32", **options)
    face, person = (drawn(boxes, ellipses=True) for boxes in (FACE, PERSON))
    behind = MaskImage(1 - person.image)
    jobs = {
        "no regions": Job(photo, (style,), config),
        "face kept, second style behind": Job(
            photo, (style,), config, regions=(Region(face, weight=0.0), Region(behind, other))
        ),
        "cut-out": Job(photo, (style,), config, alpha=person.image[:, :1]),
    }
    rows, pictures = [], []
    for name, job in jobs.items():
        result = run_to_end(job, job_steps(job))
        rows.append([name, round(result.style_distance, 4), round(result.content_distance, 4)])
        pictures.append(picture_of(_on_checks(result.image, job), name, f"style distance {rows[-1][1]:.3f}"))
    return rows, pictures


def _on_checks(image: ImageTensor, job: Job) -> ImageTensor:
    """A cut-out on the grey squares that stand for nothing."""
    alpha = job.result_alpha()
    if alpha is None:
        return image
    rows, columns = (torch.arange(side) // 12 for side in image.shape[2:])
    return torch.lerp((0.8 + 0.15 * ((rows[:, None] + columns) % 2)).expand_as(image), image, alpha)


def drawn(boxes: Sequence[tuple[int, int, int, int]], *, ellipses: bool) -> MaskImage:
    """A soft mask of 512 px, white within the boxes."""
    mask = Image.new("L", (512, 512))
    draw = ImageDraw.Draw(mask)
    for box in boxes:
        (draw.ellipse if ellipses else draw.rectangle)(box, fill=255)
    soft = mask.filter(ImageFilter.GaussianBlur(SOFT_PX))
    return MaskImage((pil_to_tensor(soft).float() / LEVELS)[None].expand(-1, 3, -1, -1))


def cost(size: int, is_timed: bool) -> dict[str, float]:
    """Of an evaluation with three regions, each of its own style, over that of one without."""
    photo, styles = load_photo("astronaut"), [load_style(name) for name in ("woodblock_waves", "flow_strokes")]
    config, encoder = make_config("gatys", size=size, dtype="float32"), load_encoder("vgg16")
    regions = tuple(Region(drawn([box], ellipses=False), styles[number % 2]) for number, box in enumerate(THIRDS))
    variable = LEVELS * resize_image(photo, size, size)

    def objective(job: Job) -> Objective:
        images = stage_images(job_images(job), config, job.size)
        return make_objective(encoder, images.content, images.styles, config, regions=images.regions)

    made = [objective(Job(photo, (styles[0],), config, regions=each)) for each in ((), regions)]
    without, with_three = (_operations(each, variable) for each in made)
    found = {"operations": round(with_three / without, 4)}
    if is_timed:
        seconds = in_turns([partial(each.evaluate, variable) for each in made], min_runs=9)
        # Of each turn: whatever else runs on the machine slows both.
        found["time"] = round(statistics.median(b / a for a, b in zip(*seconds, strict=True)), 3)
    return found


def _operations(objective: Objective, variable: torch.Tensor) -> int:
    """Multiplications and additions of convolutions and matrix products, forward and back."""
    with FlopCounterMode(display=False) as counter:
        objective.evaluate(variable)
    return int(counter.get_total_flops())


def view(record: dict[str, Any]) -> str:
    """The record as a page."""
    cost = record["cost"]
    time = f", and takes {cost['time']:.2f} times its time" if "time" in cost else ""
    return document(
        "# Regions",
        f"`preview` in float32 at {record['size']} px: astronaut as woodblock_waves; with the face kept and "
        "flow_strokes behind her; and cut out. With regions, distances are of each region by its area. Made by "
        "`python -m benchmarks.regions`.",
        Table.of({"picture": "{}", "style": "{:.3f}", "content": "{:.3f}"}, record["rows"]),
        "![Without regions, with two, and cut out](regions.jpg)",
        f"One evaluation of `gatys` with three regions makes {cost['operations']:.3f} times the multiplications of one "
        f"without{time}.",
    )


if __name__ == "__main__":
    main()
