"""Multiplicative uniform noise on the activations."""

from torch import Tensor

from models.noise.base import Context, Noise, Rate, multiplier_variance, per_layer


class Uniform(Noise):
    """h U, U uniform on 1 - sqrt(3v) to 1 + sqrt(3v): dropout's mean and variance, bounded.

    Source: Shen et al. 2018, Continuous Dropout.
    """

    site = "activation"
    rates = per_layer(Rate("p, where the multiplier's variance is that of dropout, p/(1-p)"))
    multiplier = "uniform"

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        noise = context.stream.uniform(*z.shape[1:], dtype=z.dtype)
        return z.relu_() * noise.mul_((3 * multiplier_variance(self.rate_of(layer))).sqrt()).add_(1)

    def variance(self, layer: int, *inputs: Tensor) -> Tensor:
        """v h^2."""
        return multiplier_variance(self.rate_of(layer)) * inputs[0].relu().square()
