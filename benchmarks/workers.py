"""Several processes behind one page: how many more jobs get done, and what becomes of them when processes are killed.

python -m benchmarks.workers [--clients 8] [--seconds 60] [-o docs/security]

One after the other: the server alone, two workers, and two workers of which one is killed every 20 seconds, each
with one thread; front and visitors share the cores with them. When the time is over every visitor has a job that waits
or runs, so what counts is jobs a minute until the last of those is done. Writes workers.json, the record, and
workers.md, a view of it. Exit status 1 for a lost or swapped result.
"""

import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import psutil
import torch
import typer

from benchmarks.load import Crowd
from stylecore.devices import environment
from stylecore.files import write_file, write_json
from stylecore.images import fit_image, save_image
from stylecore.report import Table, document
from stylecore.sample_images import load_photo
from tools.demo_server import DemoServer

PHOTO_PX, LEAST_PX, NUM_STEPS = 256, 192, 12
KILL_EVERY_S = 20
RUNS = {"the server alone": (1, False), "2 workers": (2, False), "2 workers, one killed every 20 s": (2, True)}


class Jobs(Crowd):
    """Visitors who want a picture, and the next one."""

    async def visit(self, number: int) -> None:
        """From an address of their own, until the time is over."""
        transport = httpx.AsyncHTTPTransport(local_address=f"127.0.1.{1 + number}")
        async with httpx.AsyncClient(base_url=f"{self.url}/gradio_api", transport=transport, timeout=120) as client:
            while not self.is_over:
                await self.order(client, "job", number)


def workers_of(server: DemoServer) -> list[psutil.Process]:
    """The server's processes that paint."""
    children = psutil.Process(server.process.pid).children()
    return [child for child in children if any("spawn_main" in word for word in child.cmdline())]


async def kill_some(server: DemoServer, crowd: Jobs) -> None:
    """One after the other."""
    rng = random.Random(0)
    while not crowd.is_over:
        await asyncio.sleep(KILL_EVERY_S)
        if not crowd.is_over:
            rng.choice(workers_of(server)).kill()
            crowd.counts["killed"] += 1


def measure(picture: bytes, num_workers: int, kills: bool, clients: int, seconds: float) -> dict[str, Any]:
    """What became of the jobs of one server."""
    with tempfile.TemporaryDirectory(prefix="stylecore-workers-") as name:
        one_thread = {"OMP_NUM_THREADS": "1"}
        with DemoServer(Path(name), f"--workers={num_workers}", environment=one_thread) as server:

            async def come(clients: int, seconds: float, kills: bool = False) -> Jobs:
                crowd = Jobs(server, seconds, picture, LEAST_PX, NUM_STEPS)
                await asyncio.gather(crowd.come(clients), *([kill_some(server, crowd)] if kills else []))
                return crowd

            asyncio.run(come(num_workers, 1))  # a job each, to warm up
            started = time.monotonic()
            crowd = asyncio.run(come(clients, seconds, kills))
            took = time.monotonic() - started
            tracebacks = server.log.read_text(encoding="utf-8").count("Traceback")
    return {"workers": num_workers, "seconds": round(took, 1), **crowd.counts, "tracebacks_logged": tracebacks}


def to_markdown(record: dict[str, Any]) -> str:
    """The record as a page."""
    rows = record["runs"]
    rates = {who: 60 * row["finished"] / row["seconds"] for who, row in rows.items()}
    first = next(iter(rates.values()))
    kinds = ("lost", "swapped", "killed")
    columns = {"who paints": "{}", "finished": "{}", "seconds": "{:.0f}", "jobs a minute": "{:.1f}", "times": "{:.2f}"}
    columns |= dict.fromkeys(kinds, "{}")
    cells = [
        (who, row["finished"], row["seconds"], rates[who], rates[who] / first, *(row.get(kind, 0) for kind in kinds))
        for who, row in rows.items()
    ]
    return document(
        "# Several processes behind one page",
        f"Made by `python -m benchmarks.workers`. {record['environment']['device_name']}, two cores for workers of one "
        f"thread each, front and {record['clients']} visitors, who come back for {record['seconds']:g} s; until the "
        f"last job is done. Jobs of about {LEAST_PX} px and {NUM_STEPS} evaluations of `gatys`.",
        Table.of(columns, cells, left=["who paints"]),
    )


def main(
    clients: Annotated[int, typer.Option(min=1)] = 8,
    seconds: Annotated[float, typer.Option(min=5)] = 60,
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("docs/security"),
) -> None:
    """Run all, and write what came of it."""
    with tempfile.TemporaryDirectory() as name:
        picture = save_image(fit_image(load_photo("astronaut"), PHOTO_PX), Path(name) / "photo.png").read_bytes()
    runs = {who: measure(picture, *how, clients, seconds) for who, how in RUNS.items()}
    where = environment(torch.device("cpu"))
    record = {"kind": "workers", "environment": where, "clients": clients, "seconds": seconds, "runs": runs}
    write_json(output / "workers.json", record)
    write_file(output / "workers.md", to_markdown(record).encode())
    if any(run.get("lost") or run.get("swapped") for run in runs.values()):
        sys.exit("failed: lost or swapped results")


if __name__ == "__main__":
    typer.run(main)
