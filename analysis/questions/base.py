"""The two halves of a question: its Design, which is declared, and the Conclusion from its runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis.formatting import RecipeWords
from analysis.schema import CONFIRM, IMAGE_TYPES, TUNED, Contrast, Question, base_metric
from analysis.stats.contrasts import rows_of
from analysis.stats.results import Answered, ContrastAnswer, Picture, Table
from analysis.stats.verdicts import Arms

MARGINS = {"test/accuracy": 0.002, "test/loss": 0.005}
"""The metrics a contrast is taken on -> what is negligible on each: 0.2 points, 0.005 nats."""

VALIDATION_MARGINS = {"val/accuracy": 0.002, "val/loss": 0.005}
"""The same for questions that never see test images."""

ALPHA = 0.05

RATE = 0.5
"""The dropout rate of the exercises."""


def label_at(noise: str, rate1: float = RATE, rate2: float = RATE) -> str:
    """Return the label of a noise type's arm at fixed rates."""
    return f"{noise}({rate1:g},{rate2:g})"


HALF = label_at("dropout")
"""The label of dropout at that rate in both layers."""

# Questions declare arms and import nothing that trains: these are `models.config.Recipe`, which
# makes its arms by `recipe.arm(noise, rate1, rate2, weight_decay, rate3)`, and `models.config.Arm`.
Recipe = Any
Arm = Any

Tuned = dict[str, Arm]
"""Noise type -> its tuned arm, the best type first; also DROPOUT_ALONE -> its own."""

DROPOUT_ALONE = "dropout alone"
"""Dropout without weight decay, which is tuned as such where a question asks for it."""


RIVALS = ("none", "dropout", DROPOUT_ALONE)
"""What every other noise type is measured against."""


def of_class(tuned: Tuned, knows_images: bool) -> list[Arm]:
    """Return the tuned arms of a class of noise, the best type first, without the rivals: of what
    knows that an input is an image, or of what would work on any input."""
    others = [arm for noise, arm in tuned.items() if noise not in RIVALS]
    return [arm for arm in others if arm.knows_images == knows_images]


def tuned_label(noise: str) -> str:
    """Return the label of a noise type's tuned arm."""
    return f"{TUNED}{noise}"


@dataclass(frozen=True)
class Comparison:
    """A contrast before it is bound to a metric and a recipe: term -> coefficient.

    A term is an arm label, or "label:metric", in which "{metric}" stands for the metric the
    contrast is bound to.

    Attributes:
        key: names the contrast for good; it is hashed into the study's id.
        name: what a reader sees; by default the key.
        margin_factor: for a contrast in another unit than a difference, such as a slope.
        metrics: those it is taken on; by default all of the design's.
        of_images: declared only if a noise type is searched that knows that an input is an image
            (True), or one that would work on any input (False); by default always.
    """

    key: str
    coefficients: dict[str, float]
    family: str = "main"
    candidate: str = ""
    name: str = ""
    margin_factor: float = 1.0
    metrics: tuple[str, ...] = ()
    of_images: bool | None = None


