"""What holds an image to the one before it, so that a video's strokes do not flicker."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from stylecore.images import LEVELS, ImageTensor


@dataclass(frozen=True)
class Anchor:
    """The last frame's result, carried along to where this frame has it: the short-term temporal loss of Ruder,
    Dosovitskiy and Brox 2016, "Artistic Style Transfer for Videos", eq. 7, in [0, 1] instead of 8-bit levels."""

    image: ImageTensor
    where: Float[Tensor, "1 1 H W"]  # 0 where that cannot be believed, else 1
    weight: float

    def on(self, device: torch.device) -> Anchor:
        """The same there."""
        return Anchor(self.image.to(device), self.where.to(device), self.weight)

    def loss_and_gradient(self, variable: Float[Tensor, "1 3 H W"]) -> tuple[Float[Tensor, ""], Tensor]:
        """weight / (3 H W) * sum(where * (x - image)^2) of x = variable / 255, and its gradient with respect to
        `variable`."""
        difference = self.where * (variable / LEVELS - self.image)
        scale = self.weight / difference.numel()
        return scale * difference.square().sum(), 2 * scale / LEVELS * difference
