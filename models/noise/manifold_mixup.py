"""Mixtures of two examples, in a layer picked at random."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from models.noise.base import Context, Noise, Rate, cross_entropy


def before(rows: Tensor) -> Tensor:
    """Return each example's partner, (networks, batch, ...): the one before it in the batch, whose
    order is random already."""
    return rows.roll(1, dims=1)


def mixed(h: Tensor, share: Tensor) -> Tensor:
    """(1 - share) h_i + share h_{i-1}, each network by its own share: (networks, batch, units) and
    (networks,)."""
    return h.lerp(before(h), share[:, None, None])


class ManifoldMixup(Noise):
    """h_i <- lam h_i + (1 - lam) h_{i-1} in the input, the first or the second hidden layer, picked
    anew each step.

    The loss mixes likewise: lam CE(y_i) + (1 - lam) CE(y_{i-1}). 1 - lam is uniform on 0 to s, one
    number a step and network. A mixture of a pair is the same from either end, so s = 0.5 stands
    for lam uniform on 0 to 1, Beta(1, 1), and more than that for a partner that outweighs the
    example. One pass; evaluation is the plain network.

    Source: Verma et al. 2019, Manifold Mixup: Better Representations by Interpolating Hidden States
    (there lam Beta, and a drawn permutation).
    """

    site = "input, activation, loss"
    rates = (Rate("s, where the partner's share is uniform on 0 to s", default=0.5),)
    keeps_mean = False
    dependent = ("examples", "units")

    def __init__(self, rates: Tensor) -> None:
        """Start without shares."""
        super().__init__(rates)
        self.shares = rates.new_zeros(len(rates), 3)

    def input(self, x: Tensor, context: Context) -> Tensor:
        layer, share = context.stream.uniform(2, dtype=self._rates.dtype).add(1).unbind(dim=1)
        picked = functional.one_hot(layer.mul(1.5).long(), 3)
        self.shares = (picked * (self._rates[:, 0] * share / 2)[:, None]).to(x.dtype)
        return mixed(x, self.shares[:, 0])

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        return mixed(z.relu_(), self.shares[:, 1 + layer].to(z.dtype))

    def loss(self, forward: Callable[[], Tensor], context: Context) -> Tensor:
        logits = forward()
        own, partners = (
            cross_entropy(logits, labels) for labels in (context.labels, before(context.labels))
        )
        return own.lerp(partners, self.shares.sum(dim=1, keepdim=True).to(own.dtype)).mean(dim=1)
