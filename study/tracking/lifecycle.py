"""Opening a study in the tracking store: one live coordinator, earlier work taken over, half-logged work discarded."""

from __future__ import annotations

import json
import math
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import count
from typing import Any

import mlflow
import psutil
from mlflow import MlflowClient
from mlflow.entities import Metric, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from sqlalchemy.engine import make_url

from analysis import schema
from analysis.formatting import duration
from analysis.schema import Declaration
from analysis.store.uri import StoreError, check_address, one_line_errors
from study.tracking.cleanup import discard_half_logged, ending_well, find_runs
from study.tracking.retry import PATIENCE_SECONDS, AlreadyRunning
from study.tracking.writer import Tracker
from study.trial import Setting

HEARTBEAT_SECONDS = 15
STALE_SECONDS = PATIENCE_SECONDS + 60
"""A coordinator elsewhere that is silent for this long is taken for dead; one that waits for the store is not."""
CLOCK_SECONDS = 60
"""So far two readings of one process's start may be apart."""


@contextmanager
def open_study(declaration: Declaration, setting: Setting, experiment: str) -> Iterator[Tracker]:
    """The study's run, opened; earlier finished trials of the same study are adopted, half-logged ones KILLED.

    On an exception the study run ends as KILLED (interrupted) or FAILED; a later call goes on from there.

    Raises:
        AlreadyRunning: another live process coordinates the same study.
    """
    client = _connect()
    experiment_id = _experiment(client, experiment)
    run = _adopted_project_run(client)
    if run is not None:
        experiment_id = run.info.experiment_id
    _refuse_second_coordinator(_coordinators(client, experiment_id, declaration), run)
    # By these tags it is found should the process die before it has described the study.
    opening = {
        schema.TAG_ID: declaration.study_id,
        schema.TAG_KIND: schema.OPENING,
        schema.TAG_HEARTBEAT: _sign_of_life(),
    }
    if run is None:
        run = client.create_run(experiment_id, tags=opening)
    else:
        client.log_batch(
            run.info.run_id, tags=[RunTag(key, value) for key, value in opening.items()]
        )
    with (
        ending_well(client, run.info.run_id, failed="FAILED"),
        _opened(client, run, declaration, setting) as tracker,
    ):
        # Again, now that others can see this one: of two that start at the same moment, none has missed the other.
        _refuse_second_coordinator(_coordinators(client, experiment_id, declaration), run)
        _take_over(client, experiment_id, declaration, tracker.run_id)
        yield tracker


@contextmanager
def _opened(
    client: MlflowClient, run: Run, declaration: Declaration, setting: Setting
) -> Iterator[Tracker]:
    tracker = Tracker(client, run, declaration, setting)
    with _heartbeat(client, tracker):
        tracker.describe_study()
        yield tracker


def _connect() -> MlflowClient:
    """A client of the current tracking URI; a default database is made here, before any other process could try."""
    uri = mlflow.get_tracking_uri()
    is_file = uri.startswith("sqlite:///")
    if not is_file:
        check_address()
    with one_line_errors():
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    if is_file:
        # Readers do not wait for the writer then; where it cannot be had, it is not needed either.
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(make_url(uri).database or "")) as database,
        ):
            database.execute("PRAGMA journal_mode=WAL")
    return client


def _experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found and found.lifecycle_stage != "active":
        remedy = f"restore it by `mlflow experiments restore -x {found.experiment_id}`, or name another by --experiment"
        raise StoreError(f"experiment {name!r} was deleted: {remedy}")
    if found:
        return found.experiment_id
    try:
        # Without this the UI opens the experiment among its tools for language models.
        return client.create_experiment(
            name, tags={"mlflow.experimentKind": "custom_model_development"}
        )
    except MlflowException:
        if found := client.get_experiment_by_name(name):  # another study was faster
            return found.experiment_id
        raise


def _adopted_project_run(client: MlflowClient) -> Run | None:
    """The run that `mlflow run` made for this process; taken out of the environment, so that nothing inherits it."""
    run_id = os.environ.pop("MLFLOW_RUN_ID", None)
    return client.get_run(run_id) if run_id else None


def _coordinators(
    client: MlflowClient,
    experiment_id: str,
    declaration: Declaration,
    kinds: Sequence[str] = ("study",),
) -> list[Run]:
    """The study runs that are not ended."""
    running = "and attributes.status = 'RUNNING'"
    return [
        run
        for kind in kinds
        for run in find_runs(client, experiment_id, declaration.study_id, kind, running)
    ]


