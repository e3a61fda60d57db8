"""Training: many networks at once, each exactly as if it were trained alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

import torch
from torch import Tensor

from models.config import Arm, Recipe
from models.data import Split
from models.metrics import evaluate, zeros
from models.mlp import Weights, at_least_float32, forward, initialise
from models.noise import NOISE, Context, Noise
from models.streams import Stream

CPU_POPULATION, GPU_POPULATION = 8, 256
NETWORK_BYTES = 16_000_000
"""Memory that one more network of a population takes at most: weights, gradients, velocity, activations, images."""


@dataclass(frozen=True)
class Trained:
    """One trained network.

    Attributes:
        curves: metric -> its value after each epoch: train/loss (mean over the epoch's steps), val/loss, val/accuracy.
        test: test/loss and test/accuracy, where asked for; else empty.
        weights: the parameters, as a population of one on the CPU.
        seconds: training time of the population it was trained in, divided by its networks.
    """

    arm: Arm
    seed: int
    curves: dict[str, list[float]]
    test: dict[str, float]
    weights: Weights
    seconds: float

    @property
    def scores(self) -> dict[str, float]:
        """What is measured once: after the last step, and the mean accuracy of the last three epochs."""
        last = {name: curve[-1] for name, curve in self.curves.items()}
        return {**last, "val/accuracy_last3": fmean(self.curves["val/accuracy"][-3:]), **self.test}

    @property
    def converged(self) -> bool:
        """Whether every score is a finite number."""
        return all(map(math.isfinite, self.scores.values()))


def train_population(
    arms: Sequence[Arm],
    seeds: Sequence[int],
    split: Split,
    *,
    test: bool = False,
    on_step: Callable[[float], None] | None = None,
) -> list[Trained]:
    """Trains every arm with every seed, on the device and in the precision of `split`.

    Args:
        arms: of one noise type and one recipe; rates and weight decay may differ.
        test: whether to read the test images, once, after the last step.
        on_step: called after each step with the share of an epoch it was, times the networks; may raise to stop.

    Returns:
        One result for each (arm, seed), arms outermost.

    Raises:
        ValueError: the arms differ in noise type or recipe.
    """
    if len({(arm.noise, arm.recipe) for arm in arms}) != 1:
        raise ValueError("a population is trained with one noise type and one recipe")
    networks = [(arm, seed) for arm in arms for seed in seeds]
    populations = -(-len(networks) // population_size(split.train_x.device))
    size = -(-len(networks) // populations)
    chunks = [networks[i : i + size] for i in range(0, len(networks), size)]
    return [trained for chunk in chunks for trained in _train_chunk(chunk, split, test, on_step)]


def population_size(device: torch.device) -> int:
    """How many networks one tensor program trains at most; a network's result does not depend on it.

    On a CPU more bring no speed (docs/speed.md). A GPU is filled by many, as far as half of its free memory goes.
    """
    if device.type == "cpu":
        return CPU_POPULATION
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return max(1, min(GPU_POPULATION, free // 2 // NETWORK_BYTES))


def _train_chunk(
    networks: list[tuple[Arm, int]], split: Split, test: bool, on_step: Callable[[float], None] | None
) -> list[Trained]:
    start = time.perf_counter()
    arms, seeds = zip(*networks, strict=True)
    population, noise = build(arms, seeds, split)
    curves: dict[str, list[list[float]]] = {"train/loss": [], "val/loss": [], "val/accuracy": []}
    for train_loss in fit(population, noise, arms, seeds, split, on_step):
        val_loss, val_accuracy = evaluate(population, noise, seeds, split.validation_x, split.validation_y)
        for curve, values in zip(curves.values(), (train_loss, val_loss, val_accuracy), strict=True):
            curve.append(values.tolist())
    seconds = (time.perf_counter() - start) / len(networks)
    measured = evaluate(population, noise, seeds, split.test_x, split.test_y) if test else ()
    tested = dict(zip(("test/loss", "test/accuracy"), (values.tolist() for values in measured), strict=False))
    return [
        Trained(
            arm,
            seed,
            curves={name: [epoch[i] for epoch in curve] for name, curve in curves.items()},
            test={name: values[i] for name, values in tested.items()},
            weights=population.network(i),
            seconds=seconds,
        )
        for i, (arm, seed) in enumerate(networks)
    ]


def build(arms: Sequence[Arm], seeds: Sequence[int], split: Split) -> tuple[Weights, Noise]:
    """The freshly initialised networks, one for each pair of `arms` and `seeds`, and their noise."""
    device, dtype = split.train_x.device, at_least_float32(split.train_x.dtype)
    rates = torch.tensor([(arm.rate1, arm.rate2) for arm in arms], dtype=dtype, device=device)
    return initialise(seeds, device, dtype), NOISE[arms[0].noise](rates)


def fit(
    population: Weights,
    noise: Noise,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    split: Split,
    on_step: Callable[[float], None] | None = None,
) -> Iterator[Tensor]:
    """Trains the population in place; yields each network's mean training loss, (networks,), after each epoch."""
    recipe, device = arms[0].recipe, split.train_x.device
    examples = len(split.train_y)
    order, stream = Stream(seeds, "order"), Stream(seeds, "noise", device)
    sgd = Sgd(population, noise, [arm.weight_decay for arm in arms], recipe)
    steps = -(-examples // recipe.batch_size)
    for epoch in range(recipe.epochs):
        epoch_loss = zeros(len(seeds), device)
        for step, indices in enumerate(order.permutation(examples).to(device).split(recipe.batch_size, dim=1)):
            progress = (epoch * steps + step) / (recipe.epochs * steps)
            x, labels = take(split.train_x, indices), take(split.train_y, indices)
            context = Context(stream, labels, indices, examples, progress)
            losses = noise.loss(partial(forward, population, x, noise, context), context)
            sgd.step(losses, recipe.learning_rate_at(progress))
            epoch_loss += losses.detach() * indices.shape[1]
            if on_step:
                on_step(indices.numel() / examples)
        yield epoch_loss / examples


def take(rows: Tensor, indices: Tensor) -> Tensor:
    """rows[indices]; index_select is several times faster than advanced indexing."""
    return rows.index_select(0, indices.flatten()).unflatten(0, indices.shape)


class Sgd:
    """torch.optim.SGD for a population: a weight decay for each network, none for biases and learned noise."""

    def __init__(self, population: Weights, noise: Noise, weight_decays: Sequence[float], recipe: Recipe) -> None:
        """Holds the population's tensors; `step` updates them in place."""
        self.decayed, self.tensors = population.weights, [*population.tensors, *noise.parameters]
        like = population.weights[0]
        self.weight_decay = torch.tensor(weight_decays, dtype=like.dtype, device=like.device)[:, None, None]
        self.decays = any(weight_decays)
        self.momentum = recipe.momentum
        self.velocity: list[Tensor] = []

    @torch.no_grad()
    def step(self, losses: Tensor, learning_rate: float) -> None:
        """One update by the gradients of each network's own loss, (networks,)."""
        gradients = list(torch.autograd.grad(losses, self.tensors, torch.ones_like(losses)))
        if self.decays:
            for gradient, weight in zip(gradients, self.decayed, strict=False):
                gradient.addcmul_(weight, self.weight_decay)
        if self.momentum:
            if self.velocity:
                for velocity, gradient in zip(self.velocity, gradients, strict=True):
                    torch.add(gradient, velocity, alpha=self.momentum, out=velocity)
            else:
                self.velocity = gradients
            gradients = self.velocity
        for tensor, gradient in zip(self.tensors, gradients, strict=True):
            tensor.add_(gradient, alpha=-learning_rate)
