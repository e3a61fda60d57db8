"""The rules by which a study picks its arms: pure functions of the run table.

Each search's arms are ranked by the posterior mean of a Gaussian process (`study.search`); the best
few are trained again on new seeds, and the best of those and of no noise's own arm is the *tuned*
arm of its noise type. Only validation scores are read here.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.schema import CONFIRM, RATES, RERANK, SEARCH, higher_is_better

WORST = 3.0
"""A score so many times as far below the median as the best is above it counts as that far: where
one arm has diverged, the others would all look alike."""


def posterior_means(
    points: Sequence[Sequence[float]], scores: Sequence[float], at: Sequence[Sequence[float]]
) -> list[float]:
    """Return a Gaussian process's posterior mean at some points.

    Matern 5/2 with a length for each coordinate, and noise, by maximum likelihood.

    Args:
        points: of the unit cube, one for each network, (networks, coordinates).
        scores: their objective, the higher the better, (networks,).
        at: (points, coordinates).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    values = np.asarray(scores, dtype=float)
    middle, best = np.median(values), values.max()
    values = np.maximum(values, middle - WORST * max(best - middle, 1e-6))
    kernel = ConstantKernel(1.0, (0.1, 10.0)) * Matern(
        np.full(len(points[0]), 0.7), (0.2, 3.0), nu=2.5
    ) + WhiteKernel(0.3, (0.01, 3.0))
    process = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=0)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        process.fit(np.asarray(points), values)
    return [float(mean) for mean in process.predict(np.asarray(at))]


class Ranked(NamedTuple):
    """An arm with its configuration and its score."""

    arm: str
    noise: str
    rate1: float
    rate2: float
    rate3: float
    weight_decay: float
    recipe: str
    epochs: int
    score: float  # mean of the objective over the seeds, in its own unit
    n_seeds: int


SETTINGS = ["arm", "noise", *RATES, "weight_decay", "recipe", "epochs"]


def search_ranking(
    table: pd.DataFrame, noise: str, objective: str, recipe: str | None = None
) -> list[Ranked]:
    """Rank the arms of a noise type by their mean objective over the search's seeds, best first.

    Ties are broken by the arm's name. A trial with a seed that diverged is not in the run table.

    Args:
        objective: a validation column, such as "val/accuracy".
        recipe: None where the search used one only.

    Raises:
        ValueError: no result, a seed that an arm has twice, or several recipes where none was
            named.
    """
    return _rank(_rows(table, SEARCH, noise, recipe), objective)


def best_reranked(table: pd.DataFrame, arms: Sequence[str], objective: str) -> str | None:
    """Return the best of these arms on the re-ranking seeds; None if none was re-ranked.

    Arms of different recipes may be compared: the images are the same.
    """
    rows = table.loc[(table["phase"] == RERANK) & table["arm"].isin(arms)]
    _refuse_duplicates(rows)
    if rows.empty:
        return None
    means = rows.groupby("arm")[objective].mean()  # in the order of their names
    return str(means.idxmax() if higher_is_better(objective) else means.idxmin())


def mean_score(table: pd.DataFrame, arm: str, phase: str, objective: str) -> float:
    """Return an arm's mean objective over the seeds of a phase.

    Raises:
        ValueError: the arm has no run in it, or a seed twice.
    """
    rows = table.loc[(table["phase"] == phase) & (table["arm"] == arm)]
    if rows.empty:
        raise ValueError(f"no {phase} run of {arm}")
    _refuse_duplicates(rows)
    return float(rows[objective].to_numpy(dtype=float).mean())


def optimism(table: pd.DataFrame, noise: str, recipe: str, objective: str, arm: str) -> float:
    """Return how much better the search's best looked than the tuned arm on fresh seeds.

    In the objective's unit, on validation images; positive when the search flattered.

    Raises:
        ValueError: no search or confirmation of this noise type.
    """
    best = search_ranking(table, noise, objective, recipe)[0].score
    confirmed = mean_score(table, arm, CONFIRM, objective)
    return best - confirmed if higher_is_better(objective) else confirmed - best


def _rank(rows: pd.DataFrame, objective: str) -> list[Ranked]:
    scores = rows[objective].astype(float).groupby(rows["arm"]).agg(["mean", "size"])
    ranked = []
    for settings in rows.drop_duplicates("arm")[SETTINGS].to_dict("records"):
        mean, count = scores.loc[settings["arm"]]
        ranked.append(Ranked(**settings, score=float(mean), n_seeds=int(count)))
    sign = -1 if higher_is_better(objective) else 1
    return sorted(ranked, key=lambda row: (sign * row.score, row.arm))


def _rows(table: pd.DataFrame, phase: str, noise: str, recipe: str | None) -> pd.DataFrame:
    rows = table.loc[(table["phase"] == phase) & (table["noise"] == noise)]
    if recipe is not None:
        rows = rows.loc[rows["recipe"] == recipe]
    if rows.empty:
        raise ValueError(f"no {phase} results of {noise}" + (f" under {recipe}" if recipe else ""))
    recipes = sorted(set(rows["recipe"]))
    if len(recipes) > 1:
        raise ValueError(
            f"{phase} results of {noise} come from several recipes: {', '.join(recipes)}"
        )
    _refuse_duplicates(rows)
    return rows


def _refuse_duplicates(rows: pd.DataFrame) -> None:
    twice = rows.loc[rows.duplicated(["arm", "seed"])]
    if not twice.empty:
        first = twice.iloc[0]
        raise ValueError(
            f"{first['arm']} has seed {first['seed']} twice in its {first['phase']} results"
        )
