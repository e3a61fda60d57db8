"""Additive Gaussian noise before the ReLU."""

from math import pi

import torch
from torch import Tensor

from models.noise.additive import mean_square
from models.noise.base import Context, Noise, Rate, multiplier_variance, per_layer


class Preactivation(Noise):
    """ReLU(z + sqrt(v) rms_j(z) e), e standard normal; rms_j, of unit j over the batch, is constant
    to the gradient.

    The mean is that of z before the ReLU, and is not kept by it. Evaluation is the identity.

    Source: Poole et al. 2014, Analyzing noise in autoencoders and deep networks.
    """

    site = "pre-activation"
    rates = per_layer(
        Rate("p, where the noise has the variance p/(1-p) times a pre-activation's mean square")
    )
    keeps_mean = False

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        noise = context.stream.normal(*z.shape[1:], dtype=z.dtype)
        sd = (multiplier_variance(self.rate_of(layer)) * mean_square(z)).sqrt()
        return z.addcmul_(noise, sd.to(z.dtype)).relu_()

    def variance(self, layer: int, *inputs: Tensor) -> Tensor:
        """Variance of the ReLU of a normal number of mean z and variance v rms_j(z)^2."""
        z = inputs[0]
        variance = multiplier_variance(self.rate_of(layer)) * mean_square(z)
        return rectified_variance(z, variance.sqrt())


def rectified_variance(mean: Tensor, sd: Tensor) -> Tensor:
    """Var max(0, x) of x normal: (m^2 + s^2) F + m s f - (m F + s f)^2, with F and f the normal's
    at m/s."""
    t = mean / sd.clamp(min=torch.finfo(sd.dtype).tiny)
    density, below = (-t.square() / 2).exp() / (2 * pi) ** 0.5, torch.special.ndtr(t)
    first = mean * below + sd * density
    return (mean.square() + sd.square()) * below + mean * sd * density - first.square()
