"""All that a GPU has to prove, in one command; needs no network.

python -m benchmarks.gpu [--output docs/benchmarks] [--quick]     # make gpu; ten minutes on a large card

Writes gpu.json, the records, after each part, and gpu.md, a view of them. `--device cpu --quick` tries the command
itself where there is no GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.gpu import measure
from benchmarks.gpu.view import to_markdown
from stylecore.bench import default_pairs
from stylecore.devices import environment, find_device
from stylecore.errors import OptionError
from stylecore.files import write_file, write_json

JOBS = 200


def run(device: torch.device, output: Path, *, quick: bool) -> dict[str, Any]:
    """Every part, each written as soon as it is there."""
    pairs = default_pairs()[: 1 if quick else None]
    sizes = measure.SIZES_PX[: 1 if quick else None]
    jobs = 3 if quick else JOBS
    parts: dict[str, Callable[[], Any]] = {
        "tests": lambda: measure.tests(device),
        "parity": lambda: _all(measure.parity(device, pairs), "pair"),
        "presets": lambda: _all(measure.presets(device, pairs[0], sizes), "preset"),
        "extractor": lambda: measure.extractor_rows(device, pairs[0]),
        "soak": lambda: measure.soak(device, pairs[0], jobs),
    }
    record: dict[str, Any] = {"kind": "gpu", "environment": environment(device), "quick": quick}
    for name, part in parts.items():
        print(f"{name} ...", flush=True)
        record[name] = part()
        write_json(output / "gpu.json", record)
        write_file(output / "gpu.md", to_markdown(record).encode())
    return record


def _all(rows: Iterable[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        found.append(row)
        print(f"  {row[name]} {row.get('size_px', '')}", flush=True)
    return found


def passed(record: dict[str, Any]) -> bool:
    """Whether tests and parity hold and memory stays."""
    held = record["soak"]["held_mib"]
    is_alike = all(row["within"] for row in record["parity"])
    return record["tests"]["passed"] and is_alike and held["end"] <= held["after_warm_up"]


def main(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for gpu.json and gpu.md.")] = Path(
        "docs/benchmarks"
    ),
    device: Annotated[str, typer.Option(help="cuda, cuda:1 or mps; cpu tries the command.")] = "cuda",
    quick: Annotated[bool, typer.Option("--quick", help="One pair, one size, three jobs.")] = False,
) -> None:
    """Run it; exit status 1 where something does not hold, 2 without such a device."""
    try:
        found = find_device(device)
    except OptionError:
        typer.echo(f"There is no device '{device}' here: run make gpu on a machine with an NVIDIA GPU.", err=True)
        raise typer.Exit(2) from None
    record = run(found, output, quick=quick)
    print((output / "gpu.md").read_text())
    raise typer.Exit(int(not passed(record)))


if __name__ == "__main__":
    typer.run(main)
