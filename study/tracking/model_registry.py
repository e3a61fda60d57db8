"""The winner in MLflow's model registry: one name, one alias, tags that lead to the evidence."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from analysis import schema
from analysis.formatting import arms_in_words, one_line
from analysis.store.uri import STORE_ERRORS
from models.config import Arm
from study.tracking.cleanup import find_runs
from study.tracking.writer import Tracker

NAME, ALIAS = "dropout-study-champion", "champion"
TAG_VALIDATION, TAG_TEST, TAG_REPORT, TAG_STUDY_RUN = (
    f"study.{name}" for name in ("val_accuracy", "test_accuracy", "report", "study_run")
)


def register(tracker: Tracker, winner: Arm | None) -> str:
    """Register the winner's model as a version of `NAME`; return what the user is to know of it.

    Done once for each study. A store that has no registry, or does not answer, is told and breaks
    nothing.
    """
    if winner is None:
        return "no model: no question was asked that names a winner"
    named = arms_in_words(winner.name)
    try:
        client, run = tracker.client, _run_of(tracker, winner)
        if run is None or run.outputs is None or not run.outputs.model_outputs:
            return f"the winner is {named}; it could not be kept as a model (docs/decisions/0009)"
        version = _version(client, run, run.outputs.model_outputs[0].model_id)
        for key, value in _tags(tracker, run).items():
            client.set_model_version_tag(NAME, version.version, key, value)
        return f"the winner is {named}, {_crown(client, version.version)}"
    except STORE_ERRORS as error:
        return (
            f"the winner is {named}; not registered ({one_line(error)}): the same command "
            "tries again"
        )


def _run_of(tracker: Tracker, winner: Arm) -> Run | None:
    """The seed run that holds the winner's model: the confirm phase's first seed."""
    condition = (
        f"and tags.`{schema.TAG_ARM}` = '{winner.name}' and tags.`{schema.TAG_PHASE}` = "
        f"'{schema.CONFIRM}' and attributes.status = 'FINISHED'"
    )
    study_id = tracker.declaration.study_id
    found = find_runs(tracker.experiment_id, study_id, "seed", condition)
    return min(found, key=lambda run: int(run.data.tags[schema.TAG_SEED]), default=None)


def _version(client: MlflowClient, run: Run, model: str) -> ModelVersion:
    """The run's version of the registered model; made if need be."""
    try:
        client.create_registered_model(
            NAME, description="Winners of the studies; each version's tags say which."
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = client.search_model_versions(f"name = '{NAME}' and run_id = '{run.info.run_id}'")
    if known:
        return known[0]
    return client.create_model_version(NAME, f"models:/{model}", run.info.run_id, model_id=model)


def _tags(tracker: Tracker, run: Run) -> dict[str, str]:
    """Return the tags that lead from a version to its evidence."""
    kept = (
        schema.TAG_ARM,
        schema.TAG_QUESTION,
        schema.TAG_SEED,
        schema.TAG_DATA,
        schema.TAG_CONTENT,
    )
    return {
        schema.TAG_ID: tracker.declaration.study_id,
        schema.TAG_PRESET: tracker.declaration.preset,
        **{tag: run.data.tags[tag] for tag in kept},
        TAG_STUDY_RUN: tracker.run_id,
        TAG_REPORT: f"runs:/{tracker.run_id}/{schema.REPORT_FOLDER}/index.html",
        TAG_VALIDATION: repr(run.data.metrics["val/accuracy"]),
        TAG_TEST: repr(run.data.metrics["test/accuracy"]),
    }


def _crown(client: MlflowClient, version: str) -> str:
    """Give the alias to a version, unless its holder does better on the same validation images.

    So a demonstration that runs after the real study does not take its place.
    """
    tags = client.get_model_version(NAME, version).tags
    holder = client.get_registered_model(NAME).aliases.get(ALIAS)
    if holder and holder != version:
        held = client.get_model_version(NAME, holder).tags
        same = held.get(schema.TAG_CONTENT) == tags[schema.TAG_CONTENT]
        if same and float(held.get(TAG_VALIDATION, 0)) > float(tags[TAG_VALIDATION]):
            return (
                f"models:/{NAME}/{version}; the {ALIAS} stays version {holder}, better on "
                "validation images"
            )
    client.set_registered_model_alias(NAME, ALIAS, version)
    return f"models:/{NAME}@{ALIAS} (version {version})"
