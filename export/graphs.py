"""What is exported, as modules that torch can trace: the extractor, and the two graphs that stylize without torch.

torch cannot export its autograd, so `StylizeStep` has the gradient written out: the adjoint of each operation, in
reverse order. A test holds it to autograd's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from stylecore.config import StylizeConfig
from stylecore.encoders import Encoder, Layer
from stylecore.errors import OptionError
from stylecore.images import LEVELS
from stylecore.losses.pca import projected_gram
from stylecore.losses.statistics import Features, flatten_positions, gram_matrix

from .convolutions import Int8Encoder, rounded_product
from .optimizers import State, make_step_optimizer

OUTPUTS = ("features", "gram", "projected")

ByLayer = Mapping[str, Tensor]  # (1, N, H', W') each, by layer name
# What has the signature of `Encoder`: (image, layers) -> features by layer.
FeatureMaps = Callable[[Tensor, Sequence[str]], dict[str, Features]]


class Extractor(nn.Module):
    """An encoder with its normalisation, as one graph from pixels to features or their Grams.

    Args:
        encoder: an `Encoder`, or what has its signature.
        layers: whose values come out, in this order.
        outputs: "features" (B, N, H', W'); "gram" F F^T / M, (B, N, N); or "projected", U^T (F F^T / M) U, (B, K, K).
        pixels: take uint8 (B, H, W, 3), as cameras give it, instead of float32 (B, 3, H, W) in [0, 1].
    """

    def __init__(
        self, encoder: FeatureMaps, layers: Sequence[str], outputs: str = "features", pixels: bool = False
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.layers = tuple(layers)
        self.outputs = outputs
        self.pixels = pixels

    def forward(
        self, image: Float[Tensor, "B 3 H W"] | UInt8[Tensor, "B H W 3"], *components: Float[Tensor, "_ _"]
    ) -> tuple[Tensor, ...]:
        """`components`: for "projected" alone, a basis U (N, K) for each layer, orthonormal columns."""
        if self.pixels:
            image = image.permute(0, 3, 1, 2).float() / LEVELS
        features = self.encoder(image, self.layers)
        if self.outputs == "features":
            return tuple(features[layer] for layer in self.layers)
        if self.outputs == "gram":
            return tuple(gram_matrix(features[layer]) for layer in self.layers)
        return tuple(projected_gram(features[layer], u) for layer, u in zip(self.layers, components, strict=True))


class StyleTargets(nn.Module):
    """What the step compares with: the features of a photo, and Grams and means of a style's features."""

    def __init__(self, encoder: Encoder, config: StylizeConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.content_layers = config.content_layers
        self.style_layers = config.style_layers

    def forward(self, image: Float[Tensor, "1 3 H W"]) -> tuple[Tensor, ...]:
        """RGB in [0, 1] -> the content layers' features, the style layers' Grams (1, N, N), and their means (1, N)."""
        features = self.encoder(image, self.content_layers + self.style_layers)
        styles = [features[layer] for layer in self.style_layers]
        means = (flatten_positions(style).mean(2) for style in styles)
        return (*(features[layer] for layer in self.content_layers), *map(gram_matrix, styles), *means)


class StylizeStep(nn.Module):
    """One evaluation of the loss and one step of the library's optimiser: what `Objective` does, without autograd.

    Args:
        encoder: with convolutions that know their adjoints: `with_stored_weights`, or an `Int8Encoder`.
        config: layers, loss ("gram" or "pca") and optimiser ("projected" or "adam"); no total variation.
    """

    def __init__(self, encoder: Encoder, config: StylizeConfig) -> None:
        super().__init__()
        check_exportable(config)
        self.encoder = encoder
        self.config = config
        self.optimizer = make_step_optimizer(config)
        self.output_names = (*self.optimizer.output_names, "loss", "content_loss", "style_loss")
        self.convs = encoder.convs_up_to(config.content_layers + config.style_layers)
        self.product = rounded_product if isinstance(encoder, Int8Encoder) else torch.matmul

    def forward(
        self,
        targets: dict[str, Tensor],
        weights: dict[str, Float[Tensor, ""]],
        state: State,
    ) -> tuple[Tensor, ...]:
        """One step.

        Args:
            targets: the photo's features `content_<layer>`, and for each style layer `gram_<layer>`, A (1, N, N), or
                for "pca" U^T A U (1, K, K) and the basis U (N, K), `components_<layer>`.
            weights: of each term, named as its target: `content_<layer>` on the mean of (F - C)^2, `gram_<layer>` on
                that of (G - A)^2.
            state: `image`, (1, 3, H, W) in 8-bit levels, 0..255, and the optimiser's memory, as its `start` makes it.

        Returns:
            what `output_names` says: the next image and state, and total, content and style loss before the step.
        """
        image = state["image"]
        features = self.encoder(image / LEVELS, [str(conv.relu) for conv in self.convs])
        content, style, gradients = self._losses(features, targets, weights)
        gradient = self._image_gradient(features, gradients) / LEVELS
        outputs = self.optimizer.advance(state, gradient, content + style)
        if self.config.clamp:
            outputs["next_image"] = outputs["next_image"].clamp(0, LEVELS)
        outputs |= {"loss": content + style, "content_loss": content, "style_loss": style}
        return tuple(outputs[name] for name in self.output_names)

    def _losses(
        self, features: ByLayer, targets: Mapping[str, Tensor], weights: Mapping[str, Float[Tensor, ""]]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""], dict[str, Tensor]]:
        """Content and style loss, and the gradient of their sum at each layer."""
        gradients: dict[str, Tensor] = {}
        content = style = torch.zeros((), dtype=torch.float32)
        for layer in self.config.content_layers:
            name = f"content_{layer}"
            value, gradients[layer] = _content_term(features[layer], targets[name], weights[name])
            content = content + value
        for layer in self.config.style_layers:
            name = f"gram_{layer}"
            components = targets.get(f"components_{layer}")
            value, gradient = _style_term(features[layer], targets[name], components, weights[name], self.product)
            style = style + value
            gradients[layer] = gradients.get(layer, 0) + gradient
        return content, style, gradients

    def _image_gradient(self, features: ByLayer, gradients: ByLayer) -> Float[Tensor, "1 3 H W"]:
        """The adjoint of `Encoder.forward`: from gradients at the layers to that of the image, in [0, 1]."""
        gradient = torch.zeros((), dtype=torch.float32)
        for conv, before in zip(reversed(self.convs), [*reversed(self.convs[:-1]), None], strict=True):
            layer = str(conv.relu)
            if layer in gradients:
                gradient = gradient + gradients[layer]
            gradient = gradient * (features[layer] > 0)  # under onnxruntime twice as fast as torch.where
            gradient = self.encoder.convs[str(conv)].adjoint(gradient)  # type: ignore[operator]
            if before is not None and before.block != conv.block:
                gradient = self._pool_adjoint(features[str(before.relu)], gradient)
        return gradient * self.encoder.scale

    def _pool_adjoint(
        self, x: Float[Tensor, "1 N H W"], gradient: Float[Tensor, "1 N H//2 W//2"]
    ) -> Float[Tensor, "1 N H W"]:
        """From the gradient of a pool's output back to that of its input x. Several maxima of one window get the
        gradient each, where torch picks one: they are equal in practice only where they are 0, and there ReLU stops the
        gradient."""
        padding = (0, x.shape[3] - 2 * gradient.shape[3], 0, x.shape[2] - 2 * gradient.shape[2])
        spread = F.pad(F.interpolate(gradient, scale_factor=2.0, mode="nearest"), padding)
        if self.encoder.pooling == "average":
            return spread / 4
        largest = F.interpolate(F.max_pool2d(x, 2), scale_factor=2.0, mode="nearest")
        return spread * (x == F.pad(largest, padding))


