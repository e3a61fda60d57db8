"""From MLflow's runs to typed records: a row of the run table for each seed run, a TrialRun for
each trial run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from mlflow.entities import Run

from analysis import schema
from analysis.schema import PHASES, RUN_TABLE
from analysis.store.uri import StoreError

# Where a column of the run table stands on a seed run. Those that are not listed are metrics of the
# same name.
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
PARAMS = {
    "noise",
    *schema.RATES,
    "weight_decay",
    "recipe",
    "epochs",
    "learning_rate",
    "seed",
    "precision",
    "device",
}
DERIVED = "test/logit_error"
OPTIONAL = {
    "trial_number",
    "rate3",
    "test/loss",
    "test/accuracy",
    "test/brier",
    "test/ece",
    DERIVED,
}
OF_THE_MACHINE = "system/"  # metrics of MLflow's own, where a user has switched them on
LONGEST_PARAM = 6000  # characters that the store keeps of a parameter
LONGEST_NUMBER = 19  # digits that always go into a 64-bit integer are fewer
MAX_DOUBLE = 1.7976931348623157e308  # what the store keeps in place of infinity


@dataclass(frozen=True)
class TrialRun:
    """What is needed of a trial run. If it is not finished its scores count for nothing, but it is
    counted."""

    run_id: str
    name: str
    status: str  # FINISHED, FAILED, KILLED, RUNNING or SCHEDULED
    phase: str
    arm: str
    trial_hash: str
    start: int = 0  # milliseconds
    number: int | None = None  # Optuna's, of a search trial
    note: str = ""  # why its training broke off
    params: dict[str, str] = field(
        default_factory=dict
    )  # as logged; empty where the process died before

    @property
    def seeds(self) -> str:
        """Seeds joined by commas; MLflow cuts off what is beyond 6,000 characters."""
        return self.params.get("seeds", "")

    @property
    def diverged(self) -> bool:
        """True if training ended without a finite score; a trial that broke off has a note."""
        return self.status == "FAILED" and "networks" in self.params and not self.note

    def is_whole(self, seed_runs: int) -> bool:
        """Return True if so many finished seed runs are all it has: one may have been deleted, or
        ended by another process."""
        listed = self.seeds.count(",") + bool(self.seeds)
        if "networks" in self.params:
            return self.params["networks"] == str(seed_runs)
        return (
            seed_runs >= listed if len(self.seeds) >= LONGEST_PARAM else seed_runs == listed
        )  # of older code


def trial_of(run: Run) -> TrialRun:
    """The record of a trial run; what it lacks is empty."""
    return TrialRun(
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        status=run.info.status,
        phase=run.data.tags.get(schema.TAG_PHASE, ""),
        arm=run.data.tags.get(schema.TAG_ARM, ""),
        trial_hash=run.data.tags.get(schema.TAG_HASH, ""),
        start=run.info.start_time or 0,
        number=_number(run.data.tags.get(schema.TAG_NUMBER, "")),
        note=run.data.tags.get("mlflow.note.content", ""),
        params=dict(run.data.params),
    )


def _number(text: str) -> int | None:
    """A trial's number; Python itself would raise for one of thousands of digits."""
    return int(text) if text.isdecimal() and len(text) < LONGEST_NUMBER else None


def table_of(runs: Iterable[Run]) -> pd.DataFrame:
    """One row for each run, in the order of phases, arms and seeds.

    A run is let go once its values are read, so as many can be given as a page at a time brings.

    Raises:
        StoreError: a run lacks what it must have, or has it in another type.
    """
    columns: dict[str, list[object]] = {name: [] for name in RUN_TABLE}
    measured: dict[str, dict[int, object]] = {}  # metric -> row -> value
    for at, run in enumerate(runs):
        for name, value in _row(run).items():
            columns[name].append(value)
        for name in run.data.metrics.keys() - RUN_TABLE.keys():
            if name.startswith((OF_THE_MACHINE, schema.RELIABILITY)):
                continue
            measured.setdefault(name, {})[at] = _typed(run.data.metrics[name], "float64")
    count = len(columns["run_id"])
    series = {name: pd.Series(columns[name], dtype=dtype) for name, dtype in RUN_TABLE.items()}
    for name in sorted(measured):
        values = [measured[name].get(at, math.nan) for at in range(count)]
        series[name] = pd.Series(values, dtype="float64")
    table = pd.DataFrame(series).copy()  # in one block: columns are added
    with np.errstate(divide="ignore"):  # no error at all has no logit; a contrast on it is refused
        table[DERIVED] = np.log(1 / table["test/accuracy"] - 1)
    place = [PHASES.index(phase) if phase in PHASES else len(PHASES) for phase in table["phase"]]
    order = (
        table.assign(place=place)
        .sort_values(["place", "arm", "seed", "trial_hash", "run_id"])
        .index
    )
    return table.loc[order].reset_index(drop=True)


def _row(run: Run) -> dict[str, object]:
    row: dict[str, object] = {"run_id": run.info.run_id}
    for column, dtype in RUN_TABLE.items():
        if column in row:
            continue
        kind, name, value = _stored(run, column)
        needed = (
            row["phase"] == schema.SEARCH if column == "trial_number" else column not in OPTIONAL
        )
        if value is None and needed:
            raise StoreError(f"seed run {named(run)} lacks the {kind} {name!r}")
        try:
            row[column] = _typed(value, dtype)
        except ValueError:
            raise StoreError(
                f"seed run {named(run)}: {kind} {name!r} is {value!r:.80}, not {dtype}"
            ) from None
    return row


def named(run: Run) -> str:
    """A run's name, on one line whatever it holds, and its id."""
    return f"{' '.join((run.info.run_name or '').split())} ({run.info.run_id})"


def _stored(run: Run, column: str) -> tuple[str, str, str | float | None]:
    """Return the place of a column on a seed run, and its value."""
    if column in TAGS:
        return "tag", TAGS[column], run.data.tags.get(TAGS[column])
    if column in PARAMS:
        return "param", column, run.data.params.get(column)
    return "metric", column, run.data.metrics.get(column)


def _typed(value: str | float | None, dtype: str) -> object:
    """A stored value in a column's type; the store keeps params and tags as text and infinity as
    the largest double."""
    if value is None:
        return math.nan if dtype == "float64" else pd.NA
    if dtype == "string":
        return str(value)
    if dtype != "float64":
        number = int(value)
        if abs(number) >= 2**63:
            raise ValueError(f"{value!r} is too large for {dtype}")
        return number
    real = float(value)
    return math.copysign(math.inf, real) if abs(real) >= MAX_DOUBLE else real
