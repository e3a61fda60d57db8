"""Exercise 3: what does dropout do to the variance of the activations?"""

from __future__ import annotations

from math import exp

import pandas as pd

from analysis import formatting
from analysis.questions.sentences import conclude, condition, not_answered
from analysis.schema import Question
from analysis.stats.results import Answer, ContrastAnswer
from analysis.stats.verdicts import NEGLIGIBLE, answer_contrasts

VALUES = "dropout at 0.5 without weight decay"
LOG, EXCESS = "variance/log", "variance/excess"
CHANGES = {"higher": "raises", "lower": "lowers"}


def answer(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> Answer:
    """In each layer: dropout's network against the other, the mask's effect, and whether the formula for it holds.

    Args:
        question: as declared; contrasts on variance/log are differences of log variances, those on variance/excess the
            relative error of Var(a) + p/(1-p) E[a^2].
        table: run table, one row per seed run.
        arms: recipe -> arm label -> arm name.
    """
    found = answer_contrasts(question, table, arms)
    ratios = [one for one in found.contrasts if one.contrast.metric == LOG]
    formula = [one for one in found.contrasts if one.contrast.metric == EXCESS]
    clean = [one for one in ratios if one.contrast.name.endswith("dropout - none, at evaluation")]
    masks = [one for one in ratios if "after the mask" in one.contrast.name]
    if not (clean and masks):
        reason = next(
            (one.reason for one in found.refused), "no contrast of variances was declared"
        )
        return not_answered(question, table, arms, found, VALUES, reason)
    holds = sum(one.verdict in NEGLIGIBLE for one in formula)
    formula_told = f"the formula for it holds within the margin in {holds} of {len(formula)} layers"
    changes = "; ".join(
        f"{_layer(one)}: dropout {_change(one)} the variance at evaluation" for one in clean
    )
    numbers = ", ".join(f"{one.contrast.name}: {_times(one)}" for one in [*clean, *masks])
    errors = ", ".join(
        f"{_layer(one)} {formatting.plain(100 * one.estimate.mean, 2)} %" for one in formula
    )
    mask = "; ".join(
        f"in {_layer(one)} the mask {_change(one)} the variance in training" for one in masks
    )
    return conclude(
        question,
        table,
        arms,
        found,
        verdict=f"{changes[0].upper()}{changes[1:]}; {formula_told}",
        sentence=f"After training, {numbers}; relative error of Var(a) + p/(1-p) E[a²]: {errors}.",
        takeaway=f"{mask[0].upper()}{mask[1:]}, and {formula_told}. This holds {condition(question, VALUES)}.",
        values=VALUES,
    )


def _layer(one: ContrastAnswer) -> str:
    return one.contrast.name.split(":")[0]


def _change(one: ContrastAnswer) -> str:
    if one.verdict == "inconclusive":
        return "moves, if at all, by an uncertain amount,"
    if one.verdict in NEGLIGIBLE:
        return "does not change by more than the margin"
    return CHANGES[one.verdict]


def _times(one: ContrastAnswer) -> str:
    """The ratio of two variances with its interval: "× 2.31 [2.20, 2.42]"."""
    mean, low, high = (formatting.plain(exp(x), 2) for x in _interval(one))
    return f"× {mean} [{low}, {high}] ({one.verdict})"


def _interval(one: ContrastAnswer) -> tuple[float, float, float]:
    return one.estimate.mean, one.estimate.ci_low, one.estimate.ci_high
