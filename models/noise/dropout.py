"""Inverted dropout on the activations."""

from torch import Tensor

from models.masks import masked_relu
from models.noise.base import Context, Noise, Rate, multiplier_variance, per_layer


class Dropout(Noise):
    """h m / (1 - p), m Bernoulli(1 - p) for each unit and example.

    Source: Srivastava et al. 2014, Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting.
    """

    site = "activation"
    rates = per_layer(Rate("probability p of dropping a unit"))
    multiplier = "bernoulli"

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        return masked_relu(z, context.stream.bits(*z.shape[1:]), self.rate_of(layer))

    def variance(self, layer: int, *inputs: Tensor) -> Tensor:
        """v h^2."""
        return multiplier_variance(self.rate_of(layer)) * inputs[0].relu().square()
