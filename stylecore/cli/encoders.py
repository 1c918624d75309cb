"""`stylecore reduce-encoder`: a cheaper encoder, fitted to one's own images or the photos of an extra."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import track

from stylecore.cli.console import messages
from stylecore.encoders import load_encoder
from stylecore.encoders.distill import distill, gram_errors, random_crops
from stylecore.encoders.reduce import num_multiplications, reduce_encoder, save_encoder
from stylecore.errors import ImageError
from stylecore.files import check_writable, is_folder
from stylecore.images import SUFFIXES, ImageTensor, load_image
from stylecore.sample_images import FITTING, load_photo

NUM_CROPS, CROP_PX = 36, 192


def reduce_encoder_command(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The .safetensors file to write.")],
    encoder: Annotated[str, typer.Option(help="vgg16 or vgg19.")] = "vgg16",
    speedup: Annotated[float, typer.Option(help="How many times fewer multiplications.")] = 3.0,
    cheaper: Annotated[float | None, typer.Option(hidden=True, help="--speedup, as it was called.")] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Pictures to fit to (default: those of the extra photos).")
    ] = None,
    distill_steps: Annotated[int, typer.Option(min=0, help="Steps of training afterwards, about 1 s each.")] = 200,
) -> None:
    """Split an encoder's convolutions to take SPEEDUP times fewer multiplications; --encoder FILE then uses it."""
    check_writable(output, ".safetensors")
    pictures = _load_pictures(images)
    teacher = load_encoder(encoder)
    crops = random_crops(pictures, NUM_CROPS, CROP_PX, torch.Generator().manual_seed(0)).split(1)
    student = reduce_encoder(teacher, crops, speedup=cheaper or speedup, report=_report)
    steps = distill(student, teacher, pictures, num_steps=distill_steps)
    for _ in track(steps, "distilling", total=distill_steps, console=messages, transient=True):
        pass
    save_encoder(student, output)
    times = num_multiplications(teacher, 256, 256) / num_multiplications(student, 256, 256)
    errors = [f"{layer} {error:.3f}" for layer, error in gram_errors(student, teacher, crops).items()]
    print(f"{output}: {times:.2f} times fewer multiplications; Gram errors on the fitting crops: {', '.join(errors)}.")


def _load_pictures(folder: Path | None) -> list[ImageTensor]:
    if folder is None:
        return [load_photo(name) for name in FITTING]
    if not is_folder(folder):
        raise ImageError(f"There is no folder '{folder}' of pictures.")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ImageError(f"The folder '{folder}' holds no pictures ({', '.join(SUFFIXES)}).")
    return [load_image(path) for path in files]


def _report(layer: str, kept: int, channels: int) -> None:
    if messages.is_terminal:
        messages.print(f"{layer}: {kept} of {channels} components", markup=False)
