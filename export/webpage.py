"""`stylecore export web`: the optimisation as a page that any static host serves, on the visitor's own device.

Our own files lie in `export/web/`; onnxruntime-web comes from npm, in one version, held to its checksum.
"""

from __future__ import annotations

import base64
import copy
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from PIL import Image

import stylecore
import stylecore.report
from stylecore.config import StylizeConfig
from stylecore.errors import OptionError
from stylecore.files import write_json
from stylecore.isolation import isolated
from stylecore.report.viewer import two_pictures_html
from stylecore.sample_images import EVALUATION, LABELS, STYLES, photo_path, style_path
from stylecore.strength import MIDDLE_WEIGHT

from .bundle import (
    WEIGHTS_FILE,
    build_step,
    build_targets,
    bundle_config,
    check_target,
    completing,
    licence_text,
    prepare,
    share_weights,
    state_slots,
    write_bundle,
)
from .optimizers import make_step_optimizer
from .pictures import LEVELS, Array
from .progress import Track, untracked
from .runtime import Bundle

PAGE = Path(__file__).with_name("web")
PAGE_SUFFIXES = (".css", ".js", ".webmanifest", ".svg", ".png", ".jpg")
VIEWER = ("viewer.css", "viewer.js")  # of stylecore.report
VIEWER_PLACE = "<!-- two pictures -->"  # in index.html

RUNTIME_VERSION = "1.30.0"  # of onnxruntime-web
RUNTIME_INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
RUNTIME_FILES = {
    "wasm": ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
    "webgpu": ("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm"),
}
# What each provider is fastest with (docs/web.md); all share the bytes of their weights.
PRECISIONS = {"wasm": "int8", "webgpu": "fp32"}

SAMPLE_QUALITY = 75  # of the JPEGs: beside the models there is room for half a megabyte of them
MODELS_FORMAT = 1  # FORMAT in web/runtime.js
DEFAULT_SIZE_PX = 256
KNOWN_PX, KNOWN_STEPS = 64, 2  # of the stylization that a browser repeats before it trusts a provider
FILES = "files.json"
WORKER = "sw.js"  # the service worker, which browsers fetch by themselves


@isolated()
def export_web(folder: Path, track: Track = untracked) -> Path:
    """Write a folder that stylizes in any browser; an old one is replaced only by a complete new one.

    Args:
        folder: a new one, or one that this wrote.

    Raises:
        OptionError: the folder holds something else, npm is missing or cannot fetch onnxruntime-web, or the photos
            that int8 is measured on are not installed.
        OutputError: the folder cannot be written.
    """
    folder = Path(os.path.realpath(folder))
    check_target(folder, FILES, "page")
    with tempfile.TemporaryDirectory() as scratch, completing(folder, FILES) as complete:
        archive = fetch_runtime(Path(scratch))
        for name in ("ort", "models"):
            (complete / name).mkdir()
        for name in (name for names in RUNTIME_FILES.values() for name in names):
            (complete / "ort" / name).write_bytes(archived(archive, f"dist/{name}"))
        write_models(bundle_config(size=DEFAULT_SIZE_PX), complete / "models", track)
        write_samples(complete / "samples")
        write_page(complete)
        (complete / "LICENSE.txt").write_text(licence_text(), encoding="utf-8")
        write_json(complete / FILES, list_files(complete))
    return folder


def write_page(folder: Path) -> None:
    """What we wrote of the page, and from the report how two pictures are compared in a browser."""
    for file in (*PAGE.iterdir(), *(Path(stylecore.report.__file__).with_name(name) for name in VIEWER)):
        if file.suffix in PAGE_SUFFIXES:
            shutil.copyfile(file, folder / file.name)
    viewer = two_pictures_html("Photo and result in one place", "the photo")
    index = (PAGE / "index.html").read_text(encoding="utf-8")
    (folder / "index.html").write_text(index.replace(VIEWER_PLACE, viewer), encoding="utf-8")


def fetch_runtime(folder: Path) -> Path:
    """onnxruntime-web's package, fetched by npm into `folder`. Raises an OptionError if that fails."""
    npm = shutil.which("npm")
    if npm is None:
        raise OptionError("npm, which fetches onnxruntime-web, is missing: install Node.js from nodejs.org.")
    package = f"onnxruntime-web@{RUNTIME_VERSION}"
    done = subprocess.run(
        [npm, "pack", package, "--silent", "--pack-destination", folder], capture_output=True, text=True, check=False
    )
    archives = list(folder.glob("*.tgz"))
    if done.returncode or not archives:
        raise OptionError(f"npm could not fetch {package}: check the connection, and that npm pack {package} works.")
    digest = hashlib.sha512(archives[0].read_bytes()).digest()
    if f"sha512-{base64.b64encode(digest).decode()}" != RUNTIME_INTEGRITY:
        raise OptionError(
            f"What npm fetched is not the {package} that this version was made for: try another registry."
        )
    return archives[0]


