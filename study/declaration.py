"""From a preset to what a study declares, and to what it will cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from analysis import schema
from analysis.questions import DESIGNS
from analysis.schema import Declaration
from models.config import Arm, Recipe
from models.data import Split
from models.noise import NOISE, UNSEARCHED, noise_type, plugins
from study import runner, search_space
from study.presets import Preset
from study.search import STUDY_SEED, asked_together
from study.trial import Setting, Trial

OBJECTIVE = "val/accuracy"


def pick_noise_types(wanted: str, preset: Preset) -> tuple[str, ...]:
    """The noise types of a comma-separated list: the registry's in its order, then plug-ins, then classes as named.

    In it "preset" stands for the preset's own types, "all" for every registered one and every plug-in.

    Raises:
        ValueError: a name that means no type the search may have.
    """
    names = dict.fromkeys(runner.ALWAYS)
    for word in wanted.split(","):
        names |= dict.fromkeys(_meant_by(word.strip(), preset))
    for name in names:
        if name in UNSEARCHED:
            raise ValueError(
                f"noise type {name} is not searched: it is a control, wrong on purpose, or too costly"
            )
        noise_type(name)
    plugged_in = sorted(name for name in names if name not in NOISE and ":" not in name)
    return (
        *(name for name in NOISE if name in names),
        *plugged_in,
        *(name for name in names if ":" in name),
    )


def _meant_by(word: str, preset: Preset) -> Sequence[str]:
    match word:
        case "preset":
            return preset.noise_types
        case "all":
            return [*NOISE, *plugins.plug_ins({*NOISE, *UNSEARCHED})]
    return [word]


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
        search_space={**search_space.declared(noise_types), "sampler": "TPE", "seed": STUDY_SEED},
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
        train_examples=len(split.train_y),  # the preset's, or all of a smaller data set
        precision=setting.precision,
        device=setting.device_type,
    )


def planned_trials(preset: Preset, noise_types: Sequence[str]) -> list[Trial]:
    """As many trials as the study will run, of the right size; what the search will find is stood in for."""
    return [trial for stage in planned_stages(preset, noise_types) for trial in stage]


def planned_stages(preset: Preset, noise_types: Sequence[str]) -> list[list[Trial]]:
    """The same, by stages: what is trained side by side before what comes next can be known."""
    stages: list[list[Trial]] = []
    types, tuned = tuple(noise_types), {}
    for recipe in preset.recipes:
        rounds = [
            [stand_in(noise, recipe, turn) for noise in types]
            for turn in range(preset.trials_per_type)
        ]
        stages += [
            [
                Trial(arm, preset.search_seeds, schema.SEARCH)
                for turn in turns
                for arm in rounds[turn]
            ]
            for turns in asked_together(preset.trials_per_type)
        ]
        best = rounds[: preset.rerank_top]
        stages.append(
            [Trial(arm, preset.rerank_seeds, schema.RERANK) for arms in best for arm in arms]
        )
        tuned[recipe] = {noise: stand_in(noise, recipe, i) for i, noise in enumerate(types)}
        types = runner.go_on(types, tuned[recipe], preset.finalists)
    stages.append(runner.explore_trials(preset, tuned))
    stages.append(runner.question_trials(runner.pick_arms(preset, tuned), preset))
    return [stage for stage in stages if stage]


def stand_in(noise: str, recipe: Recipe, count: int = 0) -> Arm:
    """An arm in place of one that the search will find; another for each count."""
    rates = [
        min(value, rate.high)
        for value, rate in zip((0.2, 0.3), noise_type(noise).rates, strict=False)
    ]
    rate1, rate2, *_ = (*rates, 0.0, 0.0)
    return Arm(noise, rate1, rate2, weight_decay=1e-6 * (1 + count), recipe=recipe)


def every_recipe(preset: Preset) -> list[Recipe]:
    """The recipes of a study: those that are tuned first."""
    asked = (recipe for recipes in preset.questions.values() for recipe in recipes)
    recipes = list(dict.fromkeys((*preset.recipes, *asked)))
    assert len({recipe.name for recipe in recipes}) == len(recipes), "two recipes of one name"
    return recipes
