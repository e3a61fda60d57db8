"""Random shifts of the image: noise that knows what the input is."""

import torch
from torch import Tensor
from torch.nn import functional

from models import cpu_kernels
from models.noise.base import Context, Noise, Rate, multiplier_variance

SIDE = 28
FURTHEST = 6
"""Pixels; shifts are clipped here, beyond which little of a garment is left in the picture."""


class Shift(Noise):
    """x moved by round(sqrt(v) e) pixels, e standard normal, down and across and for each image
    anew; zeros move in.

    Data augmentation, seen as noise: its energy lies along the directions in which images of one
    class differ. Its mean is a blurred image. What is new here is only the scale, by which a search
    tunes it as any other noise.

    Source: Simard et al. 2003, Best Practices for Convolutional Neural Networks; as noise, Bishop
    1995.
    """

    site = "input"
    rates = (Rate("p, where a shift has the variance p/(1-p) pixels² before rounding", high=0.9),)
    keeps_mean = False
    knows_images = True
    dependent = ("units",)

    def input(self, x: Tensor, context: Context) -> Tensor:
        networks, batch, _ = x.shape
        scale = multiplier_variance(self.rate_of(0)).sqrt()
        drawn = context.stream.normal(2, batch, dtype=scale.dtype) * scale
        shifts = drawn.round().clamp(-FURTHEST, FURTHEST)
        down, across = shifts.to(torch.int64).unbind(1)
        images = x.reshape(networks * batch, SIDE, SIDE)
        return moved(images, down.flatten(), across.flatten()).view(x.shape)


def moved(images: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Return each image (images, 28, 28) as seen from so many pixels further `down` and `across`,
    int64 (images,), FURTHEST at most; zeros come in."""
    if images.device.type == "cpu" and images.is_contiguous() and not images.requires_grad:
        result = torch.empty_like(images)
        arrays = (cpu_kernels.array(tensor) for tensor in (images, down, across, result))
        cpu_kernels.shift(*arrays)
        return result
    return cut_out(images, down, across)


def cut_out(images: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """`moved` in tensor operations: each image anew from a frame of zeros."""
    framed = functional.pad(images, (FURTHEST,) * 4)
    cuts = framed.unfold(1, SIDE, 1).unfold(2, SIDE, 1)
    which = torch.arange(len(images), device=images.device)
    return cuts[which, down + FURTHEST, across + FURTHEST]
