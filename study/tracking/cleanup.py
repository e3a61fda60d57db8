"""Runs that did not come to their end: none stays RUNNING, and what is half logged counts for nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from mlflow import MlflowClient
from mlflow.entities import Run

from analysis import schema


@contextmanager
def ending_well(client: MlflowClient, run_id: str, failed: str = "KILLED") -> Iterator[None]:
    """A run that an exception cuts off ends as KILLED, or as `failed` where nobody interrupted it."""
    try:
        yield
    except BaseException as error:
        interrupted = isinstance(error, (KeyboardInterrupt, SystemExit))
        with suppress(
            Exception
        ):  # the store may be what failed; the first error is the one to tell
            client.set_terminated(run_id, "KILLED" if interrupted else failed)
        raise


def find_runs(
    client: MlflowClient, experiment_id: str, study_id: str, kind: str, more: str = ""
) -> list[Run]:
    """The runs of a study of one kind (study, trial, seed); `more` is a further condition of MLflow's filter."""
    condition = (
        f"tags.`{schema.TAG_ID}` = '{study_id}' and tags.`{schema.TAG_KIND}` = '{kind}' {more}"
    )
    found: list[Run] = []
    token = None
    while token != "":
        page = client.search_runs([experiment_id], condition, max_results=1000, page_token=token)
        found += page
        token = page.token or ""
    return found


def discard_half_logged(
    client: MlflowClient,
    experiment_id: str,
    study_id: str,
    statuses: Sequence[str] = ("RUNNING", "KILLED"),
) -> None:
    """Trials whose logging broke off are KILLED with all their seed runs, which then count for nothing."""
    for status in statuses:
        for trial in find_runs(
            client, experiment_id, study_id, "trial", f"and attributes.status = '{status}'"
        ):
            discard(client, experiment_id, study_id, trial.info.run_id)
    for seed in find_runs(
        client, experiment_id, study_id, "seed", "and attributes.status = 'RUNNING'"
    ):
        client.set_terminated(seed.info.run_id, "KILLED")


def discard(client: MlflowClient, experiment_id: str, study_id: str, trial_run: str) -> None:
    """A trial run and its seed runs are KILLED, whatever they are."""
    parent = f"and tags.`{schema.TAG_PARENT}` = '{trial_run}' and attributes.status != 'KILLED'"
    for seed in find_runs(client, experiment_id, study_id, "seed", parent):
        client.set_terminated(seed.info.run_id, "KILLED")
    if client.get_run(trial_run).info.status != "KILLED":  # else its end would move to now
        client.set_terminated(trial_run, "KILLED")
