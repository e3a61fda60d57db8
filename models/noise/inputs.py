"""Noise on the images, alone or before any other type."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from models import cpu_kernels
from models.cpu_kernels import array
from models.noise.base import (
    Context,
    Evaluated,
    Noise,
    Rate,
    multiplier_variance,
    rates_beside,
    rates_within,
)
from models.noise.masks import masked


class InputDropout(Noise):
    """x m / (1 - p), m Bernoulli(1 - p) for each pixel and example.

    Source: Vincent et al. 2008, Extracting and Composing Robust Features with Denoising
    Autoencoders (there unscaled).
    """

    site = "input"
    rates = (Rate("probability p of dropping a pixel"),)

    def input(self, x: Tensor, context: Context) -> Tensor:
        return masked(x, context.stream.bits(*x.shape[1:]), self.rate_of(0))

    def variance(self, layer: int, *inputs: Tensor) -> Tensor:
        """v x^2."""
        return multiplier_variance(self.rate_of(0)) * inputs[0].square()


class InputGaussian(Noise):
    """x_j + sqrt(v) sd_j e, e standard normal, sd_j the deviation of pixel j over the batch,
    detached.

    Source: Bishop 1995, Training with Noise is Equivalent to Tikhonov Regularization.
    """

    site = "input"
    rates = (Rate("p, where the noise has p/(1-p) of the pixel's own variance"),)

    def input(self, x: Tensor, context: Context) -> Tensor:
        noise = context.stream.normal(*x.shape[1:], dtype=x.dtype)
        return torch.addcmul(x, noise, self.of_pixels(x.detach()).sqrt())

    def variance(self, layer: int, *inputs: Tensor) -> Tensor:
        """v sd_j^2, the same for every example."""
        return self.of_pixels(inputs[0]).expand_as(inputs[0])

    def of_pixels(self, x: Tensor) -> Tensor:
        """v sd_j^2, (networks, 1, pixels), from sums that take no copy of the images."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        length = lengths(x, dtype)
        mean = x.mean(dim=1, keepdim=True, dtype=dtype)
        variance = (length.square() / x.shape[1] - mean.square()).clamp_(min=0)
        return (multiplier_variance(self.rate_of(0)) * variance).to(x.dtype)


def lengths(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the Euclidean length of each unit over the batch, (networks, 1, units)."""
    if cpu_kernels.serve(x) and x.is_contiguous() and not x.requires_grad:
        networks, _, units = x.shape
        found = torch.empty(networks, units, dtype=torch.float32)
        cpu_kernels.lengths(array(x), array(found))
        return found[:, None]
    return torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=dtype)


class Composed(Noise):
    """One object for the input, one for everything else."""

    def __init__(self, rates: Tensor, outer: Noise, inner: Noise) -> None:
        """`outer` acts on the images before `inner` sees them."""
        super().__init__(rates)
        self.outer, self.inner = outer, inner

    @property
    def parameters(self) -> Sequence[Tensor]:
        return [*self.outer.parameters, *self.inner.parameters]

    def finish(self) -> None:
        self.outer.finish()
        self.inner.finish()

    def input(self, x: Tensor, context: Context) -> Tensor:
        return self.inner.input(self.outer.input(x, context), context)

    def linear(
        self, layer: int, h: Tensor, weight: Tensor, bias: Tensor, context: Context
    ) -> Tensor:
        return self.inner.linear(layer, h, weight, bias, context)

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        return self.inner.hidden(layer, z, context)

    def loss(self, forward: Callable[[], Tensor], context: Context) -> Tensor:
        return self.inner.loss(forward, context)

    def at_evaluation(self) -> Noise:
        """Each by its own rule."""
        return Composed(self._rates, self.outer.at_evaluation(), self.inner.at_evaluation())

    def evaluated(self, layer: int) -> Evaluated:
        return self.inner.evaluated(layer)


def with_input(outer: type[Noise], inner: type[Noise]) -> type[Noise]:
    """`inner` on images with the noise of `outer`: rate 1 is the input's, the others are the inner
    type's.

    Raises:
        ValueError: `outer` has no rate, so that rate 1 would be nobody's, or `inner` has too many.
    """
    if not outer.rates:
        raise ValueError(f"{outer.__name__} has no rate: there is nothing to put on the input")

    class WithInput(Composed):
        site = f"{outer.site}, {inner.site}"
        rates = rates_beside(outer.rates[0], inner)
        keeps_mean = outer.keeps_mean and inner.keeps_mean
        dependent = tuple(sorted({*outer.dependent, *inner.dependent}))
        knows_images = outer.knows_images or inner.knows_images
        parts = (outer, inner)

        def __init__(self, rates: Tensor) -> None:
            super().__init__(rates, outer(rates[:, :1].expand(-1, 2)), inner(rates_within(rates)))

    WithInput.__name__ = f"{outer.__name__}With{inner.__name__}"
    WithInput.__doc__ = f"On the input: {outer.__doc__}\n\nThen: {inner.__doc__}"
    return WithInput
