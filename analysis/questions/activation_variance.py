"""Exercise 3: what does dropout do to the variance of the activations?"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

import pandas as pd

from analysis import formatting
from analysis.questions.base import HALF, RATE, Arm, Comparison, Design, Recipe, Tuned
from analysis.questions.sentences import by_key, conclude, condition, not_answered
from analysis.schema import Question, term
from analysis.stats.results import Answer, ContrastAnswer
from analysis.stats.verdicts import NEGLIGIBLE, answer_contrasts

LAYERS = (1, 2)
LOG, EXCESS = "variance/log", "variance/excess"
"""Differences of log variances, and the relative error of a formula for a variance."""

CLEAN = "dropout - none, at evaluation"
MASK = "after the mask - before it, in training"
TRAINING = "in training before the mask - at evaluation"
FORMULA = "measured / Var(a) + p/(1-p) E[a²], less 1"


def key_of(layer: int, compared: str) -> str:
    """Return the key of a layer's contrast."""
    return f"layer {layer}: {compared}"


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
            declared.append(Comparison(key_of(layer, compared), coefficients, metrics=(LOG,)))
        excess = {term(HALF, f"variance/layer{layer}_excess_at_{recipe.epochs}"): 1.0}
        declared.append(Comparison(key_of(layer, FORMULA), excess, "formula", metrics=(EXCESS,)))
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
)

VALUES = "dropout at 0.5 without weight decay"
CHANGES = {"higher": "raises", "lower": "lowers"}


def answer(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> Answer:
    """Say in each layer what dropout and its mask change, and whether the mask's formula holds."""
    answered = answer_contrasts(question, table, arms)
    clean = _by_layer(answered.contrasts, CLEAN)
    masks = _by_layer(answered.contrasts, MASK)
    formula = _by_layer(answered.contrasts, FORMULA)
    if not (clean and masks):
        reasons = [refused.reason for refused in answered.refused]
        reason = reasons[0] if reasons else "no contrast of variances was declared"
        return not_answered(question, table, arms, answered, VALUES, reason)
    holds = sum(contrast.verdict in NEGLIGIBLE for contrast in formula.values())
    formula_holds = (
        f"the formula for it holds within the margin in {holds} of {len(formula)} layers"
    )
    changes = "; ".join(
        f"layer {layer}: dropout {_change(contrast)} the variance at evaluation"
        for layer, contrast in clean.items()
    )
    mask = "; ".join(
        f"in layer {layer} the mask {_change(contrast)} the variance in training"
        for layer, contrast in masks.items()
    )
    ratios = ", ".join(
        f"{contrast.contrast.name}: {_ratio(contrast)}"
        for contrast in [*clean.values(), *masks.values()]
    )
    errors = ", ".join(
        f"layer {layer} {formatting.plain(100 * contrast.estimate.mean, 2)} %"
        for layer, contrast in formula.items()
    )
    return conclude(
        question,
        table,
        arms,
        answered,
        verdict=f"{formatting.capital(changes)}; {formula_holds}",
        sentence=(f"After training, {ratios}; relative error of Var(a) + p/(1-p) E[a²]: {errors}."),
        takeaway=(
            f"{formatting.capital(mask)}, and {formula_holds}. This holds "
            f"{condition(question, VALUES)}."
        ),
        values=VALUES,
    )


def _by_layer(contrasts: Sequence[ContrastAnswer], compared: str) -> dict[int, ContrastAnswer]:
    answers = by_key(contrasts)
    keys = {layer: key_of(layer, compared) for layer in LAYERS}
    return {layer: answers[key] for layer, key in keys.items() if key in answers}


def _change(contrast: ContrastAnswer) -> str:
    if contrast.verdict == "inconclusive":
        return "moves, if at all, by an uncertain amount,"
    if contrast.verdict in NEGLIGIBLE:
        return "does not change by more than the margin"
    return CHANGES[contrast.verdict]


def _ratio(contrast: ContrastAnswer) -> str:
    """Tell the ratio of two variances with its interval: "× 2.31 [2.20, 2.42]"."""
    estimate = contrast.estimate
    logs = (estimate.mean, estimate.ci_low, estimate.ci_high)
    mean, low, high = (formatting.plain(exp(value), 2) for value in logs)
    return f"× {mean} [{low}, {high}] ({contrast.verdict})"
