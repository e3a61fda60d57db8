"""From the run table to one number per seed: paired by seed identity, or refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.schema import CONFIRM, Contrast
from analysis.stats.paired import Refusal

UNMIXED = ("device", "precision", "data_digest", "code_version", "recipe", "epochs")
"""Columns that must hold a single value within a contrast: a difference between arms must be due to
the arms."""

Coefficients = dict[tuple[str, str], float]
"""(arm name, metric) -> coefficient"""


MANY_SEEDS = 50  # a refusal names so many, and counts the rest


def rows_for_question(table: pd.DataFrame, question: str) -> pd.Series:
    """Return a mask of the rows trained for the question, alone or among others: bool, (rows,)."""
    lists = [names for names in table["question"].dropna().unique() if question in names.split(",")]
    return table["question"].isin(lists).astype(bool)


def contrast_rows(
    table: pd.DataFrame,
    arms: Mapping[str, str],
    contrast: Contrast,
    phase: str = CONFIRM,
    seeds: Iterable[int] | None = None,
) -> tuple[pd.DataFrame, Coefficients]:
    """The seed runs a contrast is made of, checked, and the coefficient of each arm's metric.

    Args:
        table: run table, one row per seed run (`analysis.schema.RUN_TABLE`).
        arms: arm label -> arm name, for the contrast's recipe.
        contrast: the declared contrast. Terms that name the same arm and metric have their
            coefficients added.
        phase: whose runs to use.
        seeds: the declared seeds; runs of other seeds are left out. By default every seed that any
            of the arms has.

    Returns:
        The rows (arms x seeds), sorted by arm and seed, and (arm name, metric) -> coefficient, none
        of them 0.

    Raises:
        Refusal: an arm or a seed is missing, a seed is there twice, a metric is not finite, the
            arms coincide, or a column of UNMIXED holds more than one value.
    """

    def refuse(reason: str) -> Refusal:
        return Refusal(f"{contrast.name} ({contrast.recipe}, {contrast.metric}): {reason}")

    coefficients: Coefficients = {}
    for label, metric, coefficient in contrast.terms:
        if label not in arms:
            raise refuse(f"no arm was picked for {label!r}")
        if metric not in table.columns:
            raise refuse(f"the run table has no metric {metric!r}")
        coefficients[arms[label], metric] = (
            coefficients.get((arms[label], metric), 0.0) + coefficient
        )
    coefficients = {key: value for key, value in coefficients.items() if abs(value) > 1e-12}
    if not coefficients:
        raise refuse(_same_arms(arms, contrast))

    names = list(dict.fromkeys(arm for arm, _ in coefficients))
    rows = table.loc[(table["phase"] == phase) & table["arm"].isin(names)]
    wanted = sorted(set(rows["seed"] if seeds is None else seeds))
    rows = rows.loc[rows["seed"].isin(wanted)].sort_values(by=["arm", "seed"])
    for arm in names:
        found = rows.loc[rows["arm"] == arm, "seed"]
        if found.empty:
            raise refuse(f"arm {arm!r} has no {phase} runs")
        if twice := sorted(set(found[found.duplicated()])):
            raise refuse(f"arm {arm!r} has {_seeds(twice)} more than once")
        if missing := sorted(set(wanted) - set(found)):
            raise refuse(f"arm {arm!r} lacks {_seeds(missing)}")
    for column in UNMIXED:
        if len(values := sorted(set(map(str, rows[column])))) > 1:
            raise refuse(f"mixed {column}: {', '.join(values)}")
    for arm, metric in coefficients:
        values = _by_seed(rows, arm, metric)
        if broken := sorted(values.index[~np.isfinite(values)]):
            raise refuse(f"{metric} is not a finite number for {_seeds(broken)}")
    return rows, coefficients


def contrast_by_seed(
    table: pd.DataFrame,
    arms: Mapping[str, str],
    contrast: Contrast,
    phase: str = CONFIRM,
    seeds: Iterable[int] | None = None,
) -> pd.Series:
    """One number per seed: the sum over arms of coefficient times metric, paired by seed identity,
    never by row order.

    Arguments and errors are those of `contrast_rows`.

    Returns:
        Floats in the metric's unit, shape (seeds,), indexed by seed in rising order.
    """
    return combine(*contrast_rows(table, arms, contrast, phase, seeds))


def combine(rows: pd.DataFrame, coefficients: Coefficients) -> pd.Series:
    """The weighted sum over arms and metrics, shape (seeds,), from what `contrast_rows`
    returned."""
    parts = [coefficient * _by_seed(rows, *key) for key, coefficient in coefficients.items()]
    return pd.concat(parts, axis=1).sum(axis=1).sort_index()


def _by_seed(rows: pd.DataFrame, arm: str, metric: str) -> pd.Series:
    """The metric of an arm, shape (seeds,), indexed by seed."""
    return rows.loc[rows["arm"] == arm, ["seed", metric]].set_index("seed")[metric].astype(float)


def _same_arms(arms: Mapping[str, str], contrast: Contrast) -> str:
    """Name the labels that coincide: 'a and b are the same arm (x); c and d are the same arm
    (y)'."""
    labels: dict[str, list[str]] = {}
    for label, _, _ in contrast.terms:
        labels.setdefault(arms[label], []).append(label)
    return "; ".join(
        f"{' and '.join(same)} are the same arm ({arm})" for arm, same in labels.items()
    )


def _seeds(seeds: Sequence[int]) -> str:
    more = f" and {len(seeds) - MANY_SEEDS} more" if len(seeds) > MANY_SEEDS else ""
    return (
        ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, seeds[:MANY_SEEDS])) + more
    )
