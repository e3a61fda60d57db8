"""From a preset to what a study declares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from analysis.questions import DESIGNS
from analysis.schema import Declaration
from models.config import Recipe
from models.data import Split
from models.noise import NOISE, UNSEARCHED, knowing_images, noise_type, plugins
from study import search_space
from study.presets import Preset
from study.runner import REFERENCES
from study.search import STUDY_SEED
from study.trial import Setting

OBJECTIVE = "val/accuracy"


def pick_noise_types(wanted: str, preset: Preset) -> tuple[str, ...]:
    """Return the noise types of a list: the registry's in its order, plug-ins, named classes.

    In it "preset" stands for the preset's own types, "all" for every registered one and every
    plug-in.

    Raises:
        ValueError: a name that means no type the search may have.
    """
    names = dict.fromkeys(REFERENCES)
    for word in wanted.split(","):
        names |= dict.fromkeys(_meant_by(word.strip(), preset))
    for name in names:
        if name in UNSEARCHED:
            raise ValueError(
                f"noise type {name} is not searched: it is a control, wrong on purpose, or too "
                "costly"
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
    """Return everything the study fixes before its first run; the hash of it is the study's id."""
    recipes = every_recipe(preset)
    return Declaration(
        preset=preset.name,
        recipes={recipe.name: asdict(recipe) for recipe in recipes},
        tuned_recipes=tuple(recipe.name for recipe in preset.recipes),
        noise_types=noise_types,
        finalists=preset.finalists,
        trials_per_type=preset.trials_per_type,
        search_seeds=preset.search_seeds,
        rerank_top=preset.rerank_top,
        rerank_seeds=preset.rerank_seeds,
        explore_seeds=preset.explore_seeds,
        max_rate=max_rate,
        search_space={
            **search_space.declared(noise_types, preset.recipes),
            "sampler": "anchors, then Sobol's sequence",
            "seed": STUDY_SEED,
        },
        objective=OBJECTIVE,
        questions=tuple(
            DESIGNS[name].declare(
                recipes,
                preset.seeds_of(DESIGNS[name].phase),
                noise_types,
                knowing_images(noise_types),
            )
            for name, recipes in preset.questions.items()
        ),
        data={
            "name": split.name,
            "digest": split.digest,
            "content": split.content,
            "train": len(split.train_y),
            "validation": len(split.validation_y),
            "test": len(split.test_y),
            "digests": {recipe.name: _part_of(split, recipe).digest for recipe in recipes},
        },
        precision=setting.precision,
        device=setting.device_type,
        robustness_seeds=preset.robustness_seeds,
    )


def _part_of(split: Split, recipe: Recipe) -> Split:
    """Return the split with the training images of a recipe, all of a smaller data set."""
    return split.subset(min(recipe.train_examples, len(split.train_y)))


def every_recipe(preset: Preset) -> list[Recipe]:
    """The recipes of a study: those that are tuned first."""
    asked = (recipe for recipes in preset.questions.values() for recipe in recipes)
    recipes = list(dict.fromkeys((*preset.recipes, *asked)))
    assert len({recipe.name for recipe in recipes}) == len(recipes), "two recipes of one name"
    return recipes
