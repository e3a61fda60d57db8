"""From a preset to what a study declares, and to what it will cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from models.config import Arm, Recipe
from models.data import Split
from models.noise import NOISE
from study import runner, schema, space
from study.designs import DESIGNS
from study.presets import Preset
from study.schema import Declaration
from study.search import STUDY_SEED
from study.trial import Setting, Trial

OBJECTIVE = "val/accuracy"


def pick_noise_types(wanted: str) -> tuple[str, ...]:
    """The noise types of a comma-separated list ("all" for all of them), in the registry's order.

    Raises:
        ValueError: a name that is not registered.
    """
    names = set(NOISE) if wanted == "all" else {name.strip() for name in wanted.split(",")} | set(runner.ALWAYS)
    unknown = sorted(names - set(NOISE))
    if unknown:
        raise ValueError(f"unknown noise type {', '.join(unknown)}: choose all, or some of {', '.join(NOISE)}")
    return tuple(name for name in NOISE if name in names)


def declare(
    preset: Preset, noise_types: tuple[str, ...], max_rate: float, split: Split, setting: Setting
) -> Declaration:
    """Everything the study fixes before its first run; the hash of it is the study's id."""
    return Declaration(
        preset=preset.name,
        recipes={recipe.name: asdict(recipe) for recipe in every_recipe(preset)},
        tuned_recipes=tuple(recipe.name for recipe in preset.recipes),
        noise_types=noise_types,
        finalists=preset.finalists,
        trials_per_type=preset.trials_per_type,
        search_seeds=preset.search_seeds,
        rerank_top=preset.rerank_top,
        rerank_seeds=preset.rerank_seeds,
        explore_seeds=preset.explore_seeds,
        max_rate=max_rate,
        search_space={**space.declared(noise_types), "sampler": "TPE", "seed": STUDY_SEED},
        objective=OBJECTIVE,
        questions=tuple(
            DESIGNS[name].declare(recipes, preset.seeds_of(DESIGNS[name].phase), noise_types)
            for name, recipes in preset.questions.items()
        ),
        data={
            "name": split.name,
            "digest": split.digest,
            "content": split.content,
            "train": len(split.train_y),
            "validation": len(split.validation_y),
            "test": len(split.test_y),
        },
        train_examples=preset.train_examples,
        precision=setting.precision,
        device=setting.device_type,
    )


def planned_trials(preset: Preset, noise_types: Sequence[str]) -> list[Trial]:
    """As many trials as the study will run, of the right size; what the search will find is stood in for."""

    def stand_in(noise: str, recipe: Recipe, count: int) -> Arm:
        rates = (0.0, 0.0) if noise == "none" else (0.2, 0.3)
        return Arm(noise, *rates, weight_decay=1e-6 * (1 + count), recipe=recipe)

    trials: list[Trial] = []
    types, tuned = tuple(noise_types), {}
    for recipe in preset.recipes:
        for noise in types:
            searched = [stand_in(noise, recipe, count) for count in range(preset.trials_per_type)]
            trials += [Trial(arm, preset.search_seeds, schema.SEARCH) for arm in searched]
            trials += [Trial(arm, preset.rerank_seeds, schema.RERANK) for arm in searched[: preset.rerank_top]]
        tuned[recipe] = {noise: stand_in(noise, recipe, i) for i, noise in enumerate(types)}
        types = runner.go_on(types, tuned[recipe], preset.finalists)
    trials += runner.explore_trials(preset, tuned)
    trials += runner.question_trials(runner.pick_arms(preset, tuned), preset)
    return trials


def every_recipe(preset: Preset) -> list[Recipe]:
    """The recipes of a study: those that are tuned first."""
    asked = (recipe for recipes in preset.questions.values() for recipe in recipes)
    recipes = list(dict.fromkeys((*preset.recipes, *asked)))
    assert len({recipe.name for recipe in recipes}) == len(recipes), "two recipes of one name"
    return recipes
