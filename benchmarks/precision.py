"""Do the answers move when products are taken in bfloat16?

`python -m benchmarks.precision` trains the same networks in float32 and in bfloat16 and writes docs/precision.md from
docs/precision.csv, to which it adds each network it has trained: stop it, and it goes on from there. The pilot's seeds
say how many others the answer takes, and are not among them. The test images are not read. It takes hours.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import click
import pandas as pd

from analysis import power
from benchmarks.equivalence import ALPHA, heading, row
from models.config import Arm, Recipe
from models.train import CPU_POPULATION, Trained
from study import executors, schema
from study.recipes import DECAY, LONG
from study.trial import Setting, Trial

RECIPES = {recipe.name: recipe for recipe in (DECAY, LONG)}
RATE = 0.5
NOISES = {"none": 0.0, "dropout": RATE, "gaussian": RATE}
"""Noise type -> the rate of both layers."""
PRECISIONS = ("bfloat16", "float32")
PILOT, FIRST, FEWEST = range(3000, 3010), 3100, 10
MARGINS = {"accuracy": 0.001, "loss": 0.003}
"""Half of what the study's own verdicts call equivalent, and less: a precision must not decide a question."""
RECORD, PAGE = Path("docs/precision.csv"), Path("docs/precision.md")
INTRODUCTION = f"""# bfloat16 products against float32

The same networks, from the same initial weights, in the same order of batches and with the same random draws, trained
with their matrix products in bfloat16 and in float32: without noise, and with dropout and gaussian at {RATE} in both
layers; no weight decay, 50,000 training images. Scores are on the 10,000 validation images. Differences are bfloat16
minus float32, equivalence is TOST at alpha {ALPHA:g}. The margins were set beforehand: 0.1 accuracy points, 0.003 nats.
A pilot of {len(PILOT)} other seeds said how many seeds find equivalence with 80 % power where there is no difference;
ten at least were trained.

Every network is in [precision.csv](precision.csv).
"""
COLUMNS = ["recipe", "noise", "precision", "seed", *MARGINS]


def recorded() -> pd.DataFrame:
    """What has been trained: a row for each network."""
    if not RECORD.exists():
        RECORD.write_text(",".join(COLUMNS) + "\n")
    return pd.read_csv(RECORD)


def pairs(recipe: str, noise: str, pilot: bool) -> dict[str, pd.DataFrame]:
    """metric -> a column for each precision and a row for each seed that was trained in both."""
    rows = recorded().query("recipe == @recipe and noise == @noise")
    rows = rows[rows["seed"].isin(PILOT) == pilot]
    return {metric: rows.pivot(index="seed", columns="precision", values=metric).dropna() for metric in MARGINS}


def difference(scores: pd.DataFrame) -> pd.Series:
    """bfloat16 minus float32, by seed."""
    return scores["bfloat16"] - scores["float32"]


def seeds_wanted(recipe: str, noise: str) -> dict[str, int]:
    """metric -> seeds, ten at least, that find equivalence with 80 % power if the pilot's paired SD is the true one."""
    scores = pairs(recipe, noise, pilot=True)
    return {
        metric: max(FEWEST, power.seeds_for_equivalence(difference(scores[metric]).std(), margin, ALPHA))
        for metric, margin in MARGINS.items()
    }


def train(recipe: Recipe, noise: str, seeds: range, folder: str) -> None:
    """Trains and records those of the seeds that the record lacks."""
    arm = Arm(noise, NOISES[noise], NOISES[noise], 0.0, recipe)
    for precision in PRECISIONS:
        rows = recorded().query("recipe == @recipe.name and noise == @noise and precision == @precision")
        missing = [seed for seed in seeds if seed not in set(rows["seed"])]
        setting = Setting("fashion-mnist", folder, 50_000, "cpu", precision)
        with executors.in_process("cpu", lambda share: None) as trainer:
            blocks = -(-len(missing) // (CPU_POPULATION * trainer.workers)) * trainer.workers
            batches = [[Trial(arm, tuple(missing[i::blocks]), schema.SEARCH)] for i in range(min(blocks, len(missing)))]
            for batch, results in trainer.train(batches, setting):
                record(recipe.name, noise, precision, results[0])
                print(f"{recipe.name} {noise} {precision}: seeds {batch[0].seeds}", flush=True)


def record(recipe: str, noise: str, precision: str, networks: Sequence[Trained]) -> None:
    """Adds a row for each network."""
    with RECORD.open("a", newline="") as file:
        for network in networks:
            scores = [f"{network.scores[f'val/{metric}']:.6f}" for metric in MARGINS]
            csv.writer(file, lineterminator="\n").writerow([recipe, noise, precision, network.seed, *scores])


def page() -> str:
    """The record as a page."""
    text = [INTRODUCTION]
    for recipe in RECIPES.values():
        text += [f"## `{recipe.name}`, {recipe.epochs} epochs\n", *tables(recipe.name), ""]
    return "\n".join([*text, "Made by `python -m benchmarks.precision` on a CPU; it was not run on a GPU.\n"])


def tables(recipe: str) -> list[str]:
    """Of one recipe: the pilot, and the answers where all their seeds have been trained."""
    pilot = ["| arm | metric | paired SD of the pilot | seeds wanted | trained |", "| --- | --- | --: | --: | --: |"]
    answers = [heading("bfloat16", "float32")]
    for noise in NOISES:
        before, after = pairs(recipe, noise, pilot=True), pairs(recipe, noise, pilot=False)
        if len(before["loss"]) < len(PILOT):
            return ["Not run."]
        wanted = seeds_wanted(recipe, noise)
        for metric, margin in MARGINS.items():
            sd = difference(before[metric]).std()
            pilot.append(f"| {noise} | {metric} | {sd:.5f} | {wanted[metric]} | {len(after[metric])} |")
            if len(after[metric]) >= max(wanted.values()):
                scores = after[metric]
                answers.append(row(noise, metric, scores["bfloat16"], scores["float32"], margin))
    return [*pilot, "", *(answers if len(answers) > 1 else ["Not enough seeds yet for an answer."])]


@click.command()
@click.option("--recipe", "recipes", type=click.Choice(list(RECIPES)), multiple=True, help="All unless told.")
@click.option("--folder", default="data", show_default=True, help="Folder that keeps the data set.")
def main(recipes: tuple[str, ...], folder: str) -> None:
    """Train what the record lacks, and write the page."""
    for recipe in [RECIPES[name] for name in recipes or RECIPES]:
        for noise in NOISES:
            train(recipe, noise, PILOT, folder)
        for noise in NOISES:
            wanted = max(seeds_wanted(recipe.name, noise).values())
            print(f"{recipe.name} {noise}: {wanted} seeds", flush=True)
            train(recipe, noise, range(FIRST, FIRST + wanted), folder)
        PAGE.write_text(page())
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
