"""The only reader of the tracking store: one study, typed.

Everything the analysis knows comes through `load`. It reads, and never writes: no run, no tag, not
even an empty database where a mistyped address points to none.
"""

from __future__ import annotations

import gc
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import mlflow
import pandas as pd
from mlflow import artifacts
from mlflow.entities import Experiment, Run

from analysis import schema
from analysis.schema import TUNED, Declaration
from analysis.store import curves, image_scores, run_table
from analysis.store.image_scores import ImageScores
from analysis.store.run_table import TrialRun
from analysis.store.uri import StoreError, address, check_address, one_line_errors
from analysis.store.whereabouts import (
    STUDY_RUNS,
    check_artifacts,
    count_deleted,
    deleted_studies,
    refuse_deleted,
    studies_elsewhere,
)

# Runs of one request: each sorts all the runs anew, and takes some 40 kB a run while it is read.
PAGE = 20_000


@dataclass(frozen=True)
class Study:
    """A study as the tracking store has it.

    Attributes:
        study_id: hash of the declaration; tags all runs of the study.
        run_id: the newest study run of that id, of those that got as far as picking their arms if
            there are any.
        experiment: name of the MLflow experiment.
        declaration: what was declared before the first run.
        arms: recipe -> arm label -> arm name, as the declared rules picked them; empty until they
            are logged.
        table: one row per finished seed run of a finished trial that has all its seeds, columns and
            types of `schema.RUN_TABLE` and then what was measured beside, float64. Of two of one
            hash the earliest counts.
        images: arm name -> its confirmed networks' scores on each test image; empty unless they
            were asked for.
        bins: of `analysis.store.curves.read_bins`; empty unless images were asked for, and where
            the runs are of older code.
        curves: of `analysis.store.curves.read`; empty unless images were asked for.
        versions: {"packages": {name: version}, "machine": {...}}, empty when not logged.
        commit: git commit of the code that ran, "" when unknown.
        dirty: whether the tree differed from the commit.
        failed: trial runs that ended FAILED or KILLED.
        running: trial runs that are still marked RUNNING.
        deleted: how many of its runs lie in MLflow's trash.
        partial: finished trial runs that lack a seed run, and so count for nothing.
        confirmed_elsewhere: question -> the other studies of the experiment that confirmed it on
            the same data set.
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
    partial: tuple[TrialRun, ...] = ()
    deleted: int = 0
    confirmed_elsewhere: dict[str, tuple[str, ...]] = field(default_factory=dict)
    images: dict[str, ImageScores] = field(default_factory=dict)
    bins: pd.DataFrame = field(default_factory=curves.no_bins)
    curves: pd.DataFrame = field(default_factory=curves.none)

    @property
    def diverged(self) -> set[str]:
        """The hashes of trials that were trained to their end and have no finite score."""
        return {trial.trial_hash for trial in self.failed if trial.diverged}

    @property
    def trained(self) -> dict[str, str]:
        """Return hash -> run id of the trials that are never trained again: finished, or
        diverged."""
        trials = dict(zip(self.table["trial_hash"], self.table["trial_run_id"], strict=True))
        for trial in self.failed:
            if trial.diverged:
                trials.setdefault(trial.trial_hash, trial.run_id)
        return trials

    def tuned_arms(self, recipe: str) -> dict[str, str]:
        """Return what was searched -> name of its tuned arm; empty until they are logged."""
        labels = self.arms.get(recipe, {})
        return {
            label.removeprefix(TUNED): arm
            for label, arm in labels.items()
            if label.startswith(TUNED)
        }

    @property
    def filter_string(self) -> str:
        """The filter that finds the study's runs in the MLflow UI's search box and in
        `mlflow.search_runs`."""
        return f"tags.`{schema.TAG_ID}` = '{self.study_id}'"


def load(
    study_id: str | None = None,
    experiment: str | None = None,
    preset: str | None = None,
    images: bool = False,
) -> Study:
    """Read one study from the current tracking URI.

    Args:
        study_id: hash of the study's declaration; None takes the newest study run's.
        experiment: name of the MLflow experiment; None takes `schema.EXPERIMENT`.
        preset: only studies of this preset count; None takes any.
        images: whether to read the scores of single images too, a file for each confirmed trial,
            and metric histories: training curves, and the bins of reliability diagrams.

    Raises:
        StoreError: the address does not answer, or has no such experiment or study, or a run lacks
            what it must have.
    """
    experiment = experiment or schema.EXPERIMENT
    # A progress bar for each small file would clutter standard error; the user's own setting wins.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with one_line_errors():
        check_address()
        found = _experiment(experiment)
        newest = _study_run(found, study_id, preset)
        study_id = newest.data.tags[schema.TAG_ID]
        of_study = f"tags.`{schema.TAG_ID}` = '{study_id}' and tags.`{schema.TAG_KIND}` = "
        trials = list(map(run_table.trial_of, search(found.experiment_id, of_study + "'trial'")))
        done = {trial.run_id: trial for trial in trials if trial.status == "FINISHED"}
        seeds = search(found.experiment_id, of_study + "'seed' and attributes.status = 'FINISHED'")
        table = run_table.table_of(
            run for run in seeds if run.data.tags.get(schema.TAG_PARENT) in done
        )
        seeds_of = table["trial_run_id"].value_counts()
        partial = {
            id_: trial
            for id_, trial in done.items()
            if not trial.is_whole(int(seeds_of.get(id_, 0)))
        }
        finished = _first_of_each(trial for id_, trial in done.items() if id_ not in partial)
        if len(finished) < len(done):
            table = table[table["trial_run_id"].isin(list(finished))].reset_index(drop=True)
        declaration = _declaration(newest)
        arms = _json(newest, schema.ARMS_FILE)
        return Study(
            study_id=study_id,
            run_id=newest.info.run_id,
            experiment=experiment,
            declaration=declaration,
            arms=arms,
            table=table,
            versions=_json(newest, schema.VERSIONS_FILE),
            commit=newest.data.tags.get(schema.TAG_COMMIT, ""),
            dirty=newest.data.tags.get(schema.TAG_DIRTY, "").lower() in ("true", "1", "yes"),
            failed=_with_status(trials, {"FAILED", "KILLED"}),
            running=_with_status(trials, {"RUNNING", "SCHEDULED"}),
            partial=tuple(partial.values()),
            deleted=count_deleted(found.experiment_id, study_id),
            confirmed_elsewhere=_confirmed_elsewhere(found.experiment_id, study_id, declaration),
            images=_images(finished.values(), table) if images else {},
            curves=curves.read(declaration, table, arms) if images else curves.none(),
            bins=curves.read_bins(table) if images else curves.no_bins(),
        )


def _experiment(name: str) -> Experiment:
    found = mlflow.get_experiment_by_name(name)
    if found is None:
        there = ", ".join(sorted(one.name for one in mlflow.search_experiments(max_results=20)))
        raise StoreError(
            f"no experiment {name!r} in the tracking store {address()}; it has: {there}"
            f"{studies_elsewhere('')}"
        )
    refuse_deleted(found)
    return found


def _study_run(found: Experiment, study_id: str | None, preset: str | None) -> Run:
    """Return the newest study run that has its arms, else the newest: a later one may have been
    stopped before, or refused."""
    runs = [
        run
        for run in search(found.experiment_id, STUDY_RUNS)
        if run.data.tags.get(schema.TAG_ID)
        and preset in (None, run.data.tags.get(schema.TAG_PRESET))
    ]
    runs.sort(key=lambda run: (-(run.info.start_time or 0), run.info.run_id))
    if not runs:
        of_preset = f" of preset {preset!r}" if preset else ""
        if deleted := deleted_studies(found.experiment_id, preset):
            raise StoreError(
                f"the study runs{of_preset} of experiment {found.name!r} were deleted: restore "
                f"one by `mlflow runs restore --run-id {deleted[0]}`"
            )
        raise StoreError(
            f"experiment {found.name!r} in {address()} holds no study run{of_preset} yet"
            f"{studies_elsewhere(found.experiment_id)}"
        )
    known = list(dict.fromkeys(run.data.tags[schema.TAG_ID] for run in runs))
    study_id = study_id or known[0]
    if study_id not in known:
        raise StoreError(
            f"no study {study_id!r} in experiment {found.name!r}; known: {', '.join(known)}"
        )
    of_study = [run for run in runs if run.data.tags[schema.TAG_ID] == study_id]
    telling = (run for run in of_study if _has_artifact(run.info.run_id, schema.ARMS_FILE))
    return next(telling, of_study[0])


def _with_status(trials: Iterable[TrialRun], statuses: set[str]) -> tuple[TrialRun, ...]:
    found = (trial for trial in trials if trial.status in statuses)
    return tuple(sorted(found, key=lambda trial: (trial.phase, trial.arm, trial.run_id)))


def _first_of_each(trials: Iterable[TrialRun]) -> dict[str, TrialRun]:
    """Run id -> trial, of those that count: the earliest of each hash, should two coordinators have
    run the study."""
    first: dict[str, TrialRun] = {}
    for trial in sorted(trials, key=lambda trial: (trial.start, trial.run_id)):
        first.setdefault(trial.trial_hash or trial.run_id, trial)
    return {trial.run_id: trial for trial in first.values()}


def _confirmed_elsewhere(
    experiment_id: str, study_id: str, declaration: Declaration
) -> dict[str, tuple[str, ...]]:
    """Return who else has looked at the same test images with the same question: a second look must
    show."""
    confirmed = (
        f"tags.`{schema.TAG_KIND}` = 'trial' and tags.`{schema.TAG_PHASE}` = '{schema.CONFIRM}'"
    )
    # Not the digest, which changes with the training images used.
    content = declaration.data.get("content")
    looks: dict[str, set[str]] = {}
    for run in search(experiment_id, confirmed + " and attributes.status = 'FINISHED'"):
        tags = run.data.tags
        other = tags.get(schema.TAG_ID, study_id) != study_id
        if other and tags.get(schema.TAG_CONTENT, "") == content:
            for question in tags.get(schema.TAG_QUESTION, "").split(","):
                looks.setdefault(question, set()).add(tags[schema.TAG_ID])
    return {question: tuple(sorted(ids)) for question, ids in sorted(looks.items())}


def _declaration(run: Run) -> Declaration:
    text = _text(run.info.run_id, schema.DECLARATION_FILE)
    if text is None:
        check_artifacts(run.info.artifact_uri, f"study run {run_table.named(run)}")
        raise StoreError(f"study run {run_table.named(run)} holds no {schema.DECLARATION_FILE}")
    try:
        return Declaration.from_json(text)
    except ValueError as error:
        raise StoreError(f"study run {run_table.named(run)}: {error}") from error


def _images(trials: Iterable[TrialRun], table: pd.DataFrame) -> dict[str, ImageScores]:
    """Arm -> the scores of single images, of the trials that kept them."""
    found: dict[str, list[ImageScores]] = {}
    for trial in sorted(trials, key=lambda trial: trial.run_id):
        if trial.phase == schema.CONFIRM and _has_artifact(trial.run_id, schema.IMAGES_FILE):
            with tempfile.TemporaryDirectory() as folder:
                file = artifacts.download_artifacts(
                    f"runs:/{trial.run_id}/{schema.IMAGES_FILE}", dst_path=folder
                )
                seeds = table.loc[table["trial_run_id"] == trial.run_id, "seed"]
                found.setdefault(trial.arm, []).append(image_scores.read(Path(file), trial, seeds))
    return {arm: image_scores.joined(blocks) for arm, blocks in found.items()}


def _json(run: Run, name: str) -> dict[str, dict[str, str]]:
    """A file of names within names; empty when it was not logged."""
    try:
        found = json.loads(_text(run.info.run_id, name) or "{}")
        return {
            str(key): {str(inner): str(value) for inner, value in part.items()}
            for key, part in found.items()
        }
    except (ValueError, AttributeError, RecursionError) as error:
        raise StoreError(
            f"{name} of study run {run_table.named(run)} is damaged: {error}"
        ) from error


def search(
    experiment_id: str, filter_string: str, client: mlflow.MlflowClient | None = None
) -> Iterator[Run]:
    """Yield all runs that match, each once, a page at a time: of very many not all are held at
    once.

    Runs, not a frame: a frame shows a lacking metric and a NaN alike.
    """
    client, token, seen = client or mlflow.MlflowClient(), None, set[str]()
    while True:
        with _no_collection():
            page = client.search_runs(
                [experiment_id], filter_string, max_results=PAGE, page_token=token
            )
        yield from (run for run in page if run.info.run_id not in seen)
        # A run that begins meanwhile moves the others to the next page.
        seen.update(run.info.run_id for run in page)
        token = page.token
        if not token:
            return


@contextmanager
def _no_collection() -> Iterator[None]:
    """A page is made of hundreds of thousands of objects: to look for garbage among them takes
    longer than to read."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _has_artifact(run_id: str, name: str) -> bool:
    return name in (file.path for file in mlflow.MlflowClient().list_artifacts(run_id))


def _text(run_id: str, name: str) -> str | None:
    """A run's artifact, None where it has none of that name."""
    if not _has_artifact(run_id, name):
        return None
    return artifacts.load_text(f"runs:/{run_id}/{name}")
