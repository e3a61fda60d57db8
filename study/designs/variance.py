"""Exercise 3: what is the variance of the activations, with dropout and without?"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.schema import term
from models.config import Arm, Recipe
from study.designs.base import Comparison, Design, Tuned
from study.designs.epochs import HALF, RATE

LOG, EXCESS = "variance/log", "variance/excess"
"""Differences of log variances, and the relative error of a formula for a variance."""


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """In each hidden layer after training: the two networks, the mask's effect, and whether its formula holds."""
    found = []
    for layer in (1, 2):

        def log_variance(label: str, what: str, layer: int = layer) -> str:
            return term(label, f"variance/layer{layer}_log_{what}_at_{recipe.epochs}")

        def of_layer(what: str, layer: int = layer) -> str:
            return f"layer {layer}: {what}"

        found += [
            Comparison(
                of_layer("dropout - none, at evaluation"),
                {log_variance(HALF, "clean"): 1.0, log_variance("none", "clean"): -1.0},
                metrics=(LOG,),
            ),
            Comparison(
                of_layer("after the mask - before it, in training"),
                {log_variance(HALF, "after"): 1.0, log_variance(HALF, "before"): -1.0},
                metrics=(LOG,),
            ),
            Comparison(
                of_layer("in training before the mask - at evaluation"),
                {log_variance(HALF, "before"): 1.0, log_variance(HALF, "clean"): -1.0},
                metrics=(LOG,),
            ),
            Comparison(
                of_layer("measured / Var(a) + p/(1-p) E[a²], less 1"),
                {term(HALF, f"variance/layer{layer}_excess_at_{recipe.epochs}"): 1.0},
                "formula",
                metrics=(EXCESS,),
            ),
        ]
    return found


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """The two networks of the exercise."""
    return {
        "none": Arm("none", 0.0, 0.0, 0.0, recipe),
        HALF: Arm("dropout", RATE, RATE, 0.0, recipe),
    }


DESIGN = Design(
    name="variance",
    title="What does dropout do to the variance of the activations?",
    exercise=3,
    rule="The two networks of the exercise: no noise, and dropout at 0.5 in both layers, without weight decay.",
    comparisons=comparisons,
    arms=arms,
    metrics={LOG: 0.1, EXCESS: 0.02},  # ten per cent of a variance, and two of the formula's
    measures=dict.fromkeys(("none", HALF), ("variance",)),
)
