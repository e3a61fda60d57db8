"""Masks as a published set of solutions draws them: wrong on purpose, for the audit.

Source: narcissuskid, 5.6. Dropout (2023), solutions to the exercises of Dive into Deep Learning
5.6; written anew.
"""

from torch import Tensor

from models.matmul import affine
from models.noise.base import Context, Noise, Rate, per_layer
from models.rng import Stream

RATE = Rate("what the solutions call the dropout probability")


def randn_mask(shape: tuple[int, ...], rate: Tensor, stream: Stream) -> Tensor:
    """Entries 1/(1-p) where a *normal* number exceeds p, else 0: (networks, *shape).

    At p = 0.5 it drops 69 % and its mean is 0.62: right would be a uniform number, which drops p
    and has mean 1.
    """
    return (stream.normal(*shape, dtype=rate.dtype) > rate) / (1 - rate)


class RandnDropout(Noise):
    """Dropout by `randn_mask`."""

    rates, keeps_mean = per_layer(RATE), False

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        return z.relu_() * randn_mask(tuple(z.shape[1:]), self.rate_of(layer), context.stream)


class RandnDropConnect(Noise):
    """DropConnect, one mask a step, by `randn_mask`."""

    rates, keeps_mean = per_layer(RATE), False

    def linear(
        self, layer: int, h: Tensor, weight: Tensor, bias: Tensor, context: Context
    ) -> Tensor:
        mask = randn_mask(tuple(weight.shape[1:]), self.rate_of(layer), context.stream)
        return affine(h, weight * mask, bias)


class KeptRelu(Noise):
    """A "stochastic ReLU" that keeps an activation with probability p and does not rescale, in
    training or after.

    It is un-inverted dropout at drop rate 1 - p without the scaling by p that this needs at
    evaluation.
    """

    rates, keeps_mean = per_layer(Rate("probability p of keeping a unit")), False

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        kept = context.stream.uniform(*z.shape[1:], dtype=z.dtype) < 2 * self.rate_of(layer) - 1
        return (z * kept).relu_()
