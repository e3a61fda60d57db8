"""Training: many networks at once, each exactly as if it were trained alone."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from models.config import Arm, rate_table
from models.data import Split
from models.gpu.memory import bytes_of_one_more
from models.gpu.steps import Steps
from models.metrics import by_image, calibration, evaluate, predict, score, zeros
from models.mlp import Weights, at_least_float32, forward, initialise
from models.noise import Context, Noise, noise_type, noise_version
from models.noise.base import Progress
from models.probes import MEASURES, Moment
from models.rng import Stream
from models.sgd import Sgd

CPU_POPULATION, GPU_POPULATION = 8, 256


@dataclass(frozen=True)
class Trained:
    """One trained network.

    Attributes:
        curves: metric -> its value after each epoch of `evaluated`: train/loss (mean over that
            epoch's steps), val/loss, val/accuracy. The last point is of the float32 weights, the
            others in the precision of training.
        test: test/loss, test/accuracy, test/brier and test/ece, where asked for; else empty.
        measured: (epoch, metric, value) of the measures asked for.
        binned: metric -> its value in each bin, of measures that sort the test images into bins.
        images: "nll" (float16) and "correct" (bool) of each test image, where test images were
            read; else empty.
        weights: the parameters, as a population of one on the CPU; none where they were not asked
            for.
        seconds: training time, tests and measures left out, of the network's population, divided by
            its networks.
        error: why it was not trained to its end, in one line; else empty.
        evaluated: the epochs of the curves' points; by default the first ones.
    """

    arm: Arm
    seed: int
    curves: dict[str, list[float]]
    test: dict[str, float]
    weights: Weights
    seconds: float
    measured: list[tuple[int, str, float]] = field(default_factory=list)
    binned: dict[str, list[float]] = field(default_factory=dict)
    images: dict[str, np.ndarray] = field(default_factory=dict)
    error: str = ""
    evaluated: tuple[int, ...] = ()

    @property
    def points(self) -> tuple[int, ...]:
        """The epochs of the curves' points."""
        return self.evaluated or tuple(range(1, len(self.curves["val/accuracy"]) + 1))

    @property
    def scores(self) -> dict[str, float]:
        """The run's numbers: after the last step, the mean accuracy of the curve's last three
        points, and what was measured."""
        return {
            **{name: curve[-1] for name, curve in self.curves.items()},
            "val/accuracy_last3": fmean(self.curves["val/accuracy"][-3:]),
            **self.test,
            **{name: value for _, name, value in self.measured},
        }

    def without_weights(self) -> Trained:
        """The same without its parameters, to be sent about."""
        return replace(self, weights=Weights((), ()))

    @property
    def converged(self) -> bool:
        """True if training ended in finite numbers."""
        last = [curve[-1] for curve in self.curves.values()]
        return all(map(math.isfinite, [*last, *self.test.values()]))


def train_population(
    arms: Sequence[Arm],
    seeds: Sequence[int],
    split: Split,
    *,
    test: bool = False,
    measures: Sequence[str] = (),
    on_step: Callable[[float], None] | None = None,
) -> list[Trained]:
    """Train every arm with every seed: `train_networks` of all pairs, arms outermost."""
    networks = [(arm, seed) for arm in arms for seed in seeds]
    return train_networks(networks, split, test=test, measures=measures, on_step=on_step)


def train_networks(
    networks: Sequence[tuple[Arm, int]],
    split: Split,
    *,
    test: bool = False,
    measures: Sequence[str] = (),
    on_step: Callable[[float], None] | None = None,
) -> list[Trained]:
    """Train a network for each arm and seed, on the device and in the precision of `split`.

    Args:
        networks: arms of one noise type and one recipe; rates and weight decay may differ.
        test: whether the test images may be read: after the last step, and by the measures.
        measures: names in `models.probes.MEASURES`.
        on_step: called after each step with its images, over all networks; may raise to stop.

    Raises:
        ValueError: the arms differ in noise type or recipe.
    """
    if len({(arm.noise, arm.recipe) for arm, _ in networks}) != 1:
        raise ValueError("a population is trained with one noise type and one recipe")
    recipe = networks[0][0].recipe
    populations = -(-len(networks) // population_size(networks[0][0], split, measures))
    size = -(-len(networks) // populations)
    chunks = [list(networks[i : i + size]) for i in range(0, len(networks), size)]
    seen = split if test else split.without_test()
    seen = seen.subset(min(recipe.train_examples, len(split.train_y)))
    return [trained for chunk in chunks for trained in _train_chunk(chunk, seen, measures, on_step)]


def not_trained(arm: Arm, seed: int, error: str) -> Trained:
    """Return what stands for a network whose training broke off: no score, no weights."""
    curves = {name: [math.nan] for name in ("train/loss", "val/loss", "val/accuracy")}
    return Trained(arm, seed, curves, {}, Weights((), ()), 0.0, error=error)


def population_size(arm: Arm, split: Split, measures: Sequence[str] = ()) -> int:
    """Return how many networks are trained at once at most; a result does not depend on it.

    On a CPU more bring little, and leave a study fewer batches to deal out to its cores
    (docs/speed.md). A GPU is filled by many, as far as half of its memory goes, by what one more
    network is measured to take. That it is of all its memory, not of what is free, gives the same
    populations, and with them the same bits, each time.
    """
    device = split.train_x.device
    if device.type == "cpu":
        return CPU_POPULATION
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
    else:
        memory = torch.mps.recommended_max_memory()
    return max(1, min(GPU_POPULATION, memory // 2 // network_bytes(arm, split, measures)))


def network_bytes(arm: Arm, split: Split, measures: Sequence[str] = ()) -> int:
    """Measure the memory of one more network, over a step, its evaluation and measures."""
    once = replace(arm, recipe=replace(arm.recipe, epochs=1))
    step = split.subset(min(arm.recipe.batch_size, len(split.train_y)))
    return bytes_of_one_more(
        lambda count: _train_chunk([(once, seed) for seed in range(count)], step, measures, None)
    )


def _train_chunk(
    networks: list[tuple[Arm, int]],
    split: Split,
    measures: Sequence[str],
    on_step: Callable[[float], None] | None,
) -> list[Trained]:
    arms, seeds = zip(*networks, strict=True)
    population, noise = build(arms, seeds, split)
    curves: dict[str, list[list[float]]] = {"train/loss": [], "val/loss": [], "val/accuracy": []}
    measured: list[tuple[int, str, list[float]]] = []
    binned: dict[str, list[list[float]]] = {}
    evaluated: list[int] = []
    rough_x = split.validation_x.to(split.train_x.dtype)  # of all points but the last
    recipe = arms[0].recipe
    start, paused = time.perf_counter(), 0.0
    losses = fit(population, noise, arms, seeds, split, on_step)
    for epoch, train_loss in enumerate(losses, start=1):
        if epoch in recipe.evaluated_epochs:
            x = split.validation_x if epoch == recipe.epochs else rough_x
            weights = population.rounded(x.dtype)
            scores = evaluate(weights, noise, seeds, x, split.validation_y)
            point = (train_loss, scores["loss"], scores["accuracy"])
            for curve, values in zip(curves.values(), point, strict=True):
                curve.append(values.tolist())
            evaluated.append(epoch)
            diverged = not any(map(math.isfinite, curves["train/loss"][-1]))
            if diverged and not measures:  # of which the trial's other networks may have the rest
                break
        pause = time.perf_counter()
        moment = Moment(population, noise, arms, seeds, split, epoch)
        for measure in measures:
            for name, values in MEASURES[measure](moment).items():
                if values.dim() == 1:
                    measured.append((epoch, name, values.tolist()))
                else:
                    binned[name] = values.tolist()
        paused += time.perf_counter() - pause
    seconds = (time.perf_counter() - start - paused) / len(networks)
    tested, images = _test(population, noise, seeds, split)
    return [
        Trained(
            arm,
            seed,
            curves={name: [epoch[i] for epoch in curve] for name, curve in curves.items()},
            test={name: values[i] for name, values in tested.items()},
            weights=population.network(i),
            seconds=seconds,
            measured=[(epoch, name, values[i]) for epoch, name, values in measured],
            binned={name: bins[i] for name, bins in binned.items()},
            images={name: values[i] for name, values in images.items()},
            evaluated=tuple(evaluated),
        )
        for i, (arm, seed) in enumerate(networks)
    ]


def _test(
    population: Weights, noise: Noise, seeds: Sequence[int], split: Split
) -> tuple[dict[str, list[float]], dict[str, np.ndarray]]:
    """The scores on the test images, if there are any, and each image's share in them."""
    if not len(split.test_y):
        return {}, {}
    logits = predict(population, noise.at_evaluation(), seeds, split.test_x)
    scores = score(logits, split.test_y) | calibration(logits, split.test_y)
    nll, correct = by_image(logits, split.test_y)
    images = {"nll": nll.to(torch.float16).cpu().numpy(), "correct": correct.cpu().numpy()}
    return {f"test/{name}": values.tolist() for name, values in scores.items()}, images


def build(arms: Sequence[Arm], seeds: Sequence[int], split: Split) -> tuple[Weights, Noise]:
    """Return fresh networks, one for each pair of `arms` and `seeds`, and their noise."""
    device, dtype = split.train_x.device, at_least_float32(split.train_x.dtype)
    noise = noise_type(arms[0].noise)(rate_table(arms, dtype, device))
    return initialise(seeds, device, dtype), noise


def fit(
    population: Weights,
    noise: Noise,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    split: Split,
    on_step: Callable[[float], None] | None = None,
    counted: bool | None = None,
) -> Iterator[Tensor]:
    """Train the population in place; yield the mean training losses, (networks,), of each epoch.

    Args:
        counted: take the steps as a GPU does, draws by counter; by default where the device is no
            CPU.
    """
    recipe, device = arms[0].recipe, split.train_x.device
    examples = len(split.train_y)
    order = Stream(seeds, "order", device, counted)
    stream = Stream(seeds, "noise", device, counted)
    sgd = Sgd(population, noise, [arm.weight_decay for arm in arms], recipe, split.train_x.dtype)

    def step(indices: Tensor, progress: Progress, learning_rate: float | Tensor) -> Tensor:
        x, labels = take(split.train_x, indices), take(split.train_y, indices)
        context = Context(stream, labels, indices, examples, progress)
        losses = noise.loss(partial(forward, sgd.rounded, x, noise, context), context)
        sgd.step(losses, learning_rate)
        return losses.detach()

    if stream.counted:
        ours = noise_version(arms[0].noise) is None
        capturable = ours or noise.capturable
        if device.type == "cuda" and not capturable:
            told = "is not capturable, so its steps are not replayed: slower (docs/extending.md)"
            warnings.warn(f"noise type {arms[0].noise} {told}", stacklevel=2)
        steps = Steps(step, stream, recipe, examples, len(seeds), capturable)
        for _ in range(recipe.epochs):
            yield steps.epoch(order.permutation(examples), on_step)
        return
    steps_an_epoch = -(-examples // recipe.batch_size)
    for epoch in range(recipe.epochs):
        epoch_loss = zeros(len(seeds), device)
        batches = order.permutation(examples).split(recipe.batch_size, dim=1)
        for place, indices in enumerate(batches):
            progress = (epoch * steps_an_epoch + place) / (recipe.epochs * steps_an_epoch)
            losses = step(indices, progress, recipe.learning_rate_at(progress))
            epoch_loss += losses * indices.shape[1]
            if on_step:
                on_step(indices.numel())
        yield epoch_loss / examples


def take(rows: Tensor, indices: Tensor) -> Tensor:
    """rows[indices]; index_select is several times faster than advanced indexing."""
    return rows.index_select(0, indices.flatten()).unflatten(0, indices.shape)
