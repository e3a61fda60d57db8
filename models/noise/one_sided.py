"""Noise that only ever amplifies, and the gain that is left of it when the noise is taken away."""

import math
from functools import cache

import torch
from torch import Tensor

from models.noise.base import Context, Evaluated, Noise, Rate, multiplier_variance, per_layer
from models.noise.random_relu import random_relu
from models.rng import normal_quantiles


class Gain(Noise):
    """h / (1 - p), in training and in evaluation: no noise, the control for `OneSided`.

    A constant factor makes every step larger, as a larger learning rate would.

    Source: LeCun et al. 1998, Efficient BackProp, on how the scale of activations sets that of the
    step.
    """

    site = "activation"
    rates = per_layer(Rate("p, where activations are multiplied by 1/(1-p)"))
    keeps_mean = False

    def gain(self, layer: int) -> Tensor:
        """1/(1-p), (networks, 1, 1)."""
        return 1 / (1 - self.rate_of(layer))

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        return z.relu_() * self.gain(layer).to(z.dtype)

    def at_evaluation(self) -> Noise:
        """The same factor."""
        return Gain(self._rates)

    def evaluated(self, layer: int) -> Evaluated:
        return Evaluated(factor=self.gain(layer).item())


class OneSided(Gain):
    """h (1 + v |e| sqrt(pi/2)), e standard normal: a multiplier of mean 1/(1-p) that is never below
    1.

    Dropout's opposite: it amplifies at random where dropout removes. Evaluation multiplies by the
    mean. An own candidate: noise whose mean is not kept trains faster, since it makes every step
    larger.

    Source: none known to us; that scaling activations scales the step is old (LeCun et al. 1998,
    Efficient BackProp).
    """

    rates = per_layer(Rate("p, where the multiplier's mean is 1/(1-p)", default=0.5))

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        """The ReLU, then the multiplier."""
        scale = multiplier_variance(self.rate_of(layer)) * math.sqrt(math.pi / 2)
        return random_relu(z, context.stream, half_normal_quantiles, above=(1.0, scale))

    def variance(self, layer: int, *inputs: Tensor) -> Tensor:
        """(pi/2 - 1) v^2 h^2."""
        v = multiplier_variance(self.rate_of(layer))
        return (math.pi / 2 - 1) * (v * inputs[0].relu()).square()


@cache
def half_normal_quantiles(dtype: torch.dtype, device: torch.device) -> Tensor:
    """The sizes of the normal distribution's."""
    return normal_quantiles(dtype, device).abs()
