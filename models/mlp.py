"""The network: 784-256-256-10 with ReLU, a population of it in stacked tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from models.matmul import NarrowAffine
from models.noise import Context, Noise
from models.rng import generator

SIZES = (784, 256, 256, 10)


@dataclass(frozen=True)
class Weights:
    """The parameters of a population.

    Attributes:
        weights: three tensors (networks, in, out), the transpose of nn.Linear's.
        biases: three tensors (networks, 1, out).
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Weights, then biases."""
        return self.weights + self.biases

    def rounded(self, dtype: torch.dtype) -> Weights:
        """A copy in a precision, whose gradients can be asked for; itself where it has it."""
        if dtype == self.weights[0].dtype:
            return self
        return self._each(lambda t: t.detach().to(dtype).requires_grad_())

    def network(self, index: int) -> Weights:
        """A copy of one network's parameters, as a population of one on the CPU."""
        return self._each(lambda t: t[index : index + 1].detach().to("cpu", copy=True))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Weights:
        return Weights(tuple(map(change, self.weights)), tuple(map(change, self.biases)))


def initialise(
    seeds: Sequence[int], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Weights:
    """Draw a network for each seed, uniform on +-1/sqrt(fan-in) as nn.Linear does.

    Drawn on the CPU in float32, so that a seed means the same weights on every device and at every
    precision.
    """
    population = [_initialise_one(seed) for seed in dict.fromkeys(seeds)]
    order = [list(dict.fromkeys(seeds)).index(seed) for seed in seeds]
    stacked = [
        torch.stack(tensors)[order].to(device, dtype).requires_grad_()
        for tensors in zip(*population, strict=True)
    ]
    return Weights(tuple(stacked[:3]), tuple(stacked[3:]))


def _initialise_one(seed: int) -> list[Tensor]:
    random = generator(seed, "init")
    empty = partial(torch.empty, dtype=torch.float32)  # a plug-in may have set another default
    layers = list(zip(SIZES, SIZES[1:], strict=False))
    weights = [empty(i, o).uniform_(-(i**-0.5), i**-0.5, generator=random) for i, o in layers]
    biases = [empty(1, o).uniform_(-(i**-0.5), i**-0.5, generator=random) for i, o in layers]
    return weights + biases


def forward(population: Weights, x: Tensor, noise: Noise, context: Context) -> Tensor:
    """Logits (networks, batch, 10) of images x (networks, batch, 784).

    The products are taken in the precision of x, to which the weights are rounded; logits come in
    float32 at least.
    """
    h = noise.input(x, context)
    for layer in range(2):
        z = noise.linear(layer, h, population.weights[layer], population.biases[layer], context)
        h = noise.hidden(layer, z, context)
    weight, bias = population.weights[2].to(h.dtype), population.biases[2].to(h.dtype)
    logits: Tensor = NarrowAffine.apply(h, weight, bias)
    return logits.to(at_least_float32(h.dtype))


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """The precision of weights, logits and scores, where activations are of `dtype`."""
    return torch.promote_types(dtype, torch.float32)
