"""Do the answers move when products are taken in bfloat16?

`python -m benchmarks.precision` trains the same networks in float32 and in bfloat16 and writes
docs/precision.md from docs/precision.csv, to which it adds each network it has trained: stop it,
and it goes on from there. The pilot's seeds say how many others the answer takes, and are not among
them; an arm that is left open is answered once more, by fresh seeds alone. The test images are not
read. It takes hours on 2 cores.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from pathlib import Path

import click
import pandas as pd
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from analysis import schema
from analysis.stats import paired, power
from benchmarks.equivalence import ALPHA, tost_cells, tost_heading, tost_row
from models.config import Arm, Recipe
from models.train import CPU_POPULATION, Trained
from study import executors
from study.presets import DECAY, LONG, SMALL
from study.trial import Setting, Trial

RATE, INPUT_RATE = 0.5, 0.2
ARMS: dict[Recipe, dict[str, tuple[float, ...]]] = {
    DECAY: {"none": (), "dropout": (RATE, RATE), "gaussian": (RATE, RATE)},
    LONG: {"none": (), "dropout": (RATE, RATE), "gaussian": (RATE, RATE)},
    SMALL: {"none": (), "dropout": (RATE, RATE), "input-dropout": (INPUT_RATE,)},
}
"""Recipe -> noise type -> its rates."""
RECIPES = {recipe.name: recipe for recipe in ARMS}
NOISES = {recipe.name: tuple(arms) for recipe, arms in ARMS.items()}
PRECISIONS = ("bfloat16", "float32")
MARGINS = {"accuracy": 0.001, "loss": 0.003}
"""Narrower than the 0.002 and 0.005 within which the study itself calls two arms equivalent."""
PILOT, FIRST, AGAIN, FEWEST = range(3000, 3010), 3100, 4000, 10
"""The pilot's seeds; the first seed of an arm's study and of its second; the fewest seeds of a
study."""
DOCS = Path(__file__).parents[1] / "docs"
RECORD, PAGE = DOCS / "precision.csv", DOCS / "precision.md"
KEY = ["recipe", "noise", "precision", "seed", "code"]
"""What names a network in the record; `code` is `analysis.schema.CODE_VERSION`."""
ALIKE = {6, 7, 8, 9}
"""Code versions whose trainings give the same networks, where the record was made; others are not
mixed. Versions 7 and 9 moved the points of the curves, 7 also how arms are searched. Version 8
moved other types, the products of Intel's processors, and rounds gaussian's multiplier to bfloat16
once, where it was three times: nearer to float32 than what was studied."""
INTRODUCTION = f"""# bfloat16 products against float32

The same networks, from the same initial weights, in the same order of batches and with the same random bits, trained in
both precisions of `--precision`: with bfloat16 the images, activations, noise and gradients are rounded to it too, the
weights, the optimiser and the scores stay in float32. Without noise, with dropout and gaussian at {RATE} in both
layers, and with input dropout at {INPUT_RATE}; no weight decay; scores are on the 10,000 validation images. Differences are
bfloat16 minus float32. "dropout - none" is by how much the difference of two arms differs: a study answers by those.

Equivalent is what TOST at alpha {ALPHA:g} finds within 0.1 accuracy points and 0.003 nats. The answer to "may a study
train in bfloat16 unasked" is yes only if each arm is equivalent in both metrics under each recipe; so it is wrongly
yes no more often than one arm is wrongly called equivalent. The differences of arms are shown beside it and do not
decide: to show them equivalent too under `long` takes about 120 seeds of none and of each arm compared with it. So
by this the difference of two arms may still move by up to 0.2 points and 0.006 nats, the latter more than the 0.005
within which a study itself calls arms equivalent. (This page asked for the differences too until, under `long`, only
none, the pilot of dropout and the bfloat16 half of its study had been trained.)

A pilot of {len(PILOT)} other seeds said how many seeds find a metric equivalent with 80 % power if the pilot's SD of
the paired differences is the true one and the true difference is 0. An SD of ten pairs is uncertain by a quarter, and
some studies had SDs near twice their pilots': their power was less. At least {FEWEST} seeds were
trained: a floor that was added when three or four seeds of `none` and `dropout` under `decay` had been.

An arm that is not equivalent by this is studied once more, by as many fresh seeds as the SD of its first study asks
for, which are read alone: "again" in the tables; what the second study says holds. The rule was made when the first
study of `none` under `long` had been read. With two chances, an arm that does move by a margin is called equivalent
in up to 10 % of cases.

