"""What the one command measures, part by part; each gives a record that JSON takes. Times are of a warm process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.gpu.counts import CARDS, Card, least_seconds, round_work
from stylecore.bench.pairs import Pair
from stylecore.config import Stage, StylizeConfig
from stylecore.devices import Fetched, available_memory_mib, device_name, peak_memory_mib, synchronize
from stylecore.encoders import load_encoder
from stylecore.engine import job_steps, job_yardstick, prepare_encoder, run_to_end
from stylecore.images import fit_image, load_image, resize_image, to_uint8
from stylecore.job import Job
from stylecore.loop import LEAST_REPLAYS, Rounds
from stylecore.measured_run import in_turns
from stylecore.metrics import CONTENT_LAYER, STYLE_LAYERS
from stylecore.presets import make_config
from stylecore.schedule import plan_stages

PRESETS = ("draft", "preview", "standard")
SIZES_PX = (256, 512, 1024, 2048)
PARITY_TOLERANCE = 0.005
FRAME_INTERVAL_S = 0.1  # ten frames a second, more often than the page shows them
WARM_RUNS, RUNS, EXTRACTOR_RUNS = 2, 5, 50
SOAK_WARM_UP = 20  # jobs after which memory must stay


def tests(device: torch.device) -> dict[str, Any]:
    """The tests that need a GPU, in a process of their own."""
    command = [sys.executable, "-m", "pytest", "-m", "cuda", "-q", "-p", "no:cacheprovider", "--no-header"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return {"device": str(device), "passed": done.returncode == 0, "said": done.stdout.strip().splitlines()[-1:]}


def parity(device: torch.device, pairs: Sequence[Pair], size: int = 256) -> Iterator[dict[str, Any]]:
    """`preview` in float32 with the same seed on the device and on the CPU, by the CPU's yardstick."""
    for pair in pairs:
        found = {}
        for name in (str(device), "cpu"):
            config = make_config("preview", size=size, dtype="float32", device=name)
            job = Job(pair.content, (pair.style,), config)
            found[name] = job_yardstick(job).measure(run_to_end(job, job_steps(job)).image.cpu())
        here, there = found[str(device)], found["cpu"]
        yield {
            "pair": pair.name,
            "style": [round(here.style, 5), round(there.style, 5)],
            "content": [round(here.content, 5), round(there.content, 5)],
            "within": abs(here.style - there.style) <= PARITY_TOLERANCE,
        }


def presets(device: torch.device, pair: Pair, sizes: Sequence[int] = SIZES_PX) -> Iterator[dict[str, Any]]:
    """Each preset at each size: whole jobs from 8 bits to 8 bits, with a graph and without, and with live frames."""
    for size in sizes:
        pictures = [to_uint8(fit_image(image, size)) for image in (pair.content, pair.style)]
        for preset in PRESETS:
            yield preset_row(pictures, make_config(preset, size=size, device=str(device)))


def preset_row(pictures: Sequence[Any], config: StylizeConfig) -> dict[str, Any]:
    """One preset at one size."""
    encoder = prepare_encoder(config)
    device = encoder.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    content, style = map(load_image, pictures)
    job = Job(content, (style,), config)

    def run(*, frames: bool = False) -> tuple[float, int]:
        return run_from_bytes(pictures, job, encoder, frames=frames)

    seconds = timed(run)
    with patch.object(Rounds, "can_be_captured", False):
        eager = timed(run)
    shown = [run(frames=True) for _ in range(RUNS)]
    image = run_to_end(job, job_steps(job, encoder=encoder)).image
    return {
        "preset": config.preset,
        "size_px": config.size,
        "dtype": str(encoder.dtype).removeprefix("torch."),
        "seconds": seconds,
        "seconds_without_graph": eager,
        "seconds_with_frames": [round(value, 5) for value, _ in shown],
        "frames": [frames for _, frames in shown],
        "rounds": rounds_per_second(job, encoder),
        "peak_memory_mib": round(peak_memory_mib(device)),
        "style": round(job_yardstick(job).measure(image).style, 4),
    }


