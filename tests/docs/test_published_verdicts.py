"""Every verdict of the published study, recomputed from its two files by NumPy, pandas and SciPy:
nothing of this project's own is imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

FOLDER = Path(__file__).parents[2] / "docs" / "results" / "quick"
ROWS: list[dict[str, Any]] = json.loads((FOLDER / "answers.json").read_text())
TABLE = pd.read_csv(FOLDER / "run_table.csv")
HIGHER_IS_BETTER = {"test/accuracy": True, "test/loss": False, "test/logit_error": False}


def differences(row: dict[str, Any]) -> np.ndarray:
    """One number per seed, from the runs that the row names."""
    runs = TABLE[TABLE["run_id"].isin(row["run_ids"])]
    by_seed = runs.pivot(index="seed", columns="arm", values=row["metric"])
    return sum(weight * by_seed[arm] for arm, weight in row["coefficients"].items()).to_numpy()


def p_value(row: dict[str, Any]) -> float:
    return float(stats.ttest_1samp(differences(row), 0).pvalue)


def holm(p_values: list[float]) -> list[float]:
    adjusted, highest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, (len(p_values) - place) * p_values[index])
        adjusted[index] = min(1.0, highest)
    return adjusted


def adjusted_p_values() -> list[float]:
    """Holm's within question, family and metric; where two questions ask for one difference, the
    larger."""
    frame = pd.DataFrame(
        [
            {
                "family": (row["question"], row["family"], row["metric"]),
                "difference": (tuple(sorted(row["coefficients"].items())), row["metric"]),
                "p": p_value(row),
            }
            for row in ROWS
        ]
    )
    frame["holm"] = frame.groupby("family")["p"].transform(lambda p: holm(p.tolist()))
    return [float(p) for p in frame.groupby("difference")["holm"].transform("max")]


def verdict(row: dict[str, Any], adjusted: float) -> str:
    values, margin = differences(row), row["margin"]
    lower = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
    upper = stats.ttest_1samp(values, margin, alternative="less").pvalue
    equivalent = max(lower, upper) <= row["alpha"]
    if adjusted > row["alpha"]:
        return "equivalent" if equivalent else "inconclusive"
    direction = "better" if (values.mean() > 0) == HIGHER_IS_BETTER[row["metric"]] else "worse"
    if equivalent:
        return f"{direction}, negligible"
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    return f"{direction}, matters" if low > margin or high < -margin else direction


def test_every_contrast_was_answered_on_20_fresh_seeds() -> None:
    searched = set(TABLE.loc[TABLE["phase"] != "confirm", "seed"])
    for row in ROWS:
        runs = TABLE[TABLE["run_id"].isin(row["run_ids"])]
        assert set(runs["phase"]) == {"confirm"} and not set(runs["seed"]) & searched
        assert len(differences(row)) == row["n_seeds"] == 20


def test_every_verdict_is_the_same() -> None:
    for row, adjusted in zip(ROWS, adjusted_p_values(), strict=True):
        assert row["p_adjusted"] == pytest.approx(adjusted, rel=1e-6)
        assert row["verdict"] == verdict(row, adjusted), row["contrast"]


def test_every_interval_is_the_same() -> None:
    for row in ROWS:
        values = differences(row)
        ends = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(ends, rel=1e-6, abs=1e-12)
        assert row["estimate"] == pytest.approx(values.mean(), rel=1e-9, abs=1e-12)
        assert row["sd"] == pytest.approx(values.std(ddof=1), rel=1e-9, abs=1e-12)
