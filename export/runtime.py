"""Stylization with numpy, Pillow and onnxruntime alone. Every bundle carries it along, joined with `pictures.py` into
one file.

    python runtime.py CONTENT STYLE -o OUT.png

What is optimised lies in two graphs beside this file: `targets.onnx` turns an image into what the step compares with,
`step.onnx` is one evaluation of the loss and one step of the optimiser. `manifest.json` says how they were meant to be
used.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys

if __name__ == "__main__":

    def stop(*_: object) -> None:
        """Ctrl-C and SIGTERM while the imports below load: an exception could come out of them as any error."""
        os.write(2, b"stylize: Stopped before anything was begun.\n")
        os._exit(130)

    # A shell has what runs in the background ignore them.
    heard = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    for number in heard:
        signal.signal(number, stop)
    try:
        for module, member in (("numpy", "ndarray"), ("onnxruntime", "InferenceSession"), ("PIL.Image", "Image")):
            getattr(importlib.import_module(module), member)
    except (ImportError, AttributeError) as error:  # the second: a folder of that name
        print(f"stylize: {error}: pip install numpy pillow onnxruntime.", file=sys.stderr)
        sys.exit(2)

import argparse
import hashlib
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
import onnxruntime as ort

from .manifest import (
    FORMAT,
    MAX_STEPS,
    MAX_WEIGHT,
    Manifest,
    Recipe,
    SlotFields,
    StageFields,
    find_fault,
)
from .pictures import (
    LEVELS,
    MAX_SIDE_PX,
    MIN_SIDE_PX,
    Array,
    ModelError,
    check_output,
    check_sides,
    fit,
    load_image,
    resize,
    save_png,
)

if not hasattr(ort, "InferenceSession"):  # a folder of that name, such as a clone of its repository
    raise ImportError("what is called onnxruntime here is another thing", name="onnxruntime")

Values = dict[str, Array]  # by the names of a graph's inputs and outputs

MIN_STAGE_PX = 64  # of the shorter side: below, the deepest layer is left with a handful of positions
MAX_THREADS, MAX_SEED = 256, 2**63 - 1
SMALLEST = 1e-12  # mean square of a target that a term is divided by: a black picture's is 0
# Where sums of 16 bits saturate, a step of bytes, whose weights have 8 bits, makes wrong pictures without this. Weights
# of 7 bits, an extractor's, are none the slower for it; with VNNI all others are, for nothing.
WITHOUT_VNNI = {"session.x64quantprecision": "1"}


def session_config() -> dict[str, str]:
    """The options of every onnxruntime session here."""
    # Threads that wait must not take a core from those that run, in this process or another.
    return {"session.intra_op.allow_spinning": "0"} | (WITHOUT_VNNI if lacks_vnni() else {})


def lacks_vnni(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether Linux says that this is an x86 CPU without VNNI; False where nothing says so."""
    try:
        flags = cpuinfo.read_text()
    except OSError:
        return False
    return "avx2" in flags and "vnni" not in flags


def open_session(
    path: Path,
    num_threads: int = 0,
    providers: Sequence[Any] = ("CPUExecutionProvider",),
    profile_prefix: str | None = None,
    memory_pattern: bool = True,
) -> ort.InferenceSession:
    """An onnxruntime session; 0 threads: one a core. Raises a ModelError for whatever keeps a file from running."""
    if not os.path.isfile(path):  # noqa: PTH113 - no name, however long, is an error here
        raise ModelError(f"There is no model file '{path}'.")
    options = ort.SessionOptions()
    options.log_severity_level = 4  # errors are raised below; onnxruntime would print them as well
    options.intra_op_num_threads = num_threads
    for key, value in session_config().items():
        options.add_session_config_entry(key, value)
    options.enable_mem_pattern = memory_pattern
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile_prefix
    try:
        return ort.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:  # onnxruntime has a dozen kinds, all of them the file's fault here
        raise ModelError(f"'{path}' cannot be used: {_reason(str(error))}.") from error


def run_session(session: ort.InferenceSession, outputs: Sequence[str], inputs: Values) -> Values:
    """The outputs by name. Raises a ModelError where onnxruntime cannot compute them."""
    try:
        return dict(zip(outputs, session.run(outputs, inputs), strict=True))
    except Exception as error:  # of as many kinds
        raise ModelError(f"The model could not be computed: {_reason(str(error))}.") from error


