"""The page in a real browser beside Python's onnxruntime: milliseconds a step, seconds and memory, by provider.

python -m benchmarks.web [FOLDER] [--size 256]     # three minutes; FOLDER: what `export web` wrote, else it is built

Writes web.json, the record, and web.md, a view of it. WebGPU is left out: without a GPU a browser emulates it, which
tells whether numbers are right and nothing of its speed.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import psutil
import torch
import typer
from stylecore_export.bundle import bundle_config
from stylecore_export.manifest import FORMAT
from stylecore_export.pictures import LEVELS, Array, load_image
from stylecore_export.record import Latency
from stylecore_export.runtime import Bundle
from stylecore_export.sessions import session_environment
from stylecore_export.webpage import download_sizes, export_web

from stylecore.config import StylizeConfig
from stylecore.devices import environment
from stylecore.encoders import Layer, load_encoder
from stylecore.encoders.reduce import num_multiplications
from stylecore.files import write_file, write_json
from stylecore.report import Table, document
from tools.chromium import EMULATED_WEBGPU, WITHOUT_GPU, chromium
from tools.static_host import serving

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOLDER = Path("docs/benchmarks/export")
JOBS = ((1, 32), (2, 16), (2, 32))  # threads and steps: half of the recipe's, and all of them
PHOTO, STYLE = "samples/photos/astronaut.jpg", "samples/styles/flow_strokes.jpg"
# Kinds of GPU, by what their makers say of arithmetic and memory, and the part of the arithmetic that is reached.
ASSUMED = {"a phone of some years ago": (0.5, 15.0), "a good phone": (2.0, 50.0), "a laptop": (3.0, 100.0)}
PART = 0.2
FINE_SHARE = 22 / 32  # of the steps, at the result's own size
GRAPHICS = {"wasm": WITHOUT_GPU, "webgpu": EMULATED_WEBGPU}  # flags of a browser that has the provider

# Loads the page's worker, gives it one job and returns what it says, frames and progress left out.
DRIVE = """
([load, job, stopAfter]) => new Promise((resolve) => {
  const worker = new Worker("worker.js", { type: "module" });
  const heard = [];
  const pixels = async (picture) => {
    if (typeof picture !== "string") return { ...picture, data: Uint8ClampedArray.from(picture.data) };
    const bitmap = await createImageBitmap(await (await fetch(picture)).blob());
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, bitmap.width, bitmap.height);
  };
  worker.onmessage = async ({ data: message }) => {
    if (message.type === "progress") return;
    const { frame, image, ...rest } = message;
    heard.push({ ...rest, hasFrame: !!frame, image: image && { ...image, data: Array.from(image.data) } });
    const isReady = message.type === "ready";
    if (isReady && job) {
      const { content, style, ...settings } = job;
      worker.postMessage({ type: "start", ...settings, content: await pixels(content), style: await pixels(style) });
    }
    if (message.type === "step" && message.index === stopAfter) worker.postMessage({ type: "stop", id: job.id });
    if (["done", "error"].includes(message.type) || (isReady && !job)) {
      worker.terminate();
      resolve(heard);
    }
  };
  worker.postMessage({ type: "load", ...load });
})
"""


def drive(
    page: Page, load: Mapping[str, Any], job: Mapping[str, Any] | None = None, stop_after: int = 0
) -> list[dict[str, Any]]:
    """What the page's worker says from its loading to the end of a job, on a page of the served folder's address."""
    found: list[dict[str, Any]] = page.evaluate(DRIVE, [load, job, stop_after])
    return found


def make_job(content: str | Array, style: str | Array, **options: Any) -> dict[str, Any]:
    """The message that starts a job, of files in the folder or of pictures (1, 3, H, W) of bytes over 255."""
    pictures = {"content": content, "style": style}
    sent = {name: value if isinstance(value, str) else _pixels(value) for name, value in pictures.items()}
    return {"id": 1, "strength": 100, **sent, **options}


def _pixels(image: Array) -> dict[str, Any]:
    levels = (image[0] * LEVELS).round().astype(np.uint8)
    opaque = np.full((1, *levels.shape[1:]), int(LEVELS), np.uint8)
    rgba = np.concatenate([levels, opaque]).transpose(1, 2, 0)
    return {"width": image.shape[3], "height": image.shape[2], "data": rgba.ravel().tolist()}


def planes(picture: Mapping[str, Any]) -> Array:
    """A picture that the worker sent, (1, 3, H, W) in [0, 1]."""
    levels = np.array(picture["data"], np.uint8).reshape(picture["height"], picture["width"], 4)
    return (levels[:, :, :3].astype(np.float32) / np.float32(LEVELS)).transpose(2, 0, 1)[None]


def as_bundle(models: Path, provider: str, folder: Path) -> Path:
    """The page's models for a provider, as a bundle that Python's runtime opens."""
    manifest = json.loads((models / "manifest.json").read_text(encoding="utf-8"))
    names = {"targets.onnx": "targets", "step.onnx": "step"}
    sources = {name: manifest["providers"][provider][graph] for name, graph in names.items()}
    sources[manifest["weights"]] = manifest["weights"]
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in sources.items():
        (folder / name).write_bytes((models / source).read_bytes())
    kept = {key: manifest[key] for key in ("config", "state")}
    files = {name: manifest["files"][source]["sha256"] for name, source in sources.items()}
    precision = manifest["providers"][provider]["precision"]
    whole = {"format": FORMAT, **kept, "files": files, "precision": precision, "num_components": {}}
    write_json(folder / "manifest.json", whole)
    return folder


def in_browser(folder: Path, provider: str, threads: int, job: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the record: one job in a fresh browser."""
    with serving(folder) as url, chromium(GRAPHICS[provider]) as browser:
        page = browser.new_page()
        page.set_default_timeout(0)
        page.goto(f"{url}LICENSE.txt")
        started = time.perf_counter()
        messages = drive(page, {"provider": provider, "maxThreads": threads}, job)
        total = time.perf_counter() - started
        peak = renderer_peak_mib()
    if messages[-1]["type"] != "done":
        raise SystemExit(f"benchmarks.web: {messages[-1]['message']}")
    kept = (
        "provider",
        "precision",
        "threads",
        "milliseconds",
        "seconds",
        "first_frame_seconds",
        "heap_mib",
        "num_steps",
    )
    row = {key: messages[-1]["record"][key] for key in kept}
    return row | {"load_seconds": total - row["seconds"], "peak_memory_mib": peak}


