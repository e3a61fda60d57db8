"""The trainer is the plain network, many times at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from benchmarks.equivalence import to_module
from models.config import Arm, Recipe
from models.data import Split
from models.mlp import initialise
from models.noise import NOISE, noise_type
from models.rng import Stream
from models.train import CPU_POPULATION, Trained, build, fit, train_population
from study.presets import BOOK, DECAY, LONG

DECAY2, LONG2 = replace(DECAY, epochs=2), replace(LONG, epochs=2)
every_type = pytest.mark.parametrize("name", NOISE)


def arm(
    name: str,
    rate1: float = 0.2,
    rate2: float = 0.4,
    recipe: Recipe = DECAY2,
    weight_decay: float = 1e-3,
) -> Arm:
    rates = (rate1, rate2, 0.3)[: len(NOISE[name].rates)]
    return Arm.of(name, rates, weight_decay, recipe)


def same(a: Trained, b: Trained) -> bool:
    """Bit for bit: parameters, curves and test scores."""
    parameters = zip(a.weights.tensors, b.weights.tensors, strict=True)
    return (
        a.curves == b.curves and a.test == b.test and all(torch.equal(x, y) for x, y in parameters)
    )


def plain_loop(
    arm: Arm, seed: int, split: Split, steps_wanted: int, counted: bool
) -> nn.Sequential:
    """The network as a textbook trains it: nn.Linear, nn.ReLU, masks, torch.optim.SGD; only the
    draws are shared."""
    net = to_module(initialise([seed], dtype=torch.float64)).double().train()
    linears = [layer for layer in net if isinstance(layer, nn.Linear)]
    sgd = torch.optim.SGD(
        [
            {"params": [layer.weight for layer in linears], "weight_decay": arm.weight_decay},
            {"params": [layer.bias for layer in linears], "weight_decay": 0.0},
        ],
        lr=arm.recipe.learning_rate,
        momentum=arm.recipe.momentum,
    )
    order, noise = (Stream([seed], purpose, counted=counted) for purpose in ("order", "noise"))
    n, size = len(split.train_y), arm.recipe.batch_size
    steps = -(-n // size) * arm.recipe.epochs
    assert steps == steps_wanted
    done = 0
    for _ in range(arm.recipe.epochs):
        for rows in order.permutation(n)[0].split(size):
            noise.at(torch.tensor(done))
            h = split.train_x[rows]
            for i, layer in enumerate(linears):
                h = layer(h)
                if i < 2:
                    h = torch.relu(h)
                    rate = (arm.rate1, arm.rate2)[i]
                    if arm.noise == "dropout":
                        keep = noise.bits(*h.shape)[0].double() + 32768 >= rate * 65536
                        h = h * keep / (1 - rate)
            for group in sgd.param_groups:
                group["lr"] = arm.recipe.learning_rate_at(done / steps)
            sgd.zero_grad()
            nn.functional.cross_entropy(h, split.train_y[rows]).backward()
            sgd.step()
            done += 1
    return net


@pytest.mark.parametrize("noise", ["none", "dropout"])
@pytest.mark.parametrize(
    ("recipe", "counted"),
    [(DECAY, False), (LONG, False), (LONG, True)],
    ids=["decay", "long", "long, as on a GPU"],
)
def test_agrees_with_the_plain_loop_in_float64(
    noise: str, recipe: Recipe, counted: bool, small: Split
) -> None:
    """Parameters to 1e-8 after 200 steps, momentum and weight decay included, each network of a
    population."""
    double = small.to("cpu", torch.float64)
    recipe = replace(recipe, epochs=50)
    arms = [arm(noise, 0.25, 0.5, recipe), arm(noise, 0.5, 0.125, recipe, weight_decay=0.0)]
    population, types = build([arms[0], arms[1]], [1, 2], double)
    for _ in fit(population, types, arms, [1, 2], double, counted=counted):
        pass
    for i, one in enumerate(arms):
        net = plain_loop(one, i + 1, double, steps_wanted=200, counted=counted)
        expected = list(net.parameters())
        found = list(to_module_double(population.network(i)).parameters())
        for a, b in zip(expected, found, strict=True):
            assert (a - b).abs().max() < 1e-8


def to_module_double(weights) -> nn.Module:  # noqa: ANN001
    module = to_module(weights).double()
    for layer, weight, bias in zip(module[::2], weights.weights, weights.biases, strict=True):
        layer.weight.data, layer.bias.data = weight[0].T.clone(), bias[0, 0].clone()
    return module


@every_type
def test_company_does_not_matter(name: str, small: Split) -> None:
    """Bit-identical alone, with two others, and in a full population; in any place, with any
    companions."""
    one = arm(name)
    other = arm(name, 0.7, 0.1, weight_decay=1e-5)
    alone = train_population([one], [5], small, test=True)[0]
    companies: list[tuple[Sequence[Arm], Sequence[int]]] = [
        ([one], [4, 5, 6]),
        ([other, one], [5, 9]),
        ([one], range(CPU_POPULATION + 3)),
    ]
    for arms, seeds in companies:
        trained = train_population(arms, seeds, small, test=True)
        match = [t for t in trained if t.arm == one and t.seed == 5]
        assert len(match) == 1
        assert same(alone, match[0])


@every_type
def test_bfloat16_products_learn_the_same(name: str, small: Split) -> None:
    """Master weights and scores in float32; close to the float32 network; and company matters as
    little."""
    rounded = small.rounded(torch.bfloat16)
    full, half = (
        train_population([arm(name, recipe=LONG2)], [5], split)[0] for split in (small, rounded)
    )
    assert all(tensor.dtype == torch.float32 for tensor in half.weights.tensors)
    assert not same(full, half)
    assert half.scores["val/loss"] == pytest.approx(full.scores["val/loss"], rel=0.1)
    among = train_population(
        [arm(name, 0.7, 0.1, LONG2), arm(name, recipe=LONG2)], [4, 5], rounded
    )[-1]
    assert same(half, among)


@every_type
def test_repeating_gives_the_same_bits(name: str, small: Split) -> None:
    """Also when two populations train at once in threads, as a study does."""

    def train(seeds: Sequence[int]) -> list[Trained]:
        return train_population([arm(name)], seeds, small)

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(train, [(1, 2, 3), (1, 2, 3)])
    for a, b in zip(first, second, strict=True):
        assert same(a, b)


def test_seeds_pair_arms(small: Split) -> None:
    """Arms of one seed share initial weights and batches: with no noise and no decay they are the
    same network."""
    none, zero = Arm("none", 0, 0, 0, DECAY2), Arm("dropout", 0, 0, 0, DECAY2)
    a, b = train_population([none], [3], small)[0], train_population([zero], [3], small)[0]
    assert a.curves == b.curves
    assert train_population([none], [4], small)[0].curves != a.curves


def test_weight_decay_is_per_network_and_spares_biases(small: Split) -> None:
    """With a loss of no gradient the weights shrink by (1 - lr wd) a step, each network by its own,
    biases not."""
    recipe = replace(BOOK, epochs=3)
    arms = [arm("none", recipe=recipe, weight_decay=wd) for wd in (0.0, 0.01)]
    population, noise = build(arms, [1, 1], small)
    noise.loss = lambda forward, context: forward().sum(dim=(1, 2)) * 0  # type: ignore[method-assign]
    before = [tensor.detach().clone() for tensor in population.tensors]
    list(fit(population, noise, arms, [1, 1], small))
    for i, (old, new) in enumerate(zip(before, population.tensors, strict=True)):
        assert torch.equal(old[0], new[0])
        shrink = (1 - 0.1 * 0.01) ** 12 if i < 3 else 1.0
        torch.testing.assert_close(new[1], old[1] * shrink)


def test_learning_rates() -> None:
    assert [BOOK.learning_rate_at(t) for t in (0, 0.5, 0.99)] == [0.1] * 3
    assert [DECAY.learning_rate_at(t) for t in (0, 0.25, 0.5)] == pytest.approx([0.1, 0.075, 0.05])
    assert [LONG.learning_rate_at(t) for t in (0, 0.5)] == pytest.approx([0.1, 0.05])
    assert LONG.learning_rate_at(0.999) < 1e-6


def test_a_network_learns_and_test_images_are_read_only_when_asked(small: Split) -> None:
    """Test images that would poison everything change nothing unless they are asked for."""
    poisoned = replace(small, test_x=torch.full_like(small.test_x, torch.nan))
    recipe = replace(DECAY, epochs=20)
    network = train_population([arm("dropout", recipe=recipe)], [1], poisoned)[0]
    assert network.test == {}
    assert network.scores["val/accuracy"] > 0.6
    tested = train_population([arm("dropout", recipe=recipe)], [1], small, test=True)[0]
    assert same(network, replace(tested, test={}))
    assert abs(tested.test["test/accuracy"] - tested.scores["val/accuracy"]) < 0.08


def test_divergence_is_seen(small: Split) -> None:
    wild = replace(DECAY2, learning_rate=1e9)
    assert not train_population([arm("none", recipe=wild)], [1], small)[0].converged


def test_what_has_diverged_stops_but_is_measured_like_others(small: Split) -> None:
    """A trial's networks may be trained apart: where there are measures, they have the same."""
    wild, short = replace(DECAY, learning_rate=1e9), replace(DECAY, epochs=3)
    assert len(train_population([arm("none", recipe=wild)], [1], small)[0].points) < DECAY.epochs
    diverged, well = (
        train_population([arm("none", recipe=recipe)], [1], small, measures=("variance",))[0]
        for recipe in (replace(wild, epochs=3), short)
    )
    assert diverged.points == well.points and diverged.scores.keys() == well.scores.keys()


