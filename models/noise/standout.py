"""Standout: dropout whose probability depends on the unit's own pre-activation."""

from __future__ import annotations

import torch
from torch import Tensor

from models.noise.base import Context, Evaluated, Noise, Rate, per_layer
from models.rng import logistic_quantiles, look_up

SLOPE = 1.0
"""a: pre-activations are of the order of 1, so the most active units are kept almost surely and
none is decided."""


class Standout(Noise):
    """h m, m Bernoulli(k), k = sigmoid(a z + logit(1 - p)): the more active a unit, the likelier it
    is kept.

    The draw of m is constant to the gradient. Evaluation multiplies by the mean of the mask: h k.

    Source: Ba & Frey 2013, Adaptive dropout for training deep neural networks (with the network's
    own weights).
    """

    site = "activation"
    rates = per_layer(Rate("p, the probability of dropping a unit whose pre-activation is 0"))
    keeps_mean = False

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        # u < sigmoid(a z + b) where logit u - b < a z; what the ReLU cuts off goes with it
        bits = context.stream.bits(*z.shape[1:])
        least = look_up(logistic_quantiles(self._rates.dtype, z.device), bits)
        least.sub_((1 - self.rate_of(layer)).logit()).div_(SLOPE).clamp_(min=0)
        kept = torch.gt(z.detach(), least, out=torch.empty_like(z))
        return z.mul_(kept)

    def kept_of(self, layer: int, z: Tensor) -> Tensor:
        """The probability k of keeping each unit; at rate 0 it is 1, with gradient 0."""
        return (SLOPE * z + (1 - self.rate_of(layer)).logit()).sigmoid()

    def variance(self, layer: int, *inputs: Tensor) -> Tensor:
        """k (1 - k) h^2."""
        k = self.kept_of(layer, inputs[0])
        return k * (1 - k) * inputs[0].relu().square()

    def at_evaluation(self) -> Noise:
        """The mask's mean in place of the mask."""
        return MeanStandout(self._rates)


class MeanStandout(Standout):
    """h k: standout's evaluation rule. Nothing is drawn."""

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        k = self.kept_of(layer, z).to(z.dtype)
        return z.relu_() * k

    def at_evaluation(self) -> Noise:
        """The mask's mean in place of the mask."""
        return self

    def evaluated(self, layer: int) -> Evaluated:
        return Evaluated(gate=(SLOPE, (1 - self.rate_of(layer)).logit().item()))
