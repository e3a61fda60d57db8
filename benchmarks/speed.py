"""How fast is population training? Seconds per epoch of 60,000 images and network, against peers
and the limit.

`make bench` runs all contenders of `benchmarks.peers` in one process tree, alternating, and prints
a table and one JSON line a row: {"name", "seconds", "ratio", ...}, where ratio is that row's
seconds over the population's. Peers that are not installed (requirements-bench.txt) are left out.
Then come rows for 1 to 64 networks and for 1 to 4 epochs.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from statistics import median

import click
import torch

from benchmarks.peers import CONTENDERS, NETWORKS, population, processor
from models import data
from models.data import Split
from models.matmul import PRECISIONS

PEERS = ("lightning", "keras", "skorch")
NETWORK_COUNTS, EPOCH_COUNTS = (1, 2, 4, 8, 16, 32, 64), (1, 2, 4)


@dataclass(frozen=True)
class Row:
    """Seconds per epoch and network of a contender, one for each round."""

    name: str
    rounds: list[float]

    @property
    def seconds(self) -> float:
        """The median."""
        return median(self.rounds)

    def to_json(self, base: float, **more: object) -> str:
        """One line; `base` is the population's seconds."""
        figures = {"seconds": self.seconds, "ratio": self.seconds / base, "low": min(self.rounds)}
        rounded = {
            name: round(value, 4) for name, value in (figures | {"high": max(self.rounds)}).items()
        }
        return json.dumps({"name": self.name, **rounded, **more})


def all_training_images(parts: Split) -> Split:
    """The published training set, 60,000 images, with next to nothing to validate: only training is
    timed."""
    x, y = (
        torch.cat([parts.train_x, parts.validation_x]),
        torch.cat([parts.train_y, parts.validation_y]),
    )
    return replace(parts, train_x=x, train_y=y, validation_x=x[:10], validation_y=y[:10])


def alternate(runs: dict[str, Callable[[], float]], rounds: int) -> list[Row]:
    """Runs all of them in turn, a round to warm up and `rounds` that count."""
    rows = [Row(name, []) for name in runs]
    for round_ in range(rounds + 1):
        for row, run in zip(rows, runs.values(), strict=True):
            seconds = run()
            print(f"round {round_} of {rounds}: {row.name} {seconds:.3f} s", file=sys.stderr)
            if round_:
                row.rounds.append(seconds)
    return rows


def table(rows: list[Row], base: float) -> str:
    """The rows in Markdown."""
    head = "| contender | seconds per epoch and network | lowest to highest | times the population's |\n|---|--:|--:|--:|"
    lines = [
        f"| {row.name} | {row.seconds:.3f} | {low:.3f} to {high:.3f} | {row.seconds / base:.2f} |"
        for row, low, high in ((row, min(row.rounds), max(row.rounds)) for row in rows)
    ]
    return "\n".join([head, *lines])


@click.command()
@click.option(
    "--precision", default="float32", show_default=True, type=click.Choice(["float32", "bfloat16"])
)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--images", default=60_000, show_default=True, type=click.IntRange(1_000, 60_000))
@click.option(
    "--folder", "folder", default="data", show_default=True, help="Folder that keeps the data set."
)
@click.option(
    "--scaling/--no-scaling", default=True, show_default=True, help="Rows for networks and epochs."
)
def main(precision: str, rounds: int, images: int, folder: str, scaling: bool) -> None:
    """Time population training against its peers and against its own matrix products."""
    parts = all_training_images(data.split(data.load(folder=folder))).subset(images)
    rounded = parts.rounded(PRECISIONS[precision])
    to_epoch = 60_000 / images
    present = [name for name in CONTENDERS if name not in PEERS or find_spec(name)]
    scaled = (
        list(scale(rounded, to_epoch, rounds)) if scaling else []
    )  # first: the peers would add to the peak memory

    def contender(name: str) -> Callable[[], float]:
        seen = rounded if name in ("population", "limit") else parts
        return lambda: to_epoch * CONTENDERS[name](seen, 1)[0]

    rows = alternate({name: contender(name) for name in present}, rounds)
    base = rows[0].seconds
    print(
        f"{processor()}, {precision}, {NETWORKS} networks, {torch.get_num_threads()} threads\n\n"
        f"{table(rows, base)}\n"
    )
    for row in rows:
        print(
            row.to_json(
                base,
                precision=precision if row.name in ("population", "limit") else "float32",
                processor=processor(),
            )
        )
    for row, more in scaled:
        print(row.to_json(base, precision=precision, processor=processor(), **more))


def scale(parts: Split, to_epoch: float, rounds: int) -> Iterator[tuple[Row, dict[str, int]]]:
    """The population's cost against the number of networks, with the memory the process has held,
    and of epochs."""
    for count in NETWORK_COUNTS:
        row = Row(
            f"networks-{count}", [to_epoch * population(parts, 1, count)[0] for _ in range(rounds)]
        )
        yield (
            row,
            {
                "networks": count,
                "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            },
        )
    for epochs in EPOCH_COUNTS:
        seconds = [to_epoch * population(parts, epochs)[0] / epochs for _ in range(rounds)]
        yield Row(f"epochs-{epochs}", seconds), {"epochs": epochs}


if __name__ == "__main__":
    main()
