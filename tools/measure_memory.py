"""Bytes a pixel that one evaluation takes beyond the loaded process: `memory.BYTES_PER_PIXEL`.

python -m tools.measure_memory     # a few minutes; one fresh process a row
"""

import multiprocessing

import torch

from stylecore.allocator import keep_freed_memory
from stylecore.devices import peak_memory_mib
from stylecore.engine import prepare_encoder, stylize_steps
from stylecore.presets import make_config

SIZES_PX = (512, 1024, 1536)
CPU = torch.device("cpu")


def peak_bytes_a_pixel(size: int, dtype: str) -> float:
    """Peak resident memory of two evaluations over that of a 64 px warm-up, without L-BFGS pairs, as commands run."""
    keep_freed_memory()
    peaks = []
    for side in (64, size):
        config = make_config("gatys", size=side, num_steps=2, dtype=dtype, optimizer="adam", device="cpu")
        image = torch.rand(1, 3, side, side)
        for _ in stylize_steps(image, image, config, encoder=prepare_encoder(config)):
            pass
        peaks.append(peak_memory_mib(CPU))
    return (peaks[1] - peaks[0]) * 2**20 / size**2


def main() -> None:
    context = multiprocessing.get_context("spawn")
    for dtype in ("float32", "bfloat16"):
        for size in SIZES_PX:
            with context.Pool(1) as pool:
                print(f"{dtype} {size} px: {pool.apply(peak_bytes_a_pixel, (size, dtype)):.0f}", flush=True)


if __name__ == "__main__":
    main()
