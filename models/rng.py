"""Random streams: every draw of a training run comes from a generator named by (seed, purpose).

Initialisation, batch order and noise have separate streams, so an arm that draws more noise does
not shift the order of its batches, and arms with the same seed are paired: same initial weights,
same batches, same underlying draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from math import prod
from typing import Literal

import numpy as np
import torch
from torch import Generator, Tensor

from models import cpu_kernels

Purpose = Literal["init", "order", "noise", "evaluation"]
PURPOSES: tuple[Purpose, ...] = ("init", "order", "noise", "evaluation")


LANES = 64
"""Generators side by side that make a CPU's draws for one seed: as many as its vector instructions
keep busy."""


def generator(seed: int, purpose: Purpose, device: torch.device | str = "cpu") -> Generator:
    """PyTorch's generator of one seed and purpose; distinct pairs give independent streams (NumPy's
    SeedSequence)."""
    return Generator(device).manual_seed(
        int(_sequence(seed, purpose).generate_state(1, np.uint64)[0])
    )


def _sequence(seed: int, purpose: Purpose) -> np.random.SeedSequence:
    return np.random.SeedSequence((seed, PURPOSES.index(purpose)))


class Lanes:
    """64-bit numbers on a CPU, a row for each seed; several times as fast as PyTorch's generator
    makes them.

    Lane k of a seed is NumPy's SFC64, seeded with the k-th child of the SeedSequence of (seed,
    purpose); the lanes of a seed take turns.
    """

    def __init__(self, seeds: Sequence[int], purpose: Purpose) -> None:
        """Start at the beginning of each seed's stream."""
        states = [
            [
                np.random.SFC64(child).state["state"]["state"]
                for child in _sequence(seed, purpose).spawn(LANES)
            ]
            for seed in seeds
        ]
        last = np.array(states).swapaxes(1, 2)
        self._state, self._counter = last[:, :3].copy(), last[:, 3, 0].copy()

    def fill(self, numbers: Tensor) -> None:
        """The next of each lane, in turn, into `numbers`, int16 (seeds, rows * 4 * LANES)."""
        cpu_kernels.draw(self._state, self._counter, numbers.numpy())


class Stream:
    """Draws for a population; networks with the same seed get the same draws.

    A network's draws depend on its own seed alone, never on the company it is trained in.
    """

    def __init__(
        self, seeds: Sequence[int], purpose: Purpose, device: torch.device | str = "cpu"
    ) -> None:
        """Generators for each distinct seed of `seeds` (one entry per network)."""
        distinct = sorted(set(seeds))
        self.device = torch.device(device)
        self._generators = [generator(seed, purpose, device) for seed in distinct]
        self._distinct, self._purpose = distinct, purpose
        self._row_of_network = torch.tensor([distinct.index(seed) for seed in seeds], device=device)
        self._one_row_each = list(seeds) == distinct

    @cached_property
    def _lanes(self) -> Lanes:
        return Lanes(self._distinct, self._purpose)

    def bits(self, *shape: int) -> Tensor:
        """Uniform integers of 16 bits, -32768 to 32767: int16 of shape (networks, *shape).

        The cheapest draw there is: one 64-bit number serves four entries. A CPU draws them by
        `Lanes`.
        """
        entries = prod(shape)
        padded = -(-entries // (4 * LANES)) * 4 * LANES
        drawn = torch.empty(len(self._distinct), padded, dtype=torch.int16, device=self.device)
        if self.device.type == "cpu":
            self._lanes.fill(drawn)
        else:
            for numbers, random in zip(drawn.view(torch.int64), self._generators, strict=True):
                numbers.random_(-(2**63), None, generator=random)
        return self._of_networks(drawn[:, :entries].reshape(-1, *shape))

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Uniform on the 2^16 midpoints of (-1, 1): mean 0 exactly, variance 1/3 to 2^-32.
        (networks, *shape)."""
        return look_up(uniform_quantiles(dtype, self.device), self.bits(*shape))

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Standard normal on 2^16 equally likely values: mean 0, variance 1, at most 4.33 SD.
        (networks, *shape).

        Looked up, each draw costs a quarter of what PyTorch's own does.
        """
        return look_up(normal_quantiles(dtype, self.device), self.bits(*shape))

    def permutation(self, n: int) -> Tensor:
        """A random order of 0 .. n-1 for each network: int64 of shape (networks, n)."""
        orders = [
            torch.randperm(n, generator=random, device=self.device) for random in self._generators
        ]
        return self._of_networks(torch.stack(orders))

    def _of_networks(self, drawn: Tensor) -> Tensor:
        """A row for each network, from one for each distinct seed."""
        return drawn if self._one_row_each else drawn.index_select(0, self._row_of_network)


@cache
def normal_quantiles(dtype: torch.dtype, device: torch.device) -> Tensor:
    """The normal distribution's quantiles at the 2^16 midpoints of (0, 1), scaled to variance 1;
    ascending."""
    midpoints = (torch.arange(65536, dtype=torch.float64) + 0.5) / 65536
    quantiles = torch.special.ndtri(midpoints)
    return (quantiles / quantiles.std(correction=0)).to(device, dtype)


@cache
def uniform_quantiles(dtype: torch.dtype, device: torch.device) -> Tensor:
    """The 2^16 midpoints of (-1, 1), ascending."""
    midpoints = (torch.arange(65536, dtype=torch.float64) - 32767.5) / 32768
    return midpoints.to(device, dtype)


@cache
def logistic_quantiles(dtype: torch.dtype, device: torch.device) -> Tensor:
    """The logits of the 2^16 midpoints of (0, 1), ascending."""
    return ((torch.arange(65536, dtype=torch.float64) + 0.5) / 65536).logit().to(device, dtype)


def look_up(table: Tensor, bits: Tensor) -> Tensor:
    """The entries of a table of 65,536 at `bits`, int16 of any shape, of which -32768 is the
    first."""
    if table.device.type == "cpu":
        found = torch.empty(bits.shape, dtype=table.dtype)
        cpu_kernels.look_up(
            cpu_kernels.array(table), cpu_kernels.array(bits.contiguous()), cpu_kernels.array(found)
        )
        return found
    return table.index_select(0, bits.flatten().to(torch.int32).add_(32768)).view(bits.shape)
