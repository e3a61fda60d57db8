"""Inverted dropout on the activations."""

import torch
from torch import Tensor

from models.noise.base import Context, Noise, Rate, multiplier_variance, per_layer
from models.streams import Stream


def inverted_mask(shape: tuple[int, ...], rate: Tensor, stream: Stream) -> Tensor:
    """Entries 1/(1-p) with probability 1-p, else 0: shape (networks, *shape), mean 1.

    The rate, (networks, 1, 1), is taken to the nearest multiple of 2^-16, and the scale is that of the rate taken, so
    the mean is exact. Networks of one seed share the underlying draws: a unit dropped at a rate is also dropped at any
    higher one.

    Source: Srivastava et al. 2014, Dropout; scaled in training as is now usual.
    """
    return threshold(stream.bits(*shape), rate)


def threshold(bits: Tensor, rate: Tensor) -> Tensor:
    """The inverted mask of 16-bit numbers (networks, ..): the lowest share p of their range is dropped."""
    dropped_of_65536 = (rate * 65536).round()
    kept = torch.empty(bits.shape, dtype=rate.dtype, device=bits.device)  # compared into floats: no cast from booleans
    torch.ge(bits, (dropped_of_65536 - 32768).to(torch.int16), out=kept)
    return kept.mul_(65536 / (65536 - dropped_of_65536))


class Dropout(Noise):
    """h m / (1 - p), m Bernoulli(1 - p) for each unit and example.

    Source: Srivastava et al. 2014, Dropout: A Simple Way to Prevent Neural Networks from Overfitting.
    """

    site = "activation"
    rates = per_layer(Rate("probability p of dropping a unit"))
    multiplier = "bernoulli"

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        """The mask, then the ReLU: the same as the other way round, since no entry of the mask is negative."""
        return z.mul_(inverted_mask(tuple(z.shape[1:]), self.rate_of(layer), context.stream)).relu_()

    def variance(self, layer: int, *inputs: Tensor) -> Tensor:
        """v h^2."""
        return multiplier_variance(self.rate_of(layer)) * inputs[0].relu().square()
