"""What every noise type must keep to: those of the registry, and those named by `--noise
package.module:Class`."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from noise_setup import SEEDS, context, images, make
from torch import Tensor

from models.mlp import Weights, at_least_float32, forward, initialise
from models.noise import Context, Noise, noise_type

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
MOMENTS = (0.0, 0.25, 0.5, 0.75)
"""Fractions of the training done: a scheduled type acts at some of them."""
DRAWS, RATES = 4000, (0.3, 0.45, 0.35)
"""Of the simulation: three networks of different rates, so that one that takes another's is
noticed."""


def step(noise: Noise, population: Weights, x: Tensor, now: Context) -> tuple[Tensor, Tensor]:
    """The logits (of the last pass) and the losses of a training step."""
    passes: list[Tensor] = []

    def one_pass() -> Tensor:
        passes.append(forward(population, x, noise, now))
        return passes[-1]

    losses = noise.loss(one_pass, now)
    return passes[-1], losses


def training(
    noise: Callable[[], Noise], population: Weights, x: Tensor, seeds: tuple[int, ...]
) -> Tensor:
    """Logits and losses of a step at each of MOMENTS, each from the start of the stream: (networks,
    numbers)."""
    outputs = [
        step(noise(), population, x, context(seeds, x.shape[1], moment)) for moment in MOMENTS
    ]
    return torch.cat(
        [torch.cat([logits.flatten(1), losses[:, None]], dim=1) for logits, losses in outputs],
        dim=1,
    )


def plain(population: Weights, x: Tensor, seeds: tuple[int, ...] = SEEDS) -> Tensor:
    return training(lambda: make("none"), population, x, seeds)


@DTYPES
def test_rate_0_is_the_identity(noise_name: str, dtype: torch.dtype) -> None:
    population, x = initialise(SEEDS, dtype=at_least_float32(dtype)), images(dtype=dtype)
    silent = training(
        lambda: make(noise_name, 0.0, dtype=at_least_float32(dtype)), population, x, SEEDS
    )
    assert torch.equal(silent, plain(population, x))


def test_same_stream_same_output(noise_name: str) -> None:
    """And the stream is the only source: no global generator moves."""
    population, x = initialise(SEEDS), images()
    before = (
        torch.get_rng_state(),
        np.random.get_state(legacy=False)["state"]["pos"],
        random.getstate(),
    )
    first, again = (training(lambda: make(noise_name, 0.5), population, x, SEEDS) for _ in range(2))
    other = training(lambda: make(noise_name, 0.5), population, x, (6, 7, 8))
    after = (
        torch.get_rng_state(),
        np.random.get_state(legacy=False)["state"]["pos"],
        random.getstate(),
    )
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (not noise_type(noise_name).rates)
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]


@DTYPES
def test_no_noise_at_evaluation(noise_name: str, dtype: torch.dtype) -> None:
    """Two streams give the same output; it is the plain network's unless the type has a rule of its
    own."""
    population, x = initialise(SEEDS, dtype=at_least_float32(dtype)), images(dtype=dtype)
    noise = make(noise_name, 0.5, dtype=at_least_float32(dtype)).at_evaluation()
    logits = forward(population, x, noise, context())
    assert torch.equal(logits, forward(population, x, noise, context((6, 7, 8))))
    if noise_type(noise_name).at_evaluation is Noise.at_evaluation:
        assert torch.equal(logits, forward(population, x, Noise(torch.zeros(3, 2)), context()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_company_does_not_matter(noise_name: str, dtype: torch.dtype) -> None:
    """Losses and gradients of a network are the same bits alone and among others of other rates."""

    def gradients(seeds: tuple[int, ...], *rates: float) -> list[Tensor]:
        population, noise = initialise(seeds), make(noise_name, *rates, networks=len(seeds))
        tensors = [*population.tensors, *noise.parameters]
        _, losses = step(
            noise, population, images(1, 200, dtype).expand(len(seeds), -1, -1), context(seeds, 200)
        )
        return [losses, *torch.autograd.grad(losses.sum(), tensors)]

    alone = gradients((5,), 0.4)
    companies = [((3, 5, 4), (0.1, 0.4, 0.6), 1), ((1, 2, 3, 4, 5), (0.2, 0.0, 0.3, 0.9, 0.4), 4)]
    for seeds, rates, place in companies:
        assert all(
            torch.equal(a[0], b[place])
            for a, b in zip(alone, gradients(seeds, *rates), strict=True)
        )


def test_noise_grows_with_its_rate(noise_name: str) -> None:
    """Networks that share a seed share the underlying draws, so a larger rate moves the output
    further."""
    population, x = initialise((3, 3, 3)), images(1).expand(3, -1, -1)
    outputs = training(lambda: make(noise_name, 0.0, 0.2, 0.6), population, x, (3, 3, 3))
    distance = (outputs - outputs[0]).norm(dim=1)
    if noise_type(noise_name).rates:
        assert distance[0] == 0 < distance[1] < distance[2]
    else:
        assert distance.max() == 0


HOOKS = ("input", "linear", "hidden")
PIXELS = [210, 215, 350, 380, 432, 520]
"""Of the images that the simulation keeps: not blank in every example, and not side by side."""
HOOK_OF_SITE = {
    "input": "input",
    "weight": "linear",
    "pre-activation": "hidden",
    "activation": "hidden",
}


@cache
def simulation(name: str, hook: str) -> tuple[Tensor, Tensor, Tensor | None]:
    """A hook on fixed inputs: its outputs (draws, networks, batch, units), the plain ones, the
    variance if stated.

    In float64 and at layer 1. The input hook sees whole images, of which a few pixels are kept.
    """
    generator = torch.Generator().manual_seed(1)
    z, weight, bias = (
        torch.randn(3, *shape, generator=generator).double() for shape in ((4, 6), (6, 5), (1, 5))
    )
    x = images(batch=4, dtype=torch.float64)
    now, noise = context(batch=4), make(name, *RATES, dtype=torch.float64)

    def act(noise: Noise) -> Tensor:
        match hook:
            case "input":
                return noise.input(x, now)[..., PIXELS]
            case "linear":
                return noise.linear(1, z, weight, bias, now)
            case _:
                return noise.hidden(1, z.clone(), now)

    with torch.no_grad():
        inputs = {"input": (x,), "linear": (z, weight), "hidden": (z,)}[hook]
        stated = (
            noise.variance(int(hook != "input"), *inputs)
            if HOOK_OF_SITE.get(noise.site) == hook
            else None
        )
        if stated is not None and hook == "input":
            stated = stated[..., PIXELS]
        return (
            torch.stack([act(noise) for _ in range(DRAWS)]),
            act(Noise(torch.zeros(3, 2))),
            stated,
        )


def seldom(outputs: Tensor) -> Tensor:
    """Which entries are noisy in a hundred draws or fewer, by their kurtosis: too few for a
    standard error."""
    noise = outputs - outputs.mean(0)
    return noise.pow(4).mean(0) > 30 * noise.square().mean(0).square()


def test_mean_is_kept_where_promised(noise_name: str) -> None:
    """Over many draws, what enters each hook comes out on average as without noise, to 5 standard
    errors."""
    if not noise_type(noise_name).keeps_mean:
        pytest.skip(f"{noise_name} does not promise it")
    for hook in HOOKS:
        outputs, expected, _ = simulation(noise_name, hook)
        assert ((outputs.mean(0) - expected).abs() <= 5 * outputs.std(0) / DRAWS**0.5 + 1e-9).all()


def test_variance_is_as_stated(noise_name: str) -> None:
    """Each entry's to 5 standard errors of a sample variance, by the sample's kurtosis; and that of
    all together."""
    hook = HOOK_OF_SITE.get(noise_type(noise_name).site)
    outputs, _, stated = (
        simulation(noise_name, hook) if hook else (torch.empty(0), torch.empty(0), None)
    )
    if stated is None:
        pytest.skip(f"{noise_name} states none")
    assert stated.shape == outputs.shape[1:]
    squared = (outputs - outputs.mean(0)).square() * (DRAWS / (DRAWS - 1))
    told = ~seldom(outputs)
    assert ((squared.mean(0) - stated).abs() <= 5 * squared.std(0) / DRAWS**0.5 + 1e-9)[told].all()
    for network, expected, noisy in zip(
        squared.unbind(1), stated, told & (stated > 1e-6), strict=True
    ):
        ratios = (network[:, noisy] / expected[noisy]).mean(1)
        assert abs(ratios.mean() - 1) <= 5 * ratios.std() / DRAWS**0.5


def test_noise_is_independent(noise_name: str) -> None:
    """Correlations of the noise within 5 standard errors of 0: between networks, and between units
    and examples.

    Axes that the type names as dependent are left out: two entries of a network that differ in
    these alone.
    """
    for hook in HOOKS:
        outputs, _, _ = simulation(noise_name, hook)
        shape = outputs.shape[1:]
        noise = (outputs - outputs.mean(0)).flatten(1)
        noise = noise / noise.std(0).clamp(min=1e-6)
        correlation = noise.T @ noise / DRAWS
        error = (noise.square().T @ noise.square()).sqrt() / DRAWS
        network, example, unit = (
            axis.flatten() for axis in torch.meshgrid(*map(torch.arange, shape), indexing="ij")
        )
        told = ~seldom(outputs).flatten()
        judged = differs(network)
        for name, axis in (("examples", example), ("units", unit)):
            if name not in noise_type(noise_name).dependent:
                judged |= differs(axis)
        assert (correlation.abs() <= 5 * error + 1e-9)[judged & told[:, None] & told].all()


def differs(index: Tensor) -> Tensor:
    return index[:, None] != index[None, :]


class Frozen:
    """Tensor.detach that remembers what it gave, and gives the same again after `rewind`.

    A detached quantity is a constant to the gradient, and so it must be to the differences it is
    compared with.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.values: list[Tensor] = []
        self.given = 0
        detach = torch.Tensor.detach

        def remembered(tensor: Tensor) -> Tensor:
            if self.given == len(self.values):
                self.values.append(detach(tensor).clone())
            self.given += 1
            return self.values[self.given - 1].clone()

        monkeypatch.setattr(torch.Tensor, "detach", remembered)

    def rewind(self) -> None:
        self.given = 0


