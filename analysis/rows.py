"""From MLflow's runs to the typed run table: one row for each seed run."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from mlflow.entities import Run

from analysis.address import StoreError
from study import schema
from study.schema import PHASES, RUN_TABLE

# Where a column of the run table stands on a seed run. Those that are not listed are metrics of the same name.
TAGS = {
    "study_id": schema.TAG_ID,
    "phase": schema.TAG_PHASE,
    "question": schema.TAG_QUESTION,
    "arm": schema.TAG_ARM,
    "trial_hash": schema.TAG_HASH,
    "trial_number": schema.TAG_NUMBER,
    "data_digest": schema.TAG_DATA,
    "code_version": schema.TAG_CODE,
    "trial_run_id": schema.TAG_PARENT,
}
PARAMS = {"noise", "rate1", "rate2", "weight_decay", "recipe", "epochs", "learning_rate", "seed", "precision", "device"}
DERIVED = "test/logit_error"
OPTIONAL = {"trial_number", "test/loss", "test/accuracy", "test/brier", "test/ece", DERIVED}
MAX_DOUBLE = 1.7976931348623157e308  # what the store keeps in place of infinity


def table_of(runs: list[Run]) -> pd.DataFrame:
    """One row for each run, in the order of phases, arms and seeds.

    Raises:
        StoreError: a run lacks what it must have, or has it in another type.
    """
    measured = sorted({name for run in runs for name in run.data.metrics} - RUN_TABLE.keys())
    types = {**RUN_TABLE, **dict.fromkeys(measured, "float64")}
    rows = [_row(run) | {name: _typed(run.data.metrics.get(name), "float64") for name in measured} for run in runs]
    table = pd.DataFrame(rows, columns=list(types)).astype(types).copy()  # in one block: columns are added
    with np.errstate(divide="ignore"):  # no error at all has no logit; a contrast on it is refused
        table[DERIVED] = np.log(1 / table["test/accuracy"] - 1)
    place = [PHASES.index(phase) if phase in PHASES else len(PHASES) for phase in table["phase"]]
    order = table.assign(place=place).sort_values(["place", "arm", "seed", "trial_hash", "run_id"]).index
    return table.loc[order].reset_index(drop=True)


def _row(run: Run) -> dict[str, object]:
    row: dict[str, object] = {"run_id": run.info.run_id}
    for column, dtype in RUN_TABLE.items():
        if column in row:
            continue
        kind, name, value = _stored(run, column)
        if value is None and column not in OPTIONAL:
            raise StoreError(f"seed run {run.info.run_name} ({run.info.run_id}) lacks the {kind} {name!r}")
        try:
            row[column] = _typed(value, dtype)
        except ValueError:
            which = f"seed run {run.info.run_name} ({run.info.run_id})"
            raise StoreError(f"{which}: {kind} {name!r} is {value!r}, not {dtype}") from None
    return row


def _stored(run: Run, column: str) -> tuple[str, str, str | float | None]:
    """Where a column of the run table is kept on a seed run, and what stands there."""
    if column in TAGS:
        return "tag", TAGS[column], run.data.tags.get(TAGS[column])
    if column in PARAMS:
        return "param", column, run.data.params.get(column)
    return "metric", column, run.data.metrics.get(column)


def _typed(value: str | float | None, dtype: str) -> object:
    """A stored value in a column's type; the store keeps params and tags as text and infinity as the largest double."""
    if value is None:
        return math.nan if dtype == "float64" else pd.NA
    if dtype == "string":
        return str(value)
    if dtype != "float64":
        return int(value)
    number = float(value)
    return math.copysign(math.inf, number) if abs(number) >= MAX_DOUBLE else number
