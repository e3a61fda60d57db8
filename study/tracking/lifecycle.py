"""Opening a study in the tracking store: one live coordinator, earlier work taken over."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote

import mlflow
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_USER

from analysis import schema
from analysis.formatting import duration, shortened
from analysis.schema import Declaration
from analysis.store.uri import (
    StoreError,
    check_writable,
    local_path,
    one_line_errors,
    sqlite_file,
)
from analysis.store.whereabouts import check_artifacts, refuse_deleted
from study.tracking import provenance
from study.tracking.cleanup import discard_half_logged, ending_well, find_runs
from study.tracking.lease import BEAT_SECONDS, Heartbeat
from study.tracking.retry import AlreadyRunning
from study.tracking.writer import Tracker
from study.trial import Setting

AnyTracker = TypeVar("AnyTracker", bound=Tracker)
Maker = Callable[[MlflowClient, Run, Declaration, Setting], AnyTracker]

PROJECT = Path(__file__).parents[2]
ENTRY_POINT = "mlflow.project.entryPoint"
"""The tag of runs that `mlflow run` makes."""
MAKING_SECONDS = 120
"""How long a study waits for another one that makes the tables of their new database."""


def open_study(
    declaration: Declaration, setting: Setting, experiment: str
) -> AbstractContextManager[Tracker]:
    """Open the study's run; finished trials of the same study are adopted, half-logged ones KILLED.

    On an exception the study run ends as KILLED (interrupted) or FAILED; a later call resumes it.

    Raises:
        AlreadyRunning: another live process coordinates the same study.
    """
    return open_with(Tracker, declaration, setting, experiment)


@contextmanager
def open_with(
    make_tracker: Maker[AnyTracker], declaration: Declaration, setting: Setting, experiment: str
) -> Iterator[AnyTracker]:
    """Open the study's run as `open_study` does, for another kind of tracker."""
    client = _connect()
    experiment_id = _experiment(client, experiment)
    run = _adopted_project_run(client)
    if run is not None:
        experiment_id = run.info.experiment_id
    _refuse_second_coordinator(experiment_id, declaration, run)
    # By these tags it is found should the process die before it has described the study.
    opening = {
        schema.TAG_ID: declaration.study_id,
        schema.TAG_KIND: schema.OPENING,
        schema.TAG_HEARTBEAT: Heartbeat.now().to_json(),
        MLFLOW_USER: provenance.user(),
    }
    if run is None:
        run = client.create_run(experiment_id, tags=opening)
    else:
        client.log_batch(run.info.run_id, tags=[RunTag(*tag) for tag in opening.items()])
    with ending_well(client, run.info.run_id, failed="FAILED"):
        tracker = make_tracker(client, run, declaration, setting)
        with _heartbeat(client, tracker):
            tracker.describe_study()
            # Again, now that others can see this one: of two that start at the same moment, none
            # has missed the other.
            _refuse_second_coordinator(experiment_id, declaration, run)
            _take_over(client, experiment_id, declaration, tracker.run_id)
            yield tracker


def _connect() -> MlflowClient:
    """Return a client of the current tracking URI; a sqlite database is made here if need be."""
    check_writable()
    uri = mlflow.get_tracking_uri()
    file = sqlite_file(uri)
    with one_line_errors(), _alone(file):
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    if file is not None:
        # Readers do not wait for the writer then; where it cannot be had, it is not needed either.
        with suppress(sqlite3.Error), closing(sqlite3.connect(file)) as database:
            database.execute("PRAGMA journal_mode=WAL")
    return client


@contextmanager
def _alone(file: Path | None) -> Iterator[None]:
    """Let one process at a time make the tables of a new database: MLflow's migrations collide."""
    if file is None:
        yield
        return
    name = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:16]
    owner = os.getuid() if hasattr(os, "getuid") else 0
    lock = Path(tempfile.gettempdir()) / f"dropout-study-{owner}-{name}.lock"
    try:
        with FileLock(lock, timeout=MAKING_SECONDS):
            yield
    except Timeout as error:
        raise StoreError(
            f"another process has been opening {file} for {duration(MAKING_SECONDS)}: stop it, or "
            f"delete {lock}"
        ) from error


