"""The reductions as the paper prints them, kept so that anyone can see the difference."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from stylecore.losses.base import LayerStyles, Scalar, StyleLoss, Target, style_loss
from stylecore.losses.statistics import Features, Moments, PositionWeights, second_moments


class PaperLoss(StyleLoss):
    """A matrix found from the Gram in NumPy on the CPU before every evaluation, and detached."""

    refreshes_always = True

    def __init__(self, styles: LayerStyles, options: Any) -> None:  # noqa: ARG002 - there are none
        self.targets = [Target(Moments(1.0, second=styles.gram))]
        self.style_matrix = self.decompose(styles.gram[0])
        self.matrix: Tensor | None = None  # of the result

    @staticmethod
    @abstractmethod
    def decompose(gram: Float[Tensor, "N N"]) -> Float[Tensor, "N K"]:
        """The matrix that goes with a Gram."""

    @staticmethod
    @abstractmethod
    def compared(gram: Float[Tensor, "N N"], matrix: Float[Tensor, "N K"]) -> Tensor:
        """What is compared between result and style."""

    def summarize(self, features: Features, weights: PositionWeights | None = None) -> Moments:
        return second_moments(features, weights)

    def refresh(self, survey: Moments) -> None:
        self.matrix = self.decompose(survey.gram[0])

    def distance(self, summary: Moments, target: Moments) -> Scalar:
        gram = summary.gram[0]
        matrix = self.decompose(gram) if self.matrix is None else self.matrix
        wanted = self.compared(target.gram[0], self.style_matrix)
        return (self.compared(gram, matrix) - wanted).square().mean()


@style_loss("pca-paper")
class PaperPCALoss(PaperLoss):
    """Guo and Yuan, figure 11, as it stands: the Gram's column means removed, an SVD of its transpose in NumPy on the
    CPU at every step and detached, K = N / 2, G U_K compared between the two images.

    What is wrong with it: each image has its own U_K, so coordinates in two different bases are compared (even their
    signs are arbitrary), and the decomposition at every step, N^3 on the CPU, costs more than the N x N x M Gram that
    it was meant to save. See `PCALoss`.
    """

    @staticmethod
    def decompose(gram: Float[Tensor, "N N"]) -> Float[Tensor, "N K"]:
        # The paper divides G by a*b*c*d = N M; ours is divided by M, which changes neither U nor, with the layer
        # weights in units of mean((G - A)^2), the loss.
        matrix = gram.detach().cpu().double().numpy()
        centred = matrix - matrix.mean(axis=0)
        vectors = np.linalg.svd(centred.T)[0][:, : len(matrix) // 2]
        return torch.from_numpy(vectors).to(gram)

    @staticmethod
    def compared(gram: Float[Tensor, "N N"], matrix: Float[Tensor, "N K"]) -> Float[Tensor, "N K"]:
        return gram @ matrix


@style_loss("svd-paper")
class PaperSVDLoss(PaperLoss):
    """Guo and Yuan, figure 13, repaired just enough to run: an SVD of G in NumPy at every step, its singular values
    below their mean set to 0, P_r G compared with the style's.

    As printed it cannot train: it multiplies U by S as a vector, returns nothing, and cuts the result from the graph.
    Here the projector P_r = U_r U_r^T is detached and G stays live.
    """

    @staticmethod
    def decompose(gram: Float[Tensor, "N N"]) -> Float[Tensor, "N N"]:
        vectors, singular, _ = np.linalg.svd(gram.detach().cpu().double().numpy())
        kept = vectors[:, singular >= singular.mean()]
        return torch.from_numpy(kept @ kept.T).to(gram)

    @staticmethod
    def compared(gram: Float[Tensor, "N N"], matrix: Float[Tensor, "N N"]) -> Float[Tensor, "N N"]:
        return matrix @ gram