@pytest.mark.parametrize("progress", [0.25, 0.75])
def test_gradients_are_those_of_the_loss(
    noise_name: str, progress: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Central differences in float64, along a random direction of each parameter, with the draws
    held.

    At three points, of which one must agree: at a point a unit may cross its kink, in spite of the
    small step. A type that holds a quantity constant must do so by Tensor.detach.
    """
    assert any(
        gradients_agree(noise_name, progress, seeds, monkeypatch)
        for seeds in (SEEDS, (6, 7, 8), (9, 10, 11))
    )


def gradients_agree(
    name: str, progress: float, seeds: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> bool:
    x, generator = images(batch=4, dtype=torch.float64), torch.Generator().manual_seed(2)
    population = initialise(seeds, dtype=torch.float64)

    def loss(index: int = 0, move: Tensor | float = 0.0) -> tuple[Tensor, list[Tensor]]:
        frozen.rewind()
        noise = make(name, 0.4, dtype=torch.float64)
        tensors = [*population.tensors, *noise.parameters]
        with torch.no_grad():
            tensors[index].add_(move)
        total = step(noise, population, x, context(seeds, 4, progress))[1].sum()
        gradients = list(torch.autograd.grad(total, tensors))
        with torch.no_grad():
            tensors[index].sub_(move)
        return total, gradients

    agree = True
    with monkeypatch.context() as patch:
        frozen = Frozen(patch)
        for index, gradient in enumerate(loss()[1]):
            direction, size = torch.randn(gradient.shape, generator=generator).double(), 1e-8
            difference = (loss(index, size * direction)[0] - loss(index, -size * direction)[0]) / (
                2 * size
            )
            agree &= difference.item() == pytest.approx(
                (gradient * direction).sum().item(), rel=1e-5, abs=1e-6
            )
    return agree


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("batch", [1, 8])
def test_ends_of_the_space_are_finite(noise_name: str, dtype: torch.dtype, batch: int) -> None:
    """Loss and gradients at the lowest and highest rates, also of blank images and of a batch of
    one."""
    kinds = noise_type(noise_name).rates or make("dropout", 0.0).rates
    for rate in {value for kind in kinds for value in (kind.low, kind.low + 1e-6, kind.high)}:
        for x in (images(batch=batch, dtype=dtype), torch.zeros(3, batch, 784, dtype=dtype)):
            population, noise = initialise(SEEDS), make(noise_name, rate)
            for moment in MOMENTS:
                _, losses = step(noise, population, x, context(batch=batch, progress=moment))
                gradients = torch.autograd.grad(
                    losses.sum(), [*population.tensors, *noise.parameters]
                )
                assert all(tensor.isfinite().all() for tensor in (losses, *gradients))
                assert losses.dtype == torch.float32


def test_it_says_what_it_is(noise_name: str) -> None:
    """A site, rates with a meaning, and a docstring."""
    of_type = noise_type(noise_name)
    assert set(of_type.site.split(", ")) <= {
        "-",
        "input",
        "weight",
        "pre-activation",
        "activation",
        "loss",
    }
    assert (of_type.site == "-") == (of_type is Noise)
    assert len(of_type.rates) <= 3 and set(of_type.dependent) <= {"examples", "units"}
    assert all(rate.meaning and rate.low <= rate.default <= rate.high for rate in of_type.rates)
    assert of_type.__doc__
