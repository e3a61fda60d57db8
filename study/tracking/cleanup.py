"""Runs that broke off: none stays RUNNING, and a half-logged trial is excluded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from mlflow import MlflowClient
from mlflow.entities import Run

from analysis import schema
from analysis.store import reader


@contextmanager
def ending_well(client: MlflowClient, run_id: str, failed: str = "KILLED") -> Iterator[None]:
    """End a run that an exception cuts off: as KILLED if interrupted, else as `failed`."""
    try:
        yield
    except BaseException as error:
        interrupted = isinstance(error, (KeyboardInterrupt, SystemExit))
        with suppress(Exception):  # the store may be what failed; the first error is told
            client.set_terminated(run_id, "KILLED" if interrupted else failed)
        raise


def find_runs(experiment_id: str, study_id: str, kind: str, condition: str = "") -> list[Run]:
    """Return the runs of a study of one kind (study, trial, seed).

    Args:
        condition: a further one, of MLflow's filters.
    """
    query = (
        f"tags.`{schema.TAG_ID}` = '{study_id}' and tags.`{schema.TAG_KIND}` = '{kind}' {condition}"
    )
    return list(reader.search(experiment_id, query))


def discard_half_logged(
    client: MlflowClient,
    experiment_id: str,
    study_id: str,
    statuses: Sequence[str] = ("RUNNING", "KILLED"),
) -> None:
    """Kill trials whose logging broke off, with all their seed runs, which are then excluded."""
    for status in statuses:
        condition = f"and attributes.status = '{status}'"
        for trial in find_runs(experiment_id, study_id, "trial", condition):
            discard(client, experiment_id, study_id, trial.info.run_id)
    running = "and attributes.status = 'RUNNING'"
    for seed in find_runs(experiment_id, study_id, "seed", running):
        client.set_terminated(seed.info.run_id, "KILLED")


def discard(client: MlflowClient, experiment_id: str, study_id: str, trial_run: str) -> None:
    """Kill a trial run and its seed runs."""
    parent = f"and tags.`{schema.TAG_PARENT}` = '{trial_run}' and attributes.status != 'KILLED'"
    for seed in find_runs(experiment_id, study_id, "seed", parent):
        client.set_terminated(seed.info.run_id, "KILLED")
    if client.get_run(trial_run).info.status != "KILLED":  # else its end would move to now
        client.set_terminated(trial_run, "KILLED")
