"""The training curves of a study's most telling arms, from the metric histories of its runs."""

from __future__ import annotations

from collections.abc import Mapping

import mlflow
import pandas as pd

from analysis.schema import CONFIRM, TUNED, Declaration

METRICS = ("train/loss", "val/loss")
SEEDS = 10
"""So many of an arm's seeds are read: each history is a request."""
COLUMNS = ("recipe", "noise", "metric", "epoch", "value")


def best_types(declared: Declaration, table: pd.DataFrame, arms: Mapping[str, str]) -> list[str]:
    """Return no noise, dropout and the best other type of a recipe, on validation images.

    Args:
        arms: arm label -> arm name under the recipe.
    """
    confirmed = table.loc[table["phase"] == CONFIRM]
    means = confirmed.groupby("arm")[declared.objective].mean()
    scores = {
        noise: float(means[arms[TUNED + noise]])
        for noise in declared.noise_types
        if arms.get(TUNED + noise) in means.index
    }
    references = [noise for noise in ("none", "dropout") if noise in scores]
    others = sorted(set(scores) - set(references), key=lambda noise: -scores[noise])
    return [*references, *others[:1]]


def read(
    declared: Declaration, table: pd.DataFrame, arms: Mapping[str, Mapping[str, str]]
) -> pd.DataFrame:
    """Return the mean curves of the best types' tuned arms under each tuned recipe.

    Args:
        table: run table.
        arms: recipe -> arm label -> arm name.

    Returns:
        One row for each point, with COLUMNS; the value is a mean over seeds.
    """
    client = mlflow.MlflowClient()
    points = []
    for recipe in declared.tuned_recipes:
        labels = arms.get(recipe, {})
        for noise in best_types(declared, table, labels):
            rows = table.loc[(table["phase"] == CONFIRM) & (table["arm"] == labels[TUNED + noise])]
            for run_id in rows.sort_values("seed")["run_id"].head(SEEDS):
                for metric in METRICS:
                    for one in client.get_metric_history(str(run_id), metric):
                        points.append((recipe, noise, metric, one.step, one.value))
    if not points:
        return none()
    every = pd.DataFrame(points, columns=list(COLUMNS))
    return every.groupby(list(COLUMNS[:-1]), sort=False, as_index=False)["value"].mean()


def none() -> pd.DataFrame:
    """Return no curves."""
    return pd.DataFrame(columns=list(COLUMNS))
