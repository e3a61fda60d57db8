"""The study, told top to bottom: search, re-rank, pick, confirm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from analysis import schema
from analysis.questions import DESIGNS
from analysis.questions.base import Tuned
from models.config import Arm, Recipe
from study.presets import Preset
from study.trial import Trial

REFERENCES = ("none", "dropout")
"""The noise types that every question is measured against."""

Picked = dict[tuple[str, str], dict[str, Arm]]
"""(question, recipe name) -> arm label -> arm"""


class Study(Protocol):
    """What a study is run on: `study.resumable` trains and logs, `study.planning.dry_run`
    counts."""

    preset: Preset
    noise_types: tuple[str, ...]

    def search(self, recipe: Recipe, noise_types: Sequence[str]) -> None:
        """Run Optuna's trials on validation images."""

    def run(self, trials: Sequence[Trial], winner: Arm | None = None) -> None:
        """Finish the trials; of the winner, keep one network as a model."""

    def best_searched(self, recipe: Recipe, noise_types: Sequence[str]) -> list[Arm]:
        """Return the best few arms of each noise type, to train again on new seeds."""

    def tuned_arms(self, recipe: Recipe) -> Tuned:
        """Return the winner of each noise type's re-ranking, the best type first."""

    def best_of(self, arms: Sequence[Arm]) -> Arm | None:
        """Return the best of the arms on the re-ranking's validation images."""

    def log_arms(self, names: dict[str, dict[str, str]]) -> None:
        """Log recipe name -> arm label -> arm name, before the confirm phase."""


def run_study(study: Study) -> None:
    """Run what is missing of a study; afterwards the tracking store holds all of it."""
    preset, types = study.preset, study.noise_types
    tuned: dict[Recipe, Tuned] = {}
    for recipe in preset.recipes:
        study.search(recipe, types)
        study.run(rerank_trials(study, recipe, types))
        tuned[recipe] = study.tuned_arms(recipe)
        types = finalists(types, tuned[recipe], preset.finalists)
    picked = pick_arms(preset, tuned)
    study.log_arms(arm_names(picked))
    study.run(explore_trials(preset, tuned))
    study.run(question_trials(preset, picked), winner=study.best_of(candidates(picked)))


def search_trials(preset: Preset, arms: dict[int, Arm]) -> list[Trial]:
    """Return a trial for each of Optuna's trial numbers."""
    seeds = preset.search_seeds
    return [Trial(arm, seeds, schema.SEARCH, number=number) for number, arm in arms.items()]


def rerank_trials(study: Study, recipe: Recipe, noise_types: Sequence[str]) -> list[Trial]:
    """Return the best few arms of each noise type, on new seeds."""
    seeds = study.preset.rerank_seeds
    arms = study.best_searched(recipe, noise_types)
    return [Trial(arm, seeds, schema.RERANK) for arm in arms]


def finalists(types: Sequence[str], tuned: Tuned, count: int) -> tuple[str, ...]:
    """Return the noise types tuned under the next recipe: the references and the best others."""
    best = [noise for noise in tuned if noise not in REFERENCES][:count]
    return tuple(noise for noise in types if noise in (*REFERENCES, *best))


def tuned_for(recipe: Recipe, tuned: dict[Recipe, Tuned]) -> Tuned:
    """Return the tuned arms of a recipe, else those of the first recipe, trained by this one."""
    if recipe in tuned:
        return tuned[recipe]
    first, *_ = tuned.values()
    return {noise: arm.with_recipe(recipe) for noise, arm in first.items()}


def pick_arms(preset: Preset, tuned: dict[Recipe, Tuned]) -> Picked:
    """Return the arms that the questions' declared rules pick."""
    picked: Picked = {}
    for name, recipes in preset.questions.items():
        for recipe in recipes:
            picked[name, recipe.name] = DESIGNS[name].arms(recipe, tuned_for(recipe, tuned))
    return picked


def candidates(picked: Picked) -> list[Arm]:
    """Return the arms of the questions that name a winner; test images have no say in it."""
    arms: dict[Arm, None] = {}
    for (question, _), labelled in picked.items():
        if DESIGNS[question].names_winner:
            arms |= dict.fromkeys(labelled.values())
    return list(arms)


def arm_names(picked: Picked) -> dict[str, dict[str, str]]:
    """Return recipe name -> arm label -> arm name.

    Under a recipe, a label means the same arm in every question.
    """
    names: dict[str, dict[str, str]] = {}
    for (_, recipe), arms in picked.items():
        for label, arm in arms.items():
            known = names.setdefault(recipe, {}).setdefault(label, arm.name)
            assert known == arm.name, f"two questions mean different arms by {label!r} ({recipe})"
    return names


def explore_trials(preset: Preset, tuned: dict[Recipe, Tuned]) -> list[Trial]:
    """Return the arms of the questions' pictures, on few seeds and validation images."""
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


def question_trials(preset: Preset, picked: Picked) -> list[Trial]:
    """Return every arm once a phase, with all questions it serves and all they want measured."""
    questions: dict[tuple[str, Arm], dict[str, None]] = {}
    measures: dict[tuple[str, Arm], set[str]] = {}
    for (name, _), arms in picked.items():
        design = DESIGNS[name]
        for label, arm in arms.items():
            questions.setdefault((design.phase, arm), {})[name] = None
            measures.setdefault((design.phase, arm), set()).update(design.measures.get(label, ()))
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
