"""Multiplicative Gaussian noise on the activations."""

from torch import Tensor

from models.noise.base import Context, Noise, Rate, multiplier_variance, per_layer


class Gaussian(Noise):
    """h (1 + sqrt(v) e), e standard normal: dropout's mean and variance, without its zeros.

    Source: Srivastava et al. 2014, section 10.
    """

    site = "activation"
    rates = per_layer(Rate("p, where the multiplier's variance is that of dropout, p/(1-p)"))
    multiplier = "normal"

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        noise = context.stream.normal(*z.shape[1:], dtype=z.dtype)
        return z.relu_() * noise.mul_(multiplier_variance(self.rate_of(layer)).sqrt()).add_(1)

    def variance(self, layer: int, *inputs: Tensor) -> Tensor:
        """v h^2."""
        return multiplier_variance(self.rate_of(layer)) * inputs[0].relu().square()