def run_from_bytes(pictures: Sequence[Any], job: Job, encoder: Any, *, frames: bool) -> tuple[float, int]:
    """Seconds of a job from 8-bit pictures to an 8-bit picture, and the frames that were fetched on the way."""
    started, shown, number = time.perf_counter(), time.perf_counter(), 0
    content, style = map(load_image, pictures)
    last: Tensor | None = None
    coming: Fetched | None = None
    for step in job_steps(Job(content, (style,), job.config), encoder=encoder):
        last = step.image
        if frames and coming is None and time.perf_counter() - shown >= FRAME_INTERVAL_S:
            coming = Fetched(last)
        if coming is not None and coming.is_here:
            to_uint8(coming.values)
            coming, number, shown = None, number + 1, time.perf_counter()
    assert last is not None
    to_uint8(last)
    return time.perf_counter() - started, number


def timed(run: Callable[[], tuple[float, int]]) -> list[float]:
    """Seconds of the runs after those that warm up."""
    return [round(run()[0], 5) for _ in range(WARM_RUNS + RUNS)][WARM_RUNS:]


def rounds_per_second(job: Job, encoder: Any) -> dict[str, float | None]:
    """Of the last stage's loop once it replays, and the least time's share of it where the card is known."""
    stage = plan_stages(job.config, job.size)[-1]
    config = job.config.replace(stages=(Stage(1.0, 1.0),), num_steps=max(stage.num_steps, 40))
    moments = []
    for step in job_steps(Job(job.content, job.styles, config), encoder=encoder):
        if step.index in (LEAST_REPLAYS, step.total):
            synchronize(step.image.device)
            moments.append(step.seconds)
    seconds = (moments[1] - moments[0]) / (config.num_steps - LEAST_REPLAYS)
    card = find_card(encoder.device)
    height, width = job.size
    least = (
        least_seconds(round_work(encoder, round((height * width) ** 0.5), job.config.preset), card) if card else None
    )
    return {
        "a_second": round(1 / seconds, 2),
        "share_of_least_time": None if least is None else round(least / seconds, 3),
    }


def find_card(device: torch.device) -> Card | None:
    """What is known of the device."""
    name = device_name(device)
    return next((card for card in CARDS if name == card.name or name.startswith(card.name + " ")), None)


def extractor_rows(device: torch.device, pair: Pair, size: int = 256) -> dict[str, Any]:
    """The extractor in torch on the device, and under onnxruntime's CUDA provider in a process of its own; what that
    said where it did not run."""
    encoder = load_encoder("vgg16", device=device)
    image = resize_image(pair.content, size, size).to(device)
    layers = (*STYLE_LAYERS, CONTENT_LAYER)

    def run() -> None:
        with torch.inference_mode():
            encoder(image, layers)
        synchronize(device)

    (seconds,) = in_turns([run], min_runs=EXTRACTOR_RUNS, warm_up=WARM_RUNS)
    found: dict[str, Any] = {"size_px": size, "torch_ms": [round(1e3 * value, 4) for value in seconds]}
    if device.type != "cuda":
        return found | {"skipped": "onnxruntime's CUDA rows need a CUDA device."}
    with tempfile.TemporaryDirectory() as folder:
        stylecore = [sys.executable, "-m", "stylecore", "export"]
        model = f"{folder}/vgg16.onnx"
        bench = [*stylecore, "bench", model, "--providers", "cuda", "--threads", "1", "--quick", "-o", folder]
        for command in ([*stylecore, "extractor", "-o", model], bench):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                return found | {"skipped": " ".join(done.stderr.strip().splitlines()[-1:])}
        rows = json.loads((Path(folder) / "bench.json").read_text())["rows"]
        return found | {"rows": [row for row in rows if row["provider"] != "torch"]}


def soak(device: torch.device, pair: Pair, jobs: int) -> dict[str, Any]:
    """Many small jobs one after the other: what the device holds after the warm-up and at the end."""
    config = make_config("draft", size=256, device=str(device))
    job, levels = Job(pair.content, (pair.style,), config), []
    for _ in range(jobs):
        run_to_end(job, job_steps(job))
        levels.append(
            torch.cuda.memory_reserved(device) / 2**20 if device.type == "cuda" else available_memory_mib(device)
        )
    return {
        "jobs": jobs,
        "held_mib": {"after_warm_up": round(levels[min(SOAK_WARM_UP, jobs) - 1]), "end": round(levels[-1])},
    }
