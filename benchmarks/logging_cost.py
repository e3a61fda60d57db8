"""What does it cost to log a seed run? So many workers does one writer keep up with.

`MLFLOW_TRACKING_URI=... python -m benchmarks.logging_cost` logs trials of 20 seeds and 10 epochs,
as a study does, into an experiment of its own, and prints one JSON line. docs/teams.md reckons with
it.
"""

from __future__ import annotations

import json
import time
from statistics import median

import click
import mlflow
import numpy as np

from analysis import schema
from models.config import Arm
from models.mlp import Weights
from models.train import Trained
from study.declaration import declare
from study.presets import DECAY, PRESETS
from study.tracking.lifecycle import open_study
from study.trial import Setting, Trial
from study.worker import load_split

SEEDS, IMAGES = 20, 10_000


def trained(arm: Arm, seed: int) -> Trained:
    """A network's results, of the size they have."""
    random = np.random.default_rng(seed)
    curves = {
        name: list(map(float, random.random(arm.recipe.epochs)))
        for name in ("train/loss", "val/loss", "val/accuracy")
    }
    test = {f"test/{name}": float(random.random()) for name in ("loss", "accuracy", "brier", "ece")}
    images = {
        "nll": random.random(IMAGES).astype(np.float16),
        "correct": random.random(IMAGES) < 0.9,
    }
    return Trained(arm, seed, curves, test, Weights((), ()), 1.0, images=images)


@click.command()
@click.option("--trials", default=10, show_default=True, type=click.IntRange(1))
@click.option("--folder", default="data", show_default=True, help="Folder that keeps the data set.")
def main(trials: int, folder: str) -> None:
    """Log trials of confirmed seed runs, and time it."""
    preset, setting = PRESETS["smoke"], Setting("fashion-mnist", folder, "cpu")
    declaration = declare(preset, ("none", "dropout"), 0.8, load_split(setting), setting)
    seconds = []
    with open_study(declaration, setting, "benchmark-logging") as tracker:
        for number in range(trials):
            arm = Arm("dropout", round(0.01 * number, 2), 0.5, 1e-5, DECAY)
            trial = Trial(arm, tuple(range(SEEDS)), schema.CONFIRM)
            results = [trained(arm, seed) for seed in trial.seeds]
            start = time.perf_counter()
            tracker.log_trial(trial, results)
            seconds.append((time.perf_counter() - start) / SEEDS)
        tracker.finish()
    store = mlflow.get_tracking_uri().partition(":")[0]
    row = {
        "name": f"logging-{store}",
        "seconds": round(median(seconds), 4),
        "high": round(max(seconds), 4),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
