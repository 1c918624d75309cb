"""Many results: what a batch takes beside its engine's seconds, what it saves by computing once what depends on one
picture alone, and what each task costs whoever gives it out.

python -m benchmarks.batch [--photos 20] [--styles 5] [--size 256] [--tasks 10000]     # five minutes or so

Writes docs/benchmarks/batch.json, the record, and batch.md, a view of it. Ray's row is there where Ray is installed.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any
from unittest.mock import patch

import torch
import typer

from stylecore.batch import Outcome, Task, plan_products, run_here, run_on_ray, run_processes, write_sheet
from stylecore.compare import make_variants
from stylecore.devices import environment
from stylecore.encoders.distill import random_crops
from stylecore.files import write_file, write_json
from stylecore.images import load_image, resize_image, save_image
from stylecore.report import Table, document
from stylecore.reuse import reusing
from stylecore.sample_images import EVALUATION, EVALUATION_STYLES, load_photo, load_style
from stylecore.storage import Storage

FOLDER = Path("docs/benchmarks")
PICTURE_PX = 512
REUSE_PX, REUSE_NUM = (PICTURE_PX, 3464), 3  # sides of pictures of which so many are painted in so many styles
Runner = Callable[[Sequence[Task], str], Iterator[Outcome]]


def make_pictures(folder: Path, number: int, names: Sequence[str], load: Callable[[str], torch.Tensor]) -> list[str]:
    """Crops of sample pictures as files."""
    folder.mkdir()
    crops = random_crops([load(name) for name in names], number, PICTURE_PX, torch.Generator().manual_seed(0))
    paths = [folder / f"{index:02}.png" for index in range(number)]
    for crop, path in zip(crops.split(1), paths, strict=True):
        save_image(crop, path)
    return [str(path) for path in paths]


def run_real(folder: Path, num_photos: int, num_styles: int, size: int) -> dict[str, Any]:
    """A whole batch, then the same again, which finds everything there."""
    photos = make_pictures(folder / "photos", num_photos, list(EVALUATION), load_photo)
    styles = make_pictures(folder / "styles", num_styles, list(EVALUATION_STYLES), load_style)
    tasks = plan_products(photos, styles, make_variants({"preset": "draft", "size": size, "device": "cpu"}))
    storage = Storage(str(folder / "out"))
    storage.prepare()
    list(run_here(tasks[:1], storage.place))  # loads and warms up
    (folder / "out" / tasks[0].file).unlink()
    started = time.perf_counter()
    outcomes = list(run_here(tasks, storage.place))
    write_sheet(storage, tasks, outcomes)
    whole = time.perf_counter() - started
    started = time.perf_counter()
    again = list(run_here(tasks, storage.place))
    return {
        "results": len(outcomes),
        "size_px": size,
        "seconds": whole,
        "engine_seconds": sum(outcome.record["seconds"] for outcome in outcomes),
        "seconds_when_all_is_there": time.perf_counter() - started,
        "made_again": sum(outcome.made for outcome in again),
        "read_bytes_a_result": round(sum(Path(path).stat().st_size for path in photos + styles) / len(tasks)),
        "written_bytes_a_result": round(
            sum((folder / "out" / task.file).stat().st_size for task in tasks) / len(tasks)
        ),
    }


def compare_reuse(folder: Path, side: int, size: int) -> dict[str, Any]:
    """Seconds of a batch that computes everything for each result and of one that reuses, one after the other."""
    folder.mkdir()
    photos = make_pictures(folder / "photos", REUSE_NUM, list(EVALUATION), load_photo)
    styles = make_pictures(folder / "styles", REUSE_NUM, list(EVALUATION_STYLES), load_style)
    for path in photos + styles:
        save_image(resize_image(load_image(path), side, side), path)
    tasks = plan_products(photos, styles, make_variants({"preset": "draft", "size": size, "device": "cpu"}))
    seconds: dict[str, float] = {}
    for kind, reused in (("computed", nullcontext), ("reused", reusing)):
        with patch("stylecore.batch.task.reusing", reused):
            (folder / kind).mkdir()
            for path in photos + styles:
                Path(path).touch()  # to be read anew
            started = time.perf_counter()
            outcomes = list(run_here(tasks, str(folder / kind)))
            seconds[kind] = (time.perf_counter() - started) / len(outcomes)
    pairs = [[load_image(folder / kind / task.file) for kind in seconds] for task in tasks]
    same = [one.equal(other) for one, other in pairs]
    return {"side_px": side, "results": len(tasks), "equal": sum(same), **seconds}


def do_nothing(task: Task, place: str) -> Outcome:  # noqa: ARG001
    """A task that takes no time."""
    return Outcome(task, {"file": task.file})


def overhead_ms(run: Runner, tasks: Sequence[Task], place: str) -> float:
    """Of each task, for whoever gives them out; the first that comes back ends the start of the workers."""
    outcomes = run(tasks, place)
    next(outcomes)
    started = time.perf_counter()
    number = sum(1 for _ in outcomes)
    return 1e3 * (time.perf_counter() - started) / number


def runners() -> dict[str, Runner]:
    """By what they are called in the table."""
    found: dict[str, Runner] = {
        "this process": partial(run_here, make=do_nothing),
        "2 processes": partial(run_processes, num_workers=2, make=do_nothing),
    }
    if find_spec("ray"):
        found["Ray, a new cluster here"] = partial(run_on_ray, make=do_nothing)
    return found


def to_markdown(record: dict[str, Any]) -> str:
    """The record as a page."""
    real, costs = record["batch"], record["overhead_ms"]
    share = real["seconds"] / real["engine_seconds"]
    table = Table.of({"who": "{}", "ms a task": "{:.2f}"}, costs.items(), left=["who"])
    return document(
        "# Many results",
        f"Made by `python -m benchmarks.batch`. {record['environment']['device_name']}, "
        f"{record['environment']['num_threads']} threads.",
        f"{real['results']} drafts at {real['size_px']} px took {real['seconds']:.1f} s with reading, writing and the "
        f"sheet, {share:.2f} times their engine's {real['engine_seconds']:.1f} s; the same command again, which finds "
        f"them all and makes {real['made_again']}, {real['seconds_when_all_is_there']:.1f} s. A result reads "
        f"{real['read_bytes_a_result'] / 1e3:.0f} kB and writes {real['written_bytes_a_result'] / 1e3:.0f} kB.",
        "Seconds a result if everything is computed for it, and if what depends on one picture alone is computed once:",
        Table.of(
            {"pictures": "{0} x {0} px", "computed": "{:.2f} s", "reused": "{:.2f} s", "equal to the bit": "{}"},
            [
                (each["side_px"], each["computed"], each["reused"], f"{each['equal']} of {each['results']}")
                for each in record["reuse"]
            ],
            left=["pictures"],
        ),
        f"What giving out a task and hearing of it costs, over {record['tasks']} tasks that do nothing:",
        table,
    )


def main(
    photos: Annotated[int, typer.Option()] = 20,
    styles: Annotated[int, typer.Option()] = 5,
    size: Annotated[int, typer.Option()] = 256,
    tasks: Annotated[int, typer.Option()] = 10_000,
    output: Annotated[Path, typer.Option("--output", "-o")] = FOLDER,
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        real = run_real(folder, photos, styles, size)
        reuse = [compare_reuse(folder / f"reuse-{side}", side, size) for side in REUSE_PX]
        config = make_variants({"preset": "draft"})[0].config
        stubs = [Task("photo", "style", config, f"{index}.png", str(index), "style") for index in range(tasks)]
        costs = {who: overhead_ms(run, stubs, name) for who, run in runners().items()}
    where = environment(torch.device("cpu"))
    record = {
        "kind": "batch",
        "environment": where,
        "batch": real,
        "reuse": reuse,
        "tasks": tasks,
        "overhead_ms": costs,
    }
    write_json(output / "batch.json", record)
    write_file(output / "batch.md", to_markdown(record).encode())


if __name__ == "__main__":
    typer.run(main)
