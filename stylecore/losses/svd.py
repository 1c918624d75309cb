"""The paper's SVD of the features, without ever making an M x M matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, cast

import pydantic
import torch
from jaxtyping import Float
from torch import Tensor

from stylecore.devices import send
from stylecore.errors import OptionError
from stylecore.fields import CONFIG, about, parsed_by
from stylecore.losses.base import LayerStyles, RefreshOptions, Scalar, StyleLoss, Target, style_loss
from stylecore.losses.pca import projected_moments
from stylecore.losses.statistics import Features, Moments, PositionWeights, second_moments, summed

OVERSAMPLING = 8
SUBSPACE_ITERATIONS = 2


@dataclass(frozen=True)
class Threshold:
    """Which singular values of F / sqrt(M) are kept.

    mean: those of at least that many times their mean, the paper's rule for 1. abs: of at least X. energy: the
    largest, until their squares reach that share of the sum.
    """

    kind: Literal["mean", "abs", "energy"]
    value: float

    @classmethod
    def parse(cls, value: Threshold | str) -> Threshold:
        """`mean:1.0`, `abs:X` or `energy:0.95`. Raises an OptionError for another form, or an energy outside (0, 1]."""
        if isinstance(value, Threshold):
            return value
        kind, _, text = str(value).partition(":")
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if kind not in ("mean", "abs", "energy") or not 0 <= number < float("inf"):
            raise OptionError(f"threshold cannot be '{value}': give mean:1.0, abs:X or energy:0.95.")
        if kind == "energy" and not 0 < number <= 1:
            raise OptionError(f"threshold energy must be in (0, 1], not {number:g}.")
        return cls(cast(Literal["mean", "abs", "energy"], kind), number)

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"

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


@pydantic.dataclasses.dataclass(frozen=True, config=CONFIG)
class SVDOptions(RefreshOptions):
    """Of the loss of truncated SVDs."""

    threshold: Annotated[
        Threshold,
        parsed_by(Threshold.parse),
        about("svd drops singular values below mean:1.0, abs:X or energy:0.95.", common=True),
    ] = Threshold("mean", 1.0)


def left_singular(moments: Moments) -> tuple[Float[Tensor, "N R"], Float[Tensor, " R"]]:
    """U and the singular values, descending, of F / sqrt(M), R = min(N, M), from F F^T, (1, N, N).

    The paper's SVD of F asks for the M x M right factor, 577 GiB at 512 x 769; nothing larger than N^2 is made here.
    """
    values, vectors = torch.linalg.eigh(moments.gram[0])
    rank = min(len(values), math.ceil(moments.count))  # a mask's sum is no whole number
    return vectors.flip(1)[:, :rank], values.flip(0)[:rank].clamp_min(0).sqrt()


@style_loss("svd")
class SVDLoss(StyleLoss):
    """Gram matrices of truncated SVDs: with F = U S V^T, U_r S_r^2 U_r^T = P G P for the projector P = U_r U_r^T of the
    singular values that a threshold keeps, style and result each with their own.

    The result's projector is found again every `refresh_every` evaluations and constant in between, so no gradient
    passes through the decomposition and equal or zero singular values do no harm. If the style's projector were used
    for both sides and frozen, this would be `pca` with `centered=False`.
    """

    Options = SVDOptions
    refreshes = True

    def __init__(self, styles: LayerStyles, options: SVDOptions) -> None:
        self.threshold = options.threshold
        self.projector: Float[Tensor, "N K"] | None = None
        truncated = []
        for features, share in zip(styles.features, styles.shares, strict=True):
            kept = self._truncate(*left_singular(summed(self.survey, features)))
            if not kept.shape[1]:
                raise OptionError(
                    f"threshold {self.threshold} drops every singular value of the style at {styles.layer}: lower it."
                )
            inside = summed(partial(_in_basis, kept), features)
            truncated.append(share * kept @ inside.gram[0] @ kept.mT)
        self.targets = [Target(Moments(1.0, second=torch.stack(truncated).sum(0, keepdim=True)))]

    def survey(self, features: Features, weights: PositionWeights | None = None) -> Moments:
        """The second moment of float32 features: their spectrum has to be exact."""
        return second_moments(features if features.dtype == torch.float64 else features.float(), weights)

    def refresh(self, survey: Moments) -> None:
        """Find the result's own projector."""
        self.projector = self._updated(survey)

    def summarize(self, features: Features, weights: PositionWeights | None = None) -> Moments:
        """In the coordinates of the projector of the last `refresh`; finds one first if there has been none."""
        if self.projector is None:
            self.refresh(self.survey(features.detach(), weights))
        assert self.projector is not None
        return projected_moments(features, self.projector, weights)

    def distance(self, summary: Moments, target: Moments) -> Scalar:
        assert self.projector is not None
        return svd_distance(summary.gram[0], self.projector, target.gram[0])

    def _truncate(self, vectors: Float[Tensor, "N R"], singular: Float[Tensor, " R"]) -> Float[Tensor, "N K"]:
        return vectors[:, : self.threshold.number(singular)].contiguous()

    def _updated(self, survey: Moments) -> Float[Tensor, "N K"]:
        """By subspace iteration from the old projector where that is cheaper than a whole decomposition: few kept, and
        a threshold that needs no dropped value."""
        previous, gram = self.projector, survey.gram[0]
        width = OVERSAMPLING + (0 if previous is None else previous.shape[1])
        if previous is None or not previous.shape[1] or self.threshold.kind == "mean" or 4 * width > len(gram):
            return self._truncate(*left_singular(survey))
        fresh = torch.randn(len(gram), OVERSAMPLING, dtype=torch.float32, generator=torch.Generator().manual_seed(0))
        block = torch.cat([previous, send(fresh, gram.device).to(gram.dtype)], 1)
        for _ in range(SUBSPACE_ITERATIONS):
            block = torch.linalg.qr(gram @ block).Q
        values, rotation = torch.linalg.eigh(block.mT @ gram @ block)
        number = self.threshold.number(values.flip(0).clamp_min(0).sqrt(), gram.trace())
        if number == width:  # more may be kept than the block holds
            return self._truncate(*left_singular(survey))
        return block @ rotation.flip(1)[:, :number]


def _in_basis(components: Float[Tensor, "N K"], features: Features, weights: PositionWeights | None) -> Moments:
    return projected_moments(features, components, weights)


def svd_distance(gram: Float[Tensor, "K K"], projector: Float[Tensor, "N K"], target: Float[Tensor, "N N"]) -> Scalar:
    """|U S U^T - T|_F^2 / N^2 for S = U^T G U, computed in the K x K coordinates of U.

    |U S U^T - T|^2 = |S - U^T T U|^2 + |T|^2 - |U^T T U|^2: only the first term depends on the features.
    """
    inside = projector.mT @ target @ projector
    outside = (target.square().sum() - inside.square().sum()).clamp_min(0)
    return ((gram - inside).square().sum() + outside) / len(target) ** 2
