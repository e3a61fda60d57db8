"""Exercise 4: why is dropout not used at test time?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.questions.base import MARGINS, Arm, Comparison, Design, Recipe, Tuned, tuned_label
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

ARM = tuned_label("dropout")
PASSES = 200
"""The most noisy passes whose mean is compared; the probe `test-time` measures it."""

PROBABILITIES = {"test/loss": MARGINS["test/loss"], "test/brier": 0.002, "test/ece": 0.005}
ONE = "one noisy pass - deterministic"


def many_key(passes: int) -> str:
    """Return the key of the contrast between a mean of passes and the deterministic pass."""
    return f"mean of {passes} passes - deterministic"


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """Compare one noisy pass and the mean of many with the deterministic pass.

    Both are also compared with a temperature fitted on validation images.
    """

    def minus(key: str, first: str, second: str, metrics: tuple[str, ...] = ()) -> Comparison:
        terms = {term(ARM, f"{{metric}}{first}"): 1.0, term(ARM, f"{{metric}}{second}"): -1.0}
        return Comparison(key, terms, metrics=metrics)

    many = f"_mc{PASSES}"
    fitted = tuple(PROBABILITIES)  # a temperature leaves every accuracy as it is
    tempered = f"both tempered: mean of {PASSES} - deterministic"
    return [
        minus(ONE, "_mc1", ""),
        minus(many_key(PASSES), many, ""),
        minus(f"mean of {PASSES} passes - one noisy pass", many, "_mc1"),
        minus("deterministic: tempered - as it is", "_tempered", "", fitted),
        minus(tempered, f"{many}_tempered", "_tempered", fitted),
    ]


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """Return tuned dropout."""
    return {ARM: tuned["dropout"]}


DESIGN = Design(
    name="test-time",
    title="Why is dropout not used at test time?",
    rule=(
        "The networks of the tuned dropout arm, evaluated without noise, with one random mask, and "
        f"by the mean probabilities of up to {PASSES} masks; each also with the temperature that "
        "fits the validation images."
    ),
    comparisons=comparisons,
    arms=arms,
    metrics={"test/accuracy": MARGINS["test/accuracy"]} | PROBABILITIES,
    measures={ARM: ("test-time",)},
)

VALUES = "tuned dropout"


def answer(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> Answer:
    """Say what noise at test time costs or brings: one pass, and the mean of many."""
    answered = answer_contrasts(question, table, arms)
    accuracy = by_key(by_metric(answered.contrasts, "accuracy"))
    loss = by_key(by_metric(answered.contrasts, "loss"))
    passes = _most_passes(accuracy)
    if ONE not in accuracy or not passes:
        return not_answered(question, table, arms, answered, VALUES)
    single = AGAINST[accuracy[ONE].verdict]
    mean = AGAINST[accuracy[many_key(passes)].verdict]
    takeaway = (
        f"On accuracy one random mask at test time is {single} none, and averaging {passes} masks, "
        f"at {passes} times the cost, is {mean} none"
    )
    if many_key(passes) in loss:
        mean_on_loss = AGAINST[loss[many_key(passes)].verdict]
        takeaway += f"; on loss the average is {mean_on_loss} the deterministic pass"
    return conclude(
        question,
        table,
        arms,
        answered,
        verdict=(
            f"One noisy pass is {single} the deterministic one; the mean of {passes} is {mean} it"
        ),
        sentence=(
            f"On accuracy, {', '.join(map(brief, accuracy.values()))}; "
            f"on loss, {', '.join(map(brief, loss.values()))}."
        ),
        takeaway=(
            f"{takeaway} (that it beats a single pass in loss is Jensen's inequality, no finding). "
            f"This holds {condition(question, VALUES)}."
        ),
        values=VALUES,
    )


def _most_passes(answers: Mapping[str, ContrastAnswer]) -> int:
    """Return the most passes whose mean is compared with the deterministic pass, else 0.

    They are read off the metrics' column names, such as test/accuracy_mc200.
    """
    most = 0
    for contrast in answers.values():
        for _, metric, _ in contrast.contrast.terms:
            column = re.fullmatch(r".+_mc(\d+)", metric)
            passes = int(column[1]) if column else 0
            if many_key(passes) == contrast.contrast.key:
                most = max(most, passes)
    return most
