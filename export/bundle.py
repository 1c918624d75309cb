"""`stylecore export step` and `bundle`: stylization as graphs, and all that it takes in one folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx.external_data_helper import set_external_data

import stylecore
from stylecore.config import StylizeConfig
from stylecore.encoders import Encoder, load_encoder
from stylecore.errors import OptionError, OutputError, unknown
from stylecore.files import check_folder, check_writable, reason
from stylecore.isolation import isolated
from stylecore.presets import make_config

from .calibration import calibrated
from .convolutions import HalfConv, StoredConv, with_stored_weights
from .graphs import StyleTargets, StylizeStep, check_exportable
from .manifest import FORMAT
from .optimizers import StepOptimizer, make_step_optimizer
from .progress import Track, untracked
from .tracing import TraceInputs, add_metadata, spell_out, tidy, trace, write_model

# The recipe without options: the library's preset, and what each optimiser changes of it.
BASE_PRESET = "preview"
DEFAULT_OPTIMIZER = "projected"
# The runtime only resamples between stages, which asks for more evaluations of the finest, and fits to the style alone.
RUNTIME_ONLY: dict[str, Any] = {"enlarge": "resample", "num_steps": 32, "stages": ("0.5:10", "1:22"), "basis": "style"}
DEFAULTS: dict[str, dict[str, Any]] = {
    "projected": {"history_size": 10},
    "adam": {"init": "content", "learning_rate": 6.0, "clamp": True, "num_steps": 120},
}

# What the convolutions multiply, forward and back; the rest of a step is float32.
STEP_PRECISIONS = {
    "fp32": "float32, weights of 8 bits",
    "fp16": "float16: for WebGPU and CUDA; CPUs compute it in float32, slower",
    "int8": "bytes: several times faster on most CPUs",
}
DEFAULT_PRECISION = "fp32"  # the ranges of int8 are measured on the photos of an extra

TRACED_PX = (96, 64)  # height, width: any at which every layer has several positions, and that differ
RUNTIME_PARTS = ("runtime", "manifest", "pictures")
WEIGHTS_FILE, MANIFEST = "weights.bin", "manifest.json"
ALIGNMENT = 64  # bytes: weights can be used where they lie in the file


def bundle_config(**options: Any) -> StylizeConfig:
    """The recipe of a step graph: what the runtime can do, its optimiser's `DEFAULTS`, and `options`, fields of
    the config, on top."""
    given = {field: value for field, value in options.items() if value is not None}
    given.setdefault("optimizer", DEFAULT_OPTIMIZER)
    return make_config(BASE_PRESET, **(RUNTIME_ONLY | DEFAULTS.get(given["optimizer"], {}) | given))


def num_components(config: StylizeConfig, encoder: Encoder) -> dict[str, int]:
    """K of each style layer for "pca"; else empty. Raises an OptionError for a share of the variance, which only a
    style could turn into a number."""
    if config.loss != "pca":
        return {}
    if config.components.variance is not None:
        raise OptionError("A step graph has a fixed number of components: give a count or a share such as 12.5%.")
    features = encoder(torch.zeros(1, 3, *TRACED_PX, dtype=torch.float32), config.style_layers)
    return {layer: config.components.number(torch.ones(f.shape[1]), layer) for layer, f in features.items()}


def state_slots(config: StylizeConfig) -> dict[str, dict[str, str]]:
    """Each input that changes from step to step, by name, with where its value comes from: the fields of a
    `StateSlot`."""
    return {name: asdict(slot) for name, slot in make_step_optimizer(config).slots.items()}


@isolated()
def prepare(config: StylizeConfig, precision: str, track: Track = untracked) -> Encoder:
    """The recipe's encoder with convolutions that know their adjoints. Raises what `load_encoder` raises, and an
    OptionError for an unknown precision."""
    if precision not in STEP_PRECISIONS:
        raise unknown("precision of a step", precision, STEP_PRECISIONS)
    encoder = load_encoder(config.encoder, pooling=config.pooling)
    if precision != "int8":
        return with_stored_weights(encoder, HalfConv if precision == "fp16" else StoredConv)
    check_exportable(config)  # before the calibration, which takes half a minute
    return calibrated(encoder, config, track)


@isolated()
def build_targets(config: StylizeConfig, encoder: Encoder) -> onnx.ModelProto:
    """The graph image -> content features, Grams and means, of dynamic size; the encoder as `prepare` gives it."""
    image = torch.zeros(1, 3, *TRACED_PX, dtype=torch.float32)
    inputs = TraceInputs((image,), ["image"], ({2: "height", 3: "width"},))
    kinds = (("content", config.content_layers), ("gram", config.style_layers), ("mean", config.style_layers))
    names = [f"{kind}_{layer}" for kind, layers in kinds for layer in layers]
    model = trace(StyleTargets(encoder, config), inputs, names)
    tidy(model)
    add_metadata(model, encoder, {"kind": "targets"})
    return model


@isolated()
def build_step(config: StylizeConfig, encoder: Encoder) -> onnx.ModelProto:
    """The graph of one optimisation step, of dynamic size, recipe included; `StylizeStep.forward` says what goes in."""
    step = StylizeStep(encoder, config)
    model = trace(step, _step_inputs(config, encoder, step.optimizer), step.output_names)
    spell_out(model)
    tidy(model)
    recipe = {"config": json.dumps(config.to_dict()), "state": json.dumps(state_slots(config))}
    add_metadata(model, encoder, {"kind": "step"} | recipe)
    return model


def _step_inputs(config: StylizeConfig, encoder: Encoder, optimizer: StepOptimizer) -> TraceInputs:
    image = torch.zeros(1, 3, *TRACED_PX, dtype=torch.float32)
    features = encoder(image, config.content_layers + config.style_layers)
    counts = num_components(config, encoder)
    sides = {layer: counts.get(layer, features[layer].shape[1]) for layer in config.style_layers}
    contents = {f"content_{layer}": features[layer] for layer in config.content_layers}
    grams = {f"gram_{layer}": torch.zeros(1, side, side, dtype=torch.float32) for layer, side in sides.items()}
    bases = {
        f"components_{layer}": torch.zeros(features[layer].shape[1], count, dtype=torch.float32)
        for layer, count in counts.items()
    }
    targets = contents | grams | bases
    weights = {name: torch.tensor(1.0, dtype=torch.float32) for name in contents | grams}
    state = optimizer.start(image)
    target_axes = {name: {2: f"{name}_height", 3: f"{name}_width"} if name in contents else {} for name in targets}
    state_axes = {name: {2: "height", 3: "width"} if value.ndim else {} for name, value in state.items()}
    return TraceInputs(
        (targets, weights, state),
        [*targets, *(f"weight_{name}" for name in weights), *state],
        (target_axes, {name: {} for name in weights}, state_axes),
    )


@isolated()
def export_step(
    config: StylizeConfig, path: Path, precision: str = DEFAULT_PRECISION, track: Track = untracked
) -> Path:
    """Write the step's graph as one ONNX file. Raises what `prepare`, `StylizeStep` and `write_model` raise."""
    check_writable(path, ".onnx")
    return write_model(build_step(config, prepare(config, precision, track)), path)


