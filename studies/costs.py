"""What the reductions cost: the loss stage alone, a whole evaluation, and memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median, quantiles
from typing import Any

import torch

from studies import figures
from studies.findings import Costs
from studies.settings import ROOT, Settings, photo, recipe, scaled, style
from studies.store import Record, Store
from stylecore.encoders import STYLE_LAYERS, Encoder, load_encoder
from stylecore.job import Job
from stylecore.losses import LayerStyles, StyleLoss
from stylecore.losses.basis import Components
from stylecore.losses.gram import GramLoss
from stylecore.losses.pca import PCALoss
from stylecore.losses.statistics import Features
from stylecore.measured_run import in_turns
from stylecore.profiling import STAGES, seconds_by_stage

NAME = "costs"
PAIR = ("astronaut", "flow_strokes")
REDUCED = ("25%", "12.5%")  # of N, beside the full Gram
EVALUATIONS: dict[str, dict[str, Any]] = {
    "gram": {"loss": "gram"},
    "pca 12.5%": {"loss": "pca", "components": "12.5%"},
    "svd": {"loss": "svd"},
    "pca-paper": {"loss": "pca-paper"},
    "svd-paper": {"loss": "svd-paper"},
}
SHARED = ("encoder_forward", "encoder_backward", "optimizer")  # stages that do the same work whatever the loss
WARM_UPS = 2


def run(store: Store) -> None:
    settings = store.settings
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        store.part(NAME, f"loss stage {name}", partial(loss_stage, settings, dtype))
    store.part(NAME, "evaluation", partial(evaluations, settings, store.encoder, EVALUATIONS))
    store.part(NAME, "memory", partial(memory, settings))


def loss_stage(settings: Settings, dtype: torch.dtype) -> Record:
    """Seconds of loss and gradient with respect to the features, by layer: the full Gram and `pca` in turns."""
    network = load_encoder("vgg16", dtype=dtype)
    content, picture = (scaled(image, settings.cost_size_px) for image in (photo(PAIR[0]), style(PAIR[1])))
    with torch.no_grad():
        of_content, of_style = network(content, STYLE_LAYERS), network(picture, STYLE_LAYERS)
    cells = [(layer, name) for layer in STYLE_LAYERS for name in ("gram", *REDUCED)]
    runs = [partial(_evaluate, _make_loss(name, layer, of_style[layer]), of_content[layer]) for layer, name in cells]
    samples = in_turns(runs, min_runs=settings.cost_repeats, warm_up=WARM_UPS)
    seconds: dict[str, dict[str, list[float]]] = {layer: {} for layer in STYLE_LAYERS}
    for (layer, name), taken in zip(cells, samples, strict=True):
        seconds[layer][name] = taken
    return summary(seconds)


def _make_loss(name: str, layer: str, features: Features) -> StyleLoss:
    """`gram`, or `pca` with that share of components."""
    styles = LayerStyles(layer, [features], [1.0])
    if name == "gram":
        return GramLoss(styles, GramLoss.Options())
    return PCALoss(styles, PCALoss.Options(components=Components.parse(name)))


def _evaluate(loss: StyleLoss, features: Features) -> None:
    leaf = features.detach().requires_grad_(True)
    torch.autograd.grad(loss(leaf), leaf)


def summary(seconds: dict[str, dict[str, list[float]]]) -> Record:
    """Medians by layer and summed over the layers, and the full Gram's time over each reduced one's, repeat by repeat:
    median and quartiles."""
    names = list(next(iter(seconds.values())))
    summed = {
        name: [sum(round_) for round_ in zip(*(by[name] for by in seconds.values()), strict=True)] for name in names
    }
    rows = seconds | {"all": summed}
    milliseconds = {
        row: {name: round(1e3 * median(found), 4) for name, found in by.items()} for row, by in rows.items()
    }
    ratios = {row: {name: _ratio(by["gram"], by[name]) for name in names[1:]} for row, by in rows.items()}
    return {"milliseconds": milliseconds, "ratios": ratios}


def _ratio(full: Sequence[float], reduced: Sequence[float]) -> dict[str, float]:
    ratios = [a / b for a, b in zip(full, reduced, strict=True)]
    low, middle, high = quantiles(ratios, n=4)
    return {"low": round(low, 3), "median": round(middle, 3), "high": round(high, 3)}


def evaluations(settings: Settings, encoder: Encoder, variants: Mapping[str, Mapping[str, object]]) -> Record:
    """Milliseconds of the stages of one evaluation by variant: medians over rounds, the variants in turns.

    Encoder and optimiser do the same work whatever the loss: their medians are over all losses' rounds.
    """
    content, picture = photo(PAIR[0]), style(PAIR[1])
    image = scaled(content, settings.cost_size_px)
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    for _ in range(settings.cost_rounds):
        for name, options in variants.items():
            config = recipe(settings, size=settings.cost_size_px, **options)
            rounds[name].append(seconds_by_stage(image, Job(content, (picture,), config), encoder, num_repeats=3))
    everything = [one for found in rounds.values() for one in found]
    return {
        "milliseconds": {
            name: {
                stage: round(1e3 * median(one[stage] for one in (everything if stage in SHARED else found)), 3)
                for stage in STAGES
            }
            for name, found in rounds.items()
        }
    }


# Runs in a process of its own, whose peak the kernel counts: VmHWM, set back by writing 5 to clear_refs.
MEASURE = """
import sys
from pathlib import Path
import torch
from stylecore.losses import LayerStyles, find_loss

def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))

name, height, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
kind = find_loss(name)
loss = kind(LayerStyles("relu1_1", [torch.randn(1, 64, 64, 64)], [1.0]), kind.Options())
small = torch.randn(1, 64, 32, 32, requires_grad=True)
loss(small).backward()  # loads what the first use loads
features = torch.randn(1, 64, height, width).requires_grad_(True)
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
loss.refresh(loss.survey(features.detach()))
loss(features).backward()
print(status("VmHWM") - before)
"""


def memory(settings: Settings) -> Record:
    """Peak MiB of loss and gradient at relu1_1 beyond F, by loss; its own gradient, as large as F, is in it."""
    if sys.platform != "linux":
        raise SystemExit("The study reads peak memory from /proc: run it on Linux.")
    height, width = settings.memory_size_px
    beyond = {}
    for name in ("gram", "pca", "svd"):
        command = [sys.executable, "-c", MEASURE, name, str(height), str(width)]
        output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=300).stdout
        beyond[name] = round(float(output), 1)
    positions = height * width
    return {
        "beyond_features_mib": beyond,
        "features_mib": round(64 * positions * 4 / 2**20, 1),
        "positions_squared_gib": round(positions**2 * 4 / 2**30, 2),
    }


def draw(store: Store) -> None:
    store.write_figure("costs.png", figures.costs_png(Costs(store.parts(NAME))))