# What onnxruntime says, and words that help.
REASONS = {
    r"allocat|bad_alloc": "it does not fit into memory, so choose a smaller --size",
    r"opset.*support": "it needs a newer onnxruntime (its opset is not supported): pip install --upgrade onnxruntime",
    r"IR version": "it needs a newer onnxruntime (its form is not supported): pip install --upgrade onnxruntime",
    r"No Op registered for (\w+)|error: (\S+)\(.*is not a registered": "this onnxruntime lacks its operator {}: pip "
    "install --upgrade onnxruntime",
    r"(?i)external.*(file|data)": "the file with its weights is missing or damaged: keep the files of a model in one "
    "folder",
    r"Protobuf parsing failed|No graph was found": "it is damaged, cut short or no ONNX model: export it again",
}


def _reason(message: str) -> str:
    """onnxruntime's message in words that help."""
    line = " ".join(message.split())
    for pattern, words in REASONS.items():
        if found := re.search(pattern, line):
            return words.format(*filter(None, found.groups()))
    return f"onnxruntime says '{line[:200]}'"


@dataclass(frozen=True)
class Step:
    """One evaluation and the image after the step it led to."""

    index: int  # 1 .. total, over all scales
    total: int
    image: Array  # (1, 3, H, W) in [0, 1]
    loss: float  # before the step


