"""Random streams: every draw of a training run comes from a generator named by (seed, purpose).

Initialisation, batch order and noise have separate streams, so an arm that draws more noise does
not shift the order of its batches, and arms with the same seed are paired: same initial weights,
same batches, same underlying draws. A CPU and a GPU draw by different generators: the same seed
means the same initial weights on both, and other batches and other noise.
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
from models.cpu_kernels import array
from models.gpu.philox import Counted

Purpose = Literal["init", "order", "noise", "evaluation"]
PURPOSES: tuple[Purpose, ...] = ("init", "order", "noise", "evaluation")


LANES = 64
"""Generators side by side that make a CPU's draws for one seed: as many as its vector instructions
keep busy."""


def generator(seed: int, purpose: Purpose) -> Generator:
    """PyTorch's generator of one seed and purpose; pairs are independent (SeedSequence)."""
    return Generator().manual_seed(_key(seed, purpose))


def _key(seed: int, purpose: Purpose) -> int:
    """64 random bits."""
    return int(_sequence(seed, purpose).generate_state(1, np.uint64)[0])


def _sequence(seed: int, purpose: Purpose) -> np.random.SeedSequence:
    return np.random.SeedSequence((seed, PURPOSES.index(purpose)))


class Lanes:
    """Draws on a CPU, a row for each seed; several times as fast as PyTorch's generator makes them.

    Lane k of a seed is NumPy's SFC64, seeded with the k-th child of the SeedSequence of (seed,
    purpose); the lanes of a seed take turns.
    """

    def __init__(self, seeds: Sequence[int], purpose: Purpose) -> None:
        """Start at the beginning of each seed's stream."""
        self._seeds, self._purpose = seeds, purpose

    @cached_property
    def _state(self) -> tuple[np.ndarray, np.ndarray]:
        states = [
            [
                np.random.SFC64(child).state["state"]["state"]
                for child in _sequence(seed, self._purpose).spawn(LANES)
            ]
            for seed in self._seeds
        ]
        last = np.array(states).swapaxes(1, 2)
        return last[:, :3].copy(), last[:, 3, 0].copy()

    @cached_property
    def _generators(self) -> list[Generator]:
        return [generator(seed, self._purpose) for seed in self._seeds]

    def bits(self, entries: int) -> Tensor:
        """The next of each lane, in turn: int16 (seeds, entries).

        The cheapest draw there is: one 64-bit number serves four entries.
        """
        padded = -(-entries // (4 * LANES)) * 4 * LANES
        drawn = torch.empty(len(self._seeds), padded, dtype=torch.int16)
        cpu_kernels.draw(*self._state, drawn.numpy())
        return drawn[:, :entries]

    def permutation(self, n: int) -> Tensor:
        """A random order of 0 .. n-1 by PyTorch's generator, int64 (seeds, n)."""
        return torch.stack([torch.randperm(n, generator=random) for random in self._generators])


class Stream:
    """Draws for a population; networks with the same seed get the same draws.

    A network's draws depend on its own seed alone, never on the company it is trained in.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        purpose: Purpose,
        device: torch.device | str = "cpu",
        counted: bool | None = None,
    ) -> None:
        """Start the stream of each of `seeds`, one entry per network.

        Args:
            counted: draw by counter, on any device; by default where the device is no CPU.
        """
        self.device = torch.device(device)
        distinct = sorted(set(seeds))
        self._row_of_network: Tensor | None = None
        self._draws: Lanes | Counted
        if self.device.type != "cpu" if counted is None else counted:
            self._draws = Counted([_key(seed, purpose) for seed in seeds], self.device)
        else:
            self._draws = Lanes(distinct, purpose)
            if list(seeds) != distinct:
                self._row_of_network = torch.tensor([distinct.index(seed) for seed in seeds])

    @property
    def counted(self) -> bool:
        """True if a draw depends on its place alone, not on those before it."""
        return isinstance(self._draws, Counted)

    def at(self, step: Tensor) -> None:
        """Go to the first draw of a step, int64 of no dimension; only where draws are counted."""
        if isinstance(self._draws, Counted):
            self._draws.at(step)

    def bits(self, *shape: int) -> Tensor:
        """Uniform integers of 16 bits, -32768 to 32767: int16 of shape (networks, *shape)."""
        return self._of_networks(self._draws.bits(prod(shape)).reshape(-1, *shape))

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
        return self._of_networks(self._draws.permutation(n))

    def _of_networks(self, drawn: Tensor) -> Tensor:
        """A row for each network, from one for each distinct seed."""
        rows = self._row_of_network
        return drawn if rows is None else drawn.index_select(0, rows)


@cache
def normal_quantiles(dtype: torch.dtype, device: torch.device) -> Tensor:
    """The normal quantiles at the 2^16 midpoints of (0, 1), scaled to variance 1; ascending."""
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
    """The entries of a table of 65,536 at `bits`, int16 of any shape, from -32768 on."""
    if table.device.type == "cpu":
        found = torch.empty(bits.shape, dtype=table.dtype)
        cpu_kernels.look_up(array(table), array(bits.contiguous()), array(found))
        return found
    return look_up_by_tensors(table, bits)


def look_up_by_tensors(table: Tensor, bits: Tensor) -> Tensor:
    """`look_up` in tensor operations."""
    return table.index_select(0, bits.flatten().to(torch.int32) + 32768).view(bits.shape)