def _content_term(
    features: Features, target: Features, weight: Float[Tensor, ""]
) -> tuple[Float[Tensor, ""], Features]:
    """`losses.content_loss`, as a mean of means, times the weight, and its gradient."""
    difference = features - target
    return weight * difference.square().mean((2, 3)).mean(), (2 / features.numel() * weight) * difference


def _style_term(
    features: Float[Tensor, "1 N H W"],
    target: Float[Tensor, "1 K K"],
    components: Float[Tensor, "N K"] | None,
    weight: Float[Tensor, ""],
    product: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Float[Tensor, ""], Float[Tensor, "1 N H W"]]:
    """`losses.gram_loss` (no components, K = N), or `losses.pca.pca_loss` in the basis U, times the weight w, and its
    gradient 4 w / (N^2 M) U D U^T F with D = U^T G U - target."""
    flat = flatten_positions(features)
    channels, positions = flat.shape[1:]
    projected = flat if components is None else components.mT @ flat
    difference = projected @ projected.mT / positions - target
    # The factors go to the small matrix: at the features each would be a pass over millions of values.
    gradient = product(4 / channels**2 / positions * weight * difference, projected)
    gradient = gradient if components is None else components @ gradient
    # In two sums: WebAssembly adds one value after the other, which leaves a quarter of a million off by 1e-4.
    return weight * difference.square().sum(2).sum() / channels**2, gradient.view(features.shape)


def check_exportable(config: StylizeConfig) -> None:
    """Raise an OptionError for what the step graph does not know."""
    if config.loss not in ("gram", "pca"):
        raise OptionError(f"The loss '{config.loss}' cannot be exported: choose --loss gram or pca.")
    if config.tv_weight or config.content_reduction != "mean" or config.keep_colors != "none":
        raise OptionError("Total variation, summed content losses and kept colours cannot be exported: leave them out.")
    if not all(Layer.parse(layer).kind == "relu" for layer in config.content_layers + config.style_layers):
        raise OptionError("Only layers after their ReLU can be exported: name relu4_2, not conv4_2.")
