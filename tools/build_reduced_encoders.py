"""Fit, distil and save the reduced encoders that ship with the library, from fitting images alone.

python -m tools.build_reduced_encoders [NAME ...]      # about 15 minutes each on one core

Writes each layer's relative Gram error on evaluation images before and after distillation to
docs/benchmarks/reduced_encoders.json and .md, and prints the checksum that `stylecore.encoders.ENCODERS` has to hold.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import torch

from stylecore.encoders import ENCODERS, STYLE_LAYERS, Encoder, load_encoder
from stylecore.encoders.distill import distill, gram_errors, random_crops
from stylecore.encoders.reduce import num_multiplications, reduce_encoder, refit_end, save_encoder
from stylecore.encoders.weights import BUNDLED
from stylecore.engine import stylize
from stylecore.files import write_file, write_json
from stylecore.images import ImageTensor, fit_image
from stylecore.presets import make_config
from stylecore.report import Table, document
from stylecore.sample_images import EVALUATION, EVALUATION_STYLES, FITTING, FITTING_STYLES, load_photo, load_style

# name -> how many times fewer multiplications, and how many convolutions at the end are then made whole again: the last
# but one of x2 saved a seventh.
PLANS = {"vgg16-x2": (2.0, 2), "vgg16-x3": (3.0, 1)}
NUM_CROPS, CROP_PX = 48, 192  # for the regression
NUM_PAINTED, PAINTED_PX = 32, 160  # results in the making: what the encoder will see most
RECORDS = Path(__file__).parent.parent / "docs" / "benchmarks" / "reduced_encoders.json"
ROUNDS = (100, 300)  # steps of distillation; before the second, the student's own paintings join the images


def paint(encoder: Encoder, photos: list[ImageTensor], styles: list[ImageTensor], seed: int) -> list[ImageTensor]:
    """Stylizations of random crops in the manner of random crops."""
    generator = torch.Generator().manual_seed(seed)
    config = make_config("standard", size=PAINTED_PX, num_steps=20, device="cpu")
    contents = random_crops(photos, NUM_PAINTED, PAINTED_PX, generator).split(1)
    manners = random_crops(styles, NUM_PAINTED, PAINTED_PX, generator).split(1)
    return [stylize(c, s, config, encoder=encoder).image for c, s in zip(contents, manners, strict=True)]


def build(name: str, teacher: Encoder, images: list[ImageTensor], photos: list[ImageTensor]) -> dict[str, Any]:
    """Fit, distil and save one encoder; its record."""
    path = BUNDLED / ENCODERS[name].file
    crops = random_crops(images, NUM_CROPS, CROP_PX, torch.Generator().manual_seed(0)).split(1)
    student = reduce_encoder(teacher, crops, speedup=PLANS[name][0], report=lambda *layer: print(*layer, flush=True))
    record: dict[str, Any] = {"fitted": measure(student, teacher)}
    for seed, num_steps in enumerate(ROUNDS):
        images = images + (paint(student, photos, images, seed) if seed else [])
        for number, loss in enumerate(distill(student, teacher, images, num_steps=num_steps, seed=seed)):
            if number % 50 == 0:
                print(f"round {seed} step {number} loss {loss:.3f}", flush=True)
        record[f"distilled {seed + 1}"] = measure(student, teacher)
    student = refit_end(student, teacher, crops, PLANS[name][1])
    record["end refitted"] = measure(student, teacher)
    save_encoder(student, path)
    print(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}")
    speedup = num_multiplications(teacher, 256, 256) / num_multiplications(student, 256, 256)
    return record | {"speedup": round(speedup, 2), "megabytes": round(path.stat().st_size / 1e6, 1)}


def measure(student: Encoder, teacher: Encoder) -> dict[str, float]:
    """Relative Gram errors on evaluation images."""
    pictures = [load_photo(name) for name in EVALUATION] + [load_style(name) for name in EVALUATION_STYLES]
    errors = gram_errors(student, teacher, [fit_image(picture, 256) for picture in pictures])
    return {layer: round(error, 3) for layer, error in errors.items()}


def to_markdown(records: dict[str, dict[str, Any]]) -> str:
    """The records as a page."""
    columns = {"encoder": "{}", "multiplications": "{}", "MB": "{}", "after": "{}"}
    columns |= dict.fromkeys(STYLE_LAYERS, "{:.3f}")
    return document(
        "# The reduced encoders",
        "Made by `python -m tools.build_reduced_encoders`: relative Gram error of each layer against the full VGG-16, "
        "the mean over images that were never used in fitting, after the regression, after each round of "
        "distillation, and with the end fitted anew.",
        Table.of(columns, (row for item in records.items() for row in _rows(*item)), left=["after"]),
    )


def _rows(name: str, record: dict[str, Any]) -> list[list[Any]]:
    """A row for each time at which the encoder was measured; what is the same in all stands in the first."""
    head = [f"`{name}`", f"1/{record['speedup']}", record["megabytes"]]
    errors = {when: found for when, found in record.items() if isinstance(found, dict)}
    return [
        [*(head if number == 0 else [None] * len(head)), when, *(found[layer] for layer in STYLE_LAYERS)]
        for number, (when, found) in enumerate(errors.items())
    ]


def main() -> None:
    teacher = load_encoder()
    photos = [load_photo(name) for name in FITTING]
    images = photos + [load_style(name) for name in FITTING_STYLES]
    images = images + paint(teacher, photos, images, seed=7)
    for name in sys.argv[1:] or PLANS:
        record = build(name, teacher, images, photos)
        # Read again: another process may have built another one meanwhile.
        records = (json.loads(RECORDS.read_text()) if RECORDS.exists() else {}) | {name: record}
        write_json(RECORDS, records)
        write_file(RECORDS.with_suffix(".md"), to_markdown(records).encode())


if __name__ == "__main__":
    main()
