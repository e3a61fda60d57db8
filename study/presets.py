"""The training recipes, and how much of the study to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from analysis import schema
from analysis.questions import DESIGNS
from analysis.questions.epochs import DECAYED, SIZES
from models.config import Recipe
from models.noise import NOISE, knowing_images

# Two recipes tune and decide: there the network overfits without noise, and the learning rate ends
# at 0, so that a larger step gains nothing (docs/decisions/0017).
SMALL = Recipe("small", epochs=100, momentum=0.9, schedule="cosine", train_examples=5_000)
"""Few data, which the network can memorise: the textbook's case for dropout."""
LONG = Recipe("long", epochs=80, momentum=0.9, schedule="cosine")
"""All data, for long enough to overfit."""

# Where an exercise asks for them; they tune nothing and crown nobody.
BOOK = Recipe("book", epochs=10)
"""The exercises' own: SGD at a constant 0.1. Its last step is mostly oscillation."""
CONSTANT = Recipe("constant", epochs=100)
"""`book` for ten times as long: one training passes through all shorter ones."""
DECAY = Recipe("decay", epochs=10, schedule="linear")
"""`book` with the learning rate falling to 0: too short to overfit."""


def of_size(name: str, images: int) -> Recipe:
    """Return `small` on so many training images, for as many steps."""
    steps = SMALL.epochs * -(-SMALL.train_examples // SMALL.batch_size)
    epochs = round(steps / -(-images // SMALL.batch_size))
    return replace(SMALL, name=name, epochs=epochs, train_examples=images)


BY_SIZE = tuple(of_size(name, images) for name, images in SIZES.items())
"""`small`, and the same over the size of the training set."""
BY_EPOCHS = tuple(
    replace(LONG, name=name, epochs=epochs)
    for name, epochs in DECAYED.items()
    if name not in SIZES  # whose largest is `long` at 10 epochs
)
"""`long` at other lengths, with the rates tuned under the first recipe at each of them."""

CLASSIC = (
    "none",
    "dropout",
    "gaussian",
    "uniform",
    "dropconnect",
    "gaussian-weights",
    "randomised-slope",
    "input-dropout",
    "input-gaussian",
    "input-dropout+dropout",
    "shift",
)
"""The noise types that `full` searches: one or two of each site."""

CONTEST_ONLY = "ingredients"
"""The question that takes the winners apart, which needs many types to win against."""

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
        trials_per_type: search trials of each noise type, the same for all.
        rerank_top: so many best arms of each type are trained again on `rerank_seeds`.
        finalists: so many noise types beside none and dropout are tuned under the later recipes,
            half of them of each class.
        robustness_seeds: of the best types again at other learning rates.
        noise_types: those searched where none are asked for.
    """

    name: str
    recipes: tuple[Recipe, ...]
    questions: dict[str, tuple[Recipe, ...]]
    confirm_seeds: tuple[int, ...]
    trials_per_type: int = 25
    rerank_top: int = 3
    rerank_seeds: tuple[int, ...] = seeds(100, 5)
    explore_seeds: tuple[int, ...] = ()
    robustness_seeds: tuple[int, ...] = seeds(400, 5)
    audit_seeds: tuple[int, ...] = seeds(300, 10)
    finalists: int = 8
    noise_types: tuple[str, ...] = CLASSIC

    @property
    def search_seeds(self) -> tuple[int, ...]:
        """The seeds of a type's search: each of its trials has another one."""
        return seeds(0, self.trials_per_type)

    @property
    def alone_seeds(self) -> tuple[int, ...]:
        """The same of the search for dropout without weight decay."""
        return seeds(50, self.trials_per_type)

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

    def on_images(self, count: int) -> Preset:
        """Return the same study without the sizes of the training set that so many images lack."""
        questions = dict(self.questions)
        if "epochs" in questions:
            questions["epochs"] = tuple(
                recipe
                for recipe in questions["epochs"]
                if recipe.name not in SIZES or recipe.train_examples <= count
            )
        return replace(self, questions=questions)

    def searching(self, noise_types: tuple[str, ...]) -> Preset:
        """Return the same study without the questions that compare nothing among these types.

        Raises:
            ValueError: none is left.
        """
        left = {
            name: recipes
            for name, recipes in self.questions.items()
            if DESIGNS[name]
            .declare(recipes, (), noise_types, knowing_images(noise_types))
            .contrasts
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


GLIMPSE = replace(SMALL, name="glimpse", epochs=4, train_examples=1_000)
"""`small` at a size that shows nothing: that a study runs can be seen in seconds."""

SMOKE = Preset(
    "smoke",
    recipes=(GLIMPSE,),
    questions=headline(GLIMPSE),
    confirm_seeds=seeds(1000, 3),
    trials_per_type=4,
    rerank_top=1,
    rerank_seeds=seeds(100, 1),
    robustness_seeds=seeds(400, 1),
    audit_seeds=seeds(300, 3),
    noise_types=("none", "dropout", "gaussian", "shift"),
)
QUICK = Preset(
    "quick",
    recipes=(SMALL,),
    questions=headline(SMALL),
    confirm_seeds=seeds(1000, 8),
    trials_per_type=15,
    rerank_top=2,
    rerank_seeds=seeds(100, 3),
    robustness_seeds=seeds(400, 2),
    noise_types=("none", "dropout", "input-dropout+dropout", "shift"),
)
FULL = Preset(
    "full",
    recipes=(SMALL, LONG),
    questions=every_question(*BY_SIZE, *BY_EPOCHS, LONG, DECAY, CONSTANT, BOOK),
    confirm_seeds=seeds(1000, 20),
    explore_seeds=seeds(200, 3),
)
CONTEST = Preset(
    "contest",
    recipes=(SMALL, LONG),
    questions=dict.fromkeys(("beat-dropout", CONTEST_ONLY), (SMALL, LONG)),
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
