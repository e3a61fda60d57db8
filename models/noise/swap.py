"""Pixels exchanged between images: noise that has the data's own distribution, pixel by pixel."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from models import cpu_kernels
from models.cpu_kernels import array
from models.noise.base import Context, Noise, Rate
from models.noise.manifold_mixup import before
from models.noise.masks import least_kept
from models.noise.within_class import next_of_class, rows


def swapped(x: Tensor, partners: Tensor, bits: Tensor, rate: Tensor) -> Tensor:
    """x, but its partner's entry where `bits`, int16, are of the lowest share p; all (networks,
    batch, units), rate (networks, 1, 1)."""
    least = least_kept(rate).to(torch.int16)
    alike = x.shape == partners.shape == bits.shape and x.dtype == partners.dtype
    constant = not (x.requires_grad or partners.requires_grad)
    if alike and constant and least.numel() == len(x) and cpu_kernels.serve(x, partners):
        result = torch.empty_like(x, memory_format=torch.contiguous_format)
        tensors = (x.contiguous(), partners.contiguous(), bits.contiguous(), least.flatten())
        arrays = [array(tensor) for tensor in (*tensors, result)]
        cpu_kernels.swapped(*arrays)
        return result
    return torch.where(bits < least, partners, x)


class InputSwap(Noise):
    """x_j replaced, with probability p for each pixel and example, by pixel j of another image.

    The other image is the one before in the batch, whose order is random. Each pixel keeps its
    distribution over the data, so there is nothing to rescale; its mean, given the image, moves
    towards the mean image. Evaluation is the identity.

    Source: swap noise, known from denoising autoencoders on tables (Jahrer 2017, first place of
    Porto Seguro's Safe Driver Prediction).
    """

    site = "input"
    rates = (Rate("probability p of taking a pixel from another image"),)
    keeps_mean = False
    dependent: ClassVar[tuple[str, ...]] = ("examples",)

    def input(self, x: Tensor, context: Context) -> Tensor:
        return swapped(x, before(x), context.stream.bits(*x.shape[1:]), self.rate_of(0))


class ClassSwap(InputSwap):
    """x_j replaced, with probability p for each pixel and example, by pixel j of another image of
    its class.

    The label stays true of every pixel, unlike after a swap with any image. An image alone in its
    class is left as it is; so is one without a label. Evaluation is the identity.

    An own candidate. Source: none known; swap noise (Jahrer 2017) takes any other row of a table.
    """

    rates = (Rate("probability p of taking a pixel from another image of the class"),)
    dependent = ("examples", "units")

    def input(self, x: Tensor, context: Context) -> Tensor:
        if not context.labels.numel():
            return x
        partners = rows(x, next_of_class(context.labels, context.stream))
        return swapped(x, partners, context.stream.bits(*x.shape[1:]), self.rate_of(0))
