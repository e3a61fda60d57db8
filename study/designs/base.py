"""What a declared question consists of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.config import Arm, Recipe
from study.schema import Contrast, Question

MARGINS = {"test/accuracy": 0.002, "test/loss": 0.005}
"""The metrics every contrast is taken on, and what is negligible on each (PROTOCOL: 0.2 points, 0.005 nats)."""

ALPHA = 0.05


@dataclass(frozen=True)
class Comparison:
    """A contrast before it is bound to a metric and a recipe: arm label -> coefficient."""

    name: str
    coefficients: dict[str, float]
    family: str = "main"
    candidate: str = ""


@dataclass(frozen=True)
class Design:
    """A question: what is compared, and the rule that picks the arms.

    Attributes:
        family_per_recipe: whether each recipe is a family of its own for Holm's correction.
        comparisons: noise types searched -> the contrasts.
        arms: (recipe, tuned arm of each noise type) -> arm of each label.
    """

    name: str
    title: str
    rule: str
    family_per_recipe: bool
    comparisons: Callable[[Sequence[str]], list[Comparison]]
    arms: Callable[[Recipe, dict[str, Arm]], dict[str, Arm]]

    def declare(self, recipes: Sequence[Recipe], seeds: tuple[int, ...], noise_types: Sequence[str]) -> Question:
        """The question as it is hashed and logged before the first run."""
        contrasts = tuple(
            Contrast(
                name=comparison.name,
                recipe=recipe.name,
                metric=metric,
                coefficients=comparison.coefficients,
                margin=margin,
                family=f"{comparison.family}, {recipe.name}" if self.family_per_recipe else comparison.family,
                candidate=comparison.candidate,
            )
            for recipe in recipes
            for metric, margin in MARGINS.items()
            for comparison in self.comparisons(noise_types)
        )
        return Question(self.name, self.title, ALPHA, seeds, contrasts, self.rule)
