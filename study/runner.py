"""The study, told top to bottom: search, re-rank, pick, confirm."""

from __future__ import annotations

from analysis import selection
from analysis.selection import Ranked
from models.config import Arm, Recipe
from study import schema
from study.designs import DESIGNS
from study.presets import Preset
from study.search import search
from study.session import Session
from study.trial import Trial

Labels = dict[str, dict[str, Arm]]
"""question -> arm label -> arm"""


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
            for noise in declared.noise_types
            for row in selection.rerank_candidates(table, noise, recipe.name, declared.objective, declared.rerank_top)
        ]
    )


def tuned_arms(session: Session, recipe: Recipe) -> dict[str, Arm]:
    """The winner of each noise type, the best first."""
    table, declared = session.table(), session.declaration
    best = [
        selection.rerank_ranking(table, noise, recipe.name, declared.objective)[0] for noise in declared.noise_types
    ]
    best.sort(key=lambda row: -row.score)
    return {row.noise: to_arm(row, recipe) for row in best}


def pick_arms(recipe: Recipe, tuned: dict[str, Arm]) -> Labels:
    """The arms that the questions' declared rules pick."""
    return {name: design.arms(recipe, tuned) for name, design in DESIGNS.items()}


def arm_names(labels: Labels) -> dict[str, str]:
    """Arm label -> arm name; a label means the same arm in every question."""
    return {label: arm.name for arms in labels.values() for label, arm in arms.items()}


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
