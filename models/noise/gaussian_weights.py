"""Gaussian noise on the weights, of its own for every example."""

import torch
from torch import Tensor

from models.matmul import affine
from models.noise.base import Context, Noise, Rate, multiplier_variance, per_layer


class GaussianWeights(Noise):
    """z ~ N(h W + b, v h^2 W^2): each weight multiplied by 1 + sqrt(v) e, drawn anew for each
    example and unit.

    A sum over many inputs is nearly normal, so this is also DropConnect with one mask an example,
    at the cost of one more product. Evaluation uses the mean weights.

    Source: Kingma et al. 2015, Variational Dropout and the Local Reparameterization Trick; Wang &
    Manning 2013.
    """

    site = "weight"
    rates = per_layer(Rate("p, where a weight's multiplier has the variance p/(1-p)"))

    def linear(
        self, layer: int, h: Tensor, weight: Tensor, bias: Tensor, context: Context
    ) -> Tensor:
        mean = affine(h, weight, bias)
        variance = affine(h.square(), weight.to(h.dtype).square())
        noise = context.stream.normal(*mean.shape[1:], dtype=mean.dtype)
        noise.mul_(multiplier_variance(self.rate_of(layer)).sqrt())
        return mean + noise * safe_sqrt(variance)

    def variance(self, layer: int, *inputs: Tensor) -> Tensor:
        """v h^2 W^2, summed over the inputs."""
        h, weight = inputs
        return multiplier_variance(self.rate_of(layer)) * affine(h.square(), weight.square())


def safe_sqrt(x: Tensor) -> Tensor:
    """The root of x >= 0, with gradient 0 at 0, where the root's own is infinite."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1).sqrt(), 0)
