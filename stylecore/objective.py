"""What is minimised: content, style and total variation of one image at one size, and their gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stylecore.config import StylizeConfig
from stylecore.encoder import Encoder
from stylecore.images import ImageTensor
from stylecore.losses import Scalar, content_loss, find_style_loss, total_variation


@dataclass(frozen=True)
class Losses:
    """The weighted terms of one evaluation, scalars on the device; `total` is their sum."""

    total: Scalar
    content: Scalar
    style: Scalar
    tv: Scalar


class Objective(nn.Module):
    """The loss of an image against targets that are computed once, here.

    Args:
        encoder: compares the images, in its own dtype.
        content: (1, 3, H, W) in [0, 1], of the size that will be optimised.
        styles: (1, 3, H_i, W_i) in [0, 1]; their own sizes.
        config: layers, weights and the style loss's name.
    """

    def __init__(
        self, encoder: Encoder, content: ImageTensor, styles: Sequence[ImageTensor], config: StylizeConfig
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = config
        self.layers = tuple(dict.fromkeys(config.content_layers + config.style_layers))
        weights = style_shares(config, len(styles))
        with torch.no_grad():
            self.content_targets = encoder(content, config.content_layers)
            features = [encoder(style, config.style_layers) for style in styles]
            make_loss = find_style_loss(config.loss)
            self.style_losses = nn.ModuleDict(
                {layer: make_loss([of_style[layer] for of_style in features], weights) for layer in config.style_layers}
            )

    def forward(self, image: ImageTensor) -> Losses:
        """The weighted losses of an image in [0, 1] (values outside are allowed: an optimiser may pass them)."""
        config = self.config
        features = self.encoder(image, self.layers)
        content = style = image.new_zeros(())
        for layer, weight in zip(config.content_layers, config.content_layer_weights, strict=True):
            content = content + weight * self._content_term(features[layer], self.content_targets[layer])
        for layer, weight in zip(config.style_layers, config.style_layer_weights, strict=True):
            style = style + weight * self.style_losses[layer](features[layer])
        content, style = config.content_weight * content, config.style_weight * style
        tv = config.tv_weight * total_variation(image) if config.tv_weight else image.new_zeros(())
        return Losses(content + style + tv, content, style, tv)

    def _content_term(self, features: Tensor, target: Tensor) -> Scalar:
        mean = content_loss(features, target)
        return mean if self.config.content_reduction == "mean" else 0.5 * features.numel() * mean

    def loss_and_gradient(self, variable: Tensor) -> tuple[Losses, Tensor]:
        """Losses of the image `variable` / 255 and the gradient of their total with respect to `variable`."""
        variable = variable.detach().requires_grad_(True)
        losses = self(variable / 255)
        (gradient,) = torch.autograd.grad(losses.total, variable)
        terms = (losses.total, losses.content, losses.style, losses.tv)
        return Losses(*(term.detach() for term in terms)), gradient


def style_shares(config: StylizeConfig, num_styles: int) -> tuple[float, ...]:
    """The styles' weights, normalised to sum 1; all alike where the config gives none."""
    weights = config.style_weights or (1.0,) * num_styles
    return tuple(weight / sum(weights) for weight in weights)
