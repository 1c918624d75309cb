"""What is minimised: content, style and total variation of one image at one size, and their gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stylecore.config import LOSSES_WITH_WEIGHTS, StylizeConfig
from stylecore.encoders.vgg import Encoder
from stylecore.images import LEVELS, ImageTensor, image_size
from stylecore.losses import LayerTargets, Scalar, StyleLoss, content_loss, make_style_loss, total_variation
from stylecore.losses.gram import blended_gram
from stylecore.losses.statistics import Features
from stylecore.memory import needs_recomputing

SMALLEST = 1e-12  # square of a target that a relative term is divided by: a black picture's is 0


@dataclass(frozen=True)
class Losses:
    """The weighted terms of one evaluation, scalars on the device; `total` is their sum."""

    total: Scalar
    content: Scalar
    style: Scalar
    tv: Scalar


@dataclass(frozen=True)
class Evaluation:
    """One loss-and-gradient evaluation."""

    losses: Losses
    gradient: Tensor  # of the total with respect to the variable
    changed: bool  # whether the objective is another one since the last evaluation


# What was fitted to images, by layer and then by name: bases and trained weights.
Fitted = Mapping[str, Mapping[str, Tensor]]


class Objective(nn.Module):
    """The loss of an image against targets that are computed once, here.

    Args:
        encoder: compares the images, in its own dtype.
        content: (1, 3, H, W) in [0, 1], of the size that will be optimised.
        styles: (1, 3, H_i, W_i) in [0, 1]; their own sizes.
        config: layers, weights, the style loss's name and options.
        given: bases and weights fitted earlier, to be used as they are.
    """

    def __init__(
        self,
        encoder: Encoder,
        content: ImageTensor,
        styles: Sequence[ImageTensor],
        config: StylizeConfig,
        given: Fitted | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = config
        self.content_layers = config.content_layers if config.content_weight else ()
        self.layers = tuple(dict.fromkeys(self.content_layers + config.style_layers))
        self.recompute = needs_recomputing(*image_size(content))
        self.num_evaluations = 0
        # What a layer's term is divided by.
        self.content_units: dict[str, Tensor | float] = dict.fromkeys(self.content_layers, 1.0)
        self.style_units: dict[str, Tensor | float] = dict.fromkeys(config.style_layers, 1.0)
        weights = style_shares(config, len(styles))
        with torch.no_grad():
            # Weights are learned from the photo's features; nothing else asks for more of it than the content term.
            asked = self.layers if config.loss in LOSSES_WITH_WEIGHTS else self.content_layers
            of_content = encoder(content, asked) if config.content_weight else {}
            of_styles = [encoder(style, config.style_layers) for style in styles]
            self.content_targets = {layer: of_content[layer] for layer in self.content_layers}
            self.style_losses = nn.ModuleDict()
            for layer in config.style_layers:
                features = [of_style[layer] for of_style in of_styles]
                targets = LayerTargets(layer, features, weights, of_content.get(layer), (given or {}).get(layer, {}))
                self.style_losses[layer] = make_style_loss(config.loss, targets, config.loss_options)
                if config.terms == "relative":
                    self.style_units[layer] = blended_gram(targets).square().mean().clamp_min(SMALLEST)
            if config.terms == "relative":
                for layer, target in self.content_targets.items():
                    zero = torch.zeros_like(target)
                    self.content_units[layer] = self._content_term(zero, target).clamp_min(SMALLEST)

    def forward(self, image: ImageTensor) -> Losses:
        """The weighted losses of an image in [0, 1] (values outside are allowed: an optimiser may pass them)."""
        return self.losses(image, self._features(image))

    def _features(self, image: ImageTensor) -> dict[str, Features]:
        return self.encoder(image, self.layers, recompute=self.recompute)

    def losses(self, image: ImageTensor, features: Mapping[str, Features]) -> Losses:
        """The weighted losses of an image whose features at `layers` are known."""
        config = self.config
        content = style = image.new_zeros(())
        for layer, weight in zip(config.content_layers, config.content_layer_weights, strict=True):
            if layer in self.content_targets:
                term = self._content_term(features[layer], self.content_targets[layer])
                content = content + weight / self.content_units[layer] * term
        for layer, weight in zip(config.style_layers, config.style_layer_weights, strict=True):
            style = style + weight / self.style_units[layer] * self.style_losses[layer](features[layer])
        content, style = config.content_weight * content, config.style_weight * style
        tv = config.tv_weight * total_variation(image) if config.tv_weight else image.new_zeros(())
        return Losses(content + style + tv, content, style, tv)

    def _content_term(self, features: Features, target: Features) -> Scalar:
        mean = content_loss(features, target)
        return mean if self.config.content_reduction == "mean" else 0.5 * features.numel() * mean

    def evaluate(self, variable: Tensor) -> Evaluation:
        """Losses of the image `variable` / 255 and the gradient of their total with respect to `variable`.

        Counts evaluations: style losses that adapt do so before the one that is due.
        """
        variable = variable.detach().requires_grad_(True)
        image = variable / LEVELS
        features = self._features(image)
        changed = self.refresh(features)
        losses = self.losses(image, features)
        (gradient,) = torch.autograd.grad(losses.total, variable)
        terms = (losses.total, losses.content, losses.style, losses.tv)
        self.num_evaluations += 1
        return Evaluation(Losses(*(term.detach() for term in terms)), gradient, changed)

    def refresh(self, features: Mapping[str, Features]) -> bool:
        """Let the style losses that are due adapt to the features; whether the objective is then another one."""
        due = self.num_evaluations % self.config.refresh_every == 0
        changed = False
        for layer, loss in self.style_losses.items():
            assert isinstance(loss, StyleLoss)
            if loss.refreshes_always or (loss.refreshes and due):
                with torch.no_grad():
                    changed |= loss.refresh(features[layer].detach())
        return changed

    def fitted(self) -> dict[str, dict[str, Tensor]]:
        """Bases and weights in use, which `given` of another job takes."""
        losses = {layer: loss for layer, loss in self.style_losses.items() if isinstance(loss, StyleLoss)}
        return {layer: loss.fitted() for layer, loss in losses.items() if loss.fitted()}


def style_shares(config: StylizeConfig, num_styles: int) -> tuple[float, ...]:
    """The styles' weights, normalised to sum 1; all alike where the config gives none."""
    weights = config.style_weights or (1.0,) * num_styles
    return tuple(weight / sum(weights) for weight in weights)
