"""What a job costs beside other programs on the same cores, by how OpenMP's threads wait for one another.

python -m benchmarks.neighbours      # ten minutes or so on a machine that does nothing else

Torch's threads spin while they wait. Alone that is quickest; beside a program that does the same, most of what one
spins away is the other's time. For every way of waiting: draft jobs alone, in turns, then beside one and two programs
that stylize without end and wait in the same way. Writes neighbours.json, the record, and neighbours.md, its view.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer

from stylecore.devices import environment
from stylecore.files import write_file, write_json
from stylecore.program import WAITING
from stylecore.report import Table, document

FOLDER = Path("docs/benchmarks")
SIZE_PX, NUM_ALONE, NUM_BESIDE = 256, 6, 3  # jobs
WAYS: dict[str, dict[str, str]] = {
    "spinning, torch's default": {},
    "spinning 10,000 times": {"GOMP_SPINCOUNT": "10000"},
    "passive, as stylecore's programs": WAITING,
}
ENDLESS = 10_000  # jobs that a neighbour is given; it is ended long before

# Stylizes once for each line that it reads, and answers with the seconds.
PROGRAM = f"""
import sys, stylecore
from stylecore.sample_images import load_photo, load_style
content, style = load_photo("astronaut"), load_style("flow_strokes")
for _ in sys.stdin:
    print(stylecore.stylize(content, style, preset="draft", size={SIZE_PX}).seconds, flush=True)
"""


class Program:
    """A process that stylizes when it is told."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.stdin, self.stdout = process.stdin, process.stdout

    def order(self, num_jobs: int) -> None:
        self.stdin.write("\n" * num_jobs)
        self.stdin.flush()

    def seconds(self) -> float:
        """Of the next job that it finishes."""
        return float(self.stdout.readline())


@contextmanager
def program(waiting: dict[str, str]) -> Iterator[Program]:
    """A program that is warm: its first job is done."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, env=clean | waiting, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        made = Program(process)
        made.order(1)
        made.seconds()
        yield made
        process.kill()


def seconds_alone() -> dict[str, list[float]]:
    """Of `NUM_ALONE` jobs in each way, in turns; the programs whose turn it is not sleep."""
    with ExitStack() as stack:
        programs = {way: stack.enter_context(program(waiting)) for way, waiting in WAYS.items()}
        samples: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(NUM_ALONE):
            for way, each in programs.items():
                each.order(1)
                samples[way].append(each.seconds())
    return samples


def seconds_beside(waiting: dict[str, str], num_neighbours: int) -> list[float]:
    """Of `NUM_BESIDE` jobs, one after the other, beside that many busy programs."""
    with program(waiting) as measured, ExitStack() as stack:
        for _ in range(num_neighbours):
            stack.enter_context(program(waiting)).order(ENDLESS)
        measured.order(NUM_BESIDE)
        return [measured.seconds() for _ in range(NUM_BESIDE)]


def measure() -> Iterator[dict[str, Any]]:
    """A record for each way of waiting and number of neighbours."""
    for way, seconds in seconds_alone().items():
        yield {"waiting": way, "neighbours": 0, "seconds": seconds}
    for way, waiting in WAYS.items():
        for num_neighbours in (1, 2):
            yield {"waiting": way, "neighbours": num_neighbours, "seconds": seconds_beside(waiting, num_neighbours)}


def to_markdown(record: dict[str, Any]) -> str:
    """Medians, and how many times the job's own seconds alone they are."""

    def typical(way: str, num_neighbours: int) -> float:
        (run,) = (run for run in record["runs"] if (run["waiting"], run["neighbours"]) == (way, num_neighbours))
        return median(run["seconds"])

    columns = {"threads that wait": "{}", "alone, s": "{:.2f}", "over spinning": "{:.2f}"}
    columns |= {"beside one, s": "{:.2f}", "one over alone": "{:.2f}"}
    columns |= {"beside two, s": "{:.2f}", "two over alone": "{:.2f}"}
    rows = []
    for way in WAYS:
        alone, one, two = (typical(way, number) for number in (0, 1, 2))
        rows.append((way, alone, alone / typical(next(iter(WAYS)), 0), one, one / alone, two, two / alone))
    where = record["environment"]
    return document(
        "# A job beside other programs",
        f"{where['cpu']}, {where['system']}, torch {where['torch']}, {where['num_threads']} threads. A draft of "
        f"{SIZE_PX} px; medians of {NUM_ALONE} runs alone, in turns, and of {NUM_BESIDE} beside neighbours, which "
        "stylize without end and wait in the same way. Made by `python -m benchmarks.neighbours`.",
        Table.of(columns, rows),
    )


def main(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the record and its view.")] = FOLDER,
) -> None:
    """Measure, write the record and its view, and print the view."""
    record: dict[str, Any] = {"environment": environment(torch.device("cpu")), "runs": []}
    for run in measure():
        print(run, flush=True)
        record["runs"].append(run)
    write_json(output / "neighbours.json", record, indent=None)
    view = to_markdown(record)
    write_file(output / "neighbours.md", view.encode())
    print(view)


if __name__ == "__main__":
    typer.run(main)
