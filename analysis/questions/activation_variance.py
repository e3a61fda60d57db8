"""Exercise 3: what does dropout do to the variance of the activations?"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

from analysis.questions.base import (
    HALF,
    RATE,
    Arm,
    Comparison,
    Conclusion,
    Design,
    Evidence,
    Recipe,
    Tuned,
    Unanswered,
)
from analysis.questions.sentences import by_key
from analysis.schema import term
from analysis.stats.results import ContrastAnswer
from analysis.stats.verdicts import NEGLIGIBLE

LAYERS = (1, 2)
LOG, EXCESS = "variance/log", "variance/excess"
"""Differences of log variances, and the relative error of a formula for a variance."""

KEY = "layer {}: {}"
CLEAN = "dropout - none, at evaluation"
MASK = "after the mask - before it, in training"
TRAINING = "in training before the mask - at evaluation"
FORMULA = "measured / Var(a) + p/(1-p) E[a²], less 1"


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """Compare in each layer: the two networks, the mask's effect, and the formula for it."""

    def log_variance(label: str, layer: int, state: str) -> str:
        return term(label, f"variance/layer{layer}_log_{state}_at_{recipe.epochs}")

    declared = []
    for layer in LAYERS:
        half = {state: log_variance(HALF, layer, state) for state in ("clean", "before", "after")}
        pairs = {
            CLEAN: (half["clean"], log_variance("none", layer, "clean")),
            MASK: (half["after"], half["before"]),
            TRAINING: (half["before"], half["clean"]),
        }
        for compared, (first, second) in pairs.items():
            coefficients = {first: 1.0, second: -1.0}
            declared.append(Comparison(KEY.format(layer, compared), coefficients, metrics=(LOG,)))
        excess = {term(HALF, f"variance/layer{layer}_excess_at_{recipe.epochs}"): 1.0}
        declared.append(
            Comparison(KEY.format(layer, FORMULA), excess, "formula", metrics=(EXCESS,))
        )
    return declared


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """Return the two networks of the exercise."""
    return {
        "none": recipe.arm("none", 0.0, 0.0, 0.0),
        HALF: recipe.arm("dropout", RATE, RATE, 0.0),
    }


DESIGN = Design(
    name="variance",
    title="What does dropout do to the variance of the activations?",
    rule=(
        "The two networks of the exercise: no noise, and dropout at 0.5 in both layers, without "
        "weight decay."
    ),
    comparisons=comparisons,
    arms=arms,
    metrics={LOG: 0.1, EXCESS: 0.02},  # ten per cent of a variance, and two of the formula's
    measures=dict.fromkeys(("none", HALF), ("variance",)),
    values="dropout at 0.5 without weight decay",
)


def answer(evidence: Evidence) -> Conclusion:
    """Tell in each layer what dropout and its mask change, and whether the mask's formula holds."""
    clean = _by_layer(evidence, CLEAN)
    masks = _by_layer(evidence, MASK)
    formula = _by_layer(evidence, FORMULA)
    if not (clean and masks):
        raise Unanswered
    holds = sum(contrast.verdict in NEGLIGIBLE for contrast in formula.values())
    return Conclusion(
        verdict=(
            f"Variance with dropout at evaluation: {_factors(clean)}; the mask's formula holds "
            f"within the margin in {holds} of {len(formula)} layers"
        ),
        takeaway=f"Variance after the mask in training: {_factors(masks)}",
    )


def _by_layer(evidence: Evidence, compared: str) -> dict[int, ContrastAnswer]:
    answers = by_key(evidence.on("variance"))
    keys = {layer: KEY.format(layer, compared) for layer in LAYERS}
    return {layer: answers[key] for layer, key in keys.items() if key in answers}


def _factors(contrasts: dict[int, ContrastAnswer]) -> str:
    """Return "layer 1 lower (× 0.46), layer 2 lower (× 0.59)", from differences of logarithms."""
    return ", ".join(
        f"layer {layer} {contrast.verdict} (× {exp(contrast.estimate.mean):.2f})"
        for layer, contrast in contrasts.items()
    )
