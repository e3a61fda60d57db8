"""Noise types, contexts and images for the tests of noise."""

from __future__ import annotations

import torch
from torch import Tensor

from models.data import Split
from models.noise import Context, Noise, noise_type
from models.rng import Stream

SEEDS = (3, 4, 5)


def context(seeds: tuple[int, ...] = SEEDS, batch: int = 8, progress: float = 0.5) -> Context:
    labels = torch.arange(batch).remainder(3).expand(len(seeds), -1)
    return Context(
        Stream(seeds, "noise"), labels, torch.arange(batch).expand(len(seeds), -1), 1000, progress
    )


def make(
    name: str, *rates: float, networks: int = len(SEEDS), dtype: torch.dtype = torch.float32
) -> Noise:
    """Networks of one rate, of one each where there are several; within the type's range, all of
    its rates alike."""
    of_type = noise_type(name)
    table = torch.zeros(networks, max(2, len(of_type.rates)), dtype=dtype)
    for layer, rate in enumerate(of_type.rates):
        table[:, layer] = torch.tensor(rates, dtype=dtype).clamp(rate.low, rate.high)
    return of_type(table)


def images(
    networks: int = len(SEEDS), batch: int = 8, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Half of the pixels are blank, as of real images: (networks, batch, 784)."""
    x = torch.rand(networks, batch, 784, generator=torch.Generator().manual_seed(0))
    return ((x - 0.5).clamp(min=0) * 2).to(dtype)


def without_numbers(dtype: torch.dtype) -> Split:
    """A data set on the meta device."""

    def pixels(n: int) -> Tensor:
        return torch.empty(n, 784, dtype=dtype, device="meta")

    def labels(n: int) -> Tensor:
        return torch.empty(n, dtype=torch.int64, device="meta")

    return Split(
        name="none",
        train_x=pixels(600),
        train_y=labels(600),
        validation_x=pixels(10),
        validation_y=labels(10),
        test_x=pixels(10),
        test_y=labels(10),
        digest="",
        content="",
    )
