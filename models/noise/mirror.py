"""Random mirroring of the image."""

import torch
from torch import Tensor

from models.noise.base import Context, Noise, Rate

SIDE = 28


class Mirror(Noise):
    """x with left and right exchanged, with probability p for each image.

    Data augmentation, seen as noise: half of the images of clothes might as well have been taken the other way round.

    Source: Krizhevsky et al. 2012, ImageNet Classification with Deep Convolutional Neural Networks.
    """

    site = "input"
    rates = (Rate("probability p of mirroring an image", default=0.4),)
    keeps_mean = False
    dependent = ("units",)

    def input(self, x: Tensor, context: Context) -> Tensor:
        """Mirrors some images of (networks, batch, 784)."""
        mirrored = context.stream.uniform(x.shape[1], 1, dtype=self.rate_of(0).dtype) < 2 * self.rate_of(0) - 1
        return torch.where(mirrored, x.unflatten(2, (SIDE, SIDE)).flip(3).flatten(2), x)
