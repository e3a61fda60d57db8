"""From the run table to one number per seed: paired by seed identity, or refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.stats import Refusal
from study.schema import CONFIRM, Contrast

UNMIXED = ("device", "precision", "data_digest", "code_version", "recipe", "epochs")
"""Columns that must hold a single value within a contrast: a difference between arms must be due to the arms."""


def contrast_rows(
    table: pd.DataFrame,
    arms: Mapping[str, str],
    contrast: Contrast,
    phase: str = CONFIRM,
    seeds: Iterable[int] | None = None,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """The seed runs a contrast is made of, checked, and the coefficient of each arm.

    Args:
        table: run table, one row per seed run (`study.schema.RUN_TABLE`).
        arms: arm label -> arm name, for the contrast's recipe.
        contrast: the declared contrast. Labels that name the same arm have their coefficients added.
        phase: whose runs to use.
        seeds: the declared seeds; runs of other seeds are left out. By default every seed that any of the arms has.

    Returns:
        The rows (arms x seeds), sorted by arm and seed, and arm name -> coefficient, none of them 0.

    Raises:
        Refusal: an arm or a seed is missing, a seed is there twice, a metric is not finite, the arms coincide, or
            a column of UNMIXED holds more than one value.
    """

    def refuse(reason: str) -> Refusal:
        return Refusal(f"{contrast.name} ({contrast.recipe}, {contrast.metric}): {reason}")

    for label in contrast.coefficients:
        if label not in arms:
            raise refuse(f"no arm was picked for {label!r}")
    coefficients: dict[str, float] = {}
    for label, coefficient in contrast.coefficients.items():
        coefficients[arms[label]] = coefficients.get(arms[label], 0.0) + coefficient
    coefficients = {arm: value for arm, value in coefficients.items() if abs(value) > 1e-12}
    if not coefficients:
        raise refuse(_same_arms(arms, contrast))
    if contrast.metric not in table.columns:
        raise refuse("the run table has no such metric")

    rows = table.loc[(table["phase"] == phase) & table["arm"].isin(list(coefficients))]
    wanted = sorted(set(rows["seed"] if seeds is None else seeds))
    rows = rows.loc[rows["seed"].isin(wanted)].sort_values(by=["arm", "seed"])
    for arm in coefficients:
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
    if broken := sorted(set(rows.loc[~np.isfinite(rows[contrast.metric].astype(float)), "seed"])):
        raise refuse(f"{contrast.metric} is not a finite number for {_seeds(broken)}")
    return rows, coefficients


def contrast_by_seed(
    table: pd.DataFrame,
    arms: Mapping[str, str],
    contrast: Contrast,
    phase: str = CONFIRM,
    seeds: Iterable[int] | None = None,
) -> pd.Series:
    """One number per seed: the sum over arms of coefficient times metric, paired by seed identity, never by row order.

    Arguments and errors are those of `contrast_rows`.

    Returns:
        Floats in the metric's unit, shape (seeds,), indexed by seed in rising order.
    """
    return combine(*contrast_rows(table, arms, contrast, phase, seeds), contrast.metric)


def combine(rows: pd.DataFrame, coefficients: Mapping[str, float], metric: str) -> pd.Series:
    """The weighted sum over arms of `metric`, shape (seeds,), from what `contrast_rows` returned."""
    scores = rows.pivot(index="seed", columns="arm", values=metric).astype(float)
    return (scores[list(coefficients)] * pd.Series(coefficients)).sum(axis=1).sort_index()


def _same_arms(arms: Mapping[str, str], contrast: Contrast) -> str:
    """Names the labels that coincide: 'a and b are the same arm (x); c and d are the same arm (y)'."""
    labels: dict[str, list[str]] = {}
    for label in contrast.coefficients:
        labels.setdefault(arms[label], []).append(label)
    return "; ".join(f"{' and '.join(same)} are the same arm ({arm})" for arm, same in labels.items())


def _seeds(seeds: Sequence[int]) -> str:
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, seeds))
