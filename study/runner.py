"""The study, told top to bottom: search, re-rank, pick, confirm."""

from __future__ import annotations

import pandas as pd

from analysis import selection
from analysis.selection import Ranked
from models.config import Arm, Recipe
from models.noise import NOISE
from study import schema
from study.designs import DESIGNS
from study.presets import Preset
from study.search import search
from study.session import Session
from study.trial import Trial

ALWAYS = ("none", "dropout")
"""What every question is measured against."""

Labels = dict[str, dict[str, Arm]]
"""question -> arm label -> arm"""


class NothingToCompare(RuntimeError):
    """A study that cannot go on, since what all is measured against failed."""


def run_study(session: Session) -> None:
    """Runs what is missing of a study; afterwards the tracking store holds all of it."""
    preset = session.preset
    tuned = {}
    for recipe in preset.recipes:
        run_search(session, recipe)
        rerank(session, recipe)
        tuned[recipe] = tuned_arms(session, recipe)
    picked = {recipe: pick_arms(recipe, arms) for recipe, arms in tuned.items()}
    session.tracker.log_arms({recipe.name: arm_names(labels) for recipe, labels in picked.items()})
    for recipe, labels in picked.items():
        best, *_ = tuned[recipe].values()
        session.run(confirm_trials(labels, preset), winner=best)


def run_search(session: Session, recipe: Recipe) -> None:
    """Optuna's trials, on validation images."""
    declared = session.declaration

    def score(arms: dict[int, Arm]) -> dict[int, float]:
        trials = search_trials(arms, session.preset)
        session.run(trials)
        return {trial.number: session.objective(trial) for trial in trials if trial.number is not None}

    told = session.searched(recipe)
    search(recipe, declared.noise_types, declared.trials_per_type, declared.max_rate, told, score)


def rerank(session: Session, recipe: Recipe) -> None:
    """The best few arms of each noise type, again, on new seeds."""
    table, declared = session.table(), session.declaration
    session.run(
        [
            Trial(to_arm(row, recipe), declared.rerank_seeds, schema.RERANK)
            for noise in _with_results(table, recipe, schema.SEARCH)
            for row in selection.rerank_candidates(table, noise, recipe.name, declared.objective, declared.rerank_top)
        ]
    )


def tuned_arms(session: Session, recipe: Recipe) -> dict[str, Arm]:
    """The winner of each noise type, the best first; a type of which every trial diverged has none.

    Raises:
        NothingToCompare: that happened to what every question is measured against.
    """
    table, objective = session.table(), session.declaration.objective
    types = _with_results(table, recipe, schema.RERANK)
    if missing := [noise for noise in ALWAYS if noise not in types]:
        raise NothingToCompare(f"every trial of {' and of '.join(missing)} diverged under {recipe.name}")
    best = [selection.rerank_ranking(table, noise, recipe.name, objective)[0] for noise in types]
    best.sort(key=lambda row: -row.score)
    return {row.noise: to_arm(row, recipe) for row in best}


def _with_results(table: pd.DataFrame, recipe: Recipe, phase: str) -> list[str]:
    """The noise types that have finished trials in a phase: diverged ones are not in the table."""
    rows = table[(table["phase"] == phase) & (table["recipe"] == recipe.name)]
    return [noise for noise in NOISE if noise in set(rows["noise"])]


def pick_arms(recipe: Recipe, tuned: dict[str, Arm]) -> Labels:
    """The arms that the questions' declared rules pick."""
    return {name: design.arms(recipe, tuned) for name, design in DESIGNS.items()}


def arm_names(labels: Labels) -> dict[str, str]:
    """Arm label -> arm name; a label means the same arm in every question."""
    names: dict[str, str] = {}
    for arms in labels.values():
        for label, arm in arms.items():
            assert names.setdefault(label, arm.name) == arm.name, f"two questions mean different arms by {label!r}"
    return names


def search_trials(arms: dict[int, Arm], preset: Preset) -> list[Trial]:
    """One trial for each of Optuna's trial numbers."""
    return [Trial(arm, preset.search_seeds, schema.SEARCH, number=number) for number, arm in arms.items()]


def confirm_trials(labels: Labels, preset: Preset) -> list[Trial]:
    """Every arm once, with all the questions it serves, on fresh seeds and the test images."""
    questions: dict[Arm, list[str]] = {}
    for question, arms in labels.items():
        for arm in dict.fromkeys(arms.values()):
            questions.setdefault(arm, []).append(question)
    return [Trial(arm, preset.confirm_seeds, schema.CONFIRM, tuple(names)) for arm, names in questions.items()]


def to_arm(row: Ranked, recipe: Recipe) -> Arm:
    """The arm of a row of a ranking."""
    return Arm(row.noise, row.rate1, row.rate2, row.weight_decay, recipe)
