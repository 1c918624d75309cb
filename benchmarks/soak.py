"""Many small jobs in one process: its memory must stay level after the warm-up, and no file may be left behind.

python -m benchmarks.soak [--jobs 200] [-o docs/security/soak.json]     # two minutes or so
"""

import gc
import itertools
import json
import tempfile
from pathlib import Path
from typing import Annotated

import psutil
import torch
import typer

import stylecore
from benchmarks.security_figures import write_record
from stylecore import ImageError, NotEnoughMemoryError
from stylecore.devices import available_memory_mib, environment, find_device, resident_memory_mib
from stylecore.images import fit_image
from stylecore.losses import STYLE_LOSSES
from stylecore.presets import PRESETS
from stylecore.sample_images import load_photo

SIZES_PX = (64, 96, 128)
NUM_STEPS = 4
WARM_UP_SHARE = 0.25  # of the jobs: every preset, loss and size has come, and the allocators have what they keep
MAX_GROWTH_MIB = 48


def gpu_mib() -> float:
    """What this process holds on the GPU; 0 where there is none."""
    return torch.cuda.memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0


def held_mib() -> float:
    """What this process holds: resident, and on the GPU."""
    gc.collect()
    return resident_memory_mib() + gpu_mib()


def run_job(number: int, preset: str, loss: str, size: int, folder: Path) -> None:
    """A stylization saved and read again; of every ten one is abandoned on its way, and one has a broken picture."""
    content, style = (fit_image(load_photo(name), 2 * size) for name in ("astronaut", "coffee"))
    if number % 10 == 8:
        next(stylecore.stylize_steps(content, style, preset=preset, loss=loss, size=size))
        return
    output = folder / f"{number}.png"
    stylecore.stylize(content, style, preset=preset, loss=loss, size=size, num_steps=NUM_STEPS).save(output)
    data = output.read_bytes()
    output.unlink()
    stylecore.load_image(data)
    if number % 10 == 9:
        try:
            stylecore.load_image(data[: len(data) // 2])
        except ImageError:
            return
        raise AssertionError("half a picture was read")


def main(
    jobs: Annotated[int, typer.Option(min=8, help="How many.")] = 200,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where the record goes, a JSON file.")] = None,
) -> None:
    """Run them, and print one JSON object; exit status 1 for growth or leavings."""
    kinds = itertools.cycle(itertools.product(PRESETS, STYLE_LOSSES, SIZES_PX))
    # A stride that shares no divisor with the number of kinds: few jobs meet every preset, loss and size.
    kinds = itertools.islice(kinds, 0, None, 17)
    with tempfile.TemporaryDirectory(prefix="stylecore-soak-") as name:
        tempfile.tempdir = name  # whatever is made and forgotten lies here
        folder = Path(name)
        free = available_memory_mib(find_device())
        levels, refused = [], 0
        for number in range(jobs):
            try:
                run_job(number, *next(kinds), folder)
            except NotEnoughMemoryError:
                refused += 1
            levels.append(held_mib())
        left = sorted(path.name for path in folder.rglob("*"))
    warm = levels[int(jobs * WARM_UP_SHARE)]
    growth = levels[-1] - warm
    record = {
        "environment": environment(find_device()),
        "jobs": jobs,
        "refused_for_memory": refused,
        "free_at_start_mib": round(free),
        "memory_mib": {
            "after_warm_up": round(warm),
            "end": round(levels[-1]),
            "most": round(max(levels)),
            "gpu_end": round(gpu_mib()) if torch.cuda.is_available() else None,
        },
        "files_left": left,
        "files_open": len(psutil.Process().open_files()),
        "threads": psutil.Process().num_threads(),
    }
    print(json.dumps(record, indent=2))
    if output:
        write_record(record, output)
    raise typer.Exit(int(growth > MAX_GROWTH_MIB or bool(left)))


if __name__ == "__main__":
    typer.run(main)