def test_mixed_populations_are_refused(small: Split) -> None:
    with pytest.raises(ValueError, match="one noise type and one recipe"):
        train_population([arm("none"), arm("dropout")], [1], small)


def test_exported_network_scores_the_same(small: Split) -> None:
    trained = train_population([arm("dropout")], [1], small, test=True)[0]
    module = to_module(trained.weights)
    assert {type(layer) for layer in module} == {nn.Linear, nn.ReLU} and not module.training
    with torch.no_grad():
        logits: Tensor = module(small.test_x)
    assert (logits.argmax(1) == small.test_y).double().mean().item() == trained.test[
        "test/accuracy"
    ]
    assert nn.functional.cross_entropy(logits, small.test_y).item() == pytest.approx(
        trained.test["test/loss"], rel=1e-4
    )


def test_progress_counts_the_images_shown(small: Split) -> None:
    shares: list[float] = []
    train_population([arm("none")], [1, 2, 3], small, on_step=shares.append)
    assert sum(shares) == 3 * 2 * 1000


def test_another_default_dtype_changes_nothing(noise_name: str, small: Split) -> None:
    """A plug-in may set one."""
    rate = min([0.2, *(rate.high for rate in noise_type(noise_name).rates)])
    rates = [rate] * len(noise_type(noise_name).rates)
    tested = Arm.of(noise_name, rates, 1e-4, replace(BOOK, epochs=1))
    expected = train_population([tested], [1, 2], small, test=True)
    torch.set_default_dtype(torch.float64)
    try:
        trained = train_population([tested], [1, 2], small, test=True)
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(trained, expected, strict=True):
        assert same(one, other)
