"""How much of the study to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from analysis import schema
from analysis.questions import DESIGNS
from models.config import Recipe
from models.noise import NOISE
from study.recipes import BOOK, CONSTANT, DECAY, LONG, SHORT

CLASSIC = (
    "none",
    "dropout",
    "gaussian",
    "uniform",
    "dropconnect",
    "gaussian-weights",
    "randomised-slope",
)
"""The noise types that a preset searches by itself: one or two of each site, so that `quick` stays quick."""


@dataclass(frozen=True)
class Preset:
    """The size of a study. Each phase has seeds of its own, so no score selects and judges at once.

    Attributes:
        recipes: those that arms are tuned under; any other takes the values tuned under the first.
        questions: each question asked -> the recipes it is asked under.
        trials_per_type: Optuna trials of each noise type, the same for all.
        rerank_top: the best so many of each type are trained again on `rerank_seeds`.
        finalists: so many noise types beside none and dropout are tuned under the later recipes.
        train_examples: training images used, at most 50,000; fewer make a demonstration, not a study.
        noise_types: those searched where none are asked for.
    """

    name: str
    recipes: tuple[Recipe, ...]
    questions: dict[str, tuple[Recipe, ...]]
    trials_per_type: int
    search_seeds: tuple[int, ...]
    rerank_top: int
    rerank_seeds: tuple[int, ...]
    explore_seeds: tuple[int, ...]
    audit_seeds: tuple[int, ...]
    confirm_seeds: tuple[int, ...]
    finalists: int = 5
    train_examples: int = 50_000
    noise_types: tuple[str, ...] = CLASSIC

    def seeds_of(self, phase: str) -> tuple[int, ...]:
        """The seeds that a phase trains on."""
        return {
            schema.SEARCH: self.search_seeds,
            schema.RERANK: self.rerank_seeds,
            schema.EXPLORE: self.explore_seeds,
            schema.AUDIT: self.audit_seeds,
            schema.CONFIRM: self.confirm_seeds,
        }[phase]

    def asking(self, names: Sequence[str]) -> Preset:
        """The same study of these questions alone, without the recipes that none of them is asked under.

        Raises:
            ValueError: the preset asks no such question.
        """
        if unknown := sorted(set(names) - set(self.questions)):
            choice, wrong = (
                ", ".join(self.questions),
                ", ".join(name or repr(name) for name in unknown),
            )
            raise ValueError(
                f"preset {self.name} asks no question {wrong}: choose all, or some of {choice}"
            )
        questions = {name: recipes for name, recipes in self.questions.items() if name in names}
        asked = {recipe for recipes in questions.values() for recipe in recipes}
        first, *later = self.recipes
        return replace(
            self,
            questions=questions,
            recipes=(first, *(recipe for recipe in later if recipe in asked)),
        )

    def searching(self, noise_types: tuple[str, ...]) -> Preset:
        """The same study of these types, without the questions that have nothing to compare among them.

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
                f"{', '.join(self.questions)}: these noise types leave nothing to compare; try --noise all"
            )
        return replace(self, questions=left)

    def answered_on(self, fresh: tuple[int, ...]) -> Preset:
        """The same study with these seeds for its answers."""
        return replace(self, confirm_seeds=fresh, audit_seeds=fresh)


def seeds(first: int, count: int) -> tuple[int, ...]:
    """`count` consecutive seeds."""
    return tuple(range(first, first + count))


def headline(recipe: Recipe) -> dict[str, tuple[Recipe, ...]]:
    """The three questions that need no other recipe than the one that is tuned."""
    return {name: (recipe,) for name in ("swap", "additivity", "beat-dropout")}


CONTEST_ONLY = "ingredients"
"""The question about a candidate of the contest, which other presets do not search."""


def every_question(*recipes: Recipe) -> dict[str, tuple[Recipe, ...]]:
    """All the exercises' questions, each under those of the recipes that it is decided by."""
    named = {recipe.name: recipe for recipe in recipes}
    designs = {name: design for name, design in DESIGNS.items() if name != CONTEST_ONLY}
    return {
        name: tuple(named[recipe] for recipe in design.recipes) for name, design in designs.items()
    }


GLIMPSE, MIDDLE = replace(SHORT, epochs=1), replace(LONG, epochs=20)

PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "smoke",
            recipes=(GLIMPSE,),
            questions=headline(GLIMPSE),
            trials_per_type=2,
            search_seeds=seeds(0, 2),
            rerank_top=1,
            rerank_seeds=seeds(100, 1),
            explore_seeds=seeds(200, 1),
            audit_seeds=seeds(300, 3),
            confirm_seeds=seeds(1000, 3),
            train_examples=1_000,
        ),
        Preset(
            "quick",
            recipes=(SHORT,),
            questions=headline(SHORT),
            trials_per_type=5,
            search_seeds=seeds(0, 3),
            rerank_top=2,
            rerank_seeds=seeds(100, 3),
            explore_seeds=(),
            audit_seeds=seeds(300, 10),
            confirm_seeds=seeds(1000, 10),
        ),
        Preset(
            "full",
            recipes=(DECAY, replace(LONG, epochs=30)),
            questions=every_question(DECAY, replace(LONG, epochs=30), CONSTANT, BOOK),
            trials_per_type=5,
            search_seeds=seeds(0, 3),
            rerank_top=2,
            rerank_seeds=seeds(100, 3),
            explore_seeds=seeds(200, 3),
            audit_seeds=seeds(300, 10),
            confirm_seeds=seeds(1000, 20),
            finalists=2,
        ),
        Preset(
            "contest",
            recipes=(DECAY, MIDDLE),
            questions=dict.fromkeys(("beat-dropout", CONTEST_ONLY), (DECAY, MIDDLE)),
            trials_per_type=5,
            search_seeds=seeds(0, 3),
            rerank_top=2,
            rerank_seeds=seeds(100, 3),
            explore_seeds=(),
            audit_seeds=seeds(300, 10),
            confirm_seeds=seeds(2000, 20),  # `full` has used those from 1000 on
            noise_types=tuple(NOISE),
        ),
    )
}


MIN_SEEDS, MAX_SEEDS = 3, 100_000
FIRST_SEED, LAST_SEED = 1000, 2**31
"""The lowest and the highest of the first seed that answers: those below belong to the phases that tune."""


def chosen(name: str, questions: str, count: int | None, first: int | None) -> Preset:
    """A preset, with the questions and the seeds that were asked for in place of its own ("all", None).

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
