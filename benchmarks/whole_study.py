"""How much longer does a study take than its epochs would without noise, and without all else?

`python -m benchmarks.whole_study` runs a preset by the command line into a store of its own, start,
MLflow and report included, and times networks without noise on all cores before and after. It
prints one JSON line: {"name": "quick-over-none", "seconds", "ratio", ...}, where ratio is the
study's wall time over that of as many network-epochs of none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean

import click

from benchmarks.peers import processor
from models.config import Recipe
from models.train import CPU_POPULATION
from study import executors, worker
from study.planning.dry_run import planned_stages
from study.presets import PRESETS
from study.trial import Setting, Trial


def seconds_of_none(recipe: Recipe, setting: Setting) -> float:
    """Seconds for one network of a recipe without noise, with a full population on each core."""
    with executors.in_process("cpu", lambda images: None) as trainer:
        seeds = tuple(range(CPU_POPULATION))
        arm = recipe.arm("none", 0.0, 0.0, 0.0)
        batches = [[Trial(arm, seeds, "search")] for _ in range(trainer.workers)]
        start = time.perf_counter()
        networks = sum(len(trained) for _, [trained] in trainer.train(batches, setting))
        return (time.perf_counter() - start) / networks


def seconds_of_study(preset: str, precision: str, folder: str) -> float:
    """Wall seconds of the command, into a store and a results folder that are thrown away."""
    with tempfile.TemporaryDirectory() as place:
        store = {"MLFLOW_TRACKING_URI": f"sqlite:///{Path(place) / 'mlflow.db'}"}
        options = ["--preset", preset, "--precision", precision, "--data", folder]
        start = time.perf_counter()
        subprocess.run(
            [
                sys.executable,
                "-m",
                "study",
                "study",
                *options,
                "--output",
                str(Path(place) / "out"),
            ],
            env=os.environ | store,
            check=True,
        )
        return time.perf_counter() - start


@click.command()
@click.option("--preset", default="quick", show_default=True, type=click.Choice(list(PRESETS)))
@click.option(
    "--precision", default="float32", show_default=True, type=click.Choice(["float32", "bfloat16"])
)
@click.option("--folder", default="data", show_default=True, help="Folder that keeps the data set.")
def main(preset: str, precision: str, folder: str) -> None:
    """Time a whole study beside its network-epochs without noise."""
    chosen, setting = PRESETS[preset], Setting("fashion-mnist", folder, "cpu", precision)
    worker.load_split(setting)
    trials = [t for stage in planned_stages(chosen, chosen.noise_types) for t in stage]
    recipes = {trial.arm.recipe for trial in trials}

    def none() -> float:
        one = {recipe: seconds_of_none(recipe, setting) for recipe in recipes}
        return sum(len(trial.seeds) * one[trial.arm.recipe] for trial in trials)

    none()  # compiles the loops
    before, wall, after = none(), seconds_of_study(preset, precision, folder), none()
    of_none = fmean([before, after])
    figures = {"seconds": wall, "ratio": wall / of_none, "none": of_none}
    rounded = {name: round(value, 3) for name, value in figures.items()}
    told = {"precision": precision, "processor": processor()}
    print(json.dumps({"name": f"{preset}-over-none", **rounded, **told}))


if __name__ == "__main__":
    main()