@isolated()
def export_bundle(
    config: StylizeConfig, folder: Path, precision: str = DEFAULT_PRECISION, track: Track = untracked
) -> Path:
    """Write a folder that stylizes by itself; an old bundle is replaced only by a complete new one.

    Args:
        config: the recipe, as `bundle_config` makes it.
        folder: a new one, or that of a bundle.
        precision: a key of `STEP_PRECISIONS`.

    Raises:
        OptionError: the folder holds something else than a bundle, or the recipe needs what the runtime lacks; and what
            `prepare` and `StylizeStep` raise.
        OutputError: the folder cannot be written.
    """
    folder = Path(os.path.realpath(folder))
    check_target(folder, MANIFEST, "bundle")
    _check_recipe(config)
    encoder = prepare(config, precision, track)
    counts = num_components(config, encoder)
    # The step first, because it refuses what it cannot do.
    models = {"step.onnx": build_step(config, encoder), "targets.onnx": build_targets(config, encoder)}
    recipe = {
        "config": config.to_dict(),
        "precision": precision,
        "num_components": counts,
        "state": state_slots(config),
    }
    with completing(folder, MANIFEST) as complete:
        write_bundle(models, recipe, complete)
    return folder


def check_target(folder: Path, last: str, kind: str) -> None:
    """Raise now if a bundle, or another such `kind` of folder, could not be written to `folder` later; nothing is left
    there.

    Args:
        last: the file that is written last: a folder that has one is replaced.
    """
    try:
        check_folder(folder)
        if folder.exists():
            if not (folder / last).is_file() and (folder.is_file() or any(folder.iterdir())):
                raise OptionError(f"'{folder}' is there already and is no {kind}: name a new folder.")
        else:
            folder.mkdir()  # refuses an impossible name
            folder.rmdir()
        with _folder_beside(folder):
            pass
    except OSError as error:
        raise OutputError(f"'{folder}' cannot be written: {reason(error)}.") from error


