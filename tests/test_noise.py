"""Every registered noise type keeps the contract; the interface carries the whole catalogue."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional

from models.config import Arm, Recipe
from models.data import Split
from models.mlp import forward, initialise
from models.noise import NOISE, Context, Noise, Rate, per_layer
from models.noise.dropout import inverted_mask
from models.streams import Stream, normal_quantiles
from models.train import train_population

SEEDS = (3, 4, 5)
every_type = pytest.mark.parametrize("name", NOISE)


def context(seeds: tuple[int, ...] = SEEDS, batch: int = 8) -> Context:
    labels = torch.arange(batch).remainder(10).expand(len(seeds), -1)
    return Context(Stream(seeds, "noise"), labels, labels, examples=100, progress=0.5)


def make(name: str, rate: float, networks: int = len(SEEDS)) -> Noise:
    return NOISE[name](torch.full((networks, 2), rate))


def images(batch: int = 8) -> Tensor:
    return torch.rand(len(SEEDS), batch, 784, generator=torch.Generator().manual_seed(0))


@every_type
def test_rate_0_is_the_identity(name: str) -> None:
    population, x = initialise(SEEDS), images()
    assert torch.equal(
        forward(population, x, make(name, 0.0), context()), forward(population, x, make("none", 0.0), context())
    )


@every_type
def test_same_stream_same_output(name: str) -> None:
    population, x, noise = initialise(SEEDS), images(), make(name, 0.5)
    first, again = (forward(population, x, noise, context()) for _ in range(2))
    other = forward(population, x, noise, context((6, 7, 8)))
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (name == "none")


@every_type
def test_no_noise_at_evaluation(name: str) -> None:
    """At evaluation two streams give the same output: nothing random is left."""
    population, x, noise = initialise(SEEDS), images(), make(name, 0.5).at_evaluation()
    assert torch.equal(forward(population, x, noise, context()), forward(population, x, noise, context((6, 7, 8))))


@every_type
def test_mean_is_kept_where_promised(name: str) -> None:
    """Over many draws, what enters each hook comes out on average as without noise, to 5 standard errors."""
    noise, plain, draws = make(name, 0.4), make("none", 0.0), 4000
    if not noise.keeps_mean:
        pytest.skip(f"{name} does not promise it")
    random = torch.Generator().manual_seed(1)
    z = torch.randn(len(SEEDS), 1, 6, generator=random)
    weight, bias = torch.randn(len(SEEDS), 6, 5, generator=random), torch.randn(len(SEEDS), 1, 5, generator=random)
    now = context()
    hooks: list[Callable[[Noise], Tensor]] = [
        lambda noise: noise.input(z, now),
        lambda noise: noise.linear(0, z, weight, bias, now),
        lambda noise: noise.hidden(1, z.clone(), now),
    ]
    for hook in hooks:
        outputs = torch.stack([hook(noise) for _ in range(draws)])
        error = (outputs.mean(0) - hook(plain)).abs()
        assert (error <= 5 * outputs.std(0) / draws**0.5 + 1e-6).all()


@every_type
def test_noise_grows_with_its_rate(name: str) -> None:
    """Networks that share a seed share the underlying draws, so a larger rate moves the output further."""
    population, x = initialise((3, 3, 3)), images()[:1].expand(3, -1, -1)
    noise = NOISE[name](torch.tensor([[0.0, 0.0], [0.2, 0.2], [0.6, 0.6]]))
    logits = forward(population, x, noise, context((3, 3, 3)))
    distance = (logits - logits[0]).flatten(1).norm(dim=1)
    if name == "none":
        assert distance.max() == 0
    else:
        assert distance[0] == 0 < distance[1] < distance[2]


@pytest.mark.parametrize("name", ["dropout", "gaussian", "uniform"])
def test_multiplicative_types_share_dropouts_variance(name: str) -> None:
    """The multiplier of rate p has the variance p/(1-p), to 5 standard errors of a variance (kurtosis 3 or less)."""
    ones, p = torch.ones(1, 500, 400), 0.3
    multiplier = make(name, p, networks=1).hidden(0, ones.clone(), context((3,)))
    assert multiplier.var().item() == pytest.approx(p / (1 - p), abs=5 * (p / (1 - p)) * (2 / ones.numel()) ** 0.5)


def test_slope_below_zero_has_the_variance_promised() -> None:
    z, p = torch.full((1, 500, 400), -2.0), 0.3
    noisy = make("randomised-slope", p, networks=1).hidden(0, z.clone(), context((3,)))
    assert noisy.var().item() == pytest.approx(4 * p / (1 - p), rel=0.02)
    assert torch.equal(make("randomised-slope", p, networks=1).hidden(0, -z, context((3,))), -z)


def test_drop_rate_is_exact_to_16_bits() -> None:
    """Fed with each 16-bit number once, the mask drops exactly round(p 2^16) of them and keeps the mean at 1."""

    class EachOnce(Stream):
        def bits(self, *shape: int) -> Tensor:
            return torch.arange(-32768, 32768).to(torch.int16).view(1, *shape)

    for p in (0.0, 0.1, 0.5, 0.8, 0.95):
        mask = inverted_mask((256, 256), torch.full((1, 1, 1), p, dtype=torch.float64), EachOnce((0,), "noise"))
        assert (mask == 0).sum() == round(p * 65536)
        assert mask.mean().item() == pytest.approx(1, abs=1e-12)


def test_uniform_draws_have_mean_0_and_variance_a_third() -> None:
    draws = Stream((1, 2), "noise").uniform(1000, 1000, dtype=torch.float64)
    assert draws.abs().max() < 1
    assert draws.mean().item() == pytest.approx(0, abs=5 * (1 / 3 / draws.numel()) ** 0.5)
    assert draws.var().item() == pytest.approx(1 / 3, rel=0.005)


def test_normal_draws_are_the_quantiles_of_a_normal() -> None:
    """Every 16-bit number gives one quantile: mean 0, variance 1, the kurtosis of a normal, and the right order."""
    quantiles = normal_quantiles(torch.float64, torch.device("cpu"))
    assert (quantiles.diff() > 0).all() and torch.equal(quantiles, -quantiles.flip(0))
    assert quantiles.mean().item() == pytest.approx(0, abs=1e-12)
    assert quantiles.square().mean().item() == pytest.approx(1, abs=1e-12)
    assert quantiles.pow(4).mean().item() == pytest.approx(3, abs=0.01)
    draws = Stream((1, 2), "noise").normal(1000, 1000, dtype=torch.float64)
    assert stats.kstest(draws.flatten()[::10].numpy(), "norm").pvalue > 1e-4


def test_streams_of_a_seed_are_independent_of_company_and_of_each_other() -> None:
    alone, among = Stream((7,), "noise").normal(50), Stream((9, 7, 7), "noise").normal(50)
    assert torch.equal(alone[0], among[1]) and torch.equal(among[1], among[2])
    assert not torch.equal(alone[0], among[0])
    assert not torch.equal(Stream((7,), "noise").bits(50), Stream((7,), "order").bits(50))


def test_training_knows_no_noise_type_by_name() -> None:
    """Neither a name of the registry nor a class stands in the code that trains; an arm's name may leave rates out."""
    classes = {noise.__name__ for noise in NOISE.values()} - {"Noise"}
    for file in ("train.py", "mlp.py", "metrics.py", "streams.py"):
        tree = ast.parse((Path(__file__).parents[1] / "models" / file).read_text())
        words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        words |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not words & (set(NOISE) | classes), file


