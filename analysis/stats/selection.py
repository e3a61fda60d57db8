"""The rules by which a study picks its arms: pure functions of the run table.

The search ranks arms on its own seeds; the best few are re-ranked on new seeds, and the best of
those is the *tuned* arm of its noise type. Only validation scores are read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from analysis.schema import CONFIRM, RERANK, SEARCH, higher_is_better


class Ranked(NamedTuple):
    """An arm with its configuration and its score."""

    arm: str
    noise: str
    rate1: float
    rate2: float
    weight_decay: float
    recipe: str
    epochs: int
    score: float  # mean of the objective over the seeds, in its own unit
    n_seeds: int


SETTINGS = ["arm", "noise", "rate1", "rate2", "weight_decay", "recipe", "epochs"]


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


def rerank_ranking(table: pd.DataFrame, noise: str, recipe: str, objective: str) -> list[Ranked]:
    """Rank the re-ranked arms of a noise type by their mean on the re-ranking seeds, best first.

    Raises:
        ValueError: as `search_ranking`, or the arms were re-ranked on different seeds.
    """
    rows = _rows(table, RERANK, noise, recipe)
    seeds = rows.sort_values("seed").groupby("arm")["seed"].agg(tuple)
    if seeds.nunique() > 1:
        raise ValueError(
            f"the re-ranked arms of {noise} under {recipe} do not share their seeds: "
            f"{seeds.to_dict()}"
        )
    return _rank(rows, objective)


def tuned_arm(table: pd.DataFrame, noise: str, recipe: str, objective: str) -> str:
    """Return the name of the arm with the best mean on the re-ranking seeds."""
    return rerank_ranking(table, noise, recipe, objective)[0].arm


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


def confirmed_score(table: pd.DataFrame, arm: str, objective: str) -> float:
    """Return an arm's mean objective over the confirm phase's seeds.

    Raises:
        ValueError: the arm was not confirmed, or has a seed twice.
    """
    rows = table.loc[(table["phase"] == CONFIRM) & (table["arm"] == arm)]
    if rows.empty:
        raise ValueError(f"no confirm run of {arm}")
    _refuse_duplicates(rows)
    return float(rows[objective].to_numpy(dtype=float).mean())


def optimism(table: pd.DataFrame, noise: str, recipe: str, objective: str) -> float:
    """Return how much better the search's best looked than the tuned arm on fresh seeds.

    In the objective's unit, on validation images; positive when the search flattered.

    Raises:
        ValueError: no search, re-ranking or confirmation of this noise type.
    """
    best = search_ranking(table, noise, objective, recipe)[0].score
    confirmed = confirmed_score(table, tuned_arm(table, noise, recipe, objective), objective)
    return best - confirmed if higher_is_better(objective) else confirmed - best


def _rank(rows: pd.DataFrame, objective: str) -> list[Ranked]:
    ranked = []
    for _, of_arm in rows.groupby("arm"):
        settings = of_arm[SETTINGS].iloc[0].to_dict()
        score = float(of_arm[objective].to_numpy(dtype=float).mean())
        ranked.append(Ranked(**settings, score=score, n_seeds=len(of_arm)))
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