class Bundle:
    """A folder that `stylecore export bundle` wrote, checked against its manifest.

    Args:
        folder: with manifest.json and the files it names.
        num_threads: of onnxruntime; 0: one a core.

    Raises:
        ModelError: a file is missing, or is not the one that the manifest was written for.
    """

    def __init__(self, folder: Path, num_threads: int = 0) -> None:
        self.manifest = read_manifest(folder)
        self.config: Recipe = self.manifest["config"]
        self.slots: dict[str, SlotFields] = self.manifest["state"]
        for name, checksum in self.manifest["files"].items():
            _check_file(folder / name, checksum)
        # A pattern is made after a first run and held beside what that took: 200 MiB at 256 px, for 2 % of the time.
        self.targets = open_session(folder / "targets.onnx", num_threads, memory_pattern=False)
        self.step = open_session(folder / "step.onnx", num_threads, memory_pattern=False)
        self._check_graphs()

    def _check_graphs(self) -> None:
        """Whether the graphs take and give what the manifest says."""
        config, inputs = self.config, {node.name: node.shape for node in self.step.get_inputs()}
        terms = [f"content_{layer}" for layer in config["content_layers"]]
        terms += [f"gram_{layer}" for layer in config["style_layers"]]
        projected = config["style_layers"] if config["loss"] == "pca" else []
        fixed = {*terms, *(f"weight_{term}" for term in terms), *(f"components_{layer}" for layer in projected)}
        made = {node.name for node in self.targets.get_outputs()}
        known = {node.name for node in self.step.get_outputs()} | self.slots.keys()
        if not (
            inputs.keys() == fixed | self.slots.keys()
            and "image" in self.slots
            and self.slots["image"]["start"] == "image"
            and all(len(inputs[name]) in (0, 4) for name in self.slots)
            and {*terms, *(f"mean_{layer}" for layer in projected)} <= made
            and {"loss", *(slot["next"] for slot in self.slots.values())} <= known
            and set(projected) <= self.manifest["num_components"].keys()
        ):
            raise ModelError(
                "The bundle's graphs are not what its manifest says: make it again with stylecore export bundle."
            )

    def stylize_steps(
        self,
        content: Array,
        style: Array,
        *,
        size: int | None = None,
        num_steps: int | None = None,
        style_weight: float = 1.0,
        seed: int = 0,
    ) -> Iterator[Step]:
        """Stylize step by step, coarse to fine.

        Args:
            content, style: (1, 3, H, W) in [0, 1].
            size: longer side of the result in px; default: the config's.
            num_steps: over all scales; default: the config's.
            style_weight: times the config's; larger is more painting, less photo.
            seed: of the noise, where the config starts from noise.
        """
        config = self.config
        longer_side, total = size or config["size"], num_steps or config["num_steps"]
        stages = plan_stages(config["stages"], content.shape, longer_side, total)
        check_sides(content, style, longer_side)
        image = self._first_image(fit(content, stages[0][0]), style, seed)
        index = 0
        for side, number in stages:
            content_here = fit(content, side)
            style_here = fit(style, round(max(content_here.shape) * self._style_scale), MIN_SIDE_PX)
            fixed = self._targets(content_here, style_here, style_weight)
            state = self._first_state(resize(image, *content_here.shape[2:]) * np.float32(LEVELS))
            for _ in range(number):
                values = self._step(state | fixed)
                state = {name: values[slot["next"]] for name, slot in self.slots.items()}
                index += 1
                image = state["image"].clip(0, LEVELS) / np.float32(LEVELS)
                yield Step(index, total, image, float(values["loss"]))

    @property
    def _style_scale(self) -> float:
        """The style's longer side over the result's."""
        config = self.config
        return config["style_size"] / config["size"] if config["style_size"] else config["style_scale"]

    def _first_image(self, content: Array, style: Array, seed: int) -> Array:
        if self.config["init"] == "style_statistics":
            return match_colors(content, style)
        return content if self.config["init"] == "content" else _noise(content.shape, seed)

    def _first_state(self, image: Array) -> Values:
        """The step's inputs that change, before the first step from `image` (1, 3, H, W), in 8-bit levels."""
        is_scalar = {node.name: not node.shape for node in self.step.get_inputs()}  # all others have the image's shape
        zeros = {name: np.zeros(() if is_scalar[name] else image.shape, np.float32) for name in self.slots}
        return {name: image if slot["start"] == "image" else zeros[name] for name, slot in self.slots.items()}

    def _step(self, inputs: Values) -> Values:
        """One step: its inputs, and what it made of them. Handing OrtValues over instead of arrays was no faster."""
        outputs = [slot["next"] for slot in self.slots.values() if slot["next"] not in self.slots] + ["loss"]
        return inputs | run_session(self.step, outputs, inputs)

    def _targets(self, content: Array, style: Array, style_weight: float) -> Values:
        """What the step compares with, and the weights of the terms, by the names of its inputs."""
        config = self.config
        names = [output.name for output in self.targets.get_outputs()]
        of_content = run_session(self.targets, names, {"image": content})
        of_style = run_session(self.targets, names, {"image": style})
        targets: Values = {}
        for layer, weight in zip(config["content_layers"], config["content_layer_weights"], strict=True):
            name = f"content_{layer}"
            targets |= {name: of_content[name]}
            targets |= self._weight(name, config["content_weight"] * weight, of_content[name])
        for layer, weight in zip(config["style_layers"], config["style_layer_weights"], strict=True):
            name, gram = f"gram_{layer}", of_style[f"gram_{layer}"]
            targets |= self._weight(name, style_weight * config["style_weight"] * weight, gram)
            if config["loss"] == "pca":
                count = self.manifest["num_components"][layer]
                basis = fit_basis(gram[0], of_style[f"mean_{layer}"][0], count, config["centered"])
                targets |= {f"components_{layer}": basis}
                gram = basis.T @ gram @ basis
            targets |= {name: gram}
        return targets

    def _weight(self, name: str, weight: float, target: Array) -> Values:
        """A term's weight, over its target's mean square where the config's terms are relative to their targets."""
        unit = max(float(np.square(target).mean()), SMALLEST) if self.config["terms"] == "relative" else 1.0
        return {f"weight_{name}": np.array(weight / unit, np.float32)}


def read_manifest(folder: Path) -> Manifest:
    """A bundle's manifest. Raises a ModelError for whatever is none, or of another version."""
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"'{folder}' is no bundle: make one with stylecore export bundle -o DIR.") from error
    if isinstance(manifest, dict) and manifest.get("format", FORMAT) != FORMAT:
        raise ModelError(f"'{path}' has another format: use the runtime.py in its own folder.")
    fault = find_fault(manifest, Manifest, "it")
    for kind in ("content", "style"):
        if not fault and len(manifest["config"][f"{kind}_layers"]) != len(manifest["config"][f"{kind}_layer_weights"]):
            fault = f"'{kind}_layer_weights' must have a weight for each of its layers"
    if fault:
        raise ModelError(f"'{path}' is damaged ({fault}): make the bundle again with stylecore export bundle.")
    return cast(Manifest, manifest)


