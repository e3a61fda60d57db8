"""Exercise 1: what if the dropout rates of the two layers are swapped?"""

from __future__ import annotations

from collections.abc import Sequence

from models.config import Arm, Recipe
from study.designs.base import Comparison, Design, Tuned

GRID = (0.0, 0.2, 0.5, 0.8)
PAIRS = ((0.1, 0.5), (0.2, 0.5), (0.1, 0.9))


def label(rate1: float, rate2: float) -> str:
    """The label of a dropout arm at these rates."""
    return f"dropout({rate1:g},{rate2:g})"


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """Small rate first against large rate first, for each pair."""
    return [
        Comparison(
            f"dropout ({low:g}, {high:g}) - ({high:g}, {low:g})",
            {label(low, high): 1.0, label(high, low): -1.0},
        )
        for low, high in PAIRS
    ]


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """Both orders of each pair, without weight decay."""
    orders = [rates for low, high in PAIRS for rates in ((low, high), (high, low))]
    return {
        label(*rates): Arm("dropout", *rates, weight_decay=0.0, recipe=recipe) for rates in orders
    }


def explore(recipe: Recipe, tuned: Tuned) -> list[Arm]:
    """The plane of the two rates."""
    return [Arm("dropout", rate1, rate2, 0.0, recipe) for rate1 in GRID for rate2 in GRID]


DESIGN = Design(
    name="swap",
    title="Does it matter which layer gets the larger dropout rate?",
    exercise=1,
    rule="The pairs are fixed: (0.1, 0.5), (0.2, 0.5), (0.1, 0.9), each in both orders, without weight decay.",
    comparisons=comparisons,
    arms=arms,
    explore=explore,
)
