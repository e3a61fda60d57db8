"""Exercise 1: what if the dropout rates of the two layers are swapped?"""

from __future__ import annotations

from collections.abc import Sequence

from models.config import Arm, Recipe
from study.designs.base import Comparison, Design

PAIRS = ((0.1, 0.5), (0.2, 0.5), (0.1, 0.9))


def label(rate1: float, rate2: float) -> str:
    """The label of a dropout arm at these rates."""
    return f"dropout({rate1:g},{rate2:g})"


def comparisons(noise_types: Sequence[str]) -> list[Comparison]:
    """Small rate first against large rate first, for each pair."""
    return [
        Comparison(
            f"dropout ({low:g}, {high:g}) - ({high:g}, {low:g})", {label(low, high): 1.0, label(high, low): -1.0}
        )
        for low, high in PAIRS
    ]


def arms(recipe: Recipe, tuned: dict[str, Arm]) -> dict[str, Arm]:
    """Both orders of each pair, without weight decay."""
    orders = [rates for low, high in PAIRS for rates in ((low, high), (high, low))]
    return {label(*rates): Arm("dropout", *rates, weight_decay=0.0, recipe=recipe) for rates in orders}


DESIGN = Design(
    name="swap",
    title="Does it matter which layer gets the larger dropout rate?",
    rule="The pairs are fixed: (0.1, 0.5), (0.2, 0.5), (0.1, 0.9), each in both orders, without weight decay.",
    family_per_recipe=True,
    comparisons=comparisons,
    arms=arms,
)
