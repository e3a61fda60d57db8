"""Exercise 6: what if single weights are dropped rather than units?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analysis.schema import term
from models.config import Arm, Recipe
from study.designs.base import Comparison, Design, Tuned
from study.designs.beat_dropout import label

RATE = 0.5
WEIGHT_TYPES = ("dropconnect", "gaussian-weights")


def matched(noise: str) -> str:
    """The label of a noise type's arm at the exercise's rate."""
    return f"{noise}({RATE:g},{RATE:g})"


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """At the same rate and each tuned: one mask a step, and noise of its own for every example; then the inference."""
    found = []
    for noise in WEIGHT_TYPES:
        found.append(
            Comparison(
                f"{noise} - dropout, at rate {RATE:g}",
                {matched(noise): 1.0, matched("dropout"): -1.0},
                "training",
            )
        )
        if noise in noise_types:
            tuned = {label(noise): 1.0, label("dropout"): -1.0}
            found.append(Comparison(f"{noise} - dropout, each tuned", tuned, "training"))
    inference = {term(matched("dropconnect"), "{metric}_moment"): 1.0, matched("dropconnect"): -1.0}
    return [
        *found,
        Comparison("dropconnect: moment-matched - mean weights", inference, "inference"),
    ]


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """Dropout and the two kinds of noise on weights: at rate 0.5 without weight decay, and tuned."""
    types = ("dropout", *WEIGHT_TYPES)
    fixed = {matched(noise): Arm(noise, RATE, RATE, 0.0, recipe) for noise in types}
    return fixed | {label(noise): tuned[noise] for noise in types if noise in tuned}


def explore(recipe: Recipe, tuned: Tuned) -> list[Arm]:
    """True DropConnect, one mask for each example, is a hundred times as costly: a fifth of the epochs, few seeds."""
    short = replace(recipe, epochs=max(1, recipe.epochs // 5))
    types = ("none", "dropout", *WEIGHT_TYPES, "dropconnect-example")
    return [
        Arm(noise, *((0.0, 0.0) if noise == "none" else (RATE, RATE)), 0.0, short)
        for noise in types
    ]


DESIGN = Design(
    name="dropconnect",
    title="What if single weights are dropped rather than units?",
    exercise=6,
    rule=(
        "Rate 0.5 in both layers without weight decay, and the tuned arms of each type. DropConnect draws one mask a "
        "step for the whole batch; gaussian-weights is its moment-matched form with noise of its own for each example."
    ),
    comparisons=comparisons,
    arms=arms,
    measures={matched("dropconnect"): ("moment-matched",)},
    explore=explore,
)
