"""Inverted dropout on the activations."""

from torch import Tensor

from models.noise.base import Context, Multiplicative, Rate, per_layer
from models.noise.masks import masked_relu


class Dropout(Multiplicative):
    """h m / (1 - p), m Bernoulli(1 - p) for each unit and example.

    Source: Srivastava et al. 2014, Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting.
    """

    rates = per_layer(Rate("probability p of dropping a unit"))
    multiplier = "bernoulli"

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        return masked_relu(z, context.stream.bits(*z.shape[1:]), self.rate_of(layer))
