"""Reductions that work: PCA with one shared basis, and an SVD that never builds an M x M matrix.

Both compare U^T G U, K x K, instead of G, N x N. The features are projected first, so a step costs K/N + (K/N)^2 of
the full Gram's arithmetic.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor

from stylecore.errors import OptionError
from stylecore.losses.base import LayerTargets, LossOptions, Scalar, StyleLoss
from stylecore.losses.basis import Basis, Components, fit_basis, project
from stylecore.losses.gram import blended_gram
from stylecore.losses.statistics import Features, flatten_positions, second_moment

# Above this share of N, the full Gram projected afterwards is cheaper: K/N + (K/N)^2 = 1 at 0.618.
PROJECT_FIRST_UP_TO = 0.618


def projected_gram(features: Features, components: Float[Tensor, "N K"]) -> Float[Tensor, "1 K K"]:
    """U^T G U, by whichever order is cheaper."""
    flat = features.flatten(2)
    if components.shape[1] <= PROJECT_FIRST_UP_TO * components.shape[0]:
        return second_moment(project(flat, components))
    return components.mT @ second_moment(flat) @ components


def pca_loss(features: Features, components: Float[Tensor, "N K"], target: Float[Tensor, "1 K K"]) -> Scalar:
    """|U^T G U - target|_F^2 / N^2: the Gram loss within the span of U. K = N gives `gram_loss`, whatever the rotation.

    With D = G - A, P = U U^T and Q = I - P, the Gram loss exceeds it by (2 |P D Q|^2 + |Q D Q|^2) / N^2.
    """
    return (projected_gram(features, components) - target).square().sum() / components.shape[0] ** 2


class PCALoss(StyleLoss):
    """The paper's PCA idea with one basis: fitted once from the style and shared by both images, where the paper takes
    a new one from each image at every step and so compares coordinates in two different bases."""

    components: Tensor
    target: Tensor

    def __init__(self, targets: LayerTargets, options: LossOptions) -> None:
        super().__init__()
        basis = _basis(targets, options)
        self.register_buffer("components", basis)
        self.register_buffer("target", basis.mT @ blended_gram(targets) @ basis)

    def forward(self, features: Features) -> Scalar:
        return pca_loss(features, self.components, self.target)

    def fitted(self) -> dict[str, Tensor]:
        return {"components": self.components}


class PCACovarianceLoss(StyleLoss):
    """Mean and covariance apart, both in the basis: |U^T (S - S_s) U|^2 + 2 |v|^2 |u - v|^2 over N^2, with u and v the
    projected means. The second term has the size of |u u^T - v v^T|^2, the mean's part in a Gram, but is convex in u
    and knows the mean's sign."""

    components: Tensor
    mean: Tensor
    covariance: Tensor

    def __init__(self, targets: LayerTargets, options: LossOptions) -> None:
        super().__init__()
        basis = _basis(targets, options)
        self.register_buffer("components", basis)
        statistics = [_mean_and_covariance(style, basis) for style in targets.styles]
        for index, name in enumerate(("mean", "covariance")):
            blended = [w * pair[index] for w, pair in zip(targets.weights, statistics, strict=True)]
            self.register_buffer(name, torch.stack(blended).sum(0))

    def forward(self, features: Features) -> Scalar:
        mean, covariance = _mean_and_covariance(features, self.components)
        of_mean = 2 * self.mean.square().sum() * (mean - self.mean).square().sum()
        of_covariance = (covariance - self.covariance).square().sum()
        return (of_mean + of_covariance) / self.components.shape[0] ** 2

    def fitted(self) -> dict[str, Tensor]:
        return {"components": self.components}


def _basis(targets: LayerTargets, options: LossOptions) -> Float[Tensor, "N K"]:
    given = targets.given.get("components")
    if given is not None:
        return given
    basis: Basis = fit_basis(
        targets.styles,
        targets.weights,
        Components.parse(options.components),
        centered=options.centered,
        layer=targets.layer,
    )
    return basis.components


def _mean_and_covariance(
    features: Features, components: Float[Tensor, "N K"]
) -> tuple[Float[Tensor, "1 K"], Float[Tensor, "1 K K"]]:
    projected = project(flatten_positions(features), components)
    mean = projected.mean(2)
    return mean, second_moment(projected - mean.unsqueeze(2))


class Threshold:
    """Which singular values of F / sqrt(M) are kept, from `mean:1.0`, `abs:X` or `energy:0.95`.

    mean: those of at least that many times their mean, the paper's rule for 1. abs: of at least X. energy: the
    largest, until their squares reach that share of the sum.

    Raises:
        OptionError: another form, or an energy outside (0, 1].
    """

    def __init__(self, text: str) -> None:
        kind, _, number = text.partition(":")
        try:
            self.value = float(number)
        except ValueError:
            self.value = -1.0
        if kind not in ("mean", "abs", "energy") or not 0 <= self.value < float("inf"):
            raise OptionError(f"threshold cannot be '{text}': give mean:1.0, abs:X or energy:0.95.")
        if kind == "energy" and not 0 < self.value <= 1:
            raise OptionError(f"threshold energy must be in (0, 1], not {self.value:g}.")
        self.kind = cast(Literal["mean", "abs", "energy"], kind)

    def number(self, singular: Float[Tensor, " R"], total_energy: Tensor | None = None) -> int:
        """How many of the singular values, in descending order, are kept.

        `total_energy` is the sum of all squares, where `singular` holds only the largest values.
        """
        if self.kind == "energy":
            total = singular.square().sum() if total_energy is None else total_energy
            explained = singular.square().cumsum(0) / total.clamp_min(1e-30)
            return min(len(singular), int((explained < self.value - 1e-7).sum()) + 1)
        limit = self.value * float(singular.mean()) if self.kind == "mean" else self.value
        return int((singular >= limit).sum())


