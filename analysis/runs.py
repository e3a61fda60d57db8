"""The only reader of the tracking store: one study, typed.

Everything the analysis knows comes through `load`. It reads, and never writes: no run, no tag, not even an empty
database where a mistyped address points to none.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import mlflow
import numpy as np
import pandas as pd
from mlflow import artifacts
from mlflow.entities import Run

from analysis import rows
from analysis.address import StoreError, address, check_address, one_line_errors
from study import schema
from study.schema import Declaration

# Three small files are read: a progress bar for each would only clutter standard error. The user's own setting wins.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

ALL = 1_000_000  # search_runs fetches page after page up to this many


@dataclass(frozen=True)
class TrialRun:
    """A trial that is not finished: its scores count for nothing, but it is counted."""

    run_id: str
    name: str
    status: str  # FAILED, KILLED or RUNNING
    phase: str
    arm: str
    trial_hash: str


@dataclass(frozen=True)
class ImageScores:
    """What each test image said of an arm's networks.

    Attributes:
        seeds: of the rows.
        nll: in nats, float16, (seeds, images).
        correct: bool, (seeds, images).
    """

    seeds: tuple[int, ...]
    nll: np.ndarray
    correct: np.ndarray

    def of(self, score: str, seeds: Sequence[int]) -> np.ndarray:
        """`nll` or `correct` of these seeds, in their order: float32, (seeds, images)."""
        rows = [self.seeds.index(seed) for seed in seeds]
        return np.asarray(getattr(self, score)[rows], dtype=np.float32)


@dataclass(frozen=True)
class Study:
    """A study as the tracking store has it.

    Attributes:
        study_id: hash of the declaration; tags all runs of the study.
        run_id: the newest study run of that id.
        experiment: name of the MLflow experiment.
        declaration: what was declared before the first run.
        arms: recipe -> arm label -> arm name, as the declared rules picked them; empty until they are logged.
        table: one row per finished seed run of a finished trial, columns and types of `schema.RUN_TABLE` and then what
            was measured beside, float64. Of two finished trials of one hash the earliest counts.
        images: arm name -> its confirmed networks' scores on each test image; empty unless they were asked for.
        versions: {"packages": {name: version}, "machine": {...}}, empty when not logged.
        commit: git commit of the code that ran, "" when unknown.
        dirty: whether the tree differed from the commit.
        failed: trial runs that ended FAILED or KILLED.
        running: trial runs that are still marked RUNNING.
        confirmed_elsewhere: question -> the other studies of the experiment that confirmed it on the same data set.
    """

    study_id: str
    run_id: str
    experiment: str
    declaration: Declaration
    arms: dict[str, dict[str, str]]
    table: pd.DataFrame
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    commit: str = ""
    dirty: bool = False
    failed: tuple[TrialRun, ...] = ()
    running: tuple[TrialRun, ...] = ()
    confirmed_elsewhere: dict[str, tuple[str, ...]] = field(default_factory=dict)
    images: dict[str, ImageScores] = field(default_factory=dict)

    @property
    def filter_string(self) -> str:
        """Finds the study's runs in the MLflow UI's search box and in `mlflow.search_runs`."""
        return f"tags.`{schema.TAG_ID}` = '{self.study_id}'"


def load(
    study_id: str | None = None, experiment: str | None = None, preset: str | None = None, images: bool = False
) -> Study:
    """Read one study from the current tracking URI.

    Args:
        study_id: hash of the study's declaration; None takes the newest study run's.
        experiment: name of the MLflow experiment; None takes `schema.EXPERIMENT`.
        preset: only studies of this preset count; None takes any.
        images: whether to read the scores of single images too, a file for each confirmed trial.

    Raises:
        StoreError: the address does not answer, or has no such experiment or study, or a run lacks what it must have.
    """
    experiment = experiment or schema.EXPERIMENT
    with one_line_errors():
        check_address()
        found = mlflow.get_experiment_by_name(experiment)
        if found is None:
            there = ", ".join(sorted(one.name for one in mlflow.search_experiments(max_results=20)))
            raise StoreError(f"no experiment {experiment!r} in the tracking store {address()}; it has: {there}")
        study_runs = _search(found.experiment_id, f"tags.`{schema.TAG_KIND}` = 'study'")
        study_runs = [run for run in study_runs if preset in (None, run.data.tags.get(schema.TAG_PRESET))]
        if not study_runs:
            of_preset = f" of preset {preset!r}" if preset else ""
            raise StoreError(f"experiment {experiment!r} in {address()} holds no study run{of_preset} yet")
        known = list(dict.fromkeys(run.data.tags.get(schema.TAG_ID, "") for run in study_runs))
        study_id = study_id or known[0]
        if study_id not in known:
            raise StoreError(f"no study {study_id!r} in experiment {experiment!r}; known: {', '.join(known)}")
        newest = next(run for run in study_runs if run.data.tags.get(schema.TAG_ID) == study_id)

        of_study = f"tags.`{schema.TAG_ID}` = '{study_id}' and tags.`{schema.TAG_KIND}` = "
        trials = _search(found.experiment_id, of_study + "'trial'")
        seeds = _search(found.experiment_id, of_study + "'seed' and attributes.status = 'FINISHED'")
        finished = _first_of_each([run for run in trials if run.info.status == "FINISHED"])
        table = rows.table_of([run for run in seeds if run.data.tags.get(schema.TAG_PARENT) in finished])
        declaration = _declaration(newest)
        return Study(
            study_id=study_id,
            run_id=newest.info.run_id,
            experiment=experiment,
            declaration=declaration,
            arms=_json(newest, schema.ARMS_FILE),
            table=table,
            versions=_json(newest, schema.VERSIONS_FILE),
            commit=newest.data.tags.get(schema.TAG_COMMIT, ""),
            dirty=newest.data.tags.get(schema.TAG_DIRTY, "").lower() in ("true", "1", "yes"),
            failed=_unfinished(trials, {"FAILED", "KILLED"}),
            running=_unfinished(trials, {"RUNNING", "SCHEDULED"}),
            confirmed_elsewhere=_confirmed_elsewhere(found.experiment_id, study_id, declaration),
            images=_images([run for run in trials if run.info.run_id in finished]) if images else {},
        )


def _unfinished(trials: list[Run], statuses: set[str]) -> tuple[TrialRun, ...]:
    records = [
        TrialRun(
            run_id=run.info.run_id,
            name=run.info.run_name or "",
            status=run.info.status,
            phase=run.data.tags.get(schema.TAG_PHASE, ""),
            arm=run.data.tags.get(schema.TAG_ARM, ""),
            trial_hash=run.data.tags.get(schema.TAG_HASH, ""),
        )
        for run in trials
        if run.info.status in statuses
    ]
    return tuple(sorted(records, key=lambda record: (record.phase, record.arm, record.run_id)))


def _first_of_each(trials: list[Run]) -> set[str]:
    """The run ids of the trials that count: the earliest of each hash, should two coordinators have run the study."""
    first: dict[str, str] = {}
    for run in sorted(trials, key=lambda run: (run.info.start_time, run.info.run_id)):
        first.setdefault(run.data.tags.get(schema.TAG_HASH, run.info.run_id), run.info.run_id)
    return set(first.values())


def _confirmed_elsewhere(experiment_id: str, study_id: str, declaration: Declaration) -> dict[str, tuple[str, ...]]:
    """Who else has looked at the same test images with the same question: a second look must show."""
    confirmed = f"tags.`{schema.TAG_KIND}` = 'trial' and tags.`{schema.TAG_PHASE}` = '{schema.CONFIRM}'"
    content = declaration.data.get("content")  # not its digest, which changes with the training images used
    looks: dict[str, set[str]] = {}
    for run in _search(experiment_id, confirmed + " and attributes.status = 'FINISHED'"):
        tags = run.data.tags
        if tags.get(schema.TAG_ID) != study_id and tags.get(schema.TAG_CONTENT, "") == content:
            for question in tags.get(schema.TAG_QUESTION, "").split(","):
                looks.setdefault(question, set()).add(tags.get(schema.TAG_ID, ""))
    return {question: tuple(sorted(ids)) for question, ids in sorted(looks.items())}


def _declaration(run: Run) -> Declaration:
    text = _artifact(run, schema.DECLARATION_FILE)
    if text is None:
        raise StoreError(f"study run {run.info.run_name} ({run.info.run_id}) holds no {schema.DECLARATION_FILE}")
    try:
        return Declaration.from_json(text)
    except ValueError as error:
        raise StoreError(f"study run {run.info.run_name} ({run.info.run_id}): {error}") from error


def _images(trials: list[Run]) -> dict[str, ImageScores]:
    """Arm -> the scores of single images, of the trials that kept them."""
    found = {}
    for run in sorted(trials, key=lambda run: run.info.run_id):
        tags, run_id = run.data.tags, run.info.run_id
        if tags.get(schema.TAG_PHASE) != schema.CONFIRM or not _has_artifact(run_id, schema.IMAGES_FILE):
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = artifacts.download_artifacts(f"runs:/{run_id}/{schema.IMAGES_FILE}", dst_path=folder)
            try:
                with np.load(path, allow_pickle=False) as file:
                    nll, correct = file["nll"], np.unpackbits(file["correct"], axis=1, count=file["nll"].shape[1])
                seeds = tuple(int(seed) for seed in run.data.params["seeds"].split(","))
            except (ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                raise StoreError(f"{schema.IMAGES_FILE} of run {run.info.run_name} ({run_id}) is damaged") from error
        found[tags[schema.TAG_ARM]] = ImageScores(seeds, nll, correct.astype(bool))
    return found


def _has_artifact(run_id: str, name: str) -> bool:
    return name in (file.path for file in mlflow.MlflowClient().list_artifacts(run_id))


def _artifact(run: Run, name: str) -> str | None:
    run_id = run.info.run_id
    if not _has_artifact(run_id, name):
        return None
    return artifacts.load_text(f"runs:/{run_id}/{name}")


def _json(run: Run, name: str) -> dict[str, dict[str, str]]:
    """A file of names within names; empty when it was not logged."""
    try:
        found = json.loads(_artifact(run, name) or "{}")
        return {str(key): {str(inner): str(value) for inner, value in part.items()} for key, part in found.items()}
    except (ValueError, AttributeError, RecursionError) as error:
        raise StoreError(f"{name} of study run {run.info.run_name} ({run.info.run_id}) is damaged: {error}") from error


def _search(experiment_id: str, filter_string: str) -> list[Run]:
    """All runs that match, newest first. A list, not a frame: a frame shows a lacking metric and a NaN alike."""
    runs = mlflow.search_runs([experiment_id], filter_string, max_results=ALL, output_format="list")
    assert isinstance(runs, list)
    return sorted(runs, key=lambda run: (-run.info.start_time, run.info.run_id))
