"""The reductions as the paper prints them, kept so that anyone can see the difference."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from stylecore.losses.base import LayerTargets, Scalar, StyleLoss
from stylecore.losses.gram import blended_gram
from stylecore.losses.statistics import Features, gram_matrix


class PaperPCALoss(StyleLoss):
    """Guo and Yuan, figure 11, as it stands: the Gram's column means removed, an SVD of its transpose in NumPy on the
    CPU at every step and detached, K = N / 2, G U_K compared between the two images.

    What is wrong with it: each image has its own U_K, so coordinates in two different bases are compared (even their
    signs are arbitrary), and the decomposition at every step, N^3 on the CPU, costs more than the N x N x M Gram that
    it was meant to save. See `PCALoss`.
    """

    refreshes_always = True
    target: Tensor
    vectors: Tensor

    def __init__(self, targets: LayerTargets) -> None:
        super().__init__()
        gram = blended_gram(targets)[0]
        self.register_buffer("target", gram @ self._decompose(gram))
        self.register_buffer("vectors", torch.empty_like(self.target[:, :0]))

    @staticmethod
    def _decompose(gram: Float[Tensor, "N N"]) -> Float[Tensor, "N K"]:
        # The paper divides G by a*b*c*d = N M; ours is divided by M, which changes neither U nor, with the layer
        # weights in units of mean((G - A)^2), the loss.
        matrix = gram.detach().cpu().double().numpy()
        centred = matrix - matrix.mean(axis=0)
        vectors = np.linalg.svd(centred.T)[0][:, : len(matrix) // 2]
        return torch.from_numpy(vectors).to(gram)

    def refresh(self, features: Features) -> bool:
        self.vectors = self._decompose(gram_matrix(features)[0])
        return False

    def forward(self, features: Features) -> Scalar:
        gram = gram_matrix(features)[0]
        if self.vectors.shape[1] == 0:
            self.vectors = self._decompose(gram)
        return (gram @ self.vectors - self.target).square().mean()


class PaperSVDLoss(StyleLoss):
    """Guo and Yuan, figure 13, repaired just enough to run: an SVD of G in NumPy at every step, its singular values
    below their mean set to 0, P_r G compared with the style's.

    As printed it cannot train: it multiplies U by S as a vector, returns nothing, and cuts the result from the graph.
    Here the projector P_r = U_r U_r^T is detached and G stays live.
    """

    refreshes_always = True
    target: Tensor
    projector: Tensor

    def __init__(self, targets: LayerTargets) -> None:
        super().__init__()
        gram = blended_gram(targets)[0]
        self.register_buffer("target", self._decompose(gram) @ gram)
        self.register_buffer("projector", torch.empty_like(gram[:0]))

    @staticmethod
    def _decompose(gram: Float[Tensor, "N N"]) -> Float[Tensor, "N N"]:
        vectors, singular, _ = np.linalg.svd(gram.detach().cpu().double().numpy())
        kept = vectors[:, singular >= singular.mean()]
        return torch.from_numpy(kept @ kept.T).to(gram)

    def refresh(self, features: Features) -> bool:
        self.projector = self._decompose(gram_matrix(features)[0])
        return False

    def forward(self, features: Features) -> Scalar:
        gram = gram_matrix(features)[0]
        if self.projector.shape[0] == 0:
            self.projector = self._decompose(gram)
        return (self.projector @ gram - self.target).square().mean()
