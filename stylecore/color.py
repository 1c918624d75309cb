"""Colours of one image for another: what `init="style_statistics"` and `keep_colors` are made of."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from stylecore.images import ImageTensor
from stylecore.reuse import per_picture

# Rec. 601 luma, as in Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer".
LUMA = (0.299, 0.587, 0.114)


def match_colors(image: ImageTensor, reference: ImageTensor) -> ImageTensor:
    """`image` with the mean and covariance of `reference`'s colours, clamped to [0, 1].

    The linear map is the optimal transport between the two Gaussians, the one that moves colours least:
    T = S_i^-1/2 (S_i^1/2 S_r S_i^1/2)^1/2 S_i^-1/2. (Gatys et al. 2016b take a Cholesky factor instead, which
    rotates hues.) Computed in float64, on the images' device where it has that.
    """
    pixels = _pixels(image)
    mean, covariance = _statistics(image)
    goal_mean, goal_covariance = _statistics(reference)
    root, inverse_root = _power(covariance, 0.5), _power(covariance, -0.5)
    transport = inverse_root @ _power(root @ goal_covariance @ root, 0.5) @ inverse_root
    matched = transport.to(pixels.device) @ (pixels - mean) + goal_mean.to(pixels.device)
    return matched.view(image.shape).clamp(0, 1).to(image.device, image.dtype)


def _pixels(image: ImageTensor) -> Float[Tensor, "3 M"]:
    pixels = image[0].flatten(1)
    return (pixels.cpu() if pixels.device.type == "mps" else pixels).double()


@per_picture
def _statistics(image: ImageTensor) -> tuple[Float[Tensor, "3 1"], Float[Tensor, "3 3"]]:
    """Mean and covariance of its colours."""
    pixels = _pixels(image)
    mean = pixels.mean(1, keepdim=True)
    return mean, _covariance(pixels - mean)


def _covariance(centred: Float[Tensor, "3 M"]) -> Float[Tensor, "3 3"]:
    """On the CPU, which is the faster one with nine numbers."""
    # The small ridge keeps a grey or one-coloured image invertible.
    return (centred @ centred.mT / centred.shape[1]).cpu() + 1e-6 * torch.eye(3, dtype=centred.dtype)


def _power(matrix: Float[Tensor, "3 3"], exponent: float) -> Float[Tensor, "3 3"]:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(1e-12) ** exponent) @ vectors.mT


def luminance(image: Float[Tensor, "1 3 _ _"]) -> Float[Tensor, "1 1 _ _"]:
    """Rec. 601 luma of an image, or of a difference of two."""
    weights = torch.tensor(LUMA, device=image.device, dtype=image.dtype).view(1, 3, 1, 1)
    return (image * weights).sum(1, keepdim=True)


def transfer_luminance(image: ImageTensor, colors: ImageTensor) -> ImageTensor:
    """The luminance of one image with the chroma of another of the same size, clamped to [0, 1]."""
    return (colors + luminance(image - colors)).clamp(0, 1)
