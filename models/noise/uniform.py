"""Multiplicative uniform noise on the activations."""

from torch import Tensor

from models.noise.base import Context, Multiplicative, Rate, multiplier_variance, per_layer
from models.noise.random_relu import random_relu
from models.rng import uniform_quantiles


class Uniform(Multiplicative):
    """h U, U uniform on 1 - sqrt(3v) to 1 + sqrt(3v): dropout's mean and variance, bounded.

    Source: Shen et al. 2018, Continuous Dropout.
    """

    rates = per_layer(Rate("p, where the multiplier's variance is that of dropout, p/(1-p)"))
    multiplier = "uniform"

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        width = (3 * multiplier_variance(self.rate_of(layer))).sqrt()
        return random_relu(z, context.stream, uniform_quantiles, above=(1, width))
