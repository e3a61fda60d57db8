"""Exercise 2: what becomes of dropout's gain when training goes on?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import log2

from analysis.schema import term
from models.config import Arm, Recipe
from study.designs.base import Comparison, Design, Tuned

HORIZONS = (5, 10, 20, 50, 100)
RATE = 0.5
HALF = f"dropout({RATE:g},{RATE:g})"


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """The gap to training without noise at each horizon, and its slope over the doublings of the epochs."""
    horizons = [epochs for epochs in HORIZONS if epochs <= recipe.epochs]
    doublings = [log2(epochs) for epochs in horizons]
    centred = [x - sum(doublings) / len(doublings) for x in doublings]
    found = []
    for arm in ("dropout", HALF):
        found += [
            Comparison(f"{arm} - none, {epochs} epochs", gap(arm, epochs, 1.0), f"{arm}: horizons")
            for epochs in horizons
        ]
        slope: dict[str, float] = {}
        for epochs, x in zip(horizons, centred, strict=True):
            slope |= gap(arm, epochs, x / sum(value**2 for value in centred))
        # Negligible is a slope that moves the gap by no more than the margin from the first horizon to the last.
        width = doublings[-1] - doublings[0]
        found.append(
            Comparison(
                f"{arm} - none, change per doubling", slope, "slopes", margin_factor=1 / width
            )
        )
    return found


def gap(arm: str, epochs: int, weight: float) -> dict[str, float]:
    """`weight` times the difference to no noise after so many epochs."""
    metric = f"{{metric}}_at_{epochs}"
    return {term(arm, metric): weight, term("none", metric): -weight}


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """No noise, dropout at its tuned rates, and at 0.5; no weight decay in any of them."""
    return {
        "none": Arm("none", 0.0, 0.0, 0.0, recipe),
        "dropout": replace(tuned["dropout"], weight_decay=0.0),
        HALF: Arm("dropout", RATE, RATE, 0.0, recipe),
    }


DESIGN = Design(
    name="epochs",
    title="What becomes of dropout's gain when training goes on?",
    exercise=2,
    rule=(
        "No noise, dropout at the rates tuned under the first recipe, and dropout at 0.5, none with weight decay. One "
        "training at a constant learning rate passes through all horizons."
    ),
    recipes=("constant",),
    comparisons=comparisons,
    arms=arms,
    measures=dict.fromkeys(("none", "dropout", HALF), ("horizons",)),
)
