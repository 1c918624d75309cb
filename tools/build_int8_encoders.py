"""Choose, fit, train and save the encoders that compute in eight bits, from fitting images alone.

python -m tools.build_int8_encoders [NAME ...] [--measure]      # about 40 minutes each on one core

Ranks are chosen by what a convolution of each shape takes in bytes under onnxruntime: `--measure` measures that anew
and writes docs/benchmarks/int8_costs.json, else that file is read. Writes each layer's relative error of its features
on evaluation images, rounded, before and after training to docs/benchmarks/int8_encoders.json and .md, and prints the
checksum that `stylecore.encoders.ENCODERS` has to hold.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
import typer
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save
from stylecore_export.benchmark import bench_images
from stylecore_export.quantize import fitting_images, floors_of
from torch import nn

from stylecore.devices import environment
from stylecore.encoders import ENCODERS, Encoder, Layer, load_encoder
from stylecore.encoders.distill import LAYERS, distill, feature_loss, random_crops
from stylecore.encoders.reduce import FIRST, SAMPLE, SIDE_PX, Cost, choose_ranks, layer_gains, split_encoder
from stylecore.encoders.rounding import RoundingEncoder, packed
from stylecore.encoders.weights import BUNDLED
from stylecore.files import write_file, write_json
from stylecore.report import Table, document
from stylecore.sample_images import FITTING, FITTING_STYLES, load_photo, load_style
from tools.build_reduced_encoders import CROP_PX, NUM_CROPS, paint

# name -> share of the whole network's milliseconds in bytes that its convolutions may take, and steps of training. The
# last one stays whole: no later layer makes up for what is dropped there.
PLANS = {"vgg16-q2": (0.54, 2000), "vgg16-q3": (0.38, 1900)}
LAST = "conv5_1"
LEARNING_RATE, CROPS, SEED = 1.2e-3, (3, 160), 5
WATCHED = 3  # so many of the fitting images tell where ranges begin
DOCS = Path(__file__).parent.parent / "docs" / "benchmarks"
COSTS, RECORDS = DOCS / "int8_costs.json", DOCS / "int8_encoders.json"
RANKS = (16, 32, 64, 96, 128, 192, 256)  # measured; between them a line
RUNS = 9


def measured_costs(encoder: Encoder) -> dict[str, dict[int, float]]:
    """Milliseconds of each convolution but the first in bytes with K directions, N_in for the whole one; the least of
    several runs in turns, on one thread."""
    found: dict[str, dict[int, float]] = {}
    for name, conv in list(encoder.convs.items())[1:]:
        assert isinstance(conv, nn.Conv2d)
        num_in, num_out = conv.in_channels, conv.out_channels
        side = SIDE_PX // Layer.parse(name).stride
        shapes = {rank: [(rank, 1), (num_out, 3)] for rank in RANKS if rank < num_in} | {num_in: [(num_out, 3)]}
        sessions = {rank: _session(num_in, convs, side) for rank, convs in shapes.items()}
        image = np.random.default_rng(0).integers(0, 256, (1, num_in, side, side), np.uint8)
        milliseconds: dict[int, list[float]] = {rank: [] for rank in sessions}
        for _ in range(RUNS):
            for rank, session in sessions.items():
                started = time.perf_counter()
                session.run(None, {"x": image})
                milliseconds[rank].append(1e3 * (time.perf_counter() - started))
        found[name] = {rank: round(min(values), 3) for rank, values in milliseconds.items()}
    return found


def _session(num_in: int, convs: Sequence[tuple[int, int]], side: int) -> ort.InferenceSession:
    """Convolutions of (output channels, kernel's side), the last with ReLU, from bytes to bytes."""
    constants: dict[str, Any] = {"step": np.float32(0.02), "zero": np.uint8(0), "middle": np.uint8(128)}
    nodes = [helper.make_node("DequantizeLinear", ["x", "step", "zero"], ["value0"])]
    for number, (num_out, kernel) in enumerate(convs):
        is_last, last = number == len(convs) - 1, f"value{number}"
        constants[f"bytes{number}"] = np.ones((num_out, num_in, kernel, kernel), np.int8)
        constants[f"steps{number}"] = np.full(num_out, 1e-3, np.float32)
        weight = [f"bytes{number}", f"steps{number}"]
        nodes.append(helper.make_node("DequantizeLinear", weight, [f"weight{number}"], axis=0))
        padding = [kernel // 2] * 4
        nodes.append(helper.make_node("Conv", [last, f"weight{number}"], [f"sum{number}"], pads=padding))
        value = f"sum{number}"
        if is_last:
            nodes.append(helper.make_node("Relu", [value], ["positive"]))
            value = "positive"
        zero = "zero" if is_last else "middle"
        made = "y" if is_last else f"rounded{number}"
        nodes.append(helper.make_node("QuantizeLinear", [value, "step", zero], [made]))
        if not is_last:
            nodes.append(helper.make_node("DequantizeLinear", [made, "step", zero], [f"value{number + 1}"]))
        num_in = num_out
    ends = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, [1, channels, side, side])
        for name, channels in (("x", int(constants["bytes0"].shape[1])), ("y", num_in))
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "convolutions", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def cost_of(costs: dict[str, dict[int, float]]) -> Cost:
    """By lines between the measured ranks, and on from the last two."""

    def cost(name: str, rank: int) -> float:
        *split, whole = sorted(costs[name])
        if rank >= whole:
            return costs[name][whole]
        if rank > split[-1]:
            slope = (costs[name][split[-1]] - costs[name][split[-2]]) / (split[-1] - split[-2])
            return costs[name][split[-1]] + slope * (rank - split[-1])
        return float(np.interp(rank, split, [costs[name][each] for each in split]))

    return cost


def build(name: str, costs: dict[str, dict[int, float]], teacher: Encoder) -> dict[str, Any]:
    """Fit, train and save one encoder; its record."""
    share, num_steps = PLANS[name]
    photos = [load_photo(each) for each in FITTING]
    images = photos + [load_style(each) for each in FITTING_STYLES]
    images = images + paint(teacher, photos, images, seed=7)
    crops = random_crops(images, NUM_CROPS, CROP_PX, torch.Generator().manual_seed(0)).split(1)
    cost, wholes = cost_of(costs), {layer: max(of_layer) for layer, of_layer in costs.items()}
    budget = share * sum(cost(layer, whole) for layer, whole in wholes.items()) - cost(LAST, wholes[LAST])
    inner = [layer for layer in teacher.convs if layer not in (FIRST, LAST)]
    gains = {layer: layer_gains(teacher, layer, crops[::SAMPLE]) for layer in inner}
    ranks = choose_ranks(gains, cost, budget) | {LAST: wholes[LAST]}
    split = split_encoder(teacher, crops, ranks, lambda *layer: print(*layer, flush=True))
    student = RoundingEncoder(split, floors_of(split), torch.bfloat16)
    with torch.no_grad():
        for image in fitting_images()[::WATCHED]:
            student(image, LAYERS)
    record = {"ranks": ranks, "fitted": errors(student, teacher)}
    fast_teacher = load_encoder(dtype=torch.bfloat16)
    options: dict[str, Any] = {"loss": feature_loss, "learning_rate": LEARNING_RATE, "crops": CROPS}
    losses = distill(student, fast_teacher, images, num_steps=num_steps, seed=SEED, **options)
    for number, loss in enumerate(losses):
        if number % 50 == 0:
            print(f"step {number} loss {loss:.4f}", flush=True)
    record["trained"] = errors(student, teacher)
    tensors = packed(student, student.found_rounding())
    path = BUNDLED / ENCODERS[name].file
    metadata = {"architecture": teacher.architecture.name, "normalization": teacher.normalization}
    write_file(path, save({key: value.contiguous() for key, value in tensors.items()}, metadata))
    print(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}")
    return record | {"megabytes": round(path.stat().st_size / 1e6, 1)}


def errors(student: Encoder, teacher: Encoder) -> dict[str, float]:
    """The largest relative error of each layer's features over evaluation images, as the bench has it."""
    found = dict.fromkeys(LAYERS, 0.0)
    with torch.no_grad():
        for image in bench_images(SIDE_PX):
            of_student, of_teacher = student(image, LAYERS), teacher(image, LAYERS)
            for layer in LAYERS:
                error = (of_student[layer] - of_teacher[layer]).norm() / of_teacher[layer].norm()
                found[layer] = max(found[layer], round(float(error), 4))
    return found


def to_markdown(records: dict[str, dict[str, Any]]) -> str:
    """The records as a page."""
    columns = {"encoder": "{}", "MB": "{}", "": "{}"} | dict.fromkeys(LAYERS, "{:.3f}")
    rows = [
        [f"`{name}`", record["megabytes"], when, *record[when].values()]
        for name, record in records.items()
        for when in ("fitted", "trained")
    ]
    return document(
        "# Encoders trained in eight bits",
        "Made by `python -m tools.build_int8_encoders`: the largest relative error of each layer's features, rounded, "
        "over evaluation images that were never used in fitting, after the regression and after training.",
        Table.of(columns, rows, left=["encoder", ""]),
    )


def main(
    names: Annotated[list[str] | None, typer.Argument()] = None,
    measure: Annotated[bool, typer.Option("--measure")] = False,
) -> None:
    teacher = load_encoder()
    if measure:
        write_json(
            COSTS, {"cpu": environment(torch.device("cpu"))["device_name"], "milliseconds": measured_costs(teacher)}
        )
    stored = json.loads(COSTS.read_text())["milliseconds"]
    costs = {layer: {int(rank): value for rank, value in of_layer.items()} for layer, of_layer in stored.items()}
    for name in names or PLANS:
        record = build(name, costs, teacher)
        records = (json.loads(RECORDS.read_text()) if RECORDS.exists() else {}) | {name: record}
        write_json(RECORDS, records)
        write_file(RECORDS.with_suffix(".md"), to_markdown(records).encode())


if __name__ == "__main__":
    typer.run(main)
