"""The search in a storage that Optuna's own tools open: one study for each tuned recipe.

It is made from the tracking store when asked for, and nothing reads it back.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from analysis.formatting import one_line, redacted
from analysis.schema import RATES, SEARCH, higher_is_better
from analysis.store.optuna_space import distributions, parameters
from analysis.store.reader import Study
from analysis.store.search_trials import search_trials
from analysis.store.uri import StoreError, address

UNDER_WAY = "export under way"
"""A user attribute, true until all is written: tells what a killed export has left."""


class ExportError(StoreError):
    """The search cannot be exported; the message is one line for the user."""


def export(study: Study, url: str) -> dict[str, int]:
    """Write the search of a study into an Optuna storage.

    A trial has the search's parameters and distributions, the mean of the objective over its seeds
    as its value (none where it FAILED), and as user attributes `arm`, `trial_number`, `trial_run`,
    `seed_runs` and `seed_values`. Optuna numbers the trials again where the search left a number
    out: an arm that it proposed twice is in the store once. Times are those of the export.

    Args:
        url: of a database, such as sqlite:///search.db; it is made if there is none.

    Returns:
        Name of each Optuna study written -> its number of trials.

    Raises:
        ExportError: there is no search, the storage cannot be opened or written or is not Optuna's,
            or has a study of the name.
    """
    searches = {}
    for recipe in study.declaration.tuned_recipes:
        if trials := trials_of(study, recipe):
            searches[study_name(study, recipe)] = (recipe, trials)
    if not searches:
        raise ExportError(f"study {study.study_id} has no search trial yet: nothing to export")
    with quiet(), _one_line_errors(url):
        storage = open_storage(url)
        _make_room(storage, url, set(searches))
        try:
            for name, (recipe, trials) in searches.items():
                _write(study, storage, name, recipe, trials)
            for name in searches:
                optuna.load_study(study_name=name, storage=storage).set_user_attr(UNDER_WAY, False)
        except BaseException:
            for name in searches:  # half a search would pass for a whole one
                with contextlib.suppress(OptunaError, SQLAlchemyError, KeyError):
                    optuna.delete_study(study_name=name, storage=storage)
            raise
    return {name: len(trials) for name, (_, trials) in searches.items()}


def _write(
    study: Study, storage: RDBStorage, name: str, recipe: str, trials: list[FrozenTrial]
) -> None:
    objective = study.declaration.objective
    best = higher_is_better(objective)
    direction = StudyDirection.MAXIMIZE if best else StudyDirection.MINIMIZE
    written = optuna.create_study(storage=storage, study_name=name, direction=direction)
    written.set_user_attr(UNDER_WAY, True)
    written.set_metric_names([f"mean {objective}"])
    origin: dict[str, Any] = {
        "study_id": study.study_id,
        "study_run": study.run_id,
        "experiment": study.experiment,
        "tracking_store": address(),
        "recipe": {"name": recipe, **study.declaration.recipes[recipe]},
        "objective": objective,
        "search_seeds": list(study.declaration.search_seeds),
    }
    for key, value in origin.items():
        written.set_user_attr(key, value)
    written.add_trials(trials)


def _make_room(storage: RDBStorage, url: str, names: set[str]) -> None:
    """Delete what an export that was killed has left of these studies.

    Raises:
        ExportError: one of them is there as a whole.
    """
    summaries = optuna.get_all_study_summaries(storage, include_best_trial=False)
    present = [summary for summary in summaries if summary.study_name in names]
    for summary in present:
        if summary.n_trials and not summary.user_attrs.get(UNDER_WAY):
            raise ExportError(
                f"{redacted(url)} has a study {summary.study_name!r} already: delete it, or name "
                "another storage"
            )
    for summary in present:
        optuna.delete_study(study_name=summary.study_name, storage=storage)


@contextlib.contextmanager
def _one_line_errors(url: str) -> Iterator[None]:
    """Tell a storage that is locked, full or gone as an ExportError."""
    try:
        yield
    except (OptunaError, SQLAlchemyError, KeyError) as error:  # KeyError: deleted meanwhile
        cause = error.__cause__ or error
        raise ExportError(f"{redacted(url)} cannot be written: {one_line(cause)}") from error


def study_name(study: Study, recipe: str) -> str:
    """Return the name of a recipe's search among others in one storage."""
    return f"{study.declaration.preset} study {study.study_id}, search under {recipe}"