def archived(archive: Path, name: str) -> bytes:
    """A file of a package."""
    with tarfile.open(archive) as members:
        member = members.extractfile(f"package/{name}")
        assert member is not None, "it is a file, by the package's checksum"
        return member.read()


def write_models(config: StylizeConfig, folder: Path, track: Track = untracked) -> None:
    """The graphs for each provider, the weights that they share, and `manifest.json`: `Manifest` in web/models.d.ts."""
    graphs: dict[str, onnx.ModelProto] = {}
    known: dict[str, Any] = {"size": KNOWN_PX, "steps": KNOWN_STEPS, "losses": {}, "image": {}}
    for provider, precision in PRECISIONS.items():
        encoder = prepare(config, precision, track)
        pair = {"targets.onnx": build_targets(config, encoder), "step.onnx": build_step(config, encoder)}
        known["losses"][provider], known["image"][provider] = _known_values(config, pair)
        graphs |= {f"{precision}-{name}": model for name, model in pair.items()}
    share_weights(list(graphs.values()), folder / WEIGHTS_FILE)
    for name, model in graphs.items():
        (folder / name).write_bytes(model.SerializeToString())
    start = make_step_optimizer(config).start(torch.zeros(1, 3, 1, 1, dtype=torch.float32))
    manifest = {
        "format": MODELS_FORMAT,
        "version": stylecore.__version__,
        "runtime": RUNTIME_VERSION,
        "config": config.to_dict(),
        "state": state_slots(config),
        "scalars": [name for name, value in start.items() if not value.ndim],
        "middle_weight": MIDDLE_WEIGHT,
        "providers": {
            provider: {"precision": kind, "targets": f"{kind}-targets.onnx", "step": f"{kind}-step.onnx"}
            for provider, kind in PRECISIONS.items()
        },
        "weights": WEIGHTS_FILE,
        "files": {file.name: _described(file) for file in sorted(folder.iterdir())},
        "known": known,
    }
    write_json(folder / "manifest.json", manifest)


def _known_values(config: StylizeConfig, models: dict[str, onnx.ModelProto]) -> tuple[list[float], str]:
    """The losses of the known stylization, and its image in 8-bit levels as base64, by onnxruntime."""
    recipe = {"config": config.to_dict(), "precision": "", "num_components": {}, "state": state_slots(config)}
    with tempfile.TemporaryDirectory() as folder:
        write_bundle(copy.deepcopy(models), recipe, Path(folder))
        bundle = Bundle(Path(folder))
        content, style = pattern(KNOWN_PX, 0), pattern(KNOWN_PX, 1)
        steps = list(bundle.stylize_steps(content, style, size=KNOWN_PX, num_steps=KNOWN_STEPS))
    levels = (steps[-1].image * LEVELS).round().astype(np.uint8)
    return [step.loss for step in steps], base64.b64encode(levels.tobytes()).decode()


def pattern(side: int, seed: int) -> Array:
    """A picture (1, 3, side, side) in [0, 1] that web/worker.js draws, too: bytes of a linear congruential
    generator."""
    state, values = seed, []
    for _ in range(3 * side * side):
        state = (state * 1664525 + 1013904223) % 2**32
        values.append(state >> 24)
    return np.array(values, np.float32).reshape(1, 3, side, side) / np.float32(LEVELS)


def write_samples(folder: Path) -> None:
    """The evaluation photos and the styles as JPEGs, and `samples.json`, which says where they lie."""
    listed = {}
    for kind, paths in (
        ("photos", {name: photo_path(name) for name in EVALUATION}),
        ("styles", {name: style_path(name) for name in STYLES}),
    ):
        (folder / kind).mkdir(parents=True)
        for name, path in paths.items():
            picture = Image.open(path).convert("RGB")
            picture.save(folder / kind / f"{name}.jpg", quality=SAMPLE_QUALITY, optimize=True, progressive=True)
        listed[kind] = [{"name": name, "label": LABELS[name], "path": f"samples/{kind}/{name}.jpg"} for name in paths]
    write_json(folder / "samples.json", listed)


def list_files(folder: Path) -> dict[str, Any]:
    """What the service worker keeps: every file with its size and checksum; "provider": the only one that needs it."""
    needs = {f"ort/{name}": provider for provider, names in RUNTIME_FILES.items() for name in names}
    needs |= {
        f"models/{precision}-{graph}.onnx": provider
        for provider, precision in PRECISIONS.items()
        for graph in ("targets", "step")
    }
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = []
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if name not in (FILES, WORKER):
            needed = {"provider": needs[name]} if name in needs else {}
            files.append({"path": name, **_described(path), **needed})
    version = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    return {"version": version[:16], "files": files}


def download_sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file as a host sends it, after gzip -9, by its path in the folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): len(gzip.compress(path.read_bytes(), 9)) for path in paths}


def _described(file: Path) -> dict[str, Any]:
    data = file.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
