"""The training recipes, and how much of the study to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from analysis import schema
from analysis.questions import DESIGNS
from models.config import Recipe
from models.noise import NOISE

BOOK = Recipe("book", epochs=10)
"""The exercises' own: SGD at a constant 0.1. Its last step is mostly oscillation."""
CONSTANT = Recipe("constant", epochs=100)
"""`book` for ten times as long: one training passes through all shorter ones."""
DECAY = Recipe("decay", epochs=10, schedule="linear")
"""`book` with the learning rate falling to 0: the end point is a property of the arm."""
LONG = Recipe("long", epochs=80, momentum=0.9, schedule="cosine")
"""A horizon at which the network overfits and regularisation binds."""
SHORT = Recipe("short", epochs=3, momentum=0.9, schedule="cosine")
"""`long` in three epochs, too short to overfit."""

CLASSIC = (
    "none",
    "dropout",
    "gaussian",
    "uniform",
    "dropconnect",
    "gaussian-weights",
    "randomised-slope",
)
"""The noise types that a preset searches by itself: one or two of each site."""

CONTEST_ONLY = "ingredients"
"""The question about a candidate of the contest, which other presets do not search."""

MAX_SEEDS = 100_000
FIRST_SEED, LAST_SEED = 1000, 2**31
"""Bounds of the first seed that answers: those below belong to the phases that tune."""


def seeds(first: int, count: int) -> tuple[int, ...]:
    """Return `count` consecutive seeds."""
    return tuple(range(first, first + count))


@dataclass(frozen=True)
class Preset:
    """The size of a study. Each phase has seeds of its own, so no score selects and judges at once.

    Attributes:
        recipes: those that arms are tuned under; any other takes the values tuned under the first.
        questions: each question asked -> the recipes it is asked under.
        trials_per_type: Optuna trials of each noise type, the same for all.
        rerank_top: so many best arms of each type are trained again on `rerank_seeds`.
        finalists: so many noise types beside none and dropout are tuned under the later recipes.
        train_examples: training images used, at most 50,000; fewer make a demonstration.
        noise_types: those searched where none are asked for.
    """

    name: str
    recipes: tuple[Recipe, ...]
    questions: dict[str, tuple[Recipe, ...]]
    confirm_seeds: tuple[int, ...]
    trials_per_type: int = 5
    search_seeds: tuple[int, ...] = seeds(0, 3)
    rerank_top: int = 2
    rerank_seeds: tuple[int, ...] = seeds(100, 3)
    explore_seeds: tuple[int, ...] = ()
    audit_seeds: tuple[int, ...] = seeds(300, 10)
    finalists: int = 5
    train_examples: int = 50_000
    noise_types: tuple[str, ...] = CLASSIC

    def seeds_of(self, phase: str) -> tuple[int, ...]:
        """Return the seeds that a phase trains on."""
        return {
            schema.SEARCH: self.search_seeds,
            schema.RERANK: self.rerank_seeds,
            schema.EXPLORE: self.explore_seeds,
            schema.AUDIT: self.audit_seeds,
            schema.CONFIRM: self.confirm_seeds,
        }[phase]

    def asking(self, names: Sequence[str]) -> Preset:
        """Return the same study of these questions alone, without recipes that none of them needs.

        Raises:
            ValueError: the preset asks no such question.
        """
        if unknown := sorted(set(names) - set(self.questions)):
            wrong = ", ".join(name or repr(name) for name in unknown)
            raise ValueError(
                f"preset {self.name} asks no question {wrong}: choose all, or some of "
                f"{', '.join(self.questions)}"
            )
        questions = {name: self.questions[name] for name in self.questions if name in names}
        asked = {recipe for recipes in questions.values() for recipe in recipes}
        first, *later = self.recipes
        needed = (first, *(recipe for recipe in later if recipe in asked))
        return replace(self, questions=questions, recipes=needed)

    def searching(self, noise_types: tuple[str, ...]) -> Preset:
        """Return the same study without the questions that compare nothing among these types.

        Raises:
            ValueError: none is left.
        """
        left = {
            name: recipes
            for name, recipes in self.questions.items()
            if DESIGNS[name].declare(recipes, (), noise_types).contrasts
        }
        if not left:
            raise ValueError(
                f"{', '.join(self.questions)}: these noise types leave nothing to compare; try "
                "--noise all"
            )
        return replace(self, questions=left)

    def answered_on(self, fresh: tuple[int, ...]) -> Preset:
        """Return the same study with these seeds for its answers."""
        return replace(self, confirm_seeds=fresh, audit_seeds=fresh)


def headline(recipe: Recipe) -> dict[str, tuple[Recipe, ...]]:
    """Return the three questions that need no other recipe than the tuned one."""
    return {name: (recipe,) for name in ("swap", "additivity", "beat-dropout")}


def every_question(*recipes: Recipe) -> dict[str, tuple[Recipe, ...]]:
    """Return all questions of the exercises, each under those recipes that it is decided by."""
    named = {recipe.name: recipe for recipe in recipes}
    questions = {}
    for name, design in DESIGNS.items():
        if name != CONTEST_ONLY:
            questions[name] = tuple(named[recipe] for recipe in design.recipes)
    return questions


_GLIMPSE = replace(SHORT, epochs=1)
_LONG_20, _LONG_30 = replace(LONG, epochs=20), replace(LONG, epochs=30)

SMOKE = Preset(
    "smoke",
    recipes=(_GLIMPSE,),
    questions=headline(_GLIMPSE),
    confirm_seeds=seeds(1000, 3),
    trials_per_type=2,
    search_seeds=seeds(0, 2),
    rerank_top=1,
    rerank_seeds=seeds(100, 1),
    explore_seeds=seeds(200, 1),
    audit_seeds=seeds(300, 3),
    train_examples=1_000,
)
QUICK = Preset("quick", recipes=(SHORT,), questions=headline(SHORT), confirm_seeds=seeds(1000, 10))
FULL = Preset(
    "full",
    recipes=(DECAY, _LONG_30),
    questions=every_question(DECAY, _LONG_30, CONSTANT, BOOK),
    confirm_seeds=seeds(1000, 20),
    explore_seeds=seeds(200, 3),
    finalists=2,
)
CONTEST = Preset(
    "contest",
    recipes=(DECAY, _LONG_20),
    questions=dict.fromkeys(("beat-dropout", CONTEST_ONLY), (DECAY, _LONG_20)),
    confirm_seeds=seeds(2000, 20),  # `full` has used those from 1000 on
    noise_types=tuple(NOISE),
)
PRESETS = {preset.name: preset for preset in (SMOKE, QUICK, FULL, CONTEST)}


def chosen(name: str, questions: str, count: int | None, first: int | None) -> Preset:
    """Return a preset with the questions and seeds asked for in place of its own ("all", None).

    Raises:
        ValueError: no such question.
    """
    preset = PRESETS[name]
    wanted = [question.strip() for question in questions.split(",")]
    if "all" not in wanted:
        preset = preset.asking(wanted)
    if count is None and first is None:
        return preset
    start = preset.confirm_seeds[0] if first is None else first
    return preset.answered_on(seeds(start, count or len(preset.confirm_seeds)))
