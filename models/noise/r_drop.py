"""Dropout whose masks have to agree."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from models.noise.base import Context
from models.noise.dropout import Dropout

ALPHA = 0.6
"""Weight of the divergence, as in the source's image classification."""


class RDrop(Dropout):
    """(CE(P) + CE(Q)) / 2 + alpha/2 (KL(P, Q) + KL(Q, P)) / 2, P and Q from two passes with masks
    of their own.

    Half of the published loss, so that its cross-entropy weighs as much as any other type's. Twice
    dropout's cost: to be compared at equal computation. Evaluation is the plain network.

    Source: Liang et al. 2021, R-Drop: Regularized Dropout for Neural Networks.
    """

    site = "activation, loss"

    def loss(self, forward: Callable[[], Tensor], context: Context) -> Tensor:
        p, q = (forward().mT.log_softmax(dim=1) for _ in range(2))
        own = sum(functional.nll_loss(each, context.labels, reduction="none") for each in (p, q))
        divergences = ((p.exp() - q.exp()) * (p - q)).sum(dim=1)
        return (own + ALPHA / 2 * divergences).mean(dim=1) / 2
