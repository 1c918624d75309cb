"""One large picture, its memory over time, and the same pair from 256 px on: does a small preview predict a large one?

python -m benchmarks.large                                # 4096 px and a sheet of 256 to 2048 px: an hour on two cores
python -m benchmarks.large --size 128 --sheet 64,96 -o /tmp/large      # a try

Each run is a process of its own, whose memory is read after every evaluation. `--memory-gib` is what it finds free.
Writes large.json, the record, large.md, its view, large_whole.jpg, large_detail.jpg (1:1), large_memory.png and
large_sheet.jpg; the PNGs are in large/.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from stylecore.allocator import keep_freed_memory
from stylecore.bench.pairs import parse_pair
from stylecore.config import StylizeConfig
from stylecore.devices import environment, peak_memory_mib, resident_memory_mib
from stylecore.engine import plan_job, prepare_encoder
from stylecore.files import write_file, write_json
from stylecore.images import LEVELS, ImageTensor, fit_size, image_size, load_image, resize_image, save_image
from stylecore.job import Job
from stylecore.measured_run import MeasuredRun
from stylecore.presets import make_config
from stylecore.report import Table, contact_sheet, document, picture_of
from stylecore.report.charts import chart, new_figure
from stylecore.report.sheets import jpeg

FOLDER = Path("docs/benchmarks")
PICTURES = "large"  # the folder of the PNGs themselves, which git ignores
CPU = torch.device("cpu")
WHOLE_PX, DETAIL_PX, CELL_PX, COMPOSITION_PX = 1024, 640, 320, 64


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=4096, help="longer side of the large picture in px")
    parser.add_argument("--sheet", default="256,512,1024,2048", help="those of the sheet")
    parser.add_argument("--pair", default="astronaut:flow_strokes", help="PHOTO:STYLE, names or files")
    parser.add_argument("--memory-gib", type=float, default=8.0, help="what a run finds free")
    parser.add_argument("--steps", type=int, help="evaluations of each (default: the preset's)")
    parser.add_argument("-o", "--output", type=Path, default=FOLDER, help="the folder to write to")
    typed = parser.parse_args(arguments)
    (typed.output / PICTURES).mkdir(parents=True, exist_ok=True)
    sizes = [*map(int, typed.sheet.split(",")), typed.size]
    rows, context = [], multiprocessing.get_context("spawn")
    for size in sizes:
        path = typed.output / PICTURES / f"{size}.png"
        with context.Pool(1) as pool:
            rows.append(pool.apply(measure, (typed.pair, size, typed.memory_gib, typed.steps, str(path))))
        images = {row["size_px"]: load_image(typed.output / PICTURES / f"{row['size_px']}.png") for row in rows}
        base = images[base_of(images)]
        for row in rows:
            row["unlike"] = round(unlike(images[row["size_px"]], base), 1)
        print({name: value for name, value in rows[-1].items() if name != "memory"}, flush=True)
        # All of it after each run: the hours of the last one may end in any way.
        record = {"environment": environment(CPU), "pair": typed.pair, "memory_gib": typed.memory_gib, "rows": rows}
        write_json(typed.output / "large.json", record)
        write_file(typed.output / "large.md", view(record).encode())
        write_file(typed.output / "large_memory.png", memory_png(rows[-1]["memory"]))
        _write_pictures(typed.output, images)


def measure(pair: str, size: int, memory_gib: float, num_steps: int | None, path: str) -> dict[str, Any]:
    """One run, in this process: plan, seconds, memory over time, distances."""
    keep_freed_memory()
    named = parse_pair(pair)
    config = make_config("preview", size=size, **({"num_steps": num_steps} if num_steps else {}))
    job, encoder = Job(named.content, (named.style,), config), prepare_encoder(config)
    before, memory = resident_memory_mib(), list[tuple[float, float]]()
    with mock.patch("stylecore.memory.available_memory_mib", return_value=1024 * memory_gib):
        plan = plan_job(job, encoder)[-1].memory
        run = MeasuredRun(job, encoder=encoder)
    started, processed = time.perf_counter(), time.process_time()
    for _ in run:
        memory.append((round(time.perf_counter() - started, 1), round(resident_memory_mib())))
    processed = time.process_time() - processed
    peak = peak_memory_mib(CPU)
    save_image(run.image, path, run.settings())
    distances = run.distances
    pixels = math.prod(job.size)
    return {
        "size_px": size,
        "tile_px": plan.tile_px,
        "pairs": plan.num_pairs,
        "disk_gib": round(plan.disk_mib(job.size) / 1024, 2),
        "estimated_gib": round(plan.mib / 1024, 2),
        "peak_gib": round((peak - before) / 1024, 2),
        "seconds": round(run.seconds, 1),
        "cpu_us_per_pixel": round(1e6 * processed / pixels, 1),
        "style": round(distances.style, 4),
        "content": round(distances.content, 4),
        "memory": memory,
    }


def base_of(sizes: Iterable[int]) -> int:
    """That which the others are compared with: the default, or what is nearest to it."""
    return min(sizes, key=lambda size: abs(size - StylizeConfig.size))


def unlike(image: ImageTensor, base: ImageTensor) -> float:
    """Root mean square difference of two pictures of one aspect, shrunk until strokes do not show, in 8-bit levels."""
    size = fit_size(image_size(base), COMPOSITION_PX)
    difference = resize_image(image, *size) - resize_image(base, *size)
    return LEVELS * float(difference.square().mean().sqrt())


def _write_pictures(folder: Path, images: Mapping[int, ImageTensor]) -> None:
    large = images[max(images)]
    write_file(folder / "large_whole.jpg", jpeg(contact_sheet([[picture_of(large)]], min(WHOLE_PX, max(images)))))
    write_file(folder / "large_detail.jpg", jpeg(contact_sheet([[picture_of(_middle(large))]], DETAIL_PX)))
    cells = [picture_of(image, f"{size} px") for size, image in images.items()]
    write_file(folder / "large_sheet.jpg", jpeg(contact_sheet([cells], CELL_PX)))


def _middle(image: ImageTensor) -> ImageTensor:
    """At 1:1."""
    top, left = (max(0, (side - DETAIL_PX) // 2) for side in image.shape[2:])
    return image[..., top : top + DETAIL_PX, left : left + DETAIL_PX]


@chart
def memory_png(memory: Sequence[tuple[float, float]]) -> Any:
    """Resident memory after each evaluation."""
    figure, axes = new_figure(7, 2.6)
    axes[0, 0].plot([seconds / 60 for seconds, _ in memory], [mib / 1024 for _, mib in memory], marker="o")
    axes[0, 0].set(xlabel="minutes", ylabel="GiB resident", ylim=(0, None))
    return figure


def view(record: dict[str, Any]) -> str:
    """The record as a page."""
    machine = record["environment"]
    columns = {"size_px": "{}", "tile_px": "{}", "pairs": "{}", "disk_gib": "{:.1f}", "estimated_gib": "{:.1f}"}
    columns |= {"peak_gib": "{:.1f}", "seconds": "{:.0f}", "cpu_us_per_pixel": "{:.1f}", "style": "{:.3f}"}
    columns |= {"content": "{:.3f}", "unlike": "{:.1f}"}
    per_pixel = {row["size_px"]: row["cpu_us_per_pixel"] for row in record["rows"]}
    base = base_of(per_pixel)
    growth = per_pixel[max(per_pixel)] / per_pixel[base]
    words = {name: name.replace("_", " ").replace(" px", ", px").replace(" gib", ", GiB") for name in columns}
    words |= {"cpu_us_per_pixel": "CPU, us a pixel", "unlike": f"unlike {base} px"}
    return document(
        "# Pictures of any size",
        f"`preview`, {record['pair']}, with {record['memory_gib']:g} GiB free on {machine['cpu']} with "
        f"{machine['num_threads']} threads. Memory is what a run takes beyond the loaded process; the peak counts the "
        f"pages of the history's file too, which the estimate leaves to the disk. Time per pixel is the processor's, "
        f"of all threads: at {max(per_pixel)} px {growth:.1f} times what it is at {base} px. The last column compares "
        f"compositions: the root mean square difference from the picture of {base} px, both shrunk to "
        f"{COMPOSITION_PX} px, of 255. Made by `python -m benchmarks.large`.",
        Table.of(
            {words[name]: form for name, form in columns.items()},
            [[row[name] for name in columns] for row in record["rows"]],
        ),
        "![Resident memory after each evaluation](large_memory.png)",
        "![The largest as a whole](large_whole.jpg)",
        "![Its middle at 1:1](large_detail.jpg)",
        "![The same pair at all sizes](large_sheet.jpg)",
    )


if __name__ == "__main__":
    main()
