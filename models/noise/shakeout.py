"""Shakeout: a dropped unit's weights are not zero but of a constant size and the opposite sign."""

from torch import Tensor

from models.matmul import affine
from models.noise.base import Context, Noise, Rate, multiplier_variance, per_layer
from models.noise.masks import masked

SHARE = 0.25
"""c sqrt(fan-in): c is half the mean size of nn.Linear's initial weights, uniform on
+-1/sqrt(fan-in). So a dropped weight is turned, not blown up, and at first its noise is dropout's
times about 2."""


class Shakeout(Noise):
    """A weight w is -c sgn w where its input is dropped, with probability p; else (w + c p sgn w) /
    (1 - p).

    An input is dropped for all the weights that leave it, anew for each example. With r = m/(1-p),
    m Bernoulli(1 - p), both cases are r w + c (r - 1) sgn w, so a layer is (h r) W + c (h r - h)
    sgn W + b: two products. c is fixed, and sgn w is constant to the gradient. Evaluation uses the
    mean weights, w.

    Source: Kang et al. 2016, Shakeout: A New Regularized Deep Neural Network Training Scheme.
    """

    site = "weight"
    rates = per_layer(Rate("probability p that an input unit's weights are replaced by -c sgn w"))
    dependent = ("units",)

    def linear(
        self, layer: int, h: Tensor, weight: Tensor, bias: Tensor, context: Context
    ) -> Tensor:
        dropped = masked(h, context.stream.bits(*h.shape[1:]), self.rate_of(layer))
        constant = affine(dropped - h, weight.detach().sign())
        c = SHARE * weight.shape[1] ** -0.5
        return affine(dropped, weight, bias).add_(constant, alpha=c)

    def variance(self, layer: int, *inputs: Tensor) -> Tensor:
        """v h^2 (|W| + c)^2, summed over the inputs."""
        h, weight = inputs
        size = weight.abs() + SHARE * weight.shape[1] ** -0.5
        return multiplier_variance(self.rate_of(layer)) * affine(h.square(), size.square())