def _check_file(path: Path, checksum: str) -> None:
    if not path.is_file():
        raise ModelError(f"The bundle lacks '{path.name}': make it again with stylecore export bundle.")
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"The bundle's '{path.name}' may not be read: {error.strerror}.") from error
    if found != checksum:
        raise ModelError(f"'{path.name}' is damaged or not of this bundle: its checksum is not the manifest's.")


def _noise(shape: tuple[int, ...], seed: int) -> Array:
    noise = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return (0.5 + 0.25 * noise).clip(0, 1)


def match_colors(image: Array, reference: Array) -> Array:
    """`image` with the mean and covariance of `reference`'s colours, as the library's `color.match_colors` gives it."""
    (mean, covariance), (goal_mean, goal_covariance) = _color_statistics(image), _color_statistics(reference)
    root, inverse_root = _power(covariance, 0.5), _power(covariance, -0.5)
    transport = inverse_root @ _power(root @ goal_covariance @ root, 0.5) @ inverse_root
    matched = transport @ (image[0].reshape(3, -1) - mean) + goal_mean
    return matched.reshape(image.shape).clip(0, 1).astype(np.float32)


def _color_statistics(image: Array) -> tuple[Array, Array]:
    """Mean (3, 1) and covariance (3, 3) of the pixels, in float64 without a copy of them in it."""
    pixels = image[0].reshape(3, -1)
    mean = pixels.mean(1, dtype=np.float64, keepdims=True)
    moment = np.einsum("im,jm->ij", pixels, pixels, dtype=np.float64) / pixels.shape[1]
    return mean, moment - mean @ mean.T + 1e-6 * np.eye(3)  # the ridge keeps a grey image invertible


def _power(matrix: Array, exponent: float) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values.clip(1e-12) ** exponent) @ vectors.T


def fit_basis(gram: Array, mean: Array, num_components: int, centered: bool) -> Array:
    """The strongest eigenvectors of F F^T / M, less the mean's part if `centered`: (N, K), orthonormal columns."""
    moment = gram.astype(np.float64) - (np.outer(mean, mean.astype(np.float64)) if centered else 0)
    return np.linalg.eigh(moment)[1][:, ::-1][:, :num_components].astype(np.float32)


def plan_stages(
    stages: Sequence[StageFields], shape: Sequence[int], longer_side: int, num_steps: int
) -> list[tuple[int, int]]:
    """(longer side in px, steps) of each stage, as the library plans them for a content image of `shape`.

    Stages before the last that would be too small to show a style are left out, and the next one has their shares. The
    steps are divided by the shares, with at least one for the last; a stage that gets no step is left out too.
    """
    sides = [max(1, round(longer_side * stage["scale"])) for stage in stages]
    shorter = min(shape[2:]) / max(shape[2:])
    used = [i for i, side in enumerate(sides) if round(side * shorter) >= MIN_STAGE_PX or i == len(sides) - 1]
    shares = np.cumsum([stage["share"] for stage in stages])[used]
    bounds = [min(round(num_steps * share / shares[-1]), num_steps - 1) for share in shares[:-1]] + [num_steps]
    steps = [int(end - begin) for begin, end in zip([0, *bounds], bounds, strict=False)]
    return [(sides[i], number) for i, number in zip(used, steps, strict=True) if number]


