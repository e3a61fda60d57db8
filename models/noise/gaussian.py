"""Multiplicative Gaussian noise on the activations."""

from torch import Tensor

from models.noise.base import Context, Multiplicative, Rate, multiplier_variance, per_layer
from models.noise.random_relu import random_relu
from models.rng import normal_quantiles


class Gaussian(Multiplicative):
    """h (1 + sqrt(v) e), e standard normal: dropout's mean and variance, without its zeros.

    Source: Srivastava et al. 2014, section 10.
    """

    rates = per_layer(Rate("p, where the multiplier's variance is that of dropout, p/(1-p)"))
    multiplier = "normal"

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        sd = multiplier_variance(self.rate_of(layer)).sqrt()
        return random_relu(z, context.stream, normal_quantiles, above=(1.0, sd))
