"""A ReLU with random slopes: noise that multiplies activations by independent draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from models import cpu_kernels
from models.cpu_kernels import array
from models.gpu.fused import fused
from models.rng import Stream, look_up_by_tensors

Line: TypeAlias = tuple[Tensor | float, Tensor | float]
"""a and b of a slope a + b t: numbers, or one for each network, (networks, 1, 1)."""
Quantiles: TypeAlias = Callable[[torch.dtype, torch.device], Tensor]
"""A distribution of t: 65,536 values, equally likely."""


def random_relu(
    z: Tensor, stream: Stream, quantiles: Quantiles, above: Line, below: Line = (0.0, 0.0)
) -> Tensor:
    """z times its slope: a + b t by `above` where z > 0, by `below` elsewhere; z is overwritten.

    t is drawn anew for each entry of z, (networks, batch, units). The slopes are constant to the
    gradient.
    """
    return z.mul_(slopes(z.detach(), stream.bits(*z.shape[1:]), quantiles, above, below))


@torch.no_grad()
def slopes(
    z: Tensor,
    bits: Tensor,
    quantiles: Quantiles,
    above: Line,
    below: Line,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The slopes at `bits`, worked out in float32 at least; in `dtype`, by default that of z."""
    table = quantiles(torch.promote_types(z.dtype, torch.float32), z.device)
    known = dtype in (None, torch.float32, torch.bfloat16)
    if cpu_kernels.serve(z) and z.is_contiguous() and known:
        numbers = [torch.as_tensor(number) for number in (*above, *below)]
        lines = [number.expand(len(z), 1, 1) for number in numbers]
        found = torch.empty_like(z, dtype=dtype)
        coefficients = torch.cat(lines, dim=2)[:, 0].numpy().astype("float32")
        arrays = array(z), array(bits.contiguous()), array(table)
        cpu_kernels.slopes(*arrays, coefficients, array(found))
        return found
    return slopes_by_tensors(z, bits, table, *above, *below).to(dtype or z.dtype)


@fused
def slopes_by_tensors(
    z: Tensor,
    bits: Tensor,
    table: Tensor,
    a: Tensor | float,
    b: Tensor | float,
    c: Tensor | float,
    d: Tensor | float,
) -> Tensor:
    """a + b t where z > 0, c + d t elsewhere, in the precision of the table."""
    t = look_up_by_tensors(table, bits)
    return torch.where(z > 0, t * b + a, t * d + c)
