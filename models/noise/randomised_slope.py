"""A stochastic ReLU: the slope of the negative part is random."""

from torch import Tensor

from models.noise.base import Context, Noise, Rate, multiplier_variance, per_layer
from models.noise.random_relu import random_relu
from models.rng import uniform_quantiles


class RandomisedSlope(Noise):
    """z for z > 0, else U z with U uniform on -s to s, s = sqrt(3v): variance v min(z, 0)^2 and
    mean 0 there.

    Evaluation is the ReLU.

    Source: Xu et al. 2015, Empirical Evaluation of Rectified Activations (RReLU), centred on the
    ReLU.
    """

    site = "pre-activation"
    rates = per_layer(Rate("p, where the slope of the negative part has the variance p/(1-p)"))

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        width = (3 * multiplier_variance(self.rate_of(layer))).sqrt()
        above, below = (1.0, 0.0), (0.0, width)
        return random_relu(z, context.stream, uniform_quantiles, above, below)

    def variance(self, layer: int, *inputs: Tensor) -> Tensor:
        """v min(z, 0)^2."""
        return multiplier_variance(self.rate_of(layer)) * inputs[0].clamp(max=0).square()
