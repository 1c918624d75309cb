"""`python -m export step` and `bundle`: stylization as graphs, and all that it takes in one folder."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx.external_data_helper import set_external_data

import stylecore
from export import runtime
from export.graphs import StyleTargets, StylizeStep, byte_stored
from export.onnx_export import Inputs, check_folder, describe, trace, write
from export.optimizers import StepOptimizer, make_step_optimizer
from stylecore.config import StylizeConfig
from stylecore.encoders.vgg import Encoder, load_encoder
from stylecore.errors import OptionError
from stylecore.images import LEVELS
from stylecore.losses.basis import Components
from stylecore.presets import make_config

# Of what is written without options, over the library's own preset.
BASE_PRESET = "preview"
DEFAULT_OPTIMIZER = "projected"
DEFAULTS: dict[str, dict[str, Any]] = {
    "projected": {"encoder": "vgg16-r99", "history_size": 10},
    "adam": {"encoder": "vgg16-r99", "init": "content", "learning_rate": 6.0, "clamp": True, "num_steps": 120},
}

TRACED_PX = (96, 64)  # height, width: any at which every layer has several positions, and that differ
WEIGHTS_FILE = "weights.bin"
ALIGNMENT = 64  # bytes: weights can be used where they lie in the file


def bundle_config(**options: Any) -> StylizeConfig:
    """The recipe of a step graph: its optimiser's `DEFAULTS` with `options`, fields of the config, on top."""
    given = {field: value for field, value in options.items() if value is not None}
    given.setdefault("optimizer", DEFAULT_OPTIMIZER)
    return make_config(BASE_PRESET, **(DEFAULTS.get(given["optimizer"], {}) | given))


def num_components(config: StylizeConfig, encoder: Encoder) -> dict[str, int]:
    """K of each style layer for "pca"; else empty. Raises an OptionError for a share of the variance, which only a
    style could turn into a number."""
    if config.loss != "pca":
        return {}
    components = Components.parse(config.components)
    if components.variance is not None:
        raise OptionError("A step graph has a fixed number of components: give a count or a share such as 12.5%.")
    features = encoder(torch.zeros(1, 3, *TRACED_PX), config.style_layers)
    return {layer: components.number(torch.ones(f.shape[1]), layer) for layer, f in features.items()}


def state(config: StylizeConfig) -> dict[str, dict[str, str]]:
    """What the inputs of a step that change are fed with, by name, as `export.optimizers.Kept` has it."""
    return {name: asdict(kept) for name, kept in make_step_optimizer(config).kept.items()}


def build_targets(config: StylizeConfig, encoder: Encoder) -> onnx.ModelProto:
    """The graph image -> content features, Grams and means, of dynamic size."""
    image = torch.rand(1, 3, *TRACED_PX)
    inputs = Inputs((image,), ["image"], ({2: "height", 3: "width"},))
    kinds = (("content", config.content_layers), ("gram", config.style_layers), ("mean", config.style_layers))
    names = [f"{kind}_{layer}" for kind, layers in kinds for layer in layers]
    model = trace(StyleTargets(byte_stored(encoder), config), inputs, names)
    describe(model, encoder, {"kind": "targets"})
    return model


def build_step(config: StylizeConfig, encoder: Encoder) -> onnx.ModelProto:
    """The graph of one optimisation step, of dynamic size, recipe included; `StylizeStep.forward` says what goes in."""
    step = StylizeStep(byte_stored(encoder), config)
    model = trace(step, _step_inputs(config, encoder, step.optimizer), step.output_names)
    facts = {"config": config.to_dict(), "state": state(config)}
    describe(model, encoder, {"kind": "step", **{name: json.dumps(fact) for name, fact in facts.items()}})
    return model


