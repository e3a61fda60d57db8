"""Stacked matrix products: one for each network of a population."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

PRECISIONS = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
}
"""Name of a precision of the products -> the type of images, activations and gradients. tf32 is
NVIDIA's: float32 with 10 bits of mantissa within a product."""


def pin_precision(name: str) -> None:
    """Have a GPU's products taken as the name says, whatever was set before.

    float32 is IEEE's, and partial sums of bfloat16 products are kept in float32.
    """
    cuda = torch.backends.cuda.matmul
    cuda.fp32_precision = "tf32" if name == "tf32" else "ieee"
    cuda.allow_bf16_reduced_precision_reduction = False


def affine(h: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """h W + b in the precision of h: (networks, batch, in), (networks, in, out), (networks, 1, out)
    or none."""
    weight, bias = weight.to(h.dtype), None if bias is None else bias.to(h.dtype)
    if h.device.type == "cpu" and h.dtype == torch.float32 and onednn_multiplies_faster():
        result: Tensor = OneDnnAffine.apply(h, weight, bias)
        return result
    return torch.bmm(h, weight) if bias is None else torch.baddbmm(bias, h, weight)


@cache
def onednn_multiplies_faster() -> bool:
    """Return True if float32 products are better left to oneDNN than to MKL, which torch.bmm calls.

    MKL leaves AVX-512 unused on processors that are not Intel's, and is half as fast there; on
    Intel's it is the faster of the two (docs/speed.md). Decided by what the processor is, not by a
    timing: the same machine must give the same bits.
    """
    return (
        torch.backends.cpu.get_cpu_capability() == "AVX512"
        and torch.backends.mkldnn.is_available()
        and not is_intel()
    )


def is_intel() -> bool:
    """Return True on a processor of Intel's."""
    return "Intel" in str(torch.cpu.get_capabilities().get("cpu_name"))


class OneDnnAffine(torch.autograd.Function):
    """h W + b by oneDNN, network by network: it has no stacked product of float32."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The bias is added within the product."""
        ctx.save_for_backward(h, weight)
        return onednn_products(h, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        """The images need no gradient."""
        h, weight = ctx.saved_tensors
        to_h = onednn_products(gradient, weight.mT) if ctx.needs_input_grad[0] else None
        to_bias = gradient.sum(dim=1, keepdim=True) if ctx.needs_input_grad[2] else None
        return to_h, onednn_products(h.mT, gradient), to_bias


def onednn_products(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a b (+ bias): (networks, m, k), (networks, k, n), (networks, 1, n)."""
    result = a.new_empty(a.shape[0], a.shape[1], b.shape[2])
    for i, network in enumerate(result):
        added = None if bias is None else bias[i, 0].contiguous()  # its stride would be ignored
        network.copy_(torch.ops.mkldnn._linear_pointwise(a[i], b[i].mT, added, "none", [], ""))
    return result


class NarrowAffine(torch.autograd.Function):
    """h W + b for a W of few columns: ten columns take three times as long as ten rows.

    h (networks, batch, in), W (networks, in, out), b (networks, 1, out); the result (networks,
    batch, out).
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The transposed product, read transposed."""
        ctx.save_for_backward(h, weight)
        return torch.baddbmm(bias.mT, weight.mT, h.mT).mT

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same for the weights; the gradient of h is as wide as a hidden layer."""
        h, weight = ctx.saved_tensors
        return gradient @ weight.mT, (gradient.mT @ h).mT, gradient.sum(dim=1, keepdim=True)
