"""Is the population trainer the same learner as nn.Dropout trained from a DataLoader?

`python -m benchmarks.equivalence` trains both on Fashion-MNIST under `decay`, 10 seeds, and prints
a Markdown table of the paired differences on the validation images. Pairs share initial weights and
batch order, not the masks. What it printed is recorded in docs/equivalence.md. It takes about 15
minutes on 2 cores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context

import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

from analysis.stats import paired
from models import data
from models.config import Arm
from models.mlp import Weights, initialise
from models.rng import Stream
from models.train import train_population
from study.presets import DECAY

SEEDS = range(2000, 2010)
ARMS = (Arm("none", 0, 0, 0, DECAY), Arm("dropout", 0.2, 0.2, 0, DECAY))
MARGINS = {"accuracy": 0.002, "loss": 0.005}
ALPHA = 0.05


class SeededOrder(Sampler[int]):
    """The batch order of a seed, as the population trainer draws it."""

    def __init__(self, seed: int, examples: int) -> None:
        """One permutation of the examples for each epoch."""
        self._stream, self._examples = Stream([seed], "order"), examples

    def __iter__(self) -> Iterator[int]:
        """A fresh permutation."""
        return iter(self._stream.permutation(self._examples)[0].tolist())

    def __len__(self) -> int:
        """Examples in an epoch."""
        return self._examples


@cache
def split() -> data.Split:
    """The real data, read once a process."""
    return data.split(data.load())


def to_module(weights: Weights) -> nn.Sequential:
    """Return a population of one as nn.Linear and nn.ReLU, without noise."""
    layers: list[nn.Module] = []
    for weight, bias in zip(weights.weights, weights.biases, strict=True):
        linear = nn.Linear(weight.shape[1], weight.shape[2])
        with torch.no_grad():
            linear.weight.copy_(weight[0].T)
            linear.bias.copy_(bias[0, 0])
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


def reference(arm: Arm, seed: int) -> dict[str, float]:
    """One network by the book: DataLoader, nn.Dropout, torch.optim.SGD, a learning rate schedule of
    PyTorch's own."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    first, relu1, second, relu2, last = to_module(initialise([seed]))
    net = nn.Sequential(
        first, relu1, nn.Dropout(arm.rate1), second, relu2, nn.Dropout(arm.rate2), last
    )
    dataset = TensorDataset(split().train_x, split().train_y)
    loader = DataLoader(dataset, arm.recipe.batch_size, sampler=SeededOrder(seed, len(dataset)))
    sgd = torch.optim.SGD(net.parameters(), lr=arm.recipe.learning_rate)
    steps = len(loader) * arm.recipe.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(sgd, lambda step: 1 - step / steps)
    net.train()
    for _ in range(arm.recipe.epochs):
        for x, y in loader:
            sgd.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            sgd.step()
            schedule.step()
    net.eval()
    with torch.no_grad():
        logits = net(split().validation_x)
    correct = logits.argmax(1) == split().validation_y
    loss = nn.functional.cross_entropy(logits, split().validation_y)
    return {"accuracy": correct.double().mean().item(), "loss": loss.item()}


def population(arm: Arm, seeds: list[int]) -> list[dict[str, float]]:
    """The same networks by this project."""
    torch.set_num_threads(1)
    trained = train_population([arm], seeds, split())
    return [{name: network.scores[f"val/{name}"] for name in MARGINS} for network in trained]


def main() -> None:
    """Trains both sides and prints the table."""
    split()
    jobs = [(arm, seed) for arm in ARMS for seed in SEEDS]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        ours = {arm: pool.submit(population, arm, list(SEEDS)) for arm in ARMS}
        plain = {job: pool.submit(reference, *job) for job in jobs}
        images = len(split().validation_y)
        print(
            f"Recipe {DECAY.name}, {DECAY.epochs} epochs, {len(SEEDS)} paired seeds, {images} "
            "images\n"
        )
        print(tost_heading("population", "nn.Dropout"))
        for arm in ARMS:
            for metric, margin in MARGINS.items():
                mine = pd.Series([scores[metric] for scores in ours[arm].result()], index=SEEDS)
                theirs = pd.Series(
                    [plain[arm, seed].result()[metric] for seed in SEEDS], index=SEEDS
                )
                print(tost_row(arm.name, metric, mine, theirs, margin), flush=True)


def tost_heading(one: str, other: str) -> str:
    """The head of a Markdown table of `tost_row`s."""
    return (
        f"| arm | metric | seeds | {one} | {other} | difference | 90 % interval | margin | p, TOST "
        "| equivalent |\n"
        "| --- | --- | --: | --: | --: | --: | --- | --: | --: | --- |"
    )


def tost_row(arm: str, metric: str, one: pd.Series, other: pd.Series, margin: float) -> str:
    """Both means, the paired difference one - other with the interval that TOST at alpha decides
    by, and its p."""
    difference = one - other
    found = paired.interval(difference, level=1 - 2 * ALPHA)
    return tost_cells(
        arm,
        metric,
        (one.mean(), other.mean()),
        found,
        margin,
        paired.tost(difference, margin),
        len(one),
    )


def tost_cells(
    arm: str,
    metric: str,
    means: Sequence[float],
    found: tuple[float, float],
    margin: float,
    p: float,
    seeds: object,
) -> str:
    """A row of the table, of `means`, the interval of their difference and TOST's p."""
    one, other = means
    cells = [arm, metric, str(seeds), f"{one:.4f}", f"{other:.4f}", f"{one - other:+.5f}"]
    cells += [
        f"[{found[0]:+.5f}, {found[1]:+.5f}]",
        str(margin),
        f"{p:.2g}",
        "yes" if p <= ALPHA else "no",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
