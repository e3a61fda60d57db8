"""Brings the finished trials of another store into the current one, by their hashes; or those of
a published report that tuned its arms.

A merge coordinates the study while it lasts, as a process that trains does: it holds the lease,
adopts the trials that are there, and logs each further one whole or not at all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE, MLFLOW_USER

from analysis import schema
from analysis.formatting import one_line
from analysis.schema import Declaration
from analysis.store import reader, saved_report, whereabouts
from analysis.store.other_store import StoredRun, StoredTrial
from analysis.store.uri import (
    StoreError,
    check_address,
    one_line_errors,
    settle_address,
    sqlite_file,
)
from models.config import Arm, Recipe
from models.mlp import Weights
from models.noise import NOISE
from models.train import Trained
from study import signals
from study.tracking.cleanup import ending_well
from study.tracking.lifecycle import open_with
from study.tracking.retry import patient
from study.tracking.writer import Tracker
from study.trial import Setting, Trial

KEPT_TAGS = (MLFLOW_RUN_NOTE, MLFLOW_USER)
"""Tags of a copied run beside the study's own."""
TUNING = (schema.SEARCH, schema.RERANK)
"""Phases whose trials a run table holds all of that a study goes on from."""

LAST = ("train/loss", "val/loss", "val/accuracy", "val/accuracy_last3")
"""What a run table tells of a network that tuned an arm: ends of its curves, then a mean."""

Rebuilt: TypeAlias = tuple[Trial, list[Trained]]


class Source(Protocol):
    """Where a study's trials are brought from."""

    @property
    def address(self) -> str:
        """What the user called it."""

    @property
    def study(self) -> reader.Study:
        """The study, with the trials that can be brought."""

    def read(self, trial_run: str) -> StoredTrial | Rebuilt:
        """Return a trial by the id of its run."""


@dataclass(frozen=True)
class Report:
    """The trials of a published report that tuned its arms, from its run table.

    Those that answer are not among them: they need each image's score, and fresh networks are
    worth more than copied ones.
    """

    address: str
    study: reader.Study
    trials: dict[str, Rebuilt]

    def read(self, trial_run: str) -> Rebuilt:
        """Return a trial by the id that its run had."""
        return self.trials[trial_run]


def published(folder: Path, study_id: str | None = None) -> Report:
    """Read a report's folder.

    Raises:
        StoreError: it holds no report, that of another study, no search, or a trial that this code
            would not have trained.
    """
    study = saved_report.read(folder)
    if study_id not in (None, study.study_id):
        raise StoreError(f"the report in {folder} is of study {study.study_id}, not {study_id}")
    table = study.table.loc[study.table["phase"].isin(TUNING)]
    if table.empty:
        raise StoreError(
            f"the report in {folder} has no trial that tuned an arm: train the study anew"
        )
    report = Report(str(folder), replace(study, table=table, arms={}), {})
    _refuse_what_differs(report)
    for trial_run, rows in table.groupby("trial_run_id"):
        report.trials[str(trial_run)] = _rebuilt(rows.sort_values("seed"), report)
    return report


