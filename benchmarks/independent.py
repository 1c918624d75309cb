"""The bench's medians beside those of loops that share no line with it, in the manner of onnxruntime's own perf tool.

python -m benchmarks.independent [FILE ...]     # minutes on a quiet machine

That tool is in no package, only in onnxruntime's sources: load, warm up, run the same random input again and again on
one thread. Here a few lines of Python do so in a fresh process, and of JavaScript by onnxruntime-node, where `npm
install onnxruntime-node` has put it into the folder at hand. Writes independent.json, the record, and independent.md,
its view.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from stylecore_export.benchmark import Rules, run_bench
from stylecore_export.extractor import ExtractorOptions, export_extractor, open_extractor
from stylecore_export.record import Latency
from stylecore_export.sessions import session_environment

from stylecore.devices import environment
from stylecore.files import write_file, write_json
from stylecore.report import Table, document

FOLDER = Path("docs/benchmarks/export")
SIDE_PX, NUM_RUNS, NUM_ROUNDS = 256, 16, 3
DEFAULT = {
    "vgg16-fp32": ExtractorOptions(size=SIDE_PX),
    "vgg16-x2-fp32": ExtractorOptions(size=SIDE_PX, encoder="vgg16-x2"),
}

PYTHON = """
import json, sys, time
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
feed = {"image": numpy.random.rand(*json.loads(sys.argv[2])).astype(sys.argv[3])}
milliseconds = []
for _ in range(int(sys.argv[4]) + 5):
    started = time.monotonic_ns()
    session.run(None, feed)
    milliseconds.append((time.monotonic_ns() - started) / 1e6)
print(json.dumps({"version": onnxruntime.__version__, "milliseconds": milliseconds[5:]}))
"""
NODE = """
const { InferenceSession, Tensor, env } = require("onnxruntime-node");
const [file, dims, type, runs] = process.argv.slice(1);
const shape = JSON.parse(dims);
const size = shape.reduce((product, side) => product * side, 1);
const data = (type === "uint8" ? Uint8Array : Float32Array).from({ length: size }, Math.random);
(async () => {
  const session = await InferenceSession.create(file, { intraOpNumThreads: 1 });
  const feed = { image: new Tensor(type, data, shape) };
  const milliseconds = [];
  for (let run = 0; run < Number(runs) + 5; run++) {
    const started = process.hrtime.bigint();
    await session.run(feed);
    milliseconds.push(Number(process.hrtime.bigint() - started) / 1e6);
  }
  console.log(JSON.stringify({ version: env.versions.node, milliseconds: milliseconds.slice(5) }));
})();
"""

Loop = Callable[[Path], dict[str, Any]]  # a file -> {"version", "milliseconds"}


def by_bench(path: Path) -> dict[str, Any]:
    """As `stylecore export bench` has it."""
    rules = Rules(num_runs=NUM_RUNS, seconds=0.0, size_px=SIDE_PX)
    record = run_bench([path], threads=[1], rules=rules)
    return {"version": record.environment["onnxruntime"], "milliseconds": record.rows[0].milliseconds}


def by_process(*command: str) -> Loop:
    """As a program has it that is given file, shape, type and number of runs."""

    def loop(path: Path) -> dict[str, Any]:
        options = open_extractor(path).options
        shape = list(options.feeds(torch.zeros(1, 3, SIDE_PX, SIDE_PX, dtype=torch.float32))["image"].shape)
        arguments = [str(path), json.dumps(shape), "uint8" if options.pixels else "float32", str(NUM_RUNS)]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
        return dict(json.loads(done.stdout))

    return loop


def loops() -> dict[str, Loop]:
    """By name; the first is the bench."""
    found = {"bench": by_bench, "a plain loop in Python": by_process(sys.executable, "-c", PYTHON)}
    node = shutil.which("node")
    if node and Path("node_modules/onnxruntime-node").is_dir():
        found["onnxruntime-node"] = by_process(node, "-e", NODE)
    return found


def measure(paths: list[Path]) -> dict[str, Any]:
    """The record, ready for JSON: each loop in rounds, so that a machine that slows down slows all of them."""
    rows = []
    for path in paths:
        rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in loops()}
        for _ in range(NUM_ROUNDS):
            for name, loop in loops().items():
                rounds[name].append(loop(path))
        rows.append({"name": path.stem, "rounds": rounds})
    where = environment(torch.device("cpu")) | session_environment()
    return {"kind": "independent", "environment": where, "size_px": SIDE_PX, "runs": NUM_RUNS, "rows": rows}


def to_markdown(record: dict[str, Any]) -> str:
    """The record as a table."""
    where = record["environment"]
    rows = []
    for row in record["rows"]:
        medians = {name: _median(found) for name, found in row["rounds"].items()}
        of_bench = next(iter(medians.values()))
        for name, ms in medians.items():
            rows.append((row["name"], name, row["rounds"][name][0]["version"], ms, ms / of_bench - 1))
    columns = {
        "file": "{}",
        "timed by": "{}",
        "onnxruntime": "{}",
        "median ms": "{:.2f}",
        "beside the bench": "{:+.1%}",
    }
    num_rounds = len(next(iter(record["rows"][0]["rounds"].values())))
    return document(
        "# The bench beside loops of others",
        f"Made by `python -m benchmarks.independent`. {where['cpu']}, {where['system']}, one thread, "
        f"{record['size_px']} px; {num_rounds} rounds of {record['runs']} runs each, one loop after the other.",
        Table.of(columns, rows, left=["timed by", "onnxruntime"]),
    )


def _median(rounds: list[dict[str, Any]]) -> float:
    return Latency([value for found in rounds for value in found["milliseconds"]]).median


def main(
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILE", help="Default: two, of float32.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of both files.")] = FOLDER,
) -> None:
    """Time, write the record and its view, and print the view."""
    with tempfile.TemporaryDirectory() as folder:
        made = [export_extractor(o, Path(folder) / f"{name}.onnx") for name, o in DEFAULT.items()] if not files else []
        record = measure(files or made)
    view = to_markdown(record)
    write_json(output / "independent.json", record, indent=None)
    write_file(output / "independent.md", view.encode())
    print(view)


if __name__ == "__main__":
    typer.run(main)
