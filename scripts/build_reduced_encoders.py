"""Fit, distil and save the reduced encoders that ship with the library, from fitting images alone.

python -m scripts.build_reduced_encoders [ENERGY ...]      # about 20 minutes each on one core

Prints each layer's relative Gram error on evaluation images before and after distillation, and the checksum that
`encoder.BUNDLED_SHA256` has to name.
"""

from __future__ import annotations

import hashlib
import sys

import torch

from stylecore.distillation import distill, gram_errors, random_crops
from stylecore.encoder import BUNDLED, Encoder, load_encoder
from stylecore.images import ImageTensor, fit_image
from stylecore.photos import EVALUATION, EVALUATION_STYLES, FITTING, FITTING_STYLES, load_photo, load_style
from stylecore.presets import make_config
from stylecore.reduced_encoder import num_multiplications, reduce_encoder, save_encoder
from stylecore.stylize import stylize

ENERGIES = (0.99, 0.95)
NUM_CROPS, CROP_PX = 48, 192  # for the regression
NUM_PAINTED, PAINTED_PX = 32, 160  # results in the making: what the encoder will see most
ROUNDS = (200, 600)  # steps of distillation; before the second, the student's own paintings join the images


def paint(encoder: Encoder, photos: list[ImageTensor], styles: list[ImageTensor], seed: int) -> list[ImageTensor]:
    """Stylizations of random crops in the manner of random crops."""
    generator = torch.Generator().manual_seed(seed)
    config = make_config("standard", size=PAINTED_PX, num_steps=20, device="cpu")
    contents = random_crops(photos, NUM_PAINTED, PAINTED_PX, generator).split(1)
    manners = random_crops(styles, NUM_PAINTED, PAINTED_PX, generator).split(1)
    return [stylize(c, s, config, encoder=encoder).image for c, s in zip(contents, manners, strict=True)]


def build(energy: float, teacher: Encoder, images: list[ImageTensor], photos: list[ImageTensor]) -> Encoder:
    """A reduced encoder, distilled."""
    crops = random_crops(images, NUM_CROPS, CROP_PX, torch.Generator().manual_seed(0)).split(1)
    student = reduce_encoder(teacher, crops, energy=energy, report=lambda *layer: print(*layer, flush=True))
    cheaper = num_multiplications(teacher, 256, 256) / num_multiplications(student, 256, 256)
    print(f"energy {energy:g}: {cheaper:.2f} times fewer multiplications")
    print_errors("fitted", student, teacher)
    for seed, num_steps in enumerate(ROUNDS):
        images = images + (paint(student, photos, images, seed) if seed else [])
        for number, loss in enumerate(distill(student, teacher, images, num_steps=num_steps, seed=seed)):
            if number % 50 == 0:
                print(f"round {seed} step {number} loss {loss:.3f}", flush=True)
        print_errors(f"distilled, round {seed}", student, teacher)
    return student


def print_errors(label: str, student: Encoder, teacher: Encoder) -> None:
    """Relative Gram errors on evaluation images."""
    pictures = [load_photo(name) for name in EVALUATION] + [load_style(name) for name in EVALUATION_STYLES]
    errors = gram_errors(student, teacher, [fit_image(picture, 256) for picture in pictures])
    print(label, {layer: round(error, 3) for layer, error in errors.items()}, flush=True)


def main() -> None:
    teacher = load_encoder()
    photos = [load_photo(name) for name in FITTING]
    images = photos + [load_style(name) for name in FITTING_STYLES]
    images = images + paint(teacher, photos, images, seed=7)
    for energy in map(float, sys.argv[1:] or ENERGIES):
        path = BUNDLED / f"vgg16-r{100 * energy:.0f}.safetensors"
        save_encoder(build(energy, teacher, images, photos), path)
        print(f"{path.name} {path.stat().st_size / 1e6:.1f} MB {hashlib.sha256(path.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
