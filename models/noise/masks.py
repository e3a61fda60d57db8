"""Masks of dropout and its kin: from 16-bit draws, the drop rate exact to 2^-16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from models import cpu_kernels
from models.cpu_kernels import array
from models.gpu.fused import fused
from models.rng import Stream


def inverted_mask(shape: tuple[int, ...], rate: Tensor, stream: Stream) -> Tensor:
    """Entries 1/(1-p) with probability 1-p, else 0: shape (networks, *shape), mean 1.

    The rate, (networks, 1, 1), is taken to the nearest multiple of 2^-16, and the scale is that of
    the rate taken, so the mean is exact. Networks of one seed share the underlying draws: a unit
    dropped at a rate is also dropped at any higher one.

    Source: Srivastava et al. 2014, Dropout; scaled in training as is now usual.
    """
    return threshold(stream.bits(*shape), rate)


def threshold(bits: Tensor, rate: Tensor) -> Tensor:
    """The inverted mask of 16-bit numbers (networks, ..), whose lowest share p is dropped."""
    # Compared into floats: no cast from booleans.
    kept = torch.empty(bits.shape, dtype=rate.dtype, device=bits.device)
    torch.ge(bits, least_kept(rate).to(torch.int16), out=kept)
    return kept.mul_(scale_of(rate))


def least_kept(rate: Tensor) -> Tensor:
    """The least of the 16-bit numbers that is not of their lowest share p, in the rate's type."""
    return (rate * 65536).round() - 32768


def scale_of(rate: Tensor) -> Tensor:
    """1/(1-p) of the rate that is taken."""
    return 65536 / (65536 - (rate * 65536).round())


def masked(x: Tensor, bits: Tensor, rate: Tensor) -> Tensor:
    """x times `threshold(bits, rate)`, in the precision of x; x and bits (networks, ..)."""
    if _written_out(x, bits, rate):
        result: Tensor = Masked.apply(x, bits, rate)
        return result
    return (threshold(bits, rate) * x).to(x.dtype)


def masked_relu(z: Tensor, bits: Tensor, rate: Tensor) -> Tensor:
    """ReLU(z) times `threshold(bits, rate)`, both (networks, batch, units); z is overwritten.

    The mask first or the ReLU first: it is the same, since no entry of the mask is negative.
    """
    if _written_out(z, bits, rate):
        result: Tensor = MaskedRelu.apply(z, bits, rate)
        return result
    return z.mul_(threshold(bits, rate)).relu_()


def _written_out(x: Tensor, bits: Tensor, rate: Tensor) -> bool:
    """True where the gradient needs no mask kept: a rate for each network and a draw for each
    entry, on a CPU as its loops have it."""
    if x.shape != bits.shape or not rate.numel() == rate.shape[0] == len(x):
        return False
    return x.device.type != "cpu" or (
        cpu_kernels.serve(x, rate)
        and rate.dtype == torch.float32
        and x.is_contiguous()
        and bits.is_contiguous()
    )


class Masked(torch.autograd.Function):
    """`masked`: one pass forward, and the same pass back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bits: Tensor, rate: Tensor) -> Tensor:
        """Apply to a copy."""
        ctx.save_for_backward(bits)
        ctx.rate = rate
        if x.device.type != "cpu":
            return times_mask(x, bits, rate)
        ctx.rate = rate.clone()  # a schedule changes the rates in place, at the next step
        result = torch.empty_like(x)
        cpu_kernels.masked(array(x), array(bits), array(rate).flatten(), array(result))
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Mask the gradient, in a way that can be differentiated in its turn."""
        return masked(gradient.contiguous(), ctx.saved_tensors[0], ctx.rate), None, None


class MaskedRelu(torch.autograd.Function):
    """`masked_relu`: one pass forward and one back, where tensor operations take six."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, bits: Tensor, rate: Tensor) -> Tensor:
        """Apply in place."""
        ctx.rate = rate
        if z.device.type == "cpu":
            ctx.rate = rate.clone()  # a schedule changes the rates in place, at the next step
            cpu_kernels.masked_relu(array(z), array(bits), array(rate).flatten())
        else:
            mask_relu_in_place(z, bits, rate)
        ctx.mark_dirty(z)
        ctx.save_for_backward(z)
        return z

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Propagate the gradient: what was dropped or cut off by the ReLU shows as a zero."""
        (h,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to be differentiated in its turn
            return gradient * (h > 0) * scale_of(ctx.rate).to(h.dtype), None, None
        if h.device.type != "cpu":
            return masked_relu_gradient(gradient, h, ctx.rate), None, None
        result = torch.empty_like(h)
        rate = array(ctx.rate).flatten()
        cpu_kernels.masked_relu_gradient(
            array(gradient.contiguous()), array(h), rate, array(result)
        )
        return result, None, None


@fused
def times_mask(x: Tensor, bits: Tensor, rate: Tensor) -> Tensor:
    """`masked` in tensor operations."""
    kept = bits >= least_kept(rate)
    return torch.where(kept, x * scale_of(rate), 0).to(x.dtype)


@fused
def mask_relu_in_place(z: Tensor, bits: Tensor, rate: Tensor) -> None:
    """`masked_relu` in tensor operations."""
    kept = (bits >= least_kept(rate)) & (z > 0)
    z.copy_(torch.where(kept, z * scale_of(rate), 0))


@fused
def masked_relu_gradient(gradient: Tensor, h: Tensor, rate: Tensor) -> Tensor:
    """The gradient of z from that of h, which `mask_relu_in_place` made of it."""
    return torch.where(h > 0, gradient * scale_of(rate), 0).to(gradient.dtype)
