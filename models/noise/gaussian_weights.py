"""Gaussian noise on the weights, of its own for every example."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.matmul import affine
from models.noise.base import Context, Noise, Rate, multiplier_variance, per_layer

TINY = 2.0**-100
"""Added to a variance before its root: where it is 0, so is what the root's gradient, now finite,
is multiplied with."""


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
        e = context.stream.normal(h.shape[1], weight.shape[2], dtype=h.dtype)
        e.mul_(multiplier_variance(self.rate_of(layer)).sqrt())
        z: Tensor = NormalAffine.apply(h, weight.to(h.dtype), bias.to(h.dtype), e)
        return z

    def variance(self, layer: int, *inputs: Tensor) -> Tensor:
        """v h^2 W^2, summed over the inputs."""
        h, weight = inputs
        return multiplier_variance(self.rate_of(layer)) * affine(h.square(), weight.square())


class NormalAffine(torch.autograd.Function):
    """h W + b + e sqrt(h^2 W^2): h (networks, batch, in), W (networks, in, out), b (networks, 1,
    out), e as the result.

    Written out since autograd's squares take powers and copies of full size. On a CPU the squares
    are those of one network at a time, which its cache holds, and are taken again on the way back.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, e: Tensor) -> Tensor:
        """Two products."""
        variance = torch.cat([affine(a * a, w * w) for a, w in _few(h, weight)])
        root = variance.add_(TINY).sqrt_()
        ctx.save_for_backward(h, weight, e / root, root)
        return affine(h, weight, bias).addcmul_(e, root)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, Tensor | None]:
        """Twice as many; the images need no gradient."""
        h, weight, e_by_root, root = ctx.saved_tensors
        to_variance = gradient * e_by_root  # twice its gradient
        to_weight = affine(h.mT, gradient)
        for a, w, g, result in _few(h, weight, to_variance, to_weight):
            result.addcmul_(w, affine((a * a).mT, g))
        to_h = None
        if ctx.needs_input_grad[0]:
            to_h = affine(gradient, weight.mT)
            for a, w, g, result in _few(h, weight, to_variance, to_h):
                result.addcmul_(a, affine(g, (w * w).mT))
        to_e = gradient * root if ctx.needs_input_grad[3] else None
        return to_h, to_weight, gradient.sum(dim=1, keepdim=True), to_e


def _few(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The networks' rows one by one on a CPU, all at once elsewhere."""
    size = 1 if tensors[0].device.type == "cpu" else len(tensors[0])
    return zip(*(tensor.split(size) for tensor in tensors), strict=True)
