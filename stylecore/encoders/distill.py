"""Training a reduced encoder to keep the full one's Grams and content features (Hinton et al. 2015, of features).

The regression of `reduce` fits one layer at a time. A few hundred steps of Adam on all layers together then
repair what adds up along the way, where it matters: in the statistics that the style losses compare.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from stylecore.encoders.reduce import FIRST
from stylecore.encoders.vgg import STYLE_LAYERS, Encoder
from stylecore.images import ImageTensor, image_size, resize_image
from stylecore.isolation import isolated_steps
from stylecore.losses.statistics import gram_matrix

CONTENT_LAYER = "relu4_2"
CROP_PX = 128
BATCH = 4
LEARNING_RATE = 2e-3  # of weights divided by their root mean square, so that every layer moves alike
MIN_CROP = 0.25  # of the shorter side: what a crop covers before it is resized
NOISE = 0.05  # largest standard deviation of the noise added to every other crop; a result in the making is noisy


def random_crops(
    images: Sequence[ImageTensor], number: int, size_px: int, generator: torch.Generator
) -> Float[Tensor, "B 3 H W"]:
    """Square crops of random images, places and scales, flipped, recoloured and made noisy at random.

    Args:
        images: (1, 3, H_i, W_i) in [0, 1].
        number: of crops.
        size_px: of a crop's side after resizing.
        generator: decides everything, so that a seed means the same crops.

    Returns:
        (number, 3, size_px, size_px) in [0, 1].
    """
    return torch.cat([_crop(images, size_px, generator) for _ in range(number)])


def _crop(images: Sequence[ImageTensor], size_px: int, generator: torch.Generator) -> ImageTensor:
    def integer(below: int) -> int:
        return int(torch.randint(below, (1,), generator=generator))

    image = images[integer(len(images))]
    height, width = image_size(image)
    share = MIN_CROP + (1 - MIN_CROP) * float(torch.rand((), dtype=torch.float32, generator=generator))
    side = max(1, round(share * min(height, width)))
    top, left = integer(height - side + 1), integer(width - side + 1)
    crop = resize_image(image[:, :, top : top + side, left : left + side], size_px, size_px)
    if integer(2):
        crop = crop.flip(3)
    if integer(2):
        crop = crop[:, torch.randperm(3, generator=generator)]
    if integer(4) == 0:
        crop = 1 - crop
    if integer(2):
        noise = torch.randn(crop.shape, dtype=torch.float32, generator=generator)
        crop = crop + NOISE * float(torch.rand((), dtype=torch.float32, generator=generator)) * noise
    return crop.clamp(0, 1)


def gram_errors(
    encoder: Encoder, reference: Encoder, images: Sequence[ImageTensor], layers: Sequence[str] = STYLE_LAYERS
) -> dict[str, float]:
    """|G - G_ref|_F / |G_ref|_F at each layer, the mean over images."""
    errors = dict.fromkeys(layers, 0.0)
    with torch.no_grad():
        for image in images:
            found, wanted = encoder(image, layers), reference(image, layers)
            for layer in layers:
                error = _relative_squared(gram_matrix(found[layer]), gram_matrix(wanted[layer]))
                errors[layer] += float(error.sqrt()) / len(images)
    return errors


@isolated_steps
def distill(
    student: Encoder, teacher: Encoder, images: Sequence[ImageTensor], *, num_steps: int, seed: int = 0
) -> Generator[float, None, None]:
    """Train the student in place; yields the loss of each step, so that a caller can watch or stop.

    The loss is the sum of the relative squared errors of the Grams at relu1_1 .. relu5_1, of each image on its own,
    and of the features there and at relu4_2.

    Args:
        student: a reduced encoder, float32; left frozen, as it came.
        teacher: the full one.
        images: fitting images, (1, 3, H_i, W_i) in [0, 1].
        num_steps: of Adam, on batches of crops.
        seed: of the crops.
    """
    generator = torch.Generator().manual_seed(seed)
    # The first convolution is the teacher's own, and its Gram exact.
    parameters = [p for name, conv in student.convs.items() if name != FIRST for p in conv.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    rates = [LEARNING_RATE * float(parameter.detach().square().mean().sqrt()) for parameter in parameters]
    groups = [{"params": [parameter], "lr": rate} for parameter, rate in zip(parameters, rates, strict=True)]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=num_steps + 1, pct_start=0.1)
    try:
        for _ in range(num_steps):
            crops = random_crops(images, BATCH, CROP_PX, generator)
            loss = _loss(student, teacher, crops)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            yield float(loss.detach())
    finally:
        student.requires_grad_(False)


def _loss(student: Encoder, teacher: Encoder, crops: Float[Tensor, "B 3 H W"]) -> Float[Tensor, ""]:
    layers = (*STYLE_LAYERS, CONTENT_LAYER)
    with torch.no_grad():
        wanted = teacher(crops, layers)
    found = student(crops, layers)
    of_features = [_relative_squared(found[layer], wanted[layer]).mean() for layer in layers]
    of_grams = [_relative_squared(gram_matrix(found[x]), gram_matrix(wanted[x])).mean() for x in STYLE_LAYERS]
    return torch.stack(of_features).sum() + torch.stack(of_grams).sum()


def _relative_squared(value: Float[Tensor, "B ..."], target: Float[Tensor, "B ..."]) -> Float[Tensor, " B"]:
    return (value - target).flatten(1).square().sum(1) / target.flatten(1).square().sum(1).clamp_min(1e-12)
