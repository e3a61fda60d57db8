"""The search, rebuilt from the run table: one row per finished Optuna trial."""

from __future__ import annotations

import pandas as pd

from analysis.schema import RATES, SEARCH

SETTINGS = ["arm", "noise", *RATES, "weight_decay", "trial_hash", "trial_run_id"]


def search_trials(table: pd.DataFrame, recipe: str, objective: str) -> pd.DataFrame:
    """Return the finished search trials of a recipe, in the order asked.

    Args:
        table: run table, one row per seed run.
        objective: the column that the search looked at.

    Returns:
        A frame indexed by Optuna's trial number, with SETTINGS and `score`, the mean objective over
        the trial's seeds. An arm that was proposed twice is there once, as it was trained.
    """
    rows = table.loc[(table["phase"] == SEARCH) & (table["recipe"] == recipe)]
    by_trial = rows.groupby("trial_number")
    trials = by_trial[SETTINGS].first()
    trials["score"] = by_trial[objective].mean().astype(float)
    return trials.sort_index()
