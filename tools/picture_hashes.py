"""Did a change of the code change a picture? Hashes of 24 seeded jobs, recorded before it and compared after it.

python -m tools.picture_hashes record FOLDER     # at the commit before
python -m tools.picture_hashes compare FOLDER    # at the commit after, on the same machine

One thread and float32, so that nothing but the code decides; `--dtype auto --threads 2` runs eight of the jobs as a
user would. Where the order of a sum has changed, the hashes differ: then the picture after five evaluations may differ
by one level, and the finished distances by 0.003.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import stylecore
from stylecore.images import to_uint8
from stylecore.sample_images import load_photo, load_style

MAX_LEVELS, MAX_DISTANCE = 1, 0.003
EARLY = 5  # evaluations after which pixels are compared: later, rounding grows into another picture
COMMON: dict[str, Any] = {"size": 192, "num_steps": 20, "seed": 3}
JOBS: dict[str, dict[str, Any]] = {
    "gram": {"preset": "draft"},
    "preview": {"preset": "preview"},
    "standard": {"preset": "standard"},
    "full": {"preset": "full"},
    "gatys": {"preset": "gatys"},
    "paper": {"preset": "paper"},
    "tutorial": {"preset": "tutorial"},
    "pca": {"preset": "standard", "loss": "pca"},
    "pca var": {"preset": "standard", "loss": "pca", "components": "var:0.9"},
    "pca-covariance": {"preset": "standard", "loss": "pca-covariance"},
    "pca-paper": {"preset": "gatys", "loss": "pca-paper"},
    "svd": {"preset": "standard", "loss": "svd"},
    "svd energy": {"preset": "standard", "loss": "svd", "threshold": "energy:0.95"},
    "svd-paper": {"preset": "gatys", "loss": "svd-paper"},
    "weighted": {"preset": "standard", "loss": "weighted"},
    "weighted fisher": {"preset": "standard", "loss": "weighted", "weights_from": "fisher"},
    "weighted-element": {"preset": "standard", "loss": "weighted-element"},
    "mmd-linear": {"preset": "standard", "loss": "mmd-linear"},
    "mmd-poly": {"preset": "standard", "loss": "mmd-poly"},
    "mmd-gaussian": {"preset": "standard", "loss": "mmd-gaussian"},
    "w2": {"preset": "standard", "loss": "w2"},
    "swd": {"preset": "standard", "loss": "swd"},
    "nnfm": {"preset": "standard", "loss": "nnfm"},
    "histogram": {"preset": "standard", "loss": "histogram"},
    "nnst": {"preset": "nnst"},
    "nnst-paper": {"preset": "nnst-paper"},
    "bn": {"preset": "standard", "loss": "bn"},
    "adam from noise": {"preset": "gatys", "optimizer": "adam", "learning_rate": 4.0, "init": "noise"},
    "two styles": {"preset": "preview", "style_weights": (0.7, 0.3)},
    "colours kept": {"preset": "preview", "keep_colors": "luminance", "tv_weight": 0.1},
}
AS_USED = ("gram", "preview", "standard", "gatys", "pca", "svd energy", "weighted", "two styles")


def run_job(name: str, dtype: str) -> tuple[np.ndarray, np.ndarray, stylecore.Distances]:
    """8-bit pixels after `EARLY` evaluations and at the end, and the final distances."""
    content, styles = load_photo("rocket"), [load_style("flow_strokes")]
    if name == "two styles":
        styles.append(load_style("woodblock_waves"))
    config = stylecore.make_config(**COMMON | {"dtype": dtype} | JOBS[name])
    for step in stylecore.stylize_steps(content, styles, config):
        if step.index == EARLY:
            early = to_uint8(step.image)
    final = step.image.cpu()
    size = (final.shape[2], final.shape[3])
    return early, to_uint8(final), stylecore.Yardstick(content, styles, size, config.style_weights).measure(final)


def record(folder: Path, names: list[str], dtype: str) -> None:
    """Write each job's hash, distances and early pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in names:
        early, final, distances = run_job(name, dtype)
        np.savez_compressed(folder / f"{name}.npz", early=early)
        digest = hashlib.sha256(final.tobytes()).hexdigest()
        found[name] = {"sha256": digest, "style": distances.style, "content": distances.content}
        print(f"{name}: {digest[:12]}", flush=True)
    (folder / "hashes.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def compare(folder: Path, names: list[str], dtype: str) -> int:
    """Print one line a job; the number of jobs whose picture is another one."""
    before = json.loads((folder / "hashes.json").read_text(encoding="utf-8"))
    num_equal = num_changed = 0
    for name in names:
        early, final, distances = run_job(name, dtype)
        if hashlib.sha256(final.tobytes()).hexdigest() == before[name]["sha256"]:
            num_equal += 1
            print(f"{name}: same pixels", flush=True)
            continue
        earlier = np.load(folder / f"{name}.npz")["early"].astype(int)
        levels = int(np.abs(earlier - early).max())
        apart = [abs(getattr(distances, kind) - before[name][kind]) for kind in ("style", "content")]
        sound = levels <= MAX_LEVELS and max(apart) <= MAX_DISTANCE
        num_changed += not sound
        verdict = "the order of a sum" if sound else "ANOTHER PICTURE"
        print(f"{name}: {verdict}, {levels} levels after {EARLY}, distances {apart[0]:.4f} {apart[1]:.4f}", flush=True)
    print(f"{num_equal} of {len(names)} have the same pixels, {num_changed} are other pictures.")
    return num_changed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.picture_hashes", description=__doc__)
    parser.add_argument("action", choices=("record", "compare"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    names = list(JOBS) if options.dtype == "float32" else list(AS_USED)
    if options.action == "record":
        record(options.folder, names, options.dtype)
    else:
        raise SystemExit(min(1, compare(options.folder, names, options.dtype)))


if __name__ == "__main__":
    main()
