"""What one model costs a process that does nothing else: python -m PACKAGE.footprint FILE PROVIDER THREADS SIDE_PX.

Prints one JSON object. Imports no torch: its memory would be counted.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

from .runtime import Array, peak_memory_mib
from .sessions import session_on


def measure(path: Path, provider: str, num_threads: int, side_px: int) -> dict[str, float | None]:
    """Seconds of session creation and of the first run, when its result was there, and peak memory in MiB after three
    runs."""
    started = time.perf_counter()
    session = session_on(path, provider, num_threads)
    created = time.perf_counter()
    feeds = {node.name: _noise(node, side_px) for node in session.get_inputs()}
    ready = time.perf_counter()
    session.run(None, feeds)
    first, first_result_at = time.perf_counter(), time.time()
    for _ in range(2):
        session.run(None, feeds)
    return {
        "session_seconds": created - started,
        "first_run_seconds": first - ready,
        "first_result_at": first_result_at,
        "peak_memory_mib": peak_memory_mib(),
    }


def _noise(node: ort.NodeArg, side_px: int) -> Array:
    """An input of that node's type and shape, its dynamic sides `side_px`."""
    shape = [side if isinstance(side, int) else side_px for side in node.shape]
    noise = np.random.default_rng(0).random(shape, np.float32)
    return (noise * 255).astype(np.uint8) if node.type == "tensor(uint8)" else noise


if __name__ == "__main__":
    path, provider, num_threads, side_px = sys.argv[1:]
    print(json.dumps(measure(Path(path), provider, int(num_threads), int(side_px))))
