"""DropConnect: dropout of single weights."""

from typing import ClassVar

from torch import Tensor

from models.matmul import affine
from models.noise.base import Context, Noise, Rate, multiplier_variance, per_layer
from models.noise.masks import masked


class DropConnect(Noise):
    """h (W * M) / (1 - p), M Bernoulli(1 - p) for each weight, one mask a step for the whole batch.

    Evaluation uses the mean weights.

    Source: Wan et al. 2013, Regularization of Neural Networks using DropConnect (there one mask an
    example).
    """

    site = "weight"
    rates = per_layer(Rate("probability p of dropping a weight"))
    dependent: ClassVar[tuple[str, ...]] = ("examples",)
    multiplier = "bernoulli"

    def linear(
        self, layer: int, h: Tensor, weight: Tensor, bias: Tensor, context: Context
    ) -> Tensor:
        bits = context.stream.bits(*weight.shape[1:])
        return affine(h, masked(weight, bits, self.rate_of(layer)), bias)

    def variance(self, layer: int, *inputs: Tensor) -> Tensor:
        """v h^2 W^2, summed over the inputs."""
        h, weight = inputs
        return multiplier_variance(self.rate_of(layer)) * affine(h.square(), weight.square())
