"""The bundle beside torch: the same recipe by onnxruntime, in bytes and in float32, and by torch float32, in turns on
the same threads.

python -m benchmarks.bundle [CONTENT STYLE] [--size 256] [--threads 2]     # five minutes or so

Writes bundle.json, the record, and bundle.md, a view of it. The pictures must be ones that nothing was fitted to.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from stylecore_export.bundle import bundle_config, export_bundle
from stylecore_export.record import Latency
from stylecore_export.runtime import Bundle
from stylecore_export.sessions import session_environment

from stylecore.config import StylizeConfig
from stylecore.devices import environment
from stylecore.engine import job_steps, job_yardstick, prepare_encoder
from stylecore.files import write_file, write_json
from stylecore.images import ImageTensor, image_size, load_image
from stylecore.job import Job
from stylecore.measured_run import in_turns
from stylecore.metrics import Yardstick
from stylecore.report import Table, document
from stylecore.sample_images import photo_path, style_path

FOLDER = Path("docs/benchmarks/export")


class Runs:
    """Runs of one implementation: how long each step of the result's own size took, each run, and its last image.

    Args:
        images: starts a run: an iterator of the image (1, 3, H, W) after each step.
    """

    def __init__(self, images: Callable[[], Iterator[ImageTensor]]) -> None:
        self.images = images
        self.step_milliseconds: list[list[float]] = []
        self.last: ImageTensor

    def run(self) -> None:
        """One run. The first step of a size is left out of the steps: making its targets is in its time."""
        milliseconds, sizes = [], []
        started = time.perf_counter()
        for image in self.images():
            milliseconds.append(1e3 * (time.perf_counter() - started))
            sizes.append(image_size(image))
            self.last = image
            started = time.perf_counter()
        self.step_milliseconds.append(milliseconds[sizes.index(sizes[-1]) + 1 :])

    def row(self, seconds: Sequence[float], yardstick: Yardstick) -> dict[str, Any]:
        """The record of the last `len(seconds)` runs: those before warmed up."""
        distances = yardstick.measure(self.last)
        return {
            "step_ms": [value for of_run in self.step_milliseconds[-len(seconds) :] for value in of_run],
            "seconds": list(seconds),
            "size_px": list(image_size(self.last)),
            "style_distance": distances.style,
            "content_distance": distances.content,
        }


def peak_memory_mib(bundle: Path, content: Path, style: Path, size: int, threads: int) -> int:
    """Of a process that only runs the bundle's own runtime.py once, in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["-o", f"{folder}/out.png", "--size", str(size), "--threads", str(threads), "--json"]
        command = [sys.executable, str(bundle / "runtime.py"), str(content), str(style), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout)["peak_memory_mib"])


def run_bench(
    folders: Mapping[str, Path], content_path: Path, style_path: Path, size: int, threads: int, repeats: int
) -> Any:
    """The record, ready for JSON: milliseconds of every step of the result's own size, the run's seconds, distances.

    Args:
        folders: of bundles with one recipe, by precision; the first is the one that is told of.
    """
    torch.set_num_threads(threads)
    content, style = load_image(content_path), load_image(style_path)
    bundles = {precision: Bundle(folder, threads) for precision, folder in folders.items()}
    told = next(iter(folders))
    config = StylizeConfig.from_dict(bundles[told].config | {"size": size, "dtype": "float32", "device": "cpu"})
    job, encoder = Job(content, (style,), config), prepare_encoder(config)

    def by_bundle(bundle: Bundle) -> Iterator[ImageTensor]:
        steps = bundle.stylize_steps(content.numpy(), style.numpy(), size=size)
        return (torch.from_numpy(step.image) for step in steps)

    def by_torch() -> Iterator[ImageTensor]:
        return (step.image for step in job_steps(job, encoder=encoder))

    runs = {f"onnxruntime {name}": Runs(partial(by_bundle, bundle)) for name, bundle in bundles.items()}
    runs["torch float32"] = Runs(by_torch)
    seconds = in_turns([each.run for each in runs.values()], min_runs=repeats)
    yardstick = job_yardstick(job)
    rows = {name: each.row(took, yardstick) for (name, each), took in zip(runs.items(), seconds, strict=True)}
    return {
        "kind": "bundle-bench",
        "environment": environment(torch.device("cpu")) | session_environment(),
        "content": content_path.name,
        "style": style_path.name,
        "threads": threads,
        "config": config.to_dict(),
        "bundle_bytes": sum(file.stat().st_size for file in folders[told].iterdir() if file.is_file()),
        "peak_memory_mib": peak_memory_mib(folders[told], content_path, style_path, size, threads),
        "rows": rows,
    }


def to_markdown(record: dict[str, Any]) -> str:
    """The record as a table, with where and how it was measured."""
    where, config = record["environment"], record["config"]
    rows_by_name = record["rows"]
    first = next(iter(rows_by_name.values()))
    height, width = first["size_px"]
    runs = len(first["seconds"])
    columns = {"": "{}", "ms a step": "{}", "seconds": "{:.1f}"}
    columns |= {"style distance": "{:.3f}", "content distance": "{:.2f}"}
    rows = [
        (name, str(Latency(row["step_ms"])), np.median(row["seconds"]), row["style_distance"], row["content_distance"])
        for name, row in rows_by_name.items()
    ]
    return document(
        f"{where['cpu']}, {where['system']}; onnxruntime {where['onnxruntime']}, torch {where['torch']}, "
        f"{record['threads']} threads. {record['content']} with {record['style']} at {width}x{height} px, "
        f"{config['encoder']}, {config['num_steps']} evaluations by {config['optimizer']}; {runs} runs of each, in "
        "turns. `ms a step`: median (and 10th to 90th percentile) over the steps of the result's own size; `seconds`: "
        "median of whole runs, targets included.",
        Table.of(columns, rows),
        f"The bundle of the first row is {record['bundle_bytes'] / 1e6:.1f} MB; a fresh process that runs it holds "
        f"{record['peak_memory_mib']} MiB at most.",
    )


def main(
    content: Annotated[Path | None, typer.Argument(help="Default: a bundled photo.")] = None,
    style: Annotated[Path | None, typer.Argument(help="Default: a drawn style.")] = None,
    size: Annotated[int, typer.Option(help="Longer side of the result in px.", min=64)] = 256,
    threads: Annotated[int, typer.Option(help="Of both.", min=1)] = 2,
    repeats: Annotated[int, typer.Option(help="Runs of each that count, after one that warms up.", min=1)] = 5,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for bundle.json and bundle.md.")] = FOLDER,
) -> None:
    """Measure, write the record and its view, and print the view."""
    pictures = (content or photo_path("astronaut"), style or style_path("flow_strokes"))
    with tempfile.TemporaryDirectory() as temporary:
        folders = {
            precision: export_bundle(bundle_config(), Path(temporary) / precision, precision)
            for precision in ("int8", "fp32")
        }
        record = run_bench(folders, *pictures, size, threads, repeats)
    view = to_markdown(record)
    write_json(output / "bundle.json", record, indent=None)
    write_file(output / "bundle.md", view.encode())
    print(view)


if __name__ == "__main__":
    typer.run(main)
