"""What a declared question consists of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from analysis.schema import CONFIRM, Contrast, Question
from models.config import Arm, Recipe

MARGINS = {"test/accuracy": 0.002, "test/loss": 0.005}
"""The metrics every contrast is taken on, and what is negligible on each: 0.2 points, 0.005 nats."""

ALPHA = 0.05

Tuned = dict[str, Arm]
"""Noise type -> its tuned arm, the best type first."""


@dataclass(frozen=True)
class Comparison:
    """A contrast before it is bound to a metric and a recipe: term -> coefficient.

    A term is an arm label, or "label:metric", in which "{metric}" stands for the metric the contrast is bound to.
    """

    name: str
    coefficients: dict[str, float]
    family: str = "main"
    candidate: str = ""
    margin_factor: float = 1.0
    """For a contrast in another unit than a difference, such as a slope."""
    metrics: tuple[str, ...] = ()
    """The metrics it is taken on; by default all of the design's."""


@dataclass(frozen=True)
class Design:
    """A question: what is compared, and the rule that picks the arms.

    Attributes:
        exercise: its number among the exercises, by which a report is ordered.
        comparisons: (noise types searched, recipe) -> the contrasts.
        arms: (recipe, tuned arm of each noise type) -> arm of each label.
        recipes: names of those it is decided by, of `decay`, `long`, `constant` and `book`.
        family_per_recipe: whether each recipe is a family of its own for Holm's correction.
        metrics: each metric the contrasts are taken on -> what is negligible on it.
        measures: arm label -> what is measured on its networks beside the usual, names of `models.probes`.
        explore: (recipe, tuned arms) -> arms that are also trained, on few seeds and validation images, for a picture.
        names_winner: whether the best of its arms, on validation images, is kept as a model.
        phase: "confirm", or "audit" for runs that judge nobody's arm and never see test images.
    """

    name: str
    title: str
    exercise: int
    rule: str
    comparisons: Callable[[Sequence[str], Recipe], list[Comparison]]
    arms: Callable[[Recipe, Tuned], dict[str, Arm]]
    recipes: tuple[str, ...] = ("decay",)
    family_per_recipe: bool = True
    metrics: Mapping[str, float] = field(default_factory=lambda: MARGINS)
    measures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    explore: Callable[[Recipe, Tuned], list[Arm]] = lambda recipe, tuned: []
    phase: str = CONFIRM
    names_winner: bool = False

    def declare(
        self, recipes: Sequence[Recipe], seeds: tuple[int, ...], noise_types: Sequence[str]
    ) -> Question:
        """The question as it is hashed and logged before the first run."""
        contrasts = tuple(
            Contrast(
                name=comparison.name,
                recipe=recipe.name,
                metric=metric,
                coefficients={
                    term.format(metric=metric): value
                    for term, value in comparison.coefficients.items()
                },
                margin=margin * comparison.margin_factor,
                family=f"{comparison.family}, {recipe.name}"
                if self.family_per_recipe
                else comparison.family,
                candidate=comparison.candidate,
            )
            for recipe in recipes
            for metric, margin in self.metrics.items()
            for comparison in self.comparisons(noise_types, recipe)
            if not comparison.metrics or metric in comparison.metrics
        )
        return Question(self.name, self.title, ALPHA, seeds, contrasts, self.rule, self.phase)
