"""Peak memory of evaluations in tiles beyond the loaded process, for tests/test_memory.py, in a process of its own.

python tests/peak_memory.py PRESET SIZE TILE STEPS disk|memory      # what was estimated, and what was seen, in MiB

Only relu1_1 is compared: what there is of the whole image is then nearly all, and a step takes seconds.
"""

import sys
from pathlib import Path
from unittest import mock

import torch

from stylecore import memory
from stylecore.allocator import keep_freed_memory
from stylecore.engine import job_steps, prepare_encoder
from stylecore.job import Job
from stylecore.presets import make_config


def status_mib(field: str) -> float:
    """Of this process, as the kernel counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def main(preset: str, size: int, tile_px: int, num_steps: int, on_disk: bool) -> None:
    keep_freed_memory()
    options = {"size": size, "num_steps": num_steps, "stages": ("1:1",), "device": "cpu", "dtype": "float32"}
    options |= {"style_layers": ("relu1_1",), "style_layer_weights": (1.0,), "content_weight": 0.0, "encoder": "vgg16"}
    config = make_config(preset, **options)
    encoder = prepare_encoder(config)
    style = torch.rand(1, 3, 256, 256)
    small = Job(torch.rand(1, 3, 64, 64), (style,), config.replace(size=64, style_size=64, num_steps=2))
    for _ in job_steps(small, encoder=encoder):  # loads what the first evaluation loads
        pass
    job = Job(torch.rand(1, 3, size, size), (style,), config.replace(style_size=256))
    plan = memory._tiled_plan((size, size), job.config, encoder, tile_px, on_disk=on_disk)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = status_mib("VmRSS")
    with mock.patch("stylecore.engine.plan_memory", return_value=plan):
        for _ in job_steps(job, encoder=encoder):
            pass
    print(round(plan.mib), round(status_mib("VmHWM") - before))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]), on_disk=sys.argv[5] == "disk")
