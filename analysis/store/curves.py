"""What stands in the metric histories of a study's runs: training curves of its most telling arms,
and the bins of reliability diagrams."""

from __future__ import annotations

from collections.abc import Mapping

import mlflow
import pandas as pd

from analysis.schema import CONFIRM, RELIABILITY, TUNED, Declaration
from analysis.store.run_table import MAX_DOUBLE

TRAINING, VALIDATION = METRICS = ("train/loss", "val/loss")
ACCURACY = "val/accuracy"
SEEDS = 10
"""So many of an arm's seeds are read: each history is a request."""
PLACE = ("recipe", "noise", "arm", "epoch")
BIN = ("arm", "seed", "way", "bin")
IN_BINS = ("confidence", "accuracy")


def best_types(declared: Declaration, table: pd.DataFrame, arms: Mapping[str, str]) -> list[str]:
    """Return no noise, dropout and the best other type of a recipe, on validation images.

    Args:
        arms: arm label -> arm name under the recipe.
    """
    confirmed = table.loc[table["phase"] == CONFIRM]
    means = confirmed.groupby("arm")[ACCURACY].mean()
    scores = {
        noise: float(means[arms[TUNED + noise]])
        for noise in declared.noise_types
        if arms.get(TUNED + noise) in means.index
    }
    references = [noise for noise in ("none", "dropout") if noise in scores]
    others = sorted(set(scores) - set(references), key=lambda noise: (-scores[noise], noise))
    return [*references, *others[:1]]


def runs_of(table: pd.DataFrame, arm: str) -> pd.DataFrame:
    """Return the rows of the seed runs whose curves are read."""
    rows = table.loc[(table["phase"] == CONFIRM) & (table["arm"] == arm)]
    return rows.sort_values("seed").head(SEEDS)


def read(
    declared: Declaration, table: pd.DataFrame, arms: Mapping[str, Mapping[str, str]]
) -> pd.DataFrame:
    """Return the mean curves of the best types' tuned arms under each tuned recipe.

    Args:
        table: run table.
        arms: recipe -> arm label -> arm name.

    Returns:
        A row for each epoch with a point: PLACE, and of METRICS the means over seeds that are
        finite.
    """
    client = mlflow.MlflowClient()
    points = []
    for recipe in declared.tuned_recipes:
        labels = arms.get(recipe, {})
        for noise in best_types(declared, table, labels):
            arm = labels[TUNED + noise]
            for run_id in runs_of(table, arm)["run_id"]:
                for metric in METRICS:
                    for one in client.get_metric_history(str(run_id), metric):
                        if abs(one.value) < MAX_DOUBLE:  # neither infinite nor NaN
                            points.append((recipe, noise, arm, one.step, metric, one.value))
    if not points:
        return none()
    every = pd.DataFrame(points, columns=[*PLACE, "metric", "value"])
    means = every.groupby([*PLACE, "metric"], sort=False)["value"].mean().unstack("metric")
    means = means.reindex(columns=list(METRICS)).dropna().reset_index()
    return means.rename_axis(columns=None)


def none() -> pd.DataFrame:
    """Return no curves."""
    return pd.DataFrame(columns=[*PLACE, *METRICS])


def read_bins(table: pd.DataFrame) -> pd.DataFrame:
    """Return confidence and accuracy in bins of test images, of all confirmed runs that have them.

    Args:
        table: run table.

    Returns:
        A row for each bin with an image: BIN, and IN_BINS as fractions. The way is how the network
        predicted: "" by its deterministic pass, else a metric's ending, "mc200_tempered".
    """
    client = mlflow.MlflowClient()
    points = []
    for _, run in table.loc[_may_have_bins(table)].iterrows():
        names = client.get_run(str(run["run_id"])).data.metrics
        for name in sorted(name for name in names if name.startswith(RELIABILITY)):
            score, _, way = name.removeprefix(RELIABILITY).partition("_")
            for one in client.get_metric_history(str(run["run_id"]), name):
                if abs(one.value) < MAX_DOUBLE:  # a bin of no image has NaN
                    points.append((run["arm"], run["seed"], way, one.step, score, one.value))
    if not points:
        return no_bins()
    every = pd.DataFrame(points, columns=[*BIN, "score", "value"])
    bins = every.groupby([*BIN, "score"])["value"].mean().unstack("score")
    bins = bins.reindex(columns=list(IN_BINS)).dropna().reset_index()
    return bins.rename_axis(columns=None)


def _may_have_bins(table: pd.DataFrame) -> pd.Series:
    """True for the runs whose confidences were looked at: it spares asking all others."""
    none = pd.Series(float("nan"), index=table.index)
    return (table["phase"] == CONFIRM) & table.get("test/temperature", none).notna()


def no_bins() -> pd.DataFrame:
    """Return no bins."""
    return pd.DataFrame(columns=[*BIN, *IN_BINS])