@contextmanager
def completing(folder: Path, last: str) -> Iterator[Path]:
    """A folder to write to, whose files take their places in `folder` when the block ends well, `last` after all
    others. Raises an OutputError where that is impossible."""
    try:
        with _folder_beside(folder) as complete:
            yield complete
            files = [path.relative_to(complete) for path in complete.rglob("*") if path.is_file()]
            for file in sorted(files, key=lambda file: str(file) == last):
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (complete / file).replace(folder / file)
    except OSError as error:
        raise OutputError(f"'{folder}' could not be written: {reason(error)}.") from error


@contextmanager
def _folder_beside(folder: Path) -> Iterator[Path]:
    """A temporary folder on the same disk: in `folder` if that is there, which may be a disk of its own."""
    inside = folder if folder.exists() else folder.parent
    with tempfile.TemporaryDirectory(dir=inside, prefix=".stylecore-") as temporary:
        yield Path(temporary)


def _check_recipe(config: StylizeConfig) -> None:
    if set(config.encoders) != {config.encoder}:
        raise OptionError("A bundle has one encoder for all its stages: choose such a recipe.")
    if config.enlarge != "resample":
        raise OptionError("A bundle resamples between its stages: leave out enlarge=detail.")
    if config.loss == "pca" and config.basis != "style":
        raise OptionError("A bundle fits its components to the style alone: choose basis=style.")
    if config.time_budget or config.target_distance:
        raise OptionError("A bundle makes all its steps: leave out the time budget and the target distance.")


def write_bundle(models: dict[str, onnx.ModelProto], recipe: dict[str, Any], folder: Path) -> None:
    """Into a temporary folder: whole files or none is the business of whoever moves them."""
    share_weights(list(models.values()), folder / WEIGHTS_FILE)
    for name, model in models.items():
        (folder / name).write_bytes(model.SerializeToString())
    (folder / "runtime.py").write_text(runtime_text(), encoding="utf-8")
    (folder / "LICENSE").write_text(licence_text(), encoding="utf-8")
    manifest = {
        "format": FORMAT,
        "version": stylecore.__version__,
        **recipe,
        "files": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def share_weights(models: Sequence[onnx.ModelProto], path: Path) -> None:
    """Move the models' large tensors into one file beside them, each distinct one once."""
    offsets: dict[bytes, int] = {}
    data = bytearray()
    for tensor in (tensor for model in models for tensor in model.graph.initializer):
        raw = onnx.numpy_helper.to_array(tensor).tobytes()
        if len(raw) < 256:  # shapes and constants stay where graph optimisations can see them
            continue
        if raw not in offsets:
            data.extend(bytes(-len(data) % ALIGNMENT))
            offsets[raw] = len(data)
            data.extend(raw)
        tensor.raw_data = b""
        set_external_data(tensor, path.name, offsets[raw], len(raw))
    path.write_bytes(data)


def runtime_text() -> str:
    """`runtime.py` with its parts in the places of their imports: one file that needs none of our packages."""
    program, *parts = (Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8") for name in RUNTIME_PARTS)
    for name, part in zip(RUNTIME_PARTS[1:], parts, strict=True):
        before, after = re.split(rf"from \.{name} import \([^)]*\)\n", program)
        program = before + part.replace("from __future__ import annotations\n", "") + after  # it heads the program
    return program


def licence_text() -> str:
    """The project's LICENSE and NOTICE, which every installation carries in its metadata, a checkout's too."""
    try:
        files = {file.name: file for file in metadata.files("stylecore") or ()}
        return "\n".join(files[name].read_text(encoding="utf-8") for name in ("LICENSE", "NOTICE"))
    except (metadata.PackageNotFoundError, KeyError, OSError) as error:
        raise OptionError("The licences that a bundle carries are missing: install stylecore again.") from error