def trials_of(study: Study, recipe: str) -> list[FrozenTrial]:
    """Return the finished and the failed search trials of a recipe, in the order asked.

    Raises:
        ExportError: the study's declaration lacks its search space.
    """
    declared = study.declaration
    table = search_trials(study.table, recipe, declared.objective)
    failed = [
        trial
        for trial in study.failed
        if trial.status == "FAILED"
        and trial.phase == SEARCH
        and trial.params.get("recipe") == recipe
        and trial.number is not None
        and trial.trial_hash not in set(table["trial_hash"])
    ]
    searched = {*table["noise"], *(trial.params["noise"] for trial in failed)}
    types = [noise for noise in declared.noise_types if noise in searched]

    def trial(noise: str, rates: list[float], weight_decay: float, **rest: Any) -> FrozenTrial:
        space = declared.search_space
        return create_trial(
            params=parameters(space, noise, rates, weight_decay),
            distributions=distributions(space, noise, types, recipe, declared.max_rate),
            **rest,
        )

    trials = {}
    try:
        for number, row in table.iterrows():
            seeds = study.table.loc[study.table["trial_hash"] == row["trial_hash"]]
            attributes = {
                "arm": str(row["arm"]),
                "trial_number": int(number),
                "trial_run": str(row["trial_run_id"]),
                "seed_runs": dict(
                    zip(map(str, seeds["seed"]), map(str, seeds["run_id"]), strict=True)
                ),
                "seed_values": dict(
                    zip(map(str, seeds["seed"]), map(float, seeds[declared.objective]), strict=True)
                ),
            }
            rates = [float(row[name]) for name in RATES]
            trials[int(number)] = trial(
                str(row["noise"]),
                rates,
                float(row["weight_decay"]),
                value=float(row["score"]),
                user_attrs=attributes,
            )
        for failure in failed:
            settings = failure.params
            attributes = {
                "arm": failure.arm,
                "trial_number": failure.number,
                "trial_run": failure.run_id,
            }
            trials[int(failure.number or 0)] = trial(
                settings["noise"],
                [float(settings.get(name, 0.0)) for name in RATES],
                float(settings["weight_decay"]),
                state=TrialState.FAIL,
                user_attrs=attributes,
            )
    except KeyError as error:
        raise ExportError(
            f"the declaration of study {study.study_id} lacks {error} of its search space"
        ) from error
    return [trials[number] for number in sorted(trials)]


def open_storage(url: str) -> RDBStorage:
    """Open Optuna's storage in a database.

    Raises:
        ExportError: no such database, or one that holds another program's tables.
    """
    try:
        parts = make_url(url)
        if parts.get_backend_name() == "sqlite" and parts.database in (None, "", ":memory:"):
            raise ExportError(
                f"{redacted(url)} would keep nothing: name a file, such as sqlite:///search.db"
            )
        engine = create_engine(parts)
        try:
            tables = inspect(engine).get_table_names()
        finally:
            engine.dispose()
        if tables and "studies" not in tables:
            raise ExportError(
                f"{redacted(url)} holds the tables of another program: name another database for "
                "Optuna"
            )
        return RDBStorage(url)
    except ExportError:
        raise
    except (SQLAlchemyError, ImportError, RuntimeError, ValueError, OSError) as error:
        raise ExportError(
            f"{redacted(url)} cannot be opened as an Optuna storage: {one_line(error)}"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Optuna's lines on studies made and on what is experimental."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
