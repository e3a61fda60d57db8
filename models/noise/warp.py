"""Random small affine warps of the image: noise that knows what the input is."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from models import cpu_kernels
from models.cpu_kernels import array
from models.noise.base import Context, Noise, Rate, multiplier_variance
from models.noise.shift import FURTHEST, SIDE

CENTRE = (SIDE - 1) / 2
FRAME = FURTHEST + 1
"""Blank pixels around an image, so that all that is looked up is there."""


class Warp(Noise):
    """x as seen through an affine map: what lies u from the centre moves by sqrt(v) (t + E u / 14).

    t and E are a vector and a matrix of standard normal numbers, for each image anew; u is in
    pixels. So shifts, turns, stretches and shears, each of sqrt(v) pixels: the first everywhere,
    the others at the image's edge, none further than 6 pixels. Between pixels the image is
    interpolated; zeros move in. Its mean is a blurred image. Evaluation is the identity. What is
    new here is only the scale, by which a search tunes it as any other noise.

    Source: Simard et al. 2003, Best Practices for Convolutional Neural Networks.
    """

    site = "input"
    knows_images = True
    rates = (Rate("p, where each part of the map moves by p/(1-p) pixels² of variance", high=0.9),)
    keeps_mean = False
    dependent = ("units",)

    def input(self, x: Tensor, context: Context) -> Tensor:
        networks, batch, _ = x.shape
        scale = multiplier_variance(self.rate_of(0)).sqrt()[..., None]
        drawn = context.stream.normal(batch, 2, 3, dtype=scale.dtype) * scale
        maps = (drawn / drawn.new_tensor((1.0, CENTRE, CENTRE))).flatten(0, 1)
        images = x.reshape(networks * batch, SIDE, SIDE)
        return warped(images, maps).view(x.shape)


def warped(images: Tensor, maps: Tensor) -> Tensor:
    """Return each image (images, 28, 28) with its pixels taken from where the map says, (images, 2,
    3): rows then columns, each a constant and factors of the place's row and column."""
    if cpu_kernels.serve(images, maps) and images.is_contiguous() and not images.requires_grad:
        result = torch.empty_like(images)
        numbers = array(maps.float().contiguous())
        cpu_kernels.warp(array(images), numbers, FURTHEST, array(result))
        return result
    return interpolated(images, maps)


def interpolated(images: Tensor, maps: Tensor) -> Tensor:
    """`warped` in tensor operations."""
    place = torch.arange(SIDE, dtype=maps.dtype, device=images.device)
    row, column = place[:, None] - CENTRE, place - CENTRE
    constant, by_row, by_column = maps[:, :, :, None, None].unbind(dim=2)
    moves = (constant + by_row * row + by_column * column).clamp(-FURTHEST, FURTHEST)
    at = torch.stack([place[:, None].expand(SIDE, SIDE), place.expand(SIDE, SIDE)]) + moves + FRAME
    corner = at.floor()
    (down, across), (y, x) = (at - corner).unbind(dim=1), corner.long().unbind(dim=1)
    framed = functional.pad(images.to(maps.dtype), (FRAME,) * 4).flatten(1)
    width = SIDE + 2 * FRAME
    start = (y * width + x).flatten(1)

    def pixels(offset: int) -> Tensor:
        return framed.gather(1, start + offset).view(images.shape)

    above = pixels(0).lerp(pixels(1), across)
    below = pixels(width).lerp(pixels(width + 1), across)
    return above.lerp(below, down).to(images.dtype)
