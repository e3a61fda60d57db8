"""The study, told top to bottom: search, re-rank, pick, confirm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from analysis import schema
from analysis.questions import DESIGNS
from analysis.questions.base import DROPOUT_ALONE, Tuned, of_class, tuned_label
from analysis.questions.beat_dropout import at_other_rates
from models.config import Arm, Recipe
from study.presets import Preset
from study.trial import Trial

NO_NOISE = ("none",)
REFERENCES = (*NO_NOISE, "dropout")
"""The noise types that every question is measured against."""

Picked = dict[tuple[str, str], dict[str, Arm]]
"""(question, recipe name) -> arm label -> arm"""


class Study(Protocol):
    """What a study is run on: `resumable` trains and logs, `planning.dry_run` counts."""

    preset: Preset
    noise_types: tuple[str, ...]

    def search(self, recipe: Recipe, labels: Sequence[str]) -> None:
        """Run the search trials of noise types, or of DROPOUT_ALONE, on validation images."""

    def run(self, trials: Sequence[Trial], winner: Arm | None = None) -> None:
        """Finish the trials; of the winner, keep one network as a model."""

    def shortlist(self, recipe: Recipe, labels: Sequence[str]) -> list[Arm]:
        """Return the best few arms of each search, to train again on new seeds."""

    def tuned_arms(self, recipe: Recipe) -> Tuned:
        """Return the winner of each search, the best type first."""

    def tried(self, recipe: Recipe) -> Tuned:
        """Return the first arm of each search, whether it has a winner or every trial diverged."""

    def best_of(self, arms: Sequence[Arm]) -> Arm | None:
        """Return the best of the arms on the re-ranking's validation images."""

    def log_arms(self, names: dict[str, dict[str, str]]) -> None:
        """Log recipe name -> arm label -> arm name, before the confirm phase."""


def run_study(study: Study) -> None:
    """Run what is missing of a study; afterwards the tracking store holds all of it."""
    preset, types = study.preset, study.noise_types
    tuned: dict[Recipe, Tuned] = {}
    for recipe in preset.recipes:
        # No noise first: the others begin at its weight decay.
        for labels in (NO_NOISE, searched_beside(preset, types, recipe)):
            study.search(recipe, labels)
            study.run(rerank_trials(study, recipe, labels))
        tuned[recipe] = study.tuned_arms(recipe)
        types = finalists(types, tuned[recipe], preset.finalists)
    picked = pick_arms(preset, tuned)
    tried = {recipe: study.tried(recipe) for recipe in tuned}
    study.log_arms(arm_names(picked, tuned, tried))
    study.run([*explore_trials(preset, tuned), *robustness_trials(preset, tuned)])
    study.run(question_trials(preset, picked), winner=study.best_of(candidates(picked)))


def searched_beside(preset: Preset, types: Sequence[str], recipe: Recipe) -> tuple[str, ...]:
    """Return what is searched beside no noise: other types, and dropout alone where asked for."""
    asked = any(
        DESIGNS[name].tunes_alone and recipe in recipes
        for name, recipes in preset.questions.items()
    )
    others = [noise for noise in types if noise not in NO_NOISE]
    return (*others, DROPOUT_ALONE) if asked else tuple(others)


def search_trials(preset: Preset, label: str, arms: Sequence[Arm], first: int) -> list[Trial]:
    """Return the trials of a search: a seed for each, another one each time.

    Dropout alone has seeds of its own: with those of dropout, a trial could be one of both.

    Args:
        first: number of the search's first trial.
    """
    seeds = preset.alone_seeds if label == DROPOUT_ALONE else preset.search_seeds
    return [
        Trial(arm, (seed,), schema.SEARCH, number=first + place)
        for place, (arm, seed) in enumerate(zip(arms, seeds, strict=True))
    ]


def rerank_trials(study: Study, recipe: Recipe, labels: Sequence[str]) -> list[Trial]:
    """Return the best few arms of each search, on new seeds."""
    seeds = study.preset.rerank_seeds
    arms = dict.fromkeys(study.shortlist(recipe, labels))  # two searches may find the same arm
    return [Trial(arm, seeds, schema.RERANK) for arm in arms]


def finalists(types: Sequence[str], tuned: Tuned, count: int) -> tuple[str, ...]:
    """Return the noise types tuned under the next recipe: the references and the best others, half
    of them from each class of noise where it has so many."""
    half, ranked = count // 2, [arm.noise for arm in tuned.values()]
    of_both = [arm.noise for knows in (False, True) for arm in of_class(tuned, knows)[:half]]
    others = [noise for noise in dict.fromkeys((*of_both, *ranked)) if noise not in REFERENCES]
    return tuple(noise for noise in types if noise in (*REFERENCES, *others[:count]))


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


def arm_names(
    picked: Picked, tuned: dict[Recipe, Tuned], tried: dict[Recipe, Tuned]
) -> dict[str, dict[str, str]]:
    """Return recipe name -> arm label -> arm name, of all tuned arms and those of the questions.

    Under a recipe, a label means the same arm in every question. A search in which every trial
    diverged has one of those for its tuned arm: without a name the type would look like one that
    was not picked for the recipe, and not like one that is untested.
    """
    names = {
        recipe.name: {tuned_label(label): arm.name for label, arm in arms.items()}
        for recipe, arms in tuned.items()
    }
    for (_, recipe), arms in picked.items():
        for label, arm in arms.items():
            known = names.setdefault(recipe, {}).setdefault(label, arm.name)
            assert known == arm.name, f"two questions mean different arms by {label!r} ({recipe})"
    for of_recipe, arms in tried.items():
        for label, arm in arms.items():
            names[of_recipe.name].setdefault(tuned_label(label), arm.name)
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


def robustness_trials(preset: Preset, tuned: dict[Recipe, Tuned]) -> list[Trial]:
    """Return the best types again at other learning rates, where a question names a winner."""
    trials = []
    for recipe in preset.questions.get("beat-dropout", ()):
        for arm in at_other_rates(tuned_for(recipe, tuned)):
            seeds = preset.robustness_seeds
            trials.append(Trial(arm, seeds, schema.EXPLORE, ("beat-dropout",)))
    return trials


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