class EveryHook(Noise):
    """What the later rows of the catalogue need, at once: input noise, a mix of examples and labels at a layer, a
    learned parameter with its own loss term, two passes, memory for each example, and a schedule."""

    rates = per_layer(Rate("strength"))

    def __init__(self, rates: Tensor) -> None:
        super().__init__(rates)
        self.gate = torch.zeros(len(rates), 1, 1, requires_grad=True)
        self.fit: Tensor | None = None
        self.progress: list[float] = []

    @property
    def parameters(self) -> list[Tensor]:
        return [self.gate]

    def input(self, x: Tensor, context: Context) -> Tensor:
        return x + self.rate_of(0) * context.stream.normal(*x.shape[1:])

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        h = z.relu() * (1 + self.gate)
        return h.lerp(h[:, self.order], self.share) if layer == self.layer else h

    def loss(self, forward: Callable[[], Tensor], context: Context) -> Tensor:
        networks, batch = context.labels.shape
        draw = context.stream.uniform()
        assert draw.shape == (networks,)
        self.layer, self.share = int(draw[0] > 0), float(draw[0].abs()) / 2
        self.order = torch.arange(batch).flip(0)
        first, second = forward(), forward()
        targets = functional.one_hot(context.labels, 10).float()
        targets = targets.lerp(targets[:, self.order], self.share)
        p, q = first.log_softmax(2), second.log_softmax(2)
        if self.fit is None:
            self.fit = torch.zeros(networks, context.examples)
        self.fit.scatter_(1, context.indices, (p.detach().exp() * targets).sum(2))
        self.progress.append(context.progress)
        consistency = functional.kl_div(p, q, log_target=True, reduction="none").sum(2)
        return (-(p * targets).sum(2) + consistency).mean(1) + 0.01 * self.gate.flatten() ** 2


def test_the_interface_carries_the_catalogue(monkeypatch: pytest.MonkeyPatch, small: Split) -> None:
    """A type that uses every hook trains, learns its parameter, and sees every example; the trainer is untouched."""
    made: list[EveryHook] = []

    class Remembered(EveryHook):
        def __init__(self, rates: Tensor) -> None:
            super().__init__(rates)
            made.append(self)

    monkeypatch.setitem(NOISE, "every-hook", Remembered)
    arm = Arm("every-hook", 0.1, 0.1, 1e-4, Recipe("decay", 2, schedule="linear"))
    together = train_population([arm], (1, 2), small)
    alone = train_population([arm], (2,), small)
    assert together[0].curves["train/loss"][1] < together[0].curves["train/loss"][0]
    assert made[0].gate.abs().min() > 0
    assert made[0].fit is not None and (made[0].fit > 0).all()
    assert made[0].progress == [step / 8 for step in range(8)]
    assert not torch.equal(together[1].weights.weights[0], alone[0].weights.weights[0])  # layer drawn by network 0


@pytest.mark.parametrize("bad", [{"noise": "droput"}, {"rate1": 1.5}, {"rate2": -0.1}, {"weight_decay": -1.0}])
def test_bad_arms_are_refused(bad: dict) -> None:
    arm = Arm("dropout", 0.5, 0.5, 0.0, Recipe("book", 10))
    with pytest.raises(ValueError, match=r"choose one of|outside|not a number"):
        replace(arm, **bad)
