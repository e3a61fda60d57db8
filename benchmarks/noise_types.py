"""What does each noise type cost beside no noise, and what an evaluation?

`python -m benchmarks.noise_types` trains each registered type, but for those that are wrong on
purpose, in turn with none, one right after the other, and prints one JSON line a type: {"name": "type-NAME", "seconds", "ratio", ...}, seconds
per epoch of 60,000 images and network, and the ratio to none's, the median over rounds. Then one
for an evaluation of as many images. The networks are dealt out to all cores, as a study does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from statistics import median

import click
import torch

from benchmarks.peers import one_thread_each, processor, shares
from benchmarks.speed import all_training_images
from models import data
from models.config import Arm
from models.data import Split
from models.matmul import PRECISIONS
from models.metrics import evaluate
from models.noise import NOISE, UNSEARCHED, Noise, noise_type
from models.train import build, train_population
from study.presets import BOOK

RATE = 0.3
FLAWED = "audited-"


def arm_of(name: str) -> Arm:
    """One epoch of a type, at 0.3 of each rate that it has."""
    rates = [RATE] * len(noise_type(name).rates)
    return Arm.of(name, rates, 0.0, replace(BOOK, epochs=1))


def training(name: str, parts: Split, networks: int) -> float:
    """Seconds per epoch of 60,000 images and network."""
    return _seconds(lambda seeds: train_population([arm_of(name)], seeds, parts), parts, networks)


def evaluation(parts: Split, networks: int) -> float:
    """Seconds in which a network scores 60,000 images, in float32 as what decides is."""
    x = parts.train_x.float()

    def run(seeds: Sequence[int]) -> object:
        population, _ = build([arm_of("none")] * len(seeds), seeds, replace(parts, train_x=x))
        return evaluate(population, Noise(torch.zeros(len(seeds), 2)), seeds, x, parts.train_y)

    return _seconds(run, parts, networks)


def _seconds(work: Callable[[Sequence[int]], object], parts: Split, networks: int) -> float:
    start = time.perf_counter()
    with one_thread_each() as pool:
        list(pool.map(work, shares(networks)))
    return (time.perf_counter() - start) / networks * 60_000 / len(parts.train_y)


def beside_none(run: Callable[[], float], none: Callable[[], float], rounds: int) -> dict:
    """Medians of `rounds` pairs, after one that warms up: seconds, the ratio and its range."""
    pairs = [(none(), run()) for _ in range(rounds + 1)][1:]
    ratios = [other / own for own, other in pairs]
    figures = {
        "seconds": median(other for _, other in pairs),
        "ratio": median(ratios),
        "low": min(ratios),
        "high": max(ratios),
    }
    return {name: round(value, 4) for name, value in figures.items()}


@click.command()
@click.option(
    "--precision", default="float32", show_default=True, type=click.Choice(["float32", "bfloat16"])
)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--images", default=10_000, show_default=True, type=click.IntRange(1_000, 60_000))
@click.option("--networks", default=10, show_default=True, type=click.IntRange(1))
@click.option("--folder", default="data", show_default=True, help="Folder that keeps the data set.")
@click.argument("names", nargs=-1)
def main(
    precision: str, rounds: int, images: int, networks: int, folder: str, names: tuple[str, ...]
) -> None:
    """Time the noise types NAMES, all unless told, and an evaluation, beside no noise."""
    parts = all_training_images(data.split(data.load(folder=folder))).subset(images)
    parts = parts.rounded(PRECISIONS[precision])
    every = [name for name in (*NOISE, *UNSEARCHED) if not name.startswith(FLAWED)]

    def tell(row: str, run: Callable[[], float]) -> None:
        figures = beside_none(run, lambda: training("none", parts, networks), rounds)
        told = {"precision": precision, "processor": processor()}
        print(json.dumps({"name": row, **figures, **told}), flush=True)

    for name in names or every:
        tell(f"type-{name}", partial(training, name, parts, networks))
    tell("evaluation", lambda: evaluation(parts, networks))


if __name__ == "__main__":
    main()