def _step_inputs(config: StylizeConfig, encoder: Encoder, optimizer: StepOptimizer) -> Inputs:
    image = torch.rand(1, 3, *TRACED_PX) * LEVELS
    features = encoder(image / LEVELS, config.content_layers + config.style_layers)
    kept = num_components(config, encoder)
    sides = {layer: kept.get(layer, features[layer].shape[1]) for layer in config.style_layers}
    contents = {f"content_{layer}": features[layer] for layer in config.content_layers}
    grams = {f"gram_{layer}": torch.rand(1, side, side) for layer, side in sides.items()}
    components = {f"components_{layer}": torch.rand(features[layer].shape[1], kept[layer]) for layer in kept}
    targets = contents | grams | components
    weights = {name: torch.tensor(1.0) for name in contents | grams}
    state = optimizer.start(image)
    of_targets = {name: {2: f"{name}_height", 3: f"{name}_width"} if name in contents else {} for name in targets}
    of_state = {name: {2: "height", 3: "width"} if value.ndim else {} for name, value in state.items()}
    return Inputs(
        (targets, weights, state),
        [*targets, *(f"weight_{name}" for name in weights), *state],
        (of_targets, {name: {} for name in weights}, of_state),
    )


def export_step(config: StylizeConfig, path: Path) -> Path:
    """Write the step's graph as one ONNX file. Raises what `load_encoder` and `StylizeStep` raise."""
    check_folder(path)
    return write(build_step(config, load_encoder(config.encoder, pooling=config.pooling)), path)


def export_bundle(config: StylizeConfig, folder: Path) -> Path:
    """Write a folder that stylizes by itself; an old bundle is replaced only by a complete new one.

    Raises:
        OptionError: the folder holds something else than a bundle; and what `load_encoder` and `StylizeStep` raise.
    """
    check_folder(folder)
    if folder.exists() and not (folder / "manifest.json").is_file() and (folder.is_file() or any(folder.iterdir())):
        raise OptionError(f"'{folder}' is there already and is no bundle: name a new folder.")
    if set(config.encoders) != {config.encoder}:
        raise OptionError("A bundle has one encoder for all its stages: choose such a recipe.")
    if config.time_budget or config.target_distance:
        raise OptionError("A bundle makes all its steps: leave out the time budget and the target distance.")
    encoder = load_encoder(config.encoder, pooling=config.pooling)
    models = {"targets.onnx": build_targets(config, encoder), "step.onnx": build_step(config, encoder)}
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".stylecore-") as temporary:
        complete = Path(temporary) / "bundle"
        complete.mkdir()
        recipe = {"config": config.to_dict(), "num_components": num_components(config, encoder), "state": state(config)}
        _write_files(models, recipe, complete)
        if folder.exists():
            folder.replace(Path(temporary) / "old")
        complete.replace(folder)
    return folder


def _write_files(models: dict[str, onnx.ModelProto], recipe: dict[str, Any], folder: Path) -> None:
    share_weights(list(models.values()), folder / WEIGHTS_FILE)
    for name, model in models.items():
        write(model, folder / name)
    shutil.copyfile(runtime.__file__, folder / "runtime.py")
    (folder / "LICENSE").write_text(licence_text(), encoding="utf-8")
    manifest = {
        "format": runtime.FORMAT,
        "version": stylecore.__version__,
        **recipe,
        "files": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def share_weights(models: Sequence[onnx.ModelProto], path: Path) -> None:
    """Move the models' large tensors into one file beside them, each distinct one once."""
    places: dict[bytes, int] = {}
    data = bytearray()
    for tensor in (tensor for model in models for tensor in model.graph.initializer):
        raw = onnx.numpy_helper.to_array(tensor).tobytes()
        if len(raw) < 256:  # shapes and constants stay where graph optimisations can see them
            continue
        if raw not in places:
            data.extend(bytes(-len(data) % ALIGNMENT))
            places[raw] = len(data)
            data.extend(raw)
        tensor.raw_data = b""
        set_external_data(tensor, path.name, places[raw], len(raw))
    path.write_bytes(data)


def licence_text() -> str:
    """The project's LICENSE and NOTICE."""
    root = Path(__file__).parent.parent
    return "\n".join((root / name).read_text(encoding="utf-8") for name in ("LICENSE", "NOTICE"))