def peak_memory_mib() -> float | None:
    """The most memory that this process has held, in MiB; None where the system does not say.

    Not `getrusage` on Linux: there a process inherits the peak of the one that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


@dataclass(frozen=True)
class Job:
    """What the command line asks for."""

    content: str
    style: str
    output: Path
    models: Path
    size: int | None = None
    num_steps: int | None = None
    style_weight: float = 1.0
    seed: int = 0
    num_threads: int = 0
    overwrite: bool = False


def run_job(job: Job) -> dict[str, Any]:
    """Stylize and save; returns the record that `--json` prints, with the keys of `stylecore stylize`.

    Raises:
        ModelError: bad input, before anything slow is done.
    """
    started = time.perf_counter()
    _check_numbers(job)
    target = check_output(job.output, (job.content, job.style), job.overwrite)
    content, style = load_image(job.content), load_image(job.style)
    bundle = Bundle(job.models, job.num_threads)
    ready = time.perf_counter()
    options = {"size": job.size, "num_steps": job.num_steps, "style_weight": job.style_weight, "seed": job.seed}
    for step in bundle.stylize_steps(content, style, **options):  # type: ignore[arg-type]
        if not np.isfinite(step.loss):
            raise ModelError("The optimisation left the finite numbers: lower --style-weight.")
        last = step
    save_png(last.image, target)
    config = {name: value for name, value in options.items() if value is not None and name != "style_weight"}
    config["style_weight"] = bundle.config["style_weight"] * job.style_weight
    peak = peak_memory_mib()
    return {
        "output": str(job.output),
        "seconds": round(time.perf_counter() - ready, 3),
        "num_steps": last.index,
        "device": "cpu",
        "dtype": "float32",
        "encoder": bundle.config["encoder"],
        "loss": bundle.config["loss"],
        "size_px": list(last.image.shape[2:]),
        "peak_memory_mib": None if peak is None else round(peak),
        "config": {**bundle.config, **config},
        "seconds_setup": round(ready - started, 3),
    }


def _check_numbers(job: Job) -> None:
    ranges: dict[str, tuple[float | None, int, int]] = {
        "--size": (job.size, 4 * MIN_SIDE_PX, MAX_SIDE_PX),
        "--steps": (job.num_steps, 1, MAX_STEPS),
        "--style-weight": (job.style_weight, 0, MAX_WEIGHT),
        "--seed": (job.seed, 0, MAX_SEED),
        "--threads": (job.num_threads, 0, MAX_THREADS),
    }
    for option, (value, low, high) in ranges.items():
        if value is not None and not low <= value <= high:  # nor is NaN within
            raise ModelError(f"{option} must be between {low} and {high}, not {value}.")


def sentence(record: dict[str, Any]) -> str:
    """A record in words."""
    height, width = record["size_px"]
    return f"{record['output']}: {width}x{height} px, {record['num_steps']} steps in {record['seconds']:.1f} s."


class Parser(argparse.ArgumentParser):
    """One whose errors are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        raise ModelError(f"{message}: --help has the options.")


def parse(arguments: Sequence[str] | None) -> tuple[Job, bool]:
    """What is asked for, and whether as JSON. Raises a ModelError for what cannot be understood."""
    parser = Parser(description="Paint CONTENT in the manner of STYLE with onnxruntime alone.")
    parser.add_argument("content", metavar="CONTENT", help="the photo")
    parser.add_argument("style", metavar="STYLE", help="the picture")
    parser.add_argument("-o", "--output", type=Path, default=Path("stylized.png"), help="the PNG to write")
    parser.add_argument("--models", type=Path, default=Path(__file__).parent, help="the bundle's folder")
    parser.add_argument("--size", type=int, help="longer side of the result in px")
    parser.add_argument("--steps", type=int, dest="num_steps", help="optimisation steps over all scales")
    parser.add_argument("--style-weight", type=float, default=1.0, help="from photo (0.01) to painting (10)")
    parser.add_argument("--seed", type=int, default=0, help="of a noise start")
    parser.add_argument("--threads", type=int, dest="num_threads", default=0, help="0: one a core")
    parser.add_argument("--overwrite", action="store_true", help="the output may be one of the inputs")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")
    options = vars(parser.parse_args(arguments))
    as_json = options.pop("as_json")
    return Job(**options), as_json


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of a bundle. Returns the exit status: 0, 1 if stdout fails, 2 for bad input, 130 for Ctrl-C."""
    try:
        job, as_json = parse(arguments)
        record = run_job(job)
        print(json.dumps(record) if as_json else sentence(record), flush=True)
        return 0
    except ModelError as error:
        message, status = str(error), 2
    except KeyboardInterrupt:
        message, status = "Stopped: nothing was written.", 130
    except OSError as error:  # stdout is on a full disk, or its reader has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python tries once more at its end
        message, status = f"The result could not be printed: {error.strerror}.", 1
    print(f"stylize: {' '.join(message.split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    for number in heard:
        signal.signal(number, signal.default_int_handler)
    if sys.stdout is not None:  # None: closed
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a terminal may lack a letter
    sys.exit(main())
