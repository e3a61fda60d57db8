"""The search as a storage that Optuna's own tools open, such as optuna-dashboard: one study for each tuned recipe.

It is made from the tracking store when it is asked for, and nothing reads it back: the store stays the only source.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from typing import Any

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from analysis.formatting import one_line
from analysis.schema import SEARCH, Declaration, higher_is_better
from analysis.store.reader import Study, TrialRun
from analysis.store.uri import StoreError, address

UNDER_WAY = "export under way"
"""A user attribute of an Optuna study, true until all is written: so what a killed export has left is told apart."""


class ExportError(StoreError):
    """The search cannot be exported; the message is one line for the user."""


def export(study: Study, url: str) -> dict[str, int]:
    """Writes the search of a study into an Optuna storage.

    A trial has the parameters and distributions that the search had, the mean of the objective over its seeds as its
    value (none where it FAILED), and as user attributes `arm`, `trial_number`, `trial_run`, `seed_runs` and
    `seed_values`, each of the latter by seed. Optuna numbers the trials anew where the search left a number out: one
    that it proposed twice is in the store once. Times are those of the export.

    Args:
        url: of a database, such as sqlite:///search.db; it is made if there is none.

    Returns:
        Name of each Optuna study written -> its number of trials.

    Raises:
        ExportError: there is no search, the storage cannot be opened or written or is not Optuna's, or has a study of
            the name.
    """
    declared = study.declaration
    searches = {
        study_name(study, recipe): (recipe, trials_of(study, recipe))
        for recipe in declared.tuned_recipes
    }
    searches = {name: search for name, search in searches.items() if search[1]}
    if not searches:
        raise ExportError(f"study {study.study_id} has no search trial yet: nothing to export")
    with quiet(), _told_in_a_line(url):
        storage = open_storage(url)
        _make_room(storage, url, searches)
        made: list[optuna.Study] = []
        try:
            for name, (recipe, trials) in searches.items():
                best = higher_is_better(declared.objective)
                direction = StudyDirection.MAXIMIZE if best else StudyDirection.MINIMIZE
                made.append(
                    optuna.create_study(storage=storage, study_name=name, direction=direction)
                )
                made[-1].set_user_attr(UNDER_WAY, True)
                made[-1].set_metric_names([f"mean {declared.objective}"])
                for key, value in _origin(study, recipe).items():
                    made[-1].set_user_attr(key, value)
                made[-1].add_trials(trials)
            for one in made:
                one.set_user_attr(UNDER_WAY, False)
        except BaseException:
            for one in made:  # half a search would pass for a whole one
                with contextlib.suppress(
                    OptunaError, SQLAlchemyError
                ):  # the first error is the one to tell
                    optuna.delete_study(study_name=one.study_name, storage=storage)
            raise
    return {name: len(trials) for name, (_, trials) in searches.items()}


def _make_room(
    storage: RDBStorage, url: str, searches: dict[str, tuple[str, list[FrozenTrial]]]
) -> None:
    """Deletes what an export that was killed has left of these searches.

    Raises:
        ExportError: one of them is there as a whole.
    """
    summaries = optuna.get_all_study_summaries(storage, include_best_trial=False)
    there = [one for one in summaries if one.study_name in searches]
    for one in there:
        if one.n_trials and not one.user_attrs.get(UNDER_WAY):
            told = f"has a study {one.study_name!r} already: delete it, or name another storage"
            raise ExportError(f"{shown(url)} {told}")
    for one in there:
        optuna.delete_study(study_name=one.study_name, storage=storage)


@contextlib.contextmanager
def _told_in_a_line(url: str) -> Iterator[None]:
    """What a storage raises that is locked, full or gone becomes an ExportError."""
    try:
        yield
    except (
        OptunaError,
        SQLAlchemyError,
        KeyError,
    ) as error:  # KeyError: another export deleted what this one wrote
        raise ExportError(
            f"{shown(url)} cannot be written: {one_line(error.__cause__ or error)}"
        ) from error


def study_name(study: Study, recipe: str) -> str:
    """What the search of a recipe is called among others in one storage."""
    return f"{study.declaration.preset} study {study.study_id}, search under {recipe}"


def trials_of(study: Study, recipe: str) -> list[FrozenTrial]:
    """The finished and the failed search trials of a recipe, in the order asked.

    Raises:
        ExportError: the study's declaration lacks its search space.
    """
    table = study.table
    rows = table.loc[(table["phase"] == SEARCH) & (table["recipe"] == recipe)]
    finished = set(rows["trial_hash"])
    failed = {
        trial.trial_hash: trial
        for trial in study.failed
        if trial.status == "FAILED"
        and trial.phase == SEARCH
        and trial.params.get("recipe") == recipe
        if trial.number is not None and trial.trial_hash not in finished
    }
    searched = {*rows["noise"], *(trial.params["noise"] for trial in failed.values())}
    types = tuple(noise for noise in study.declaration.noise_types if noise in searched)
    try:
        trials = [
            _finished(of_trial, study.declaration, types)
            for _, of_trial in rows.groupby("trial_hash")
        ]
        trials += [_failed(trial, study.declaration, types) for trial in failed.values()]
    except KeyError as error:
        raise ExportError(
            f"the declaration of study {study.study_id} lacks {error} of its search space"
        ) from error
    return sorted(trials, key=lambda trial: int(trial.user_attrs["trial_number"]))


def _finished(rows: pd.DataFrame, declared: Declaration, types: tuple[str, ...]) -> FrozenTrial:
    first, by_seed = rows.iloc[0], rows.set_index("seed")
    values = by_seed[declared.objective].astype(float)
    attributes = {
        "arm": str(first["arm"]),
        "trial_number": int(first["trial_number"]),
        "trial_run": str(first["trial_run_id"]),
        "seed_runs": {str(seed): str(run) for seed, run in by_seed["run_id"].items()},
        "seed_values": {str(seed): float(value) for seed, value in values.items()},
    }
    noise, rates = str(first["noise"]), (float(first["rate1"]), float(first["rate2"]))
    return create_trial(
        value=float(values.mean()),
        params=_parameters(declared, noise, rates, float(first["weight_decay"])),
        distributions=_distributions(declared, noise, types),
        user_attrs=attributes,
    )


def _failed(trial: TrialRun, declared: Declaration, types: tuple[str, ...]) -> FrozenTrial:
    noise, rates = (
        trial.params["noise"],
        (float(trial.params["rate1"]), float(trial.params["rate2"])),
    )
    return create_trial(
        state=TrialState.FAIL,
        params=_parameters(declared, noise, rates, float(trial.params["weight_decay"])),
        distributions=_distributions(declared, noise, types),
        user_attrs={"arm": trial.arm, "trial_number": trial.number, "trial_run": trial.run_id},
    )


def _distributions(
    declared: Declaration, noise: str, types: tuple[str, ...]
) -> dict[str, BaseDistribution]:
    """The space of a trial, as `study.search_space.distributions` made it: here from what was declared."""
    space = declared.search_space
    found: dict[str, BaseDistribution] = {"noise": CategoricalDistribution(types)}
    for name, (low, high) in zip(("rate1", "rate2"), space["bounds"][noise], strict=False):
        found[name] = FloatDistribution(low, min(high, declared.max_rate), step=space["rate_step"])
    low, high = space["log10_weight_decay"]
    found["log10_weight_decay"] = FloatDistribution(
        low, high, step=space["log10_weight_decay_step"]
    )
    return found


def _parameters(
    declared: Declaration, noise: str, rates: tuple[float, float], weight_decay: float
) -> dict[str, float | str]:
    """What was proposed: the rates that the type has, and the place of the weight decay on its grid."""
    space = declared.search_space
    low, step = space["log10_weight_decay"][0], space["log10_weight_decay_step"]
    found: dict[str, float | str] = {"noise": noise}
    found |= dict(zip(("rate1", "rate2")[: len(space["bounds"][noise])], rates, strict=False))
    return found | {
        "log10_weight_decay": low + round((math.log10(weight_decay) - low) / step) * step
    }


def _origin(study: Study, recipe: str) -> dict[str, Any]:
    return {
        "study_id": study.study_id,
        "study_run": study.run_id,
        "experiment": study.experiment,
        "tracking_store": address(),
        "recipe": {"name": recipe, **study.declaration.recipes[recipe]},
        "objective": study.declaration.objective,
        "search_seeds": list(study.declaration.search_seeds),
    }


def open_storage(url: str) -> RDBStorage:
    """Optuna's storage in a database.

    Raises:
        ExportError: no such database, or one that another program keeps its tables in, as the tracking store.
    """
    try:
        parts = make_url(url)
        if parts.get_backend_name() == "sqlite" and parts.database in (None, "", ":memory:"):
            raise ExportError(f"{url} would keep nothing: name a file, such as sqlite:///search.db")
        engine = create_engine(parts)
        try:
            tables = inspect(engine).get_table_names()
        finally:
            engine.dispose()
        if tables and "studies" not in tables:
            raise ExportError(
                f"{shown(url)} holds the tables of another program: name another database for Optuna"
            )
        return RDBStorage(url)
    except (SQLAlchemyError, ImportError, RuntimeError, ValueError, OSError) as error:
        if isinstance(error, ExportError):
            raise
        raise ExportError(
            f"{shown(url)} cannot be opened as an Optuna storage: {one_line(error)}"
        ) from error


def shown(url: str) -> str:
    """An address without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return repr(url)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within, Optuna says nothing of studies made, nor of what is experimental."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
