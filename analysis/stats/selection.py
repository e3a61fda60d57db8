"""The named rules by which a study picks its arms: pure functions of the run table.

The search ranks arms on its own seeds; the best few are re-ranked on new seeds, and the best of those is the *tuned*
arm of its noise type. Only validation scores are read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.schema import CONFIRM, RERANK, SEARCH, higher_is_better


@dataclass(frozen=True)
class Ranked:
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


def search_ranking(
    table: pd.DataFrame, noise: str, objective: str, recipe: str | None = None
) -> list[Ranked]:
    """The arms of one noise type by their mean objective over the search's seeds, best first.

    Ties are broken by the arm's name. A trial with a seed that diverged is FAILED, and not in the run table.

    Args:
        table: run table, `schema.RUN_TABLE`.
        noise: name of the noise type.
        objective: a validation column, such as "val/accuracy_last3".
        recipe: name of the recipe; None when the search used one only.

    Raises:
        ValueError: no result, a seed that an arm has twice, or several recipes where none was named.
    """
    return _ranking(table, SEARCH, noise, objective, recipe)


def rerank_candidates(
    table: pd.DataFrame, noise: str, recipe: str, objective: str, top: int
) -> list[Ranked]:
    """The search's `top` best arms: those that train again on the re-ranking seeds.

    Raises:
        ValueError: as `search_ranking`.
    """
    return search_ranking(table, noise, objective, recipe)[:top]


def rerank_ranking(table: pd.DataFrame, noise: str, recipe: str, objective: str) -> list[Ranked]:
    """The re-ranked arms of one noise type, best mean on the re-ranking seeds first; ties by the arm's name.

    Raises:
        ValueError: as `search_ranking`, or the arms were re-ranked on different seeds.
    """
    rows = _rows(table, RERANK, noise, recipe)
    seeds = {str(arm): sorted(of_arm["seed"]) for arm, of_arm in rows.groupby("arm")}
    if len({tuple(block) for block in seeds.values()}) > 1:
        raise ValueError(
            f"the re-ranked arms of {noise} under {recipe} do not share their seeds: {seeds}"
        )
    return _ranking(table, RERANK, noise, objective, recipe)


def tuned_arm(table: pd.DataFrame, noise: str, recipe: str, objective: str) -> str:
    """Name of the tuned arm: the best mean on the re-ranking seeds, which the search never saw.

    Raises:
        ValueError: as `rerank_ranking`.
    """
    return rerank_ranking(table, noise, recipe, objective)[0].arm


def best_reranked(table: pd.DataFrame, arms: Sequence[str], objective: str) -> str | None:
    """Name of the best of these arms by their mean objective on the re-ranking seeds; ties by the name.

    None where none of them was re-ranked. Arms of different recipes may be compared: the images are the same.
    """
    rows = table.loc[(table["phase"] == RERANK) & table["arm"].isin(arms)]
    _refuse_duplicates(rows)
    sign = -1 if higher_is_better(objective) else 1
    means = {
        str(arm): sign * float(of_arm[objective].mean()) for arm, of_arm in rows.groupby("arm")
    }
    return min(sorted(means), key=means.__getitem__, default=None)


def optimism(table: pd.DataFrame, noise: str, recipe: str, objective: str) -> float:
    """How much better the search's best score looked than the tuned arm's validation score on the fresh seeds.

    In the objective's unit; positive when the search flattered, whether the objective is an accuracy or a loss.

    Raises:
        ValueError: no search, re-ranking or confirmation of this noise type.
    """
    best = search_ranking(table, noise, objective, recipe)[0].score
    confirmed = confirmed_score(table, tuned_arm(table, noise, recipe, objective), objective)
    return best - confirmed if higher_is_better(objective) else confirmed - best


def confirmed_score(table: pd.DataFrame, arm: str, objective: str) -> float:
    """Mean objective of an arm over the confirm phase's seeds.

    Raises:
        ValueError: the arm was not confirmed, or has a seed twice.
    """
    rows = table.loc[(table["phase"] == CONFIRM) & (table["arm"] == arm)]
    if rows.empty:
        raise ValueError(f"no confirm run of {arm}")
    _refuse_duplicates(rows)
    return _mean(rows, objective)


def _ranking(
    table: pd.DataFrame, phase: str, noise: str, objective: str, recipe: str | None
) -> list[Ranked]:
    rows = _rows(table, phase, noise, recipe)
    scores = rows[objective].to_numpy(dtype=float)
    settings = rows[["rate1", "rate2", "weight_decay", "recipe", "epochs"]].to_dict("records")
    ranked = []
    for arm, places in rows.groupby("arm").indices.items():
        first = settings[places[0]]
        ranked.append(
            Ranked(
                arm=str(arm),
                noise=noise,
                rate1=float(first["rate1"]),
                rate2=float(first["rate2"]),
                weight_decay=float(first["weight_decay"]),
                recipe=str(first["recipe"]),
                epochs=int(first["epochs"]),
                score=float(scores[places].mean()),
                n_seeds=len(places),
            )
        )
    sign = -1 if higher_is_better(objective) else 1
    return sorted(ranked, key=lambda row: (sign * row.score, row.arm))


def _mean(rows: pd.DataFrame, objective: str) -> float:
    return float(rows[objective].to_numpy(dtype=float).mean())


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