@dataclass(frozen=True)
class Design:
    """The declared half of a question: what is compared, and the rule that picks the arms.

    Attributes:
        comparisons: (noise types searched, recipe) -> the contrasts.
        arms: (recipe, tuned arm of each noise type) -> arm of each label.
        tunes_alone: DROPOUT_ALONE is searched for, too.
        recipes: names of those it is decided by, of `study.presets`.
        family_per_recipe: each recipe is a family of its own for Holm's correction.
        metrics: each metric the contrasts are taken on -> what is negligible on it.
        measures: arm label -> what is measured on its networks, names of `models.probes`.
        explore: (recipe, tuned arms) -> arms trained for a picture, on few seeds and validation
            images.
        names_winner: the best of its arms, on validation images, is kept as a model.
        phase: "confirm", or "audit" for runs that judge nobody's arm and never see test images.
        values: the arms' settings in words; the answer holds for these.
    """

    name: str
    title: str
    rule: str
    comparisons: Callable[[Sequence[str], Recipe], list[Comparison]]
    arms: Callable[[Recipe, Tuned], dict[str, Arm]]
    tunes_alone: bool = False
    recipes: tuple[str, ...] = ("small",)
    family_per_recipe: bool = True
    metrics: Mapping[str, float] = field(default_factory=lambda: MARGINS)
    measures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    explore: Callable[[Recipe, Tuned], list[Arm]] = lambda recipe, tuned: []
    phase: str = CONFIRM
    names_winner: bool = False
    values: str = "these settings"

    def declare(
        self,
        recipes: Sequence[Recipe],
        seeds: tuple[int, ...],
        noise_types: Sequence[str],
        image_types: Collection[str] = IMAGE_TYPES,
    ) -> Question:
        """Return the question as it is hashed and logged before the first run."""
        classes = {noise in image_types for noise in noise_types if noise not in RIVALS} | {None}
        contrasts = tuple(
            self._bind(comparison, recipe, metric)
            for recipe in recipes
            for metric in self.metrics
            for comparison in self.comparisons(noise_types, recipe)
            if comparison.of_images in classes
            and (not comparison.metrics or metric in comparison.metrics)
        )
        return Question(self.name, self.title, ALPHA, seeds, contrasts, self.rule, self.phase)

    def _bind(self, comparison: Comparison, recipe: Recipe, metric: str) -> Contrast:
        family = comparison.family
        if self.family_per_recipe:
            family = f"{family}, {recipe.name}"
        return Contrast(
            key=comparison.key,
            name=comparison.name or comparison.key,
            recipe=recipe.name,
            metric=metric,
            coefficients={
                term.format(metric=metric): value for term, value in comparison.coefficients.items()
            },
            margin=self.metrics[metric] * comparison.margin_factor,
            family=family,
            candidate=comparison.candidate,
        )


@dataclass(frozen=True)
class Evidence:
    """The runs that answer a question, and its contrasts as answered from them.

    Attributes:
        arms: recipe -> arm label -> arm name.
        images: arm name -> `analysis.store.image_scores.ImageScores`, where they were read.
        recipes: what each recipe is in words.
        image_types: the noise types that know that an input is an image.
        bins: of `analysis.store.curves.read_bins`, where they were read.
    """

    question: Question
    table: pd.DataFrame
    arms: Arms
    answered: Answered
    images: Mapping[str, Any] = field(default_factory=dict)
    recipes: RecipeWords = field(default_factory=RecipeWords)
    image_types: Collection[str] = IMAGE_TYPES
    bins: pd.DataFrame = field(default_factory=pd.DataFrame)

    def where(self, recipe: str, told: str = " ({})") -> str:
        """Return `told` of a recipe in words; nothing where the question has one recipe alone,
        which its takeaway names once."""
        asked = {contrast.recipe for contrast in self.question.contrasts}
        return told.format(self.recipes[recipe]) if len(asked) > 1 else ""

    def runs(self, recipe: str = "") -> dict[str, pd.DataFrame]:
        """Return arm label -> rows of its declared seeds, by seed; by default under the question's
        first recipe."""
        recipe = recipe or self.question.contrasts[0].recipe
        rows = rows_of(self.question, self.table)
        labels: dict[str, None] = {}
        for contrast in self.question.contrasts:
            if contrast.recipe == recipe:
                labels |= dict.fromkeys(label for label, _, _ in contrast.terms)
        runs = {}
        for label in labels:
            of_arm = rows.loc[rows["arm"] == self.arms.get(recipe, {}).get(label, "")]
            if len(of_arm):
                runs[label] = of_arm.set_index("seed").sort_index()
        return runs

    def on(self, kind: str) -> list[ContrastAnswer]:
        """Return the contrasts on one kind of score: "accuracy", "loss", "brier", ..."""
        return [
            answer
            for answer in self.answered.contrasts
            if base_metric(answer.contrast.metric) == kind
        ]


@dataclass(frozen=True)
class Conclusion:
    """What the contrasts of a question come to.

    Attributes:
        verdict: the answer in a few words.
        takeaway: one sentence more, derived from the verdicts; without a full stop.
        shown: contrasts whose numbers follow the verdict; by default all on accuracy.
        leading: contrasts that head the table of verdicts, where the declared order would not do.
        pictures: in place of the common figure.
    """

    verdict: str
    takeaway: str
    shown: Sequence[ContrastAnswer] = ()
    leading: Sequence[ContrastAnswer] = ()
    notes: Sequence[str] = ()
    tables: tuple[Table, ...] = ()
    pictures: Sequence[Picture] = ()


class Unanswered(Exception):
    """The contrasts that decide a question were not answered; by default the report says why."""