Every network is in [precision.csv](precision.csv).
"""
ALL = (
    "**Every arm is equivalent by the last of its studies: `--precision auto` takes bfloat16 where "
    "it is fast, on a CPU\n"
    "of AMD's with AVX-512's instructions for it and on Intel's with AMX.**\n"
)
ENDING = """\
Made by `python -m benchmarks.precision` on a CPU, a Zen 4 with AVX-512. It was not run on a GPU, on processors that
multiply bfloat16 in other ways (AMX, ARM), for other noise types or under other recipes.
"""


def recorded() -> pd.DataFrame:
    """What has been trained: a row for each network."""
    return pd.read_csv(RECORD) if RECORD.exists() else pd.DataFrame(columns=[*KEY, *MARGINS])


def record(recipe: str, noise: str, precision: str, networks: Sequence[Trained]) -> None:
    """Adds a row for each network; the file is whole at any moment.

    Raises:
        RuntimeError: a network was not trained to its end in finite numbers.
    """
    rows = []
    for network in networks:
        if not network.converged:
            raise RuntimeError(
                f"{recipe} {noise} {precision}, seed {network.seed}: "
                f"{network.error or 'it diverged'}"
            )
        key = [recipe, noise, precision, network.seed, schema.CODE_VERSION]
        rows.append([*key, *(round(network.scores[f"val/{metric}"], 6) for metric in MARGINS)])
    table = pd.concat([recorded(), pd.DataFrame(rows, columns=[*KEY, *MARGINS])])
    whole = RECORD.with_suffix(".part")
    table.drop_duplicates(KEY).sort_values(KEY).to_csv(whole, index=False)
    os.replace(whole, RECORD)


def differences(recipe: str, noise: str, metric: str, seeds: range) -> pd.Series:
    """bfloat16 minus float32 of each of the seeds that was trained in both, by seed."""
    scores = by_precision(recipe, noise, metric, seeds)
    return scores["bfloat16"] - scores["float32"]


def by_precision(recipe: str, noise: str, metric: str, seeds: range) -> pd.DataFrame:
    """A column for each precision, a row for each of the seeds that was trained in both."""
    rows = recorded().query("recipe == @recipe and noise == @noise and seed in @seeds")
    return (
        rows.pivot(index="seed", columns="precision", values=metric)
        .reindex(columns=PRECISIONS)
        .dropna()
    )


def seeds_needed(recipe: str, noise: str, seen: range) -> dict[str, int]:
    """metric -> seeds that find equivalence with 80 % power if the paired SD of the seeds seen is
    the true one."""
    return {
        metric: power.seeds_for_equivalence(
            differences(recipe, noise, metric, seen).std(), margin, ALPHA
        )
        for metric, margin in MARGINS.items()
    }


def trained(recipe: str, noise: str, seeds: range) -> bool:
    """Whether all of the seeds were, in both precisions."""
    return len(by_precision(recipe, noise, "loss", seeds)) == len(seeds)


def equivalent(recipe: str, noise: str, seeds: range) -> bool:
    """Whether both metrics of the seeds are."""
    return all(
        paired.tost(differences(recipe, noise, m, seeds), margin) <= ALPHA
        for m, margin in MARGINS.items()
    )


def studies(recipe: str, noise: str) -> list[range]:
    """The seeds that answer: as many as the pilot asks for; if not equivalent by them, a second
    time, afresh."""
    if not trained(recipe, noise, PILOT):
        return []
    first = range(FIRST, FIRST + max(FEWEST, *seeds_needed(recipe, noise, PILOT).values()))
    if not trained(recipe, noise, first) or equivalent(recipe, noise, first):
        return [first]
    start = max(AGAIN, first.stop)
    return [first, range(start, start + max(FEWEST, *seeds_needed(recipe, noise, first).values()))]


def settled(recipe: str, noise: str) -> bool | None:
    """Whether the arm is equivalent, by the last of its studies; None while that is not trained by
    this code."""
    if not set(recorded()["code"]) <= ALIKE or schema.CODE_VERSION not in ALIKE:
        return None
    seeds = studies(recipe, noise)
    return (
        equivalent(recipe, noise, seeds[-1])
        if seeds and trained(recipe, noise, seeds[-1])
        else None
    )


def unsettled() -> list[str]:
    """The arms not shown to be equivalent, and why: empty where `--precision auto` may choose
    bfloat16."""
    arms = {
        f"{noise} under `{recipe}`": settled(recipe, noise)
        for recipe, noises in NOISES.items()
        for noise in noises
    }
    return [
        f"{arm} ({'not shown' if answer is False else 'to be trained'})"
        for arm, answer in arms.items()
        if not answer
    ]


def train(recipe: Recipe, noise: str, seeds: range, folder: str) -> None:
    """Trains and records those of the seeds that the record lacks.

    Raises:
        RuntimeError: the record is of another version of the code, or a network diverged.
    """
    if codes := set(recorded()["code"]) - ALIKE:
        raise RuntimeError(
            f"{RECORD} is of code version {max(codes)}, this is {schema.CODE_VERSION}: delete it "
            "first"
        )
    arm = Arm.of(noise, ARMS[RECIPES[recipe.name]][noise], 0.0, recipe)
    for precision in PRECISIONS:
        rows = recorded().query(
            "recipe == @recipe.name and noise == @noise and precision == @precision"
        )
        missing = sorted(set(seeds) - set(rows["seed"]))
        setting = Setting("fashion-mnist", folder, "cpu", precision)
        with executors.in_process("cpu", lambda share: None) as trainer:
            blocks = -(-len(missing) // (CPU_POPULATION * trainer.workers)) * trainer.workers
            batches = [
                [Trial(arm, tuple(missing[i::blocks]), schema.SEARCH)]
                for i in range(min(blocks, len(missing)))
            ]
            for batch, results in trainer.train(batches, setting):
                record(recipe.name, noise, precision, results[0])
                PAGE.write_text(page())
                click.echo(f"{recipe.name} {noise} {precision}: seeds {batch[0].seeds}")


def page() -> str:
    """The record as a page."""
    left = unsettled()
    text = [
        INTRODUCTION,
        f"**Shown to be equivalent: all but {', '.join(left)}.**\n" if left else ALL,
    ]
    for recipe in RECIPES.values():
        text += [
            f"## `{recipe.name}`, {recipe.train_examples:,} training images, {recipe.epochs} epochs\n"
        ]
        tables = [
            list(table(recipe.name)) for table in (pilot_table, answer_table, difference_table)
        ]
        text += [line for table in tables if table for line in (*table, "")]
    return "\n".join([*text, ENDING])


def pilot_table(recipe: str) -> Iterator[str]:
    """How many seeds the pilot asks for, or for a second study the first, and the SD that they
    themselves have."""
    yield "| arm | metric | paired SD before | seeds needed | trained | their SD |"
    yield "| --- | --- | --: | --: | --: | --: |"
    for noise in NOISES[recipe]:
        seen = [PILOT, *studies(recipe, noise)]
        if len(seen) == 1:
            yield f"| {noise} | both | not run | | | |"
        for place, (before, seeds) in enumerate(pairwise(seen)):
            for metric, needed in seeds_needed(recipe, noise, before).items():
                sd, own = (
                    differences(recipe, noise, metric, some).std() for some in (before, seeds)
                )
                done = len(differences(recipe, noise, metric, seeds))
                shown = f"{own:.5f}" if done > 1 else ""
                yield f"| {named(noise, place)} | {metric} | {sd:.5f} | {needed} | {done} | {shown} |"


def answer_table(recipe: str) -> Iterator[str]:
    """The studies whose seeds have all been trained."""
    yield tost_heading("bfloat16", "float32")
    for noise in NOISES[recipe]:
        for place, seeds in enumerate(studies(recipe, noise)):
            if trained(recipe, noise, seeds):
                for metric, margin in MARGINS.items():
                    scores = by_precision(recipe, noise, metric, seeds)
                    yield tost_row(
                        named(noise, place), metric, scores["bfloat16"], scores["float32"], margin
                    )


def difference_table(recipe: str) -> Iterator[str]:
    """By how much the differences of arms differ, by their last studies: paired by the seeds that
    both have.

    A second study has no seed of a first: there by Welch's t, all seeds of both.
    """
    done = {
        noise: studies(recipe, noise)[-1]
        for noise in NOISES[recipe]
        if settled(recipe, noise) is not None
    }
    if len(done) < 2:
        return
    yield tost_heading("bfloat16", "float32")
    for one, other in combinations(done, 2):
        common = range(
            max(done[one].start, done[other].start), min(done[one].stop, done[other].stop)
        )
        for metric, margin in MARGINS.items():
            ours, theirs = (
                by_precision(recipe, noise, metric, common or done[noise]) for noise in (other, one)
            )
            name = f"{other} - {one}"
            if common:
                between = ours - theirs
                yield tost_row(name, metric, between["bfloat16"], between["float32"], margin)
                continue
            moved = CompareMeans(
                *(DescrStatsW(table["bfloat16"] - table["float32"]) for table in (ours, theirs))
            )
            p_value, _ = moved.ttost_ind(-margin, margin, usevar="unequal")
            interval = moved.tconfint_diff(2 * ALPHA, usevar="unequal")
            means = [ours[p].mean() - theirs[p].mean() for p in PRECISIONS]
            seeds = f"{len(ours)} and {len(theirs)}, unpaired"
            yield tost_cells(name, metric, means, interval, margin, p_value, seeds)


def named(noise: str, place: int) -> str:
    """An arm's study in a table."""
    return noise if place == 0 else f"{noise}, again"


@click.command()
@click.option(
    "--recipe", "recipes", type=click.Choice(list(RECIPES)), multiple=True, help="All unless told."
)
@click.option("--folder", default="data", show_default=True, help="Folder that keeps the data set.")
def main(recipes: tuple[str, ...], folder: str) -> None:
    """Train what the record lacks; the page is written anew with each batch."""
    for recipe in [RECIPES[name] for name in recipes or RECIPES]:
        for noise in NOISES[recipe.name]:
            train(recipe, noise, PILOT, folder)
            for _ in ("first", "again"):
                train(recipe, noise, studies(recipe.name, noise)[-1], folder)


if __name__ == "__main__":
    main()
