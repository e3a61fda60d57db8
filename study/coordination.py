"""Opening a study in the tracking store: one live coordinator, earlier work taken over, half-logged work discarded."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import count

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Run
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from analysis.address import StoreError, check_address, one_line_errors
from study import schema
from study.faults import AlreadyRunning
from study.schema import Declaration
from study.tracking import Tracker, discard_half_logged, ending_well, find_runs
from study.trial import Setting

HEARTBEAT_SECONDS = 15
STALE_SECONDS = 60
"""A coordinator that is silent for this long is taken for dead."""


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
    run = run or client.create_run(experiment_id)
    tracker = Tracker(client, run, declaration, setting)
    with ending_well(client, tracker.run_id), _heartbeat(client, tracker):
        tracker.describe_study()
        # Again, now that others can see this one: of two that start at the same moment, none has missed the other.
        _refuse_second_coordinator(_coordinators(client, experiment_id, declaration), run)
        _take_over(client, experiment_id, declaration.study_id, tracker.run_id)
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
        with suppress(sqlite3.Error), closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
            database.execute("PRAGMA journal_mode=WAL")
    return client


def _experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found and found.lifecycle_stage != "active":
        remedy = f"restore it by `mlflow experiments restore -x {found.experiment_id}`, or name another by --experiment"
        raise StoreError(f"experiment {name!r} was deleted: {remedy}")
    if found:
        return found.experiment_id
    # Without this the UI opens the experiment among its tools for language models.
    return client.create_experiment(name, tags={"mlflow.experimentKind": "custom_model_development"})


def _adopted_project_run(client: MlflowClient) -> Run | None:
    """The run that `mlflow run` made for this process; taken out of the environment, so that nothing inherits it."""
    run_id = os.environ.pop("MLFLOW_RUN_ID", None)
    return client.get_run(run_id) if run_id else None


def _coordinators(client: MlflowClient, experiment_id: str, declaration: Declaration) -> list[Run]:
    return find_runs(client, experiment_id, declaration.study_id, "study", "and attributes.status = 'RUNNING'")


def _refuse_second_coordinator(earlier: Sequence[Run], own: Run | None) -> None:
    for run in earlier:
        tag = run.data.tags.get(schema.TAG_HEARTBEAT)
        if not tag or run.info.status != "RUNNING" or (own and run.info.run_id == own.info.run_id):
            continue
        beat = json.loads(tag)
        fresh = time.time() - beat["time"] < STALE_SECONDS
        # On this machine a process that was killed is known at once; a number alone may be another process's by now.
        if fresh and (beat["host"] != socket.gethostname() or _process_exists(beat["pid"])):
            raise AlreadyRunning(
                f"process {beat['pid']} on {beat['host']} is running this study already; stop it, or wait for it"
            )


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid != os.getpid()


def _take_over(client: MlflowClient, experiment_id: str, study_id: str, study_run: str) -> None:
    """Finished trials move under the new study run; what an earlier process left unfinished is KILLED."""
    discard_half_logged(client, experiment_id, study_id)
    for run in find_runs(client, experiment_id, study_id, "trial"):
        if run.data.tags.get(schema.TAG_PARENT) != study_run:
            client.set_tag(run.info.run_id, schema.TAG_PARENT, study_run)
    for run in find_runs(client, experiment_id, study_id, "study", "and attributes.status = 'RUNNING'"):
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
        value = {"host": socket.gethostname(), "pid": os.getpid(), "time": int(time.time())}
        client.set_tag(tracker.run_id, schema.TAG_HEARTBEAT, json.dumps(value))
        tracker.taken_over |= client.get_run(tracker.run_id).info.status == "KILLED"

    def keep_beating() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            with suppress(Exception):  # a store that is away for a moment is no reason to end a study
                beat()
                log_machine()

    beat()
    thread = threading.Thread(target=keep_beating, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
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
        metrics = [Metric(f"system/{name}", value, now, step) for name, value in monitor.aggregate_metrics().items()]
        client.log_batch(run_id, metrics=metrics)

    return log
