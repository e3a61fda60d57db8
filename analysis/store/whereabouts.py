"""Where a study is: in which experiment, in MLflow's trash, in a folder that was moved."""

from __future__ import annotations

import shlex

import mlflow
from mlflow.entities import Experiment, ViewType

from analysis import schema
from analysis.store.uri import StoreError, local_path

STUDY_RUNS = f"tags.`{schema.TAG_KIND}` = 'study'"
"""The filter that finds the study runs of an experiment."""


def refuse_deleted(experiment: Experiment) -> None:
    """Refuse an experiment that lies in MLflow's trash.

    Raises:
        StoreError: it does; the message says how to restore it.
    """
    if experiment.lifecycle_stage != "active":
        raise StoreError(
            f"experiment {experiment.name!r} was deleted: restore it by `mlflow experiments "
            f"restore -x {experiment.experiment_id}`, or name another by --experiment"
        )


def check_artifacts(location: str, owner: str) -> None:
    """Refuse artifacts in a local folder that is not there any more.

    Raises:
        StoreError: the project's folder was moved or its artifacts removed; names the folder.
    """
    folder = local_path(location)
    if folder is not None and not folder.exists():
        raise StoreError(
            f"the artifacts of {owner} cannot be read: {folder} is not there. Put it back (was the "
            "project's folder moved?), or name another store by MLFLOW_TRACKING_URI"
        )


def deleted_studies(experiment_id: str, preset: str | None) -> list[str]:
    """Return the run ids of the studies in MLflow's trash, the newest first."""
    runs = mlflow.MlflowClient().search_runs(
        [experiment_id],
        STUDY_RUNS,
        run_view_type=ViewType.DELETED_ONLY,
        max_results=20,
    )
    return [
        run.info.run_id for run in runs if preset in (None, run.data.tags.get(schema.TAG_PRESET))
    ]


def count_deleted(experiment_id: str, study_id: str) -> int:
    """Return how many trial and seed runs of a study lie in MLflow's trash, at most 1,000."""
    runs = mlflow.MlflowClient().search_runs(
        [experiment_id],
        f"tags.`{schema.TAG_ID}` = '{study_id}' and tags.`{schema.TAG_KIND}` != 'study'",
        run_view_type=ViewType.DELETED_ONLY,
        max_results=1000,
    )
    return len(runs)


def study_of_other_data(experiment: str, name: str, content: str) -> str:
    """Return the id of a study in an experiment that means other images by the name of a data set;
    empty if there is none."""
    found = mlflow.get_experiment_by_name(experiment)
    if found is None:
        return ""
    for run in mlflow.MlflowClient().search_runs([found.experiment_id], STUDY_RUNS):
        tags = run.data.tags
        if tags.get(schema.TAG_DATASET) == name and tags.get(schema.TAG_CONTENT) != content:
            return str(tags.get(schema.TAG_ID))
    return ""


def newest_study(besides: str = "") -> str:
    """Return the id of the experiment, another than `besides`, that holds the newest study; empty
    if there is none."""
    ids = [one.experiment_id for one in mlflow.search_experiments(max_results=100)]
    others = [id_ for id_ in ids if id_ != besides]
    runs = mlflow.MlflowClient().search_runs(others, STUDY_RUNS, max_results=1) if others else []
    return runs[0].info.experiment_id if runs else ""


def studies_elsewhere(experiment_id: str) -> str:
    """Tell which other experiment holds the newest study, as one that `mlflow run` named."""
    newest = newest_study(besides=experiment_id)
    if not newest:
        return ""
    name = mlflow.get_experiment(newest).name
    return f"; the newest study is in experiment {name!r}: --experiment {shlex.quote(name)}"
