"""From the run table to one number per seed: paired by seed identity, or refused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.schema import CONFIRM, Contrast, Question
from analysis.stats.paired import Refusal

UNMIXED = ("device", "precision", "data_digest", "code_version", "recipe", "epochs")
"""Columns that hold a single value within a contrast: a difference must be due to the arms."""

MANY_SEEDS = 50  # a refusal names so many, and counts the rest

Coefficients = dict[tuple[str, str], float]
"""(arm name, metric) -> coefficient"""


def rows_for_question(table: pd.DataFrame, question: str) -> pd.Series:
    """Return a mask of the rows trained for the question, alone or among others: bool, (rows,)."""
    lists = [names for names in table["question"].dropna().unique() if question in names.split(",")]
    return table["question"].isin(lists).astype(bool)


def rows_of(question: Question, table: pd.DataFrame) -> pd.DataFrame:
    """Return the seed runs that answer a question: of its phase and its declared seeds."""
    return table.loc[(table["phase"] == question.phase) & table["seed"].isin(question.seeds)]


def contrast_rows(
    table: pd.DataFrame,
    arms: Mapping[str, str],
    contrast: Contrast,
    phase: str = CONFIRM,
    seeds: Iterable[int] | None = None,
) -> tuple[pd.DataFrame, Coefficients]:
    """Return the seed runs a contrast is made of, checked, and the coefficients of its terms.

    Args:
        table: run table, one row per seed run (`analysis.schema.RUN_TABLE`).
        arms: arm label -> arm name, for the contrast's recipe.
        contrast: as declared. Terms of the same arm and metric are added up.
        phase: whose runs to use.
        seeds: the declared seeds; runs of other seeds are left out. By default every seed that any
            of the arms has.

    Returns:
        The rows (arms x seeds), sorted by arm and seed, and the coefficients, none of them 0.

    Raises:
        Refusal: an arm or a seed is missing, a seed is there twice, a metric is not finite, the
            arms coincide, or a column of UNMIXED holds more than one value.
    """
    coefficients = _coefficients(table, arms, contrast)
    rows = _rows(table, list(dict.fromkeys(arm for arm, _ in coefficients)), phase, seeds)
    for arm, metric in coefficients:
        values = _by_seed(rows, arm, metric)
        if broken := sorted(values.index[~np.isfinite(values)]):
            raise Refusal(f"{metric} is not a finite number for {_seed_list(broken)}")
    return rows, coefficients


def coincide(arms: Mapping[str, str], contrast: Contrast) -> bool:
    """Return True if a contrast compares arms with themselves: it is 0 without any run."""
    return not _summed(arms, contrast)


def combine(rows: pd.DataFrame, coefficients: Coefficients) -> pd.Series:
    """Return the weighted sum over arms and metrics, from what `contrast_rows` returned.

    Floats in the metric's unit, shape (seeds,), indexed by seed in rising order: paired by seed
    identity, never by row order.
    """
    parts = [coefficient * _by_seed(rows, *key) for key, coefficient in coefficients.items()]
    return pd.concat(parts, axis=1).sum(axis=1).sort_index()


def _coefficients(table: pd.DataFrame, arms: Mapping[str, str], contrast: Contrast) -> Coefficients:
    labels = defaultdict(list)
    for label, metric, _ in contrast.terms:
        if label not in arms:
            raise Refusal(f"no arm was picked for {label!r}")
        if metric not in table.columns:
            raise Refusal(f"the run table has no metric {metric!r}")
        labels[arms[label]].append(label)
    coefficients = _summed(arms, contrast)
    if not coefficients:
        coincide = (
            f"{' and '.join(same)} are the same arm ({arm})" for arm, same in labels.items()
        )
        raise Refusal("; ".join(coincide))
    return coefficients


def _summed(arms: Mapping[str, str], contrast: Contrast) -> Coefficients:
    """Return the terms, those of the same arm and metric added up, without those that cancel."""
    sums: Coefficients = defaultdict(float)
    for label, metric, coefficient in contrast.terms:
        sums[arms.get(label, label), metric] += coefficient
    return {key: value for key, value in sums.items() if abs(value) > 1e-12}


def _rows(
    table: pd.DataFrame, arms: Sequence[str], phase: str, seeds: Iterable[int] | None
) -> pd.DataFrame:
    rows = table.loc[(table["phase"] == phase) & table["arm"].isin(arms)]
    wanted = set(rows["seed"] if seeds is None else seeds)
    rows = rows.loc[rows["seed"].isin(wanted)].sort_values(by=["arm", "seed"])
    for arm in arms:
        trained = rows.loc[rows["arm"] == arm, "seed"]
        if trained.empty:
            raise Refusal(f"arm {arm!r} has no {phase} runs")
        if twice := sorted(set(trained[trained.duplicated()])):
            raise Refusal(f"arm {arm!r} has {_seed_list(twice)} more than once")
        if missing := sorted(wanted - set(trained)):
            raise Refusal(f"arm {arm!r} lacks {_seed_list(missing)}")
    for column in UNMIXED:
        values = sorted(set(map(str, rows[column])))
        if len(values) > 1:
            raise Refusal(f"mixed {column}: {', '.join(values)}")
    return rows


def _by_seed(rows: pd.DataFrame, arm: str, metric: str) -> pd.Series:
    """The metric of an arm, shape (seeds,), indexed by seed."""
    return rows.loc[rows["arm"] == arm, ["seed", metric]].set_index("seed")[metric].astype(float)


def _seed_list(seeds: Sequence[int]) -> str:
    named = ", ".join(map(str, seeds[:MANY_SEEDS]))
    more = f" and {len(seeds) - MANY_SEEDS} more" if len(seeds) > MANY_SEEDS else ""
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {named}{more}"
