"""Stochastic gradient descent for a population."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from models import cpu_kernels
from models.config import Recipe
from models.cpu_kernels import array
from models.gpu.fused import fused
from models.mlp import Weights
from models.noise import Noise


class Sgd:
    """torch.optim.SGD with a weight decay for each network, none for biases and learned noise.

    Attributes:
        rounded: the population in the precision of the products, which training is to read: rounded
            once a step, as it is updated, and gradients come in that precision. The population
            itself, where that is its own.
    """

    def __init__(
        self,
        population: Weights,
        noise: Noise,
        weight_decays: Sequence[float],
        recipe: Recipe,
        dtype: torch.dtype,
    ) -> None:
        """Hold the population's tensors; `step` updates them, and `rounded`, in place."""
        self.rounded = population.rounded(dtype)
        self.read = [*self.rounded.tensors, *noise.parameters]
        decays = torch.tensor(
            weight_decays, dtype=population.weights[0].dtype, device=population.weights[0].device
        )
        masters = [*population.tensors, *noise.parameters]
        self.updates = [
            Update(
                weight=master,
                rounded=None if read is master else read,
                decay=decays if place < len(population.weights) and any(weight_decays) else None,
                momentum=recipe.momentum,
            )
            for place, (master, read) in enumerate(zip(masters, self.read, strict=True))
        ]

    @torch.no_grad()
    def step(self, losses: Tensor, learning_rate: float | Tensor) -> None:
        """One update by the gradients of each network's own loss, (networks,); a learning rate on
        the losses' device, of no dimension, is not read by the host."""
        gradients = torch.autograd.grad(losses, self.read, torch.ones_like(losses))
        for update, gradient in zip(self.updates, gradients, strict=True):
            update(gradient, learning_rate)


class Update:
    """velocity = momentum velocity + gradient + decay weight; weight -= learning_rate velocity."""

    def __init__(
        self, weight: Tensor, rounded: Tensor | None, decay: Tensor | None, momentum: float
    ) -> None:
        """Hold one tensor of the population.

        Args:
            weight: (networks, ..), updated in place.
            rounded: its copy in another precision, updated with it, or none.
            decay: weight decay of each network, (networks,), or none.
            momentum: share of the velocity that is kept.
        """
        self.weight, self.rounded = weight.detach(), rounded
        self.decay, self.momentum = decay, momentum
        self.velocity = torch.zeros_like(self.weight) if momentum else None
        self._in_one_pass = (
            cpu_kernels.serve(weight) and weight.dtype == torch.float32 and weight.is_contiguous()
        )
        if self._in_one_pass:
            held = (self.weight, self.rounded, self.velocity)
            rows = [None if one is None else array(one).reshape(len(one), -1) for one in held]
            self._weight, self._rounded, self._velocity = rows
            self._decay = None if decay is None else array(decay)

    def __call__(self, gradient: Tensor, learning_rate: float | Tensor) -> None:
        """One step by a gradient in the precision of `rounded`."""
        if self._in_one_pass:
            self.in_one_pass(gradient, float(learning_rate))
        else:
            self.by_tensors(gradient, learning_rate)

    def by_tensors(self, gradient: Tensor, learning_rate: float | Tensor) -> None:
        """Update in tensor operations."""
        held = (self.weight, self.rounded, gradient.contiguous(), self.velocity)
        rows = [None if one is None else one.view(len(one), -1) for one in held]
        weight, rounded, gradient_rows, velocity = rows
        assert weight is not None and gradient_rows is not None
        decay = None if self.decay is None else self.decay[:, None]
        update(weight, rounded, gradient_rows, velocity, decay, self.momentum, learning_rate)

    def in_one_pass(self, gradient: Tensor, learning_rate: float) -> None:
        """Update on a CPU, fetching each number once: a population's weights fill no cache."""
        cpu_kernels.sgd(
            self._weight,
            self._rounded,
            array(gradient.contiguous()),
            self._velocity,
            self._decay,
            np.float32(self.momentum),
            np.float32(learning_rate),
        )
        written = [tensor for tensor in (self.weight, self.rounded) if tensor is not None]
        # So that a graph kept from before the step says so.
        torch.autograd.graph.increment_version(written)


@fused
def update(
    weight: Tensor,
    rounded: Tensor | None,
    gradient: Tensor,
    velocity: Tensor | None,
    decay: Tensor | None,
    momentum: float,
    learning_rate: float | Tensor,
) -> None:
    """The step of `Update`, in place, on rows (networks, m); decay (networks, 1)."""
    step = gradient.to(weight.dtype)
    if decay is not None:
        step = step.addcmul(weight, decay)
    if velocity is not None:
        velocity.mul_(momentum).add_(step)
        step = velocity
    weight.sub_(step * learning_rate)
    if rounded is not None:
        rounded.copy_(weight)