def renderer_peak_mib() -> float:
    """The most memory that a renderer of a browser of ours has held so far, in MiB."""
    peaks = []
    for process in psutil.Process().children(recursive=True):
        if "--type=renderer" in " ".join(process.cmdline()):
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            peaks.append(int(status.split("VmHWM:")[1].split()[0]) / 2**10)
    return max(peaks)


def in_python(bundle: Path, threads: int, content: Array, style: Array, options: Mapping[str, int]) -> dict[str, Any]:
    """The same job by Python's onnxruntime."""
    opened = Bundle(bundle, threads)
    milliseconds: list[float] = []
    started = begun = time.perf_counter()
    for _ in opened.stylize_steps(content, style, **options):  # type: ignore[arg-type]
        now = time.perf_counter()
        milliseconds.append(1e3 * (now - begun))
        begun = now
    row = {"provider": "Python", "threads": threads, "milliseconds": milliseconds, "num_steps": len(milliseconds)}
    return row | {"precision": opened.manifest["precision"], "seconds": begun - started}


def measure(folder: Path, size: int) -> dict[str, Any]:
    """The record, ready for JSON."""
    content, style = load_image(folder / PHOTO), load_image(folder / STYLE)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        bundle = as_bundle(folder / "models", "wasm", Path(temporary))
        for threads, steps in JOBS:
            rows.append(in_python(bundle, threads, content, style, {"size": size, "num_steps": steps}))
            rows.append(in_browser(folder, "wasm", threads, make_job(PHOTO, STYLE, size=size, numSteps=steps)))
    return {
        "kind": "web-bench",
        "environment": environment(torch.device("cpu")) | session_environment() | {"browser": browser_version()},
        "runtime": json.loads((folder / "models/manifest.json").read_text(encoding="utf-8"))["runtime"],
        "size": size,
        "rows": rows,
        "work": count_work(bundle_config(), size),
        "files": download_sizes(folder),
    }


def browser_version() -> str:
    with chromium() as browser:
        return f"Chromium {browser.version}"