def _experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found:
        refuse_deleted(found)
        studies = f"tags.`{schema.TAG_KIND}` = 'study' and attributes.status != 'RUNNING'"
        if client.search_runs([found.experiment_id], studies, max_results=1):
            # MLflow would make the folder again, and write there.
            check_artifacts(found.artifact_location, f"experiment {name!r}")
        return found.experiment_id
    try:
        # Without this the UI opens the experiment among its tools for language models.
        return client.create_experiment(
            name,
            artifact_location=_artifact_location(name),
            tags={"mlflow.experimentKind": "custom_model_development"},
        )
    except MlflowException:
        if found := client.get_experiment_by_name(name):  # another study was faster
            return found.experiment_id
        raise


def _artifact_location(experiment: str) -> str | None:
    """Return the address of a new experiment's artifacts; None leaves it to the store.

    Below a folder such as `my%20project` MLflow would keep them in `my project`.
    """
    folder = Path.cwd()
    if sqlite_file(mlflow.get_tracking_uri()) is None or unquote(str(folder)) == str(folder):
        return None
    return f"{folder.as_uri()}/mlruns/{quote(experiment, safe='')}"


def _adopted_project_run(client: MlflowClient) -> Run | None:
    """Return the run that `mlflow run` made for this process; no child process inherits it.

    Raises:
        StoreError: MLFLOW_RUN_ID names something else, such as a finished run of another project.
    """
    run_id = os.environ.pop("MLFLOW_RUN_ID", None)
    if not run_id:
        return None
    refusal = (
        f"MLFLOW_RUN_ID is set to {shortened(run_id)}, which {{}}: unset it, or let `mlflow run` "
        "set it"
    )
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise StoreError(refusal.format("is no run of this tracking store")) from error
    if run.info.status != "RUNNING" or run.info.lifecycle_stage != "active":
        raise StoreError(refusal.format("is a run that has ended"))
    if not _is_of_this_project(run):
        raise StoreError(refusal.format("is no run that `mlflow run` made for this project"))
    return run


def _is_of_this_project(run: Run) -> bool:
    if ENTRY_POINT not in run.data.tags:
        return False
    source, _, below = run.data.tags.get("mlflow.source.name", "").partition("#")
    if provenance.is_fetched(source):
        return True
    folder = Path(local_path(source) or "", below)
    return not folder.exists() or folder.samefile(PROJECT)


def _still_running(experiment_id: str, declaration: Declaration, kind: str) -> list[Run]:
    running = "and attributes.status = 'RUNNING'"
    return find_runs(experiment_id, declaration.study_id, kind, running)


def _refuse_second_coordinator(
    experiment_id: str, declaration: Declaration, own: Run | None
) -> None:
    for run in _still_running(experiment_id, declaration, "study"):
        beat = Heartbeat.from_json(run.data.tags.get(schema.TAG_HEARTBEAT, ""))
        is_own = own is not None and run.info.run_id == own.info.run_id
        if beat and not is_own and beat.is_held():
            raise AlreadyRunning(
                f"process {beat.pid} on {beat.host} is running this study already; stop it, or "
                f"wait for it (it is taken for dead after {duration(beat.silent)} of silence)"
            )


def _take_over(
    client: MlflowClient, experiment_id: str, declaration: Declaration, study_run: str
) -> None:
    """Move finished trials under the new study run; kill what was left unfinished."""
    discard_half_logged(client, experiment_id, declaration.study_id)
    for run in find_runs(experiment_id, declaration.study_id, "trial"):
        if run.data.tags.get(schema.TAG_PARENT) != study_run:
            client.set_tag(run.info.run_id, schema.TAG_PARENT, study_run)
    for kind in ("study", schema.OPENING):
        for run in _still_running(experiment_id, declaration, kind):
            if run.info.run_id != study_run:
                client.set_terminated(run.info.run_id, "KILLED")


@contextmanager
def _heartbeat(client: MlflowClient, tracker: Tracker) -> Iterator[None]:
    """Renew the lease from a thread, and learn from the run when another process has taken over.

    That happens to a process that was asleep for longer than its lease, as on a closed laptop.
    """
    ended = threading.Event()

    def beat() -> None:
        client.set_tag(tracker.run_id, schema.TAG_HEARTBEAT, Heartbeat.now().to_json())
        tracker.taken_over |= client.get_run(tracker.run_id).info.status == "KILLED"

    def keep_beating() -> None:
        while not ended.wait(BEAT_SECONDS):
            with suppress(Exception):  # a store that is away for a moment ends no study
                beat()

    beat()
    thread = threading.Thread(target=keep_beating, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=BEAT_SECONDS)  # a server that hangs would hold it for minutes
