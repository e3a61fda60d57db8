"""Random streams: every draw of a training run comes from a generator named by (seed, purpose).

Initialisation, batch order and noise have separate streams, so an arm that draws more noise does not shift the order
of its batches, and arms with the same seed are paired: same initial weights, same batches, same underlying draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Generator, Tensor

Purpose = Literal["init", "order", "noise", "evaluation"]
PURPOSES: tuple[Purpose, ...] = ("init", "order", "noise", "evaluation")


def generator(seed: int, purpose: Purpose, device: torch.device | str = "cpu") -> Generator:
    """The generator of one seed and purpose; distinct pairs give independent streams (NumPy's SeedSequence)."""
    state = np.random.SeedSequence((seed, PURPOSES.index(purpose))).generate_state(1, np.uint64)[0]
    return Generator(device).manual_seed(int(state))


class Stream:
    """Draws for a population; networks with the same seed get the same draws.

    A network's draws depend on its own seed alone, never on the company it is trained in.
    """

    def __init__(self, seeds: Sequence[int], purpose: Purpose, device: torch.device | str = "cpu") -> None:
        """One generator for each distinct seed of `seeds` (one entry per network)."""
        distinct = sorted(set(seeds))
        self.device = torch.device(device)
        self._generators = [generator(seed, purpose, device) for seed in distinct]
        self._row_of_network = torch.tensor([distinct.index(seed) for seed in seeds], device=device)
        self._one_row_each = list(seeds) == distinct

    def bits(self, *shape: int) -> Tensor:
        """Uniform integers of 16 bits, -32768 to 32767: int16 of shape (networks, *shape).

        The cheapest draw there is: one 64-bit number serves four entries.
        """
        entries = int(np.prod(shape))
        drawn = self._draw((-(-entries // 4),), torch.int64, lambda row, g: row.random_(-(2**63), None, generator=g))
        return drawn.view(torch.int16)[:, :entries].reshape(-1, *shape)

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Uniform on the 2^16 midpoints of (-1, 1): mean 0 exactly, variance 1/3 to 2^-32. (networks, *shape)."""
        drawn = self.bits(*shape).to(torch.promote_types(dtype, torch.float32))  # bfloat16 would round away the half
        return drawn.add_(0.5).mul_(2.0**-15).to(dtype)

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Standard normal on 2^16 equally likely values: mean 0, variance 1, at most 4.33 SD. (networks, *shape).

        Looked up, each draw costs half of what PyTorch's own does.
        """
        index = self.bits(*shape).to(torch.int32).add_(32768)
        return normal_quantiles(dtype, self.device).index_select(0, index.flatten()).view(index.shape)

    def permutation(self, n: int) -> Tensor:
        """A random order of 0 .. n-1 for each network: int64 of shape (networks, n)."""
        return self._draw((n,), torch.int64, lambda row, g: torch.randperm(n, generator=g, out=row))

    def _draw(self, shape: tuple[int, ...], dtype: torch.dtype, fill: Callable[[Tensor, Generator], Tensor]) -> Tensor:
        drawn = torch.empty(len(self._generators), *shape, dtype=dtype, device=self.device)
        for row, row_generator in zip(drawn, self._generators, strict=True):
            fill(row, row_generator)
        return drawn if self._one_row_each else drawn.index_select(0, self._row_of_network)


@cache
def normal_quantiles(dtype: torch.dtype, device: torch.device) -> Tensor:
    """The normal distribution's quantiles at the 2^16 midpoints of (0, 1), scaled to variance 1; ascending."""
    midpoints = (torch.arange(65536, dtype=torch.float64) + 0.5) / 65536
    quantiles = torch.special.ndtri(midpoints)
    return (quantiles / quantiles.std(correction=0)).to(device, dtype)
