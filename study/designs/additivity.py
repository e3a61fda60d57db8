"""Exercise 5: are the gains of dropout and weight decay additive?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from models.config import Arm, Recipe
from study.designs.base import Comparison, Design


def comparisons(noise_types: Sequence[str]) -> list[Comparison]:
    """The three gains over no regularisation, the pair against each single, and the interaction."""
    return [
        Comparison("dropout - none", {"dropout": 1.0, "none": -1.0}),
        Comparison("weight decay - none", {"weight decay": 1.0, "none": -1.0}),
        Comparison("both - none", {"both": 1.0, "none": -1.0}),
        Comparison("both - dropout", {"both": 1.0, "dropout": -1.0}),
        Comparison("both - weight decay", {"both": 1.0, "weight decay": -1.0}),
        Comparison("interaction", {"both": 1.0, "dropout": -1.0, "weight decay": -1.0, "none": 1.0}),
    ]


def arms(recipe: Recipe, tuned: dict[str, Arm]) -> dict[str, Arm]:
    """The 2 x 2 of tuned values: the rates of tuned dropout, the weight decay tuned without noise."""
    weight_decay = tuned["none"].weight_decay
    return {
        "none": replace(tuned["none"], weight_decay=0.0),
        "dropout": replace(tuned["dropout"], weight_decay=0.0),
        "weight decay": tuned["none"],
        "both": replace(tuned["dropout"], weight_decay=weight_decay),
    }


DESIGN = Design(
    name="additivity",
    title="Are the gains of dropout and weight decay additive?",
    rule=(
        "A 2 x 2 of tuned values: the rates are those of the tuned dropout arm, the weight decay that of the tuned arm "
        "without noise; each is also run alone, and both are left out once."
    ),
    family_per_recipe=True,
    comparisons=comparisons,
    arms=arms,
)