def left_singular(features: Features) -> tuple[Float[Tensor, "N R"], Float[Tensor, " R"]]:
    """U and the singular values, descending, of F / sqrt(M), R = min(N, M), from the smaller of F F^T and F^T F.

    The paper's SVD of F asks for the M x M right factor, 577 GiB at 512 x 769; nothing larger than
    min(N, M)^2 is made here.
    """
    flat = flatten_positions(features.detach())[0]
    channels, positions = flat.shape
    if channels <= positions:
        values, vectors = torch.linalg.eigh(flat @ flat.mT / positions)
        return vectors.flip(1), values.flip(0).clamp_min(0).sqrt()
    values, right = torch.linalg.eigh(flat.mT @ flat / positions)
    singular = values.flip(0).clamp_min(0).sqrt()
    left = flat @ right.flip(1) / positions**0.5
    # Directions without energy are divided by nothing: they are zero, and no threshold but 0 keeps them.
    return left / singular.clamp_min(1e-12 * float(singular[0]) + 1e-30), singular


class SVDLoss(StyleLoss):
    """Gram matrices of truncated SVDs: with F = U S V^T, U_r S_r^2 U_r^T = P G P for the projector P = U_r U_r^T of the
    singular values that a threshold keeps, style and result each with their own.

    The result's projector is found again every `refresh_every` evaluations and constant in between, so no gradient
    passes through the decomposition and equal or zero singular values do no harm. If the style's projector were used
    for both sides and frozen, this would be `pca` with `centered=False`.
    """

    refreshes = True
    target: Tensor
    projector: Tensor

    def __init__(self, targets: LayerTargets, options: LossOptions) -> None:
        super().__init__()
        self.layer = targets.layer
        self.threshold = Threshold(options.threshold)
        truncated = []
        for style, weight in zip(targets.styles, targets.weights, strict=True):
            kept = self._truncate(*left_singular(style))
            if not kept.shape[1]:
                raise OptionError(
                    f"threshold {options.threshold} drops every singular value of the style at {self.layer}: lower it."
                )
            truncated.append(weight * kept @ projected_gram(style, kept)[0] @ kept.mT)
        self.register_buffer("target", torch.stack(truncated).sum(0))
        self.register_buffer("projector", self.target.new_zeros(len(self.target), 0))

    def _truncate(self, vectors: Float[Tensor, "N R"], singular: Float[Tensor, " R"]) -> Float[Tensor, "N K"]:
        return vectors[:, : self.threshold.number(singular)].contiguous()

    def refresh(self, features: Features) -> bool:
        """Find the result's own projector."""
        self.projector = self._updated(features)
        return False

    def _updated(self, features: Features) -> Float[Tensor, "N K"]:
        """By subspace iteration from the old projector where that is cheaper than a whole decomposition: few kept, and
        a threshold that needs no dropped value."""
        previous = self.projector
        channels, width = previous.shape
        width += OVERSAMPLING
        if self.threshold.kind == "mean" or previous.shape[1] == 0 or 4 * width > channels:
            return self._truncate(*left_singular(features))
        gram = second_moment(flatten_positions(features.detach()))[0]
        fresh = torch.randn(channels, OVERSAMPLING, generator=torch.Generator().manual_seed(0)).to(gram)
        block = torch.cat([previous, fresh], 1)
        for _ in range(SUBSPACE_ITERATIONS):
            block = torch.linalg.qr(gram @ block).Q
        values, rotation = torch.linalg.eigh(block.mT @ gram @ block)
        singular = values.flip(0).clamp_min(0).sqrt()
        number = self.threshold.number(singular, gram.trace())
        if number == width:  # more may be kept than the block holds
            return self._truncate(*left_singular(features))
        return block @ rotation.flip(1)[:, :number]

    def forward(self, features: Features) -> Scalar:
        """Uses the projector of the last `refresh`; finds one first if there has been none."""
        if self.projector.shape[1] == 0:
            self.refresh(features.detach())
        return svd_loss(features, self.projector, self.target)


OVERSAMPLING = 8
SUBSPACE_ITERATIONS = 2


def svd_loss(features: Features, projector: Float[Tensor, "N K"], target: Float[Tensor, "N N"]) -> Scalar:
    """|P G P - target|_F^2 / N^2 with P = U U^T, computed in the K x K coordinates of U.

    |U S U^T - T|^2 = |S - U^T T U|^2 + |T|^2 - |U^T T U|^2: only the first term depends on the features.
    """
    inside = projector.mT @ target @ projector
    outside = (target.square().sum() - inside.square().sum()).clamp_min(0)
    return ((projected_gram(features, projector)[0] - inside).square().sum() + outside) / len(target) ** 2
