"""The study, told top to bottom: search, re-rank, pick, confirm."""

from __future__ import annotations

from dataclasses import replace

from analysis import schema
from analysis.questions import DESIGNS
from analysis.questions.base import Tuned
from analysis.stats import selection
from analysis.stats.selection import Ranked
from models.config import Arm, Recipe
from study.presets import Preset
from study.resumable import Session
from study.search import search
from study.trial import Trial

ALWAYS = ("none", "dropout")
"""What every question is measured against."""

Picked = dict[tuple[str, str], dict[str, Arm]]
"""(question, recipe name) -> arm label -> arm"""


class NothingToCompare(RuntimeError):
    """A study that cannot go on, since what all is measured against failed."""


def run_study(session: Session) -> None:
    """Runs what is missing of a study; afterwards the tracking store holds all of it."""
    preset, types = session.preset, session.declaration.noise_types
    tuned: dict[Recipe, Tuned] = {}
    for recipe in preset.recipes:
        run_search(session, recipe, types)
        rerank(session, recipe)
        tuned[recipe] = tuned_arms(session, recipe)
        types = go_on(types, tuned[recipe], preset.finalists)
    picked = pick_arms(preset, tuned)
    session.tracker.log_arms(arm_names(picked))
    session.run(explore_trials(preset, tuned))
    session.run(question_trials(picked, preset), winner=winner(session, picked))


def go_on(types: tuple[str, ...], tuned: Tuned, finalists: int) -> tuple[str, ...]:
    """The noise types tuned under the next recipe: what all are measured against, and the best of the others."""
    best = [noise for noise in tuned if noise not in ALWAYS][:finalists]
    return tuple(noise for noise in types if noise in (*ALWAYS, *best))


def run_search(session: Session, recipe: Recipe, noise_types: tuple[str, ...]) -> None:
    """Optuna's trials, on validation images."""
    declared = session.declaration

    def score(arms: dict[int, Arm]) -> dict[int, float]:
        trials = search_trials(arms, session.preset)
        session.run(trials)
        return {
            trial.number: session.objective(trial) for trial in trials if trial.number is not None
        }

    told = session.searched(recipe)
    search(recipe, noise_types, declared.trials_per_type, declared.max_rate, told, score)


def rerank(session: Session, recipe: Recipe) -> None:
    """The best few arms of each noise type, again, on new seeds."""
    table, declared = session.table(), session.declaration
    session.run(
        [
            Trial(to_arm(row, recipe), declared.rerank_seeds, schema.RERANK)
            for noise in _with_results(session, recipe, schema.SEARCH)
            for row in selection.rerank_candidates(
                table, noise, recipe.name, declared.objective, declared.rerank_top
            )
        ]
    )


def tuned_arms(session: Session, recipe: Recipe) -> Tuned:
    """The winner of each noise type, the best first; a type of which every trial diverged has none.

    Raises:
        NothingToCompare: that happened to what every question is measured against.
    """
    table, objective = session.table(), session.declaration.objective
    types = _with_results(session, recipe, schema.RERANK)
    if missing := [noise for noise in ALWAYS if noise not in types]:
        raise NothingToCompare(
            f"every trial of {' and of '.join(missing)} diverged under {recipe.name}"
        )
    best = [selection.rerank_ranking(table, noise, recipe.name, objective)[0] for noise in types]
    best.sort(key=lambda row: -row.score)
    return {row.noise: to_arm(row, recipe) for row in best}


def _with_results(session: Session, recipe: Recipe, phase: str) -> list[str]:
    """The noise types that have finished trials in a phase: diverged ones are not in the table."""
    table = session.table()
    rows = table[(table["phase"] == phase) & (table["recipe"] == recipe.name)]
    return [noise for noise in session.declaration.noise_types if noise in set(rows["noise"])]


def pick_arms(preset: Preset, tuned: dict[Recipe, Tuned]) -> Picked:
    """The arms that the questions' declared rules pick."""
    return {
        (name, recipe.name): DESIGNS[name].arms(recipe, tuned_for(recipe, tuned))
        for name, recipes in preset.questions.items()
        for recipe in recipes
    }


def tuned_for(recipe: Recipe, tuned: dict[Recipe, Tuned]) -> Tuned:
    """The tuned arms of a recipe; where none were tuned under it, those of the first, trained by this one."""
    if recipe in tuned:
        return tuned[recipe]
    first, *_ = tuned.values()
    return {noise: replace(arm, recipe=recipe) for noise, arm in first.items()}


def winner(session: Session, picked: Picked) -> Arm | None:
    """Of the arms of the question that names a winner, the best one on the re-ranking's validation images.

    None where no such question is asked. The test images have no say in it.
    """
    table, objective = session.table(), session.declaration.objective
    arms = {
        arm.name: arm
        for (question, _), arms in picked.items()
        for arm in arms.values()
        if DESIGNS[question].names_winner
    }
    best = selection.best_reranked(table, list(arms), objective)
    return arms[best] if best else None


def arm_names(picked: Picked) -> dict[str, dict[str, str]]:
    """Recipe name -> arm label -> arm name; under a recipe, a label means the same arm in every question."""
    names: dict[str, dict[str, str]] = {}
    for (_, recipe), arms in picked.items():
        for label, arm in arms.items():
            known = names.setdefault(recipe, {}).setdefault(label, arm.name)
            assert known == arm.name, (
                f"two questions mean different arms by {label!r} under {recipe}"
            )
    return names


def search_trials(arms: dict[int, Arm], preset: Preset) -> list[Trial]:
    """One trial for each of Optuna's trial numbers."""
    return [
        Trial(arm, preset.search_seeds, schema.SEARCH, number=number)
        for number, arm in arms.items()
    ]


def explore_trials(preset: Preset, tuned: dict[Recipe, Tuned]) -> list[Trial]:
    """The arms of the questions' pictures, on few seeds and validation images."""
    questions: dict[Arm, dict[str, None]] = {}
    for name, recipes in preset.questions.items():
        for recipe in recipes:
            for arm in DESIGNS[name].explore(recipe, tuned_for(recipe, tuned)):
                questions.setdefault(arm, {})[name] = None
    if not preset.explore_seeds:
        return []
    return [
        Trial(arm, preset.explore_seeds, schema.EXPLORE, tuple(names))
        for arm, names in questions.items()
    ]


def question_trials(picked: Picked, preset: Preset) -> list[Trial]:
    """Every arm once in each phase, with all the questions it serves and all they want measured."""
    questions: dict[tuple[str, Arm], dict[str, None]] = {}
    measures: dict[tuple[str, Arm], dict[str, None]] = {}
    for (name, _), arms in picked.items():
        design = DESIGNS[name]
        for label, arm in arms.items():
            questions.setdefault((design.phase, arm), {})[name] = None
            measures.setdefault((design.phase, arm), {}).update(
                dict.fromkeys(design.measures.get(label, ()))
            )
    return [
        Trial(
            arm,
            preset.seeds_of(phase),
            phase,
            tuple(names),
            measures=tuple(sorted(measures[phase, arm])),
        )
        for (phase, arm), names in questions.items()
    ]


def to_arm(row: Ranked, recipe: Recipe) -> Arm:
    """The arm of a row of a ranking."""
    return Arm(row.noise, row.rate1, row.rate2, row.weight_decay, recipe)
