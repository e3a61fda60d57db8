"""Exercise 6: what if single weights are dropped rather than units?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from analysis.questions.base import RATE, Arm, Comparison, Design, Recipe, Tuned, tuned_label
from analysis.questions.sentences import (
    AGAINST,
    brief,
    by_key,
    by_metric,
    conclude,
    condition,
    not_answered,
)
from analysis.schema import Question, term
from analysis.stats.results import Answer, ContrastAnswer
from analysis.stats.verdicts import answer_contrasts

WEIGHT_TYPES = ("dropconnect", "gaussian-weights")
INFERENCE = "dropconnect: moment-matched - mean weights"


def matched_label(noise: str) -> str:
    """Return the label of a noise type's arm at the exercise's rate."""
    return f"{noise}({RATE:g},{RATE:g})"


def matched_key(noise: str) -> str:
    """Return the key of a noise type against dropout at the exercise's rate."""
    return f"{noise} - dropout, at rate {RATE:g}"


def tuned_key(noise: str) -> str:
    """Return the key of a noise type against dropout, each tuned."""
    return f"{noise} - dropout, each tuned"


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """Compare with dropout at the same rate and each tuned; then the two kinds of inference."""
    declared = []
    for noise in WEIGHT_TYPES:
        matched = {matched_label(noise): 1.0, matched_label("dropout"): -1.0}
        declared.append(Comparison(matched_key(noise), matched, "training"))
        if noise in noise_types:
            tuned = {tuned_label(noise): 1.0, tuned_label("dropout"): -1.0}
            declared.append(Comparison(tuned_key(noise), tuned, "training"))
    label = matched_label("dropconnect")
    inference = {term(label, "{metric}_moment"): 1.0, label: -1.0}
    return [*declared, Comparison(INFERENCE, inference, "inference")]


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """Return dropout and both kinds of weight noise: at rate 0.5 without weight decay, and
    tuned."""
    types = ("dropout", *WEIGHT_TYPES)
    fixed = {matched_label(noise): recipe.arm(noise, RATE, RATE, 0.0) for noise in types}
    return fixed | {tuned_label(noise): tuned[noise] for noise in types if noise in tuned}


def explore(recipe: Recipe, tuned: Tuned) -> list[Arm]:
    """Return arms beside true DropConnect, whose mask for each example costs a hundred times more.

    They train for a fifth of the epochs.
    """
    short = recipe.with_epochs(max(1, recipe.epochs // 5))
    noisy = ("dropout", *WEIGHT_TYPES, "dropconnect-example")
    return [
        short.arm("none", 0.0, 0.0, 0.0),
        *(short.arm(noise, RATE, RATE, 0.0) for noise in noisy),
    ]


DESIGN = Design(
    name="dropconnect",
    title="What if single weights are dropped rather than units?",
    rule=(
        "Rate 0.5 in both layers without weight decay, and the tuned arms of each type. "
        "DropConnect draws one mask a step for the whole batch; gaussian-weights is its "
        "moment-matched form with noise of its own for each example."
    ),
    comparisons=comparisons,
    arms=arms,
    measures={matched_label("dropconnect"): ("moment-matched",)},
    explore=explore,
)

VALUES = "rate 0.5 and the tuned values"


def answer(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> Answer:
    """Compare noise on weights with dropout, then the two ways to predict with it."""
    answered = answer_contrasts(question, table, arms)
    accuracy = by_key(by_metric(answered.contrasts, "accuracy"))
    tuned = _of_types(accuracy, tuned_key)
    matched = _of_types(accuracy, matched_key)
    if not tuned and not matched:
        return not_answered(question, table, arms, answered, VALUES)
    told_tuned = _tell(tuned, "dropout")
    told_matched = _tell(matched, "dropout")
    findings = [f"tuned, {told_tuned}"] if tuned else []
    findings += [f"at the same rate, {told_matched}"] if matched else []
    if INFERENCE in accuracy:
        inference = AGAINST[accuracy[INFERENCE].verdict]
        findings.append(f"moment-matched inference is {inference} mean weights")
    loss = by_metric(answered.contrasts, "loss")
    return conclude(
        question,
        table,
        arms,
        answered,
        verdict=f"Tuned: {told_tuned}" if tuned else f"At the same rate: {told_matched}",
        sentence=(
            f"On accuracy, {', '.join(map(brief, accuracy.values()))}; "
            f"on loss, {', '.join(map(brief, loss))}."
        ),
        takeaway=f"On accuracy: {'; '.join(findings)}. This holds {condition(question, VALUES)}.",
        values=VALUES,
    )


def _of_types(
    answers: Mapping[str, ContrastAnswer], key_of: Callable[[str], str]
) -> dict[str, ContrastAnswer]:
    keys = {noise: key_of(noise) for noise in WEIGHT_TYPES}
    return {noise: answers[key] for noise, key in keys.items() if key in answers}


def _tell(answers: Mapping[str, ContrastAnswer], rival: str) -> str:
    return "; ".join(
        f"{noise} is {AGAINST[contrast.verdict]} {rival}" for noise, contrast in answers.items()
    )