def _rebuilt(rows: pd.DataFrame, report: Report) -> Rebuilt:
    """Return a trial and its networks, as far as their rows of the run table tell.

    Raises:
        StoreError: their hash is another one.
    """
    declaration, first = report.study.declaration, rows.iloc[0]
    for name in (*LAST, "seconds"):
        if not np.isfinite(rows[name].astype(float)).all():
            raise StoreError(
                f"{report.address} has no number in {name} for {first['arm']}: take the report as "
                "it was published"
            )
    if first["noise"] not in NOISE:  # such a name may stand for a module, which would be run
        raise StoreError(
            f"{report.address} has trials of {first['noise']}, which is no noise type of this "
            "code: train the study anew"
        )
    try:
        recipe = Recipe(**declaration.recipes[first["recipe"]])
        number = first["trial_number"]
        trial = Trial(
            Arm.from_row(first, recipe),
            tuple(map(int, rows["seed"])),
            first["phase"],
            number=None if pd.isna(number) else int(number),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{report.address}: {first['arm']}: {one_line(error)}") from error
    expected = trial.hash(_setting(declaration), declaration.data["digest"])
    if set(rows["trial_hash"]) != {expected}:
        raise StoreError(
            f"{report.address} has another hash for {first['arm']} than this code: its run table "
            "was changed, or is of other code; take the report as it was published"
        )
    networks = [
        Trained(
            trial.arm,
            int(row["seed"]),
            curves={name: [row[name]] for name in LAST[:3]},
            test={},
            weights=Weights((), ()),
            seconds=row["seconds"],
            measured=[(recipe.epochs, LAST[3], row[LAST[3]])],
            evaluated=(recipe.epochs,),
        )
        for row in rows.to_dict("records")
    ]
    return trial, networks


def merge(other: Source, experiment: str, on_trial: Callable[[int, int], None]) -> tuple[int, int]:
    """Bring the trials that the current store lacks, and the arms if it has none.

    Args:
        on_trial: told after each trial how many are brought, and of how many.

    Returns:
        How many trials were brought, and how many were there.

    Raises:
        StoreError: the other store's code or data differ from what is here.
        AlreadyRunning: a live process coordinates the study here.
        CutShort: the store stayed away; the next call goes on.
    """
    study = other.study
    _refuse_what_differs(other)
    here = _study_here(other, experiment)
    if here and not study.trained.keys() - here.trained.keys() and (here.arms or not study.arms):
        return 0, len(study.trained)
    make_copier = partial(Copier, other=other)
    setting = _setting(study.declaration)
    with open_with(make_copier, study.declaration, setting, experiment) as copier:
        here = copier.read()
        missing = [run for hash_, run in study.trained.items() if hash_ not in here.trained]
        for count, trial_run in enumerate(missing, start=1):
            signals.check()
            copier.bring(other.read(trial_run))
            on_trial(count, len(missing))
        signals.check()
        copier.tidy_up()
        if not here.arms and study.arms:
            copier.log_arms(study.arms)
        copier.finish()
    return len(missing), len(study.trained) - len(missing)


def _setting(declaration: Declaration) -> Setting:
    data = declaration.data
    return Setting(data["name"], "", declaration.device, declaration.precision, data["digest"])


def _refuse_what_differs(other: Source) -> None:
    """Refuse trials that this code would not adopt.

    Raises:
        StoreError: they are of another code version, or not of the study that they name.
    """
    study, table = other.study, other.study.table
    named = f"study {study.study_id} in {other.address}"
    versions = {study.declaration.code_version, *table["code_version"]} - {schema.CODE_VERSION}
    if versions:
        raise StoreError(
            f"{named} was trained by code version {min(versions)}, and this is version "
            f"{schema.CODE_VERSION}, which cannot take its trials over: train them again"
        )
    if set(table["data_digest"]) - {study.declaration.data["digest"]}:
        raise StoreError(f"{named} holds trials of other data than it declares")
    if study.declaration.study_id != study.study_id:
        raise StoreError(f"{named} declares another study, {study.declaration.study_id}")


def _study_here(other: Source, experiment: str) -> reader.Study | None:
    """Return the same study as the current store has it; None where it has not.

    Raises:
        StoreError: it has a study of other images under the same name.
    """
    file = sqlite_file(settle_address())
    if file is not None and not file.exists():
        return None
    data = other.study.declaration.data
    with one_line_errors():
        check_address()
        differing = whereabouts.study_of_other_data(experiment, data["name"], data["content"])
    if differing:
        raise StoreError(
            f"study {other.study.study_id} in {other.address} is of other data than study "
            f"{differing} here, and both call it {data['name']}: set MLFLOW_TRACKING_URI to "
            "another store"
        )
    try:
        return reader.load(other.study.study_id, experiment)
    except StoreError:  # there is no such study yet; whatever else is wrong shows when it is opened
        return None


class Copier(Tracker):
    """Write a study as another store has it."""

    def __init__(
        self,
        client: MlflowClient,
        study_run: Run,
        declaration: Declaration,
        setting: Setting,
        other: Source,
    ) -> None:
        """Describe the study with the commit and the machine that trained it."""
        super().__init__(client, study_run, declaration, setting)
        self._other, self._study = other, other.study
        study = other.study
        self._origin[schema.TAG_COMMIT] = study.commit
        self._origin[schema.TAG_DIRTY] = str(study.dirty).lower()

    def _versions(self) -> dict[str, dict[str, str]]:
        return self._study.versions

    @patient
    def read(self) -> reader.Study:
        """Read the study as the current store has it now."""
        return reader.load(self.declaration.study_id, self.experiment)

    def bring(self, trial: StoredTrial | Rebuilt) -> None:
        """Log a trial of another store, or one rebuilt from a run table."""
        if isinstance(trial, StoredTrial):
            self.copy_trial(trial)
        else:
            self.log_trial(*trial)

    def _tags(self, trial: Trial) -> dict[str, str]:
        note = f"From the run table in {self._other.address}: its last epoch alone."
        return {**super()._tags(trial), MLFLOW_RUN_NOTE: note}

    @patient
    def copy_trial(self, stored: StoredTrial) -> None:
        """Log a trial with its own times, children first as `log_trial` does."""
        with self._at_most_once():
            self._open_trial = trial_run = self._copy(stored.trial, self.run_id)
            with ending_well(self.client, trial_run):
                for seed in stored.seeds:
                    run = self._copy(seed, trial_run)
                    with ending_well(self.client, run):
                        self._log_numbers(run, seed)
                        info = seed.run.info
                        self.client.set_terminated(run, info.status, info.end_time)
                self._log_numbers(trial_run, stored.trial)
                if stored.images:
                    with tempfile.TemporaryDirectory() as folder:
                        file = Path(folder) / schema.IMAGES_FILE
                        file.write_bytes(stored.images)
                        self._log_image_file(trial_run, file)
                info = stored.trial.run.info
                self._end_trial(trial_run, info.status, info.end_time)

    def _copy(self, stored: StoredRun, parent: str) -> str:
        """Make a run with the tags, name and start of another; return its id."""
        info, tags = stored.run.info, {schema.TAG_PARENT: parent}
        for name, value in stored.run.data.tags.items():
            if name.startswith("study.") or name in KEPT_TAGS:
                tags[name] = value
        run = self.client.create_run(self.experiment_id, info.start_time, tags, info.run_name)
        return str(run.info.run_id)

    def _log_numbers(self, run: str, stored: StoredRun) -> None:
        metrics = [Metric(one.key, one.value, one.timestamp, one.step) for one in stored.metrics]
        params = [Param(name, value) for name, value in stored.run.data.params.items()]
        self.client.log_batch(run, metrics, params)
