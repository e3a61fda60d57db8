"""Concrete dropout: the drop probability of each layer is learned."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from models.noise.base import Context, Noise, Rate, cross_entropy, per_layer

TEMPERATURE = 0.1
"""Of the relaxed mask: the paper's."""
UNITS = 256
"""Of each hidden layer, in models.mlp.SIZES, which stands above this package."""


class Concrete(Noise):
    """h (1 - d) / (1 - p), d = sigmoid((logit p + logit u) / 0.1), u uniform on 0 to 1: dropout
    made smooth in p.

    p is learned, one for each network and layer, from the rate on. The loss is given -H(p) units /
    examples, H being the entropy of a Bernoulli(p) in nats; the paper's other term, on the weights,
    is not used, since weight decay is searched. A rate of 0 is no noise, and stays 0. The mean is
    kept but for the relaxation. Evaluation is the identity.

    Source: Gal, Hron & Kendall 2017, Concrete Dropout.
    """

    site = "activation"
    rates = per_layer(
        Rate("probability p of dropping a unit at the first step; learned from there")
    )
    keeps_mean = False

    def __init__(self, rates: Tensor) -> None:
        """The logits of p start at those of the rates."""
        super().__init__(rates)
        self._acts = rates > 0
        self._logit = torch.where(self._acts, rates, 0.5).logit().requires_grad_()

    @property
    def parameters(self) -> Sequence[Tensor]:
        return (self._logit,)

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        logit, acts = self._logit[:, layer, None, None], self._acts[:, layer, None, None]
        draw = context.stream.uniform(*z.shape[1:], dtype=logit.dtype)
        kept = ((logit + 2 * draw.atanh_()) / -TEMPERATURE).sigmoid()  # 2 atanh(2u - 1) = logit u
        multiplier = torch.where(acts, kept * (1 + logit.exp()), 1)
        return z.relu_() * multiplier.to(z.dtype)

    def loss(self, forward: Callable[[], Tensor], context: Context) -> Tensor:
        losses = cross_entropy(forward(), context.labels).mean(dim=1)
        p = self._logit.sigmoid()
        entropy = torch.where(self._acts, torch.special.entr(p) + torch.special.entr(1 - p), 0).sum(
            dim=1
        )
        return losses - entropy * (UNITS / context.examples)
