"""Training a reduced encoder to keep the full one's features, and their Grams (Hinton et al. 2015, of features).

The regression of `reduce` fits one layer at a time. A few hundred steps of Adam on all layers together then
repair what adds up along the way, where it matters: in the statistics that the style losses compare.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from stylecore.encoders.reduce import FIRST
from stylecore.encoders.vgg import STYLE_LAYERS, Encoder
from stylecore.images import ImageTensor, image_size, resize_image
from stylecore.isolation import isolated_steps
from stylecore.losses.statistics import Features, gram_matrix

CONTENT_LAYER = "relu4_2"
CROP_PX = 128
BATCH = 4
LEARNING_RATE = 2e-3  # of weights divided by their root mean square, so that every layer moves alike
LAYERS = (*STYLE_LAYERS, CONTENT_LAYER)

Loss = Callable[[Mapping[str, Features], Mapping[str, Features]], Float[Tensor, ""]]  # of found and wanted features
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
    student: Encoder,
    teacher: Encoder,
    images: Sequence[ImageTensor],
    *,
    num_steps: int,
    seed: int = 0,
    loss: Loss | None = None,
    learning_rate: float = LEARNING_RATE,
    crops: tuple[int, int] = (BATCH, CROP_PX),
) -> Generator[float, None, None]:
    """Train the student in place; yields the loss of each step, so that a caller can watch or stop.

    Args:
        student: a reduced encoder, float32; left frozen, as it came.
        teacher: the full one.
        images: fitting images, (1, 3, H_i, W_i) in [0, 1].
        num_steps: of Adam, on batches of crops.
        seed: of the crops.
        loss: of the features at relu1_1 .. relu5_1 and relu4_2; default: `gram_and_feature_loss`.
        learning_rate: at its highest.
        crops: how many at a time, and their side in px.
    """
    generator = torch.Generator().manual_seed(seed)
    # The first convolution is the teacher's own, and its Gram exact.
    parameters = [p for name, conv in student.convs.items() if name != FIRST for p in conv.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    rates = [learning_rate * float(parameter.detach().square().mean().sqrt()) for parameter in parameters]
    groups = [{"params": [parameter], "lr": rate} for parameter, rate in zip(parameters, rates, strict=True)]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=num_steps + 1, pct_start=0.1)
    try:
        for _ in range(num_steps):
            batch = random_crops(images, *crops, generator)
            with torch.no_grad():
                wanted = teacher(batch, LAYERS)
            value = (loss or gram_and_feature_loss)(student(batch, LAYERS), wanted)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
            yield float(value.detach())
    finally:
        student.requires_grad_(False)


def gram_and_feature_loss(found: Mapping[str, Features], wanted: Mapping[str, Features]) -> Float[Tensor, ""]:
    """The sum of the relative squared errors of the features, and of the Grams at relu1_1 .. relu5_1, of each image on
    its own."""
    grams = [_relative_squared(gram_matrix(found[x]), gram_matrix(wanted[x])).mean() for x in STYLE_LAYERS]
    return feature_loss(found, wanted) + torch.stack(grams).sum()


def feature_loss(found: Mapping[str, Features], wanted: Mapping[str, Features]) -> Float[Tensor, ""]:
    """The sum of the layers' relative squared errors, of each image on its own, in float32."""
    errors = [_relative_squared(found[layer].float(), wanted[layer].float()).mean() for layer in LAYERS]
    return torch.stack(errors).sum()


def _relative_squared(value: Float[Tensor, "B ..."], target: Float[Tensor, "B ..."]) -> Float[Tensor, " B"]:
    return (value - target).flatten(1).square().sum(1) / target.flatten(1).square().sum(1).clamp_min(1e-12)
