"""Concrete dropout: the drop probability of each layer is learned."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.noise.base import Context, Noise, Rate, cross_entropy, per_layer
from models.noise.random_relu import slopes
from models.rng import logistic_quantiles

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
        logit = torch.where(self._acts, self._logit, -torch.inf)[:, layer, None, None]
        result: Tensor = RelaxedRelu.apply(z, logit, context.stream.bits(*z.shape[1:]))
        return result

    def loss(self, forward: Callable[[], Tensor], context: Context) -> Tensor:
        losses = cross_entropy(forward(), context.labels).mean(dim=1)
        p = self._logit.sigmoid()
        entropies = torch.special.entr(p) + torch.special.entr(1 - p)
        entropy = torch.where(self._acts, entropies, 0).sum(dim=1)
        return losses - entropy * (UNITS / context.examples)


class RelaxedRelu(torch.autograd.Function):
    """ReLU(z) (1 - d) / (1 - p) at bits, with logit p, (networks, 1, 1); z is overwritten.

    Written out since autograd would keep and revisit each of its factors: with k = 1 - d,
    dh/dlogit = h ((k - 1) / temperature + p).
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, logit: Tensor, bits: Tensor) -> Tensor:
        """Apply in place."""
        line = (logit / -TEMPERATURE, 1 / -TEMPERATURE)
        off = (-torch.inf, 0.0)  # what the ReLU cuts off is kept with probability 0
        kept = slopes(z, bits, logistic_quantiles, line, off, logit.dtype).sigmoid_()
        multiplier = kept.mul_(1 + logit.exp())
        h = z.mul_(multiplier)
        ctx.mark_dirty(z)
        ctx.save_for_backward(h, multiplier, logit)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """Propagate the gradient, in the precision of the logit."""
        h, multiplier, logit = ctx.saved_tensors
        to_h = gradient.to(multiplier.dtype)
        change = (to_h * h).flatten(1)
        total = change.sum(dim=1)[:, None, None]
        multiplied = torch.linalg.vecdot(change, multiplier.flatten(1))[:, None, None]
        of_kept = multiplied / (1 + logit.exp())
        to_logit = (of_kept - total) / TEMPERATURE + total * logit.sigmoid()
        return (to_h * multiplier).to(gradient.dtype), to_logit, None
