"""Other people's runtimes: whether they run a file of ours, what comes out, and how fast. None of them is needed.

A new one is a function from a file and its feeds to `Ran`, in `RUNTIMES`.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch

from stylecore.encoders import load_encoder
from stylecore.errors import unknown

from .extractor import open_extractor
from .graphs import Extractor
from .runtime import Array, ModelError, Values, open_session

WEB_RUNNER = Path(__file__).with_name("web") / "run.mjs"


class MissingRuntimeError(ModelError):
    """A runtime is not installed: the message says how to get it."""


@dataclass(frozen=True)
class Ran:
    """What a runtime made of a file."""

    version: str
    outputs: list[list[Array]]  # of each feed, in the file's order
    milliseconds: list[float]  # of every run after the first of each feed


Run = Callable[[Path, Sequence[Values], int], Ran]  # file, feeds, runs of each feed that are timed


@dataclass(frozen=True)
class Runtime:
    """One of them."""

    title: str
    run: Run


def _timed(run: Callable[[Values], Sequence[Array]], feeds: Sequence[Values], repeats: int, version: str) -> Ran:
    outputs, milliseconds = [], []
    for feed in feeds:
        found = run(feed)
        for _ in range(repeats):
            started = time.perf_counter()
            found = run(feed)
            milliseconds.append(1e3 * (time.perf_counter() - started))
        outputs.append([np.array(value) for value in found])
    return Ran(version, outputs, milliseconds)


def run_onnxruntime(path: Path, feeds: Sequence[Values], repeats: int) -> Ran:
    """onnxruntime on one thread of the CPU, what the others are compared with."""
    session = open_session(path, 1)
    return _timed(lambda feed: session.run(None, feed), feeds, repeats, ort.__version__)


def run_reference(path: Path, feeds: Sequence[Values], repeats: int) -> Ran:
    """The evaluator that defines what ONNX's operators mean; in numpy, and slow."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(path))
    return _timed(lambda feed: list(evaluator.run(None, feed)), feeds, repeats, onnx.__version__)


def run_openvino(path: Path, feeds: Sequence[Values], repeats: int) -> Ran:
    """OpenVINO on one thread of the CPU, in float32 where the file is."""
    try:
        import openvino
    except ImportError:
        raise MissingRuntimeError("OpenVINO is not installed: pip install 'stylecore[openvino]'.") from None
    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(str(path), "CPU", options)
    return _timed(lambda feed: list(model(feed).values()), feeds, repeats, openvino.__version__.partition("-")[0])


def run_litert(path: Path, feeds: Sequence[Values], repeats: int) -> Ran:
    """LiteRT on one thread of the CPU: of an extractor in float32 its twin, which is converted from torch."""
    try:
        import litert_torch
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise MissingRuntimeError(
            "LiteRT is not installed: pip install 'stylecore[export,litert]' in an environment of its own."
        ) from None
    options = open_extractor(path).options
    if options.precision != "fp32":
        raise ModelError(f"LiteRT has no twin of '{path}': name an extractor in fp32.")
    encoder = load_encoder(options.encoder)
    for parameter in encoder.parameters():  # its converter reads large tensors as if they lay in torch's usual order
        parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)
    module = Extractor(encoder, options.layers, options.outputs, options.pixels).eval()
    parts = []
    for feed in feeds:  # a twin's sizes are fixed
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            twin = litert_torch.convert(module, tuple(map(torch.from_numpy, feed.values())))
            content = twin.model_content()
        twin.set_interpreter_builder(partial(Interpreter, model_content=content, num_threads=1))
        parts.append(_timed(partial(_run_twin, twin), [feed], repeats, ""))
    outputs = [output for part in parts for output in part.outputs]
    return Ran(version("ai-edge-litert"), outputs, [took for part in parts for took in part.milliseconds])


def _run_twin(twin: Any, feed: Values) -> list[Array]:
    outputs = twin(*feed.values())
    return [outputs] if isinstance(outputs, np.ndarray) else list(outputs)


def run_web(path: Path, feeds: Sequence[Values], repeats: int) -> Ran:
    """onnxruntime-web in Node, WebAssembly on one thread: what a browser without WebGPU computes."""
    import onnx

    node = shutil.which("node")
    if node is None:
        raise MissingRuntimeError("Node.js is not installed: get it from nodejs.org, then npm install onnxruntime-web.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save_model(onnx.load(path), folder / "model.onnx")  # one file, weights included
        described = [_write_feed(feed, index, folder) for index, feed in enumerate(feeds)]
        (folder / "feeds.json").write_text(json.dumps(described), encoding="utf-8")
        command = [node, str(WEB_RUNNER), str(folder), str(repeats)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "Cannot find module 'onnxruntime-web'" in done.stderr:
            raise MissingRuntimeError("onnxruntime-web is not in this folder: npm install onnxruntime-web here.")
        if done.returncode:
            raise ModelError(f"onnxruntime-web does not run '{path}': {_reason(done.stderr)}")
        record = json.loads((folder / "outputs.json").read_text(encoding="utf-8"))
        outputs = [[_read_output(output, folder) for output in of_feed] for of_feed in record["outputs"]]
    return Ran(record["version"], outputs, record["milliseconds"])


def _write_feed(feed: Values, index: int, folder: Path) -> dict[str, Any]:
    described = {}
    for name, value in feed.items():
        file = f"feed_{index}_{name}.bin"
        (folder / file).write_bytes(value.tobytes())
        described[name] = {"type": str(value.dtype), "dims": list(value.shape), "file": file}
    return described


def _read_output(described: Mapping[str, Any], folder: Path) -> Array:
    data = (folder / described["file"]).read_bytes()
    return np.frombuffer(data, dtype=described["type"]).reshape(described["dims"])


def _reason(text: str) -> str:
    """The line of a foreign message that says most."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "rror" in line]
    return (errors or lines or ["it said nothing"])[0][:300]


RUNTIMES = {
    "onnxruntime": Runtime("onnxruntime", run_onnxruntime),
    "reference": Runtime("ONNX reference evaluator", run_reference),
    "openvino": Runtime("OpenVINO", run_openvino),
    "web": Runtime("onnxruntime-web", run_web),
    "litert": Runtime("LiteRT", run_litert),
}


def find_runtime(name: str) -> Runtime:
    """The runtime of that name. Raises an OptionError if it is unknown."""
    if name not in RUNTIMES:
        raise unknown("runtime", name, RUNTIMES)
    return RUNTIMES[name]


def run_on(name: str, path: Path, feeds: Sequence[Values], repeats: int = 0) -> Ran:
    """A file's outputs on a runtime.

    Raises:
        OptionError: it is unknown.
        MissingRuntimeError: it is not installed.
        ModelError: it does not run the file.
    """
    runtime = find_runtime(name)
    try:
        return runtime.run(path, feeds, repeats)
    except ModelError:
        raise
    except Exception as error:  # each has kinds of its own
        raise ModelError(f"{runtime.title} does not run '{path}': {_reason(str(error))}") from error