def _refuse_second_coordinator(earlier: Sequence[Run], own: Run | None) -> None:
    for run in earlier:
        beat = _parsed(run.data.tags.get(schema.TAG_HEARTBEAT, ""))
        if beat and not (own and run.info.run_id == own.info.run_id) and _lives(beat):
            raise AlreadyRunning(
                f"process {beat['pid']} on {beat['host']} is running this study already; stop it, or wait for it "
                f"(one on another machine is taken for dead after {duration(beat['silent'])} of silence)"
            )


def _sign_of_life() -> str:
    """Who coordinates, and when it was last seen."""
    own = psutil.Process()
    at = {"host": socket.gethostname(), "pid": own.pid, "started": own.create_time()}
    return json.dumps({**at, "time": int(time.time()), "silent": STALE_SECONDS})


def _parsed(heartbeat: str) -> dict[str, Any] | None:
    """What `_sign_of_life` wrote; None for anything else."""
    try:
        beat = {
            "started": math.nan,
            "silent": STALE_SECONDS,
            **json.loads(heartbeat),
        }  # older code told neither
        types = {"host": str, "pid": int, "started": float, "time": float, "silent": float}
        return {name: kind(beat[name]) for name, kind in types.items()}
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def _lives(beat: dict[str, Any]) -> bool:
    """Whether another process of this study is alive: on this machine it is known, elsewhere told by its silence."""
    fresh = abs(time.time() - beat["time"]) < beat["silent"]
    if beat["host"] != socket.gethostname():
        return fresh
    try:
        process = psutil.Process(beat["pid"])
        dead = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        started = process.create_time()
    except psutil.AccessDenied:
        return fresh
    except (psutil.Error, ValueError, OverflowError):
        return False
    # The number alone may be another process's by now; a clock that is set moves the start that is told.
    same = fresh if math.isnan(beat["started"]) else abs(started - beat["started"]) < CLOCK_SECONDS
    return same and not dead and beat["pid"] != os.getpid()


def _take_over(
    client: MlflowClient, experiment_id: str, declaration: Declaration, study_run: str
) -> None:
    """Finished trials move under the new study run; what an earlier process left unfinished is KILLED."""
    discard_half_logged(client, experiment_id, declaration.study_id)
    for run in find_runs(client, experiment_id, declaration.study_id, "trial"):
        if run.data.tags.get(schema.TAG_PARENT) != study_run:
            client.set_tag(run.info.run_id, schema.TAG_PARENT, study_run)
    for run in _coordinators(client, experiment_id, declaration, ("study", schema.OPENING)):
        if run.info.run_id != study_run:
            client.set_terminated(run.info.run_id, "KILLED")


@contextmanager
def _heartbeat(client: MlflowClient, tracker: Tracker) -> Iterator[None]:
    """Tells other processes, from a thread, that this one is alive; learns from its run when one has taken over.

    That happens to a process that was asleep for longer than `STALE_SECONDS`, as on a laptop that is shut.
    """
    ended = threading.Event()
    log_machine = _machine_log(client, tracker.run_id)

    def beat() -> None:
        client.set_tag(tracker.run_id, schema.TAG_HEARTBEAT, _sign_of_life())
        tracker.taken_over |= client.get_run(tracker.run_id).info.status == "KILLED"

    def keep_beating() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            with suppress(
                Exception
            ):  # a store that is away for a moment is no reason to end a study
                beat()
                log_machine()

    beat()
    thread = threading.Thread(target=keep_beating, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=HEARTBEAT_SECONDS)  # a server that hangs would hold it for minutes
    with suppress(Exception):  # a study shorter than a beat has its one sample here
        log_machine()


def _machine_log(client: MlflowClient, run_id: str) -> Callable[[], None]:
    """What logs the machine's load since the last call, in one batch, under the names of MLflow's system metrics.

    MLflow's own thread would ask the store twice for each sample, and end for good when the store is away once.
    """
    try:
        monitor = SystemMetricsMonitor(run_id)  # never started: only its sensors serve
        monitor.collect_metrics()  # the processor's load is counted from here
    except Exception:  # a system that does not tell its load is no reason to end a study
        return lambda: None
    steps = count()

    def log() -> None:
        for sensor in monitor.monitors:
            sensor.clear_metrics()
        monitor.collect_metrics()
        now, step = int(time.time() * 1000), next(steps)
        metrics = [
            Metric(f"system/{name}", value, now, step)
            for name, value in monitor.aggregate_metrics().items()
        ]
        client.log_batch(run_id, metrics=metrics)

    return log