def to_markdown(record: dict[str, Any]) -> str:
    """The record as tables, with where and how it was measured."""
    where = record["environment"]
    of_python = {
        (row["threads"], row["num_steps"]): median_step(row) for row in record["rows"] if row["provider"] == "Python"
    }
    columns = {
        "": "{}",
        "threads": "{}",
        "steps": "{}",
        "ms a step": "{}",
        "times Python's": "{:.1f}",
        "seconds": "{:.1f}",
    }
    columns |= {
        "first frame, s": "{:.1f}",
        "loading, s": "{:.1f}",
        "WebAssembly's heap, MiB": "{:.0f}",
        "renderer, MiB": "{:.0f}",
    }
    rows = [
        (
            f"{row['provider']} {row['precision']}",
            row["threads"],
            row["num_steps"],
            str(Latency(fine_steps(row))),
            median_step(row) / of_python[row["threads"], row["num_steps"]],
            row["seconds"],
            *(row.get(key) for key in ("first_frame_seconds", "load_seconds", "heap_mib", "peak_memory_mib")),
        )
        for row in record["rows"]
    ]
    files = sorted(record["files"].items(), key=lambda entry: -entry[1])
    large = [(name, size / 1e6) for name, size in files if size >= 1e5]
    rest = sum(size for _, size in files) / 1e6 - sum(size for _, size in large)
    total = sum(record["files"].values()) / 1e6
    work = record["work"]
    return document(
        "# The page beside Python",
        f"Made by `python -m benchmarks.web`. {where['cpu']}, {where['system']}; {where['browser']} with "
        f"onnxruntime-web {record['runtime']}, Python's onnxruntime {where['onnxruntime']}. The sample photo astronaut "
        f"with flow_strokes at {record['size']} px; a fresh browser for each row. `ms a step`: median (and 10th to "
        "90th percentile) over the steps of the result's own size; `loading`: models from this machine, compiled and "
        "tried on a known picture; `renderer`: the most that the page's process held.",
        Table.of(columns, rows),
        "## What a step is",
        f"At {record['size']} px, counted layer by layer, in float32 as WebGPU has it: "
        f"{work['multiplications'] / 1e9:.1f} thousand million multiplications with an addition each, and "
        f"{work['bytes'] / 1e6:.0f} MB read or written, if each operation reads its inputs from memory and writes its "
        "outputs there. A step on a GPU takes at least the larger of two times. No phone was measured.",
        Table.of(
            {"assumed": "{}", "arithmetic, ms": "{:.0f}", "memory, ms": "{:.0f}"},
            [
                (
                    f"{name}: {tera:g} TFLOP/s in float32, {PART:.0%} of them reached; {giga:g} GB/s, half of them",
                    2 * work["multiplications"] / (tera * 1e12 * PART) * 1e3,
                    work["bytes"] / (giga * 1e9 / 2) * 1e3,
                )
                for name, (tera, giga) in ASSUMED.items()
            ],
        ),
        "## What is downloaded",
        f"{total:.2f} MB in all, after gzip -9; a visitor's browser needs the WebAssembly of one provider.",
        Table.of({"file": "{}", "MB": "{:.2f}"}, [*large, ("all others", rest)]),
    )


def count_work(config: StylizeConfig, size: int) -> dict[str, int]:
    """Multiplications of a step on a square of `size` px, and the bytes that its operations read and write.

    Convolutions forward and back; of each style layer the Gram and its gradient; ReLUs, masks and sums of gradients as
    five passes over each layer; each pair of the optimiser as ten passes over an image.
    """
    encoder = load_encoder(config.encoder)
    multiplications, values = 2 * num_multiplications(encoder, size, size), 0
    for name, conv in encoder.convs.items():
        layer = Layer.parse(name)
        positions = (size // layer.stride) ** 2
        for part in (part for part in conv.modules() if isinstance(part, torch.nn.Conv2d)):
            values += 2 * ((part.in_channels + part.out_channels) * positions + part.weight.numel())
        values += 5 * layer.num_channels * positions
        if str(layer.relu) in config.style_layers:
            multiplications += 2 * layer.num_channels**2 * positions
            values += 3 * layer.num_channels * positions
    values += config.history_size * 10 * 3 * size**2
    return {"multiplications": multiplications, "bytes": 4 * values}


def fine_steps(row: Mapping[str, Any]) -> list[float]:
    """The milliseconds of the result's own size, but for its first step, in whose time its targets are made: the
    recipe's last stage has 22 of 32."""
    return list(row["milliseconds"][-round(row["num_steps"] * FINE_SHARE) + 1 :])


def median_step(row: Mapping[str, Any]) -> float:
    return Latency(fine_steps(row)).median


def main(
    folder: Annotated[Path | None, typer.Argument(help="What export web wrote; else it is built.")] = None,
    size: Annotated[int, typer.Option(help="Longer side of the result in px.", min=64)] = 256,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for web.json and web.md.")] = FOLDER,
) -> None:
    """Measure, write the record and its view, and print the view."""
    with tempfile.TemporaryDirectory() as temporary:
        record = measure(folder or export_web(Path(temporary) / "page"), size)
    view = to_markdown(record)
    write_json(output / "web.json", record, indent=None)
    write_file(output / "web.md", view.encode())
    print(view)


if __name__ == "__main__":
    typer.run(main)
