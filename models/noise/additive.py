"""Additive Gaussian noise on the activations."""

import torch
from torch import Tensor

from models.noise.base import Context, Noise, Rate, multiplier_variance, per_layer


class Additive(Noise):
    """h + sqrt(v) rms_j(h) e, e standard normal: over a batch, each unit j gets as much noise as of
    dropout.

    The root mean square is taken over the batch and is a constant to the gradient. The noise comes
    after the ReLU, so what the next layer sees may be negative. Evaluation is the identity.

    Source: Bishop 1995, Training with Noise is Equivalent to Tikhonov Regularization (there on the
    inputs).
    """

    site = "activation"
    rates = per_layer(
        Rate("p, where the noise has the variance p/(1-p) times a unit's mean square")
    )

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        h = z.relu_()
        noise = context.stream.normal(*h.shape[1:], dtype=h.dtype)
        sd = (multiplier_variance(self.rate_of(layer)) * mean_square(h)).sqrt()
        return torch.addcmul(h, noise, sd.to(h.dtype))

    def variance(self, layer: int, *inputs: Tensor) -> Tensor:
        """v rms_j(h)^2, the same for all examples."""
        h = inputs[0].relu()
        return (multiplier_variance(self.rate_of(layer)) * mean_square(h)).expand_as(h)


def mean_square(h: Tensor) -> Tensor:
    """Mean square of each unit over the batch, detached: (networks, 1, units)."""
    dtype = torch.promote_types(h.dtype, torch.float32)
    length = torch.linalg.vector_norm(h.detach(), dim=1, keepdim=True, dtype=dtype)
    return (length.square() / h.shape[1]).to(h.dtype)
