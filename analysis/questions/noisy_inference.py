"""Exercise 4: why is dropout not used at test time?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from analysis.questions.base import (
    MARGINS,
    Arm,
    Comparison,
    Conclusion,
    Design,
    Evidence,
    Recipe,
    Tuned,
    Unanswered,
    tuned_label,
)
from analysis.questions.sentences import AGAINST, by_key
from analysis.schema import term

ARM = tuned_label("dropout")
PASSES = 200
"""The most noisy passes whose mean is compared; the probe `test-time` measures it."""

PROBABILITIES = {"test/loss": MARGINS["test/loss"], "test/brier": 0.002, "test/ece": 0.005}
ONE = "one noisy pass - deterministic"
MANY = "mean of {} passes - deterministic"
"""Keys of the contrasts with the deterministic pass."""

NO_BINS = (
    "The reliability diagram is left out: no confidences were read of these runs. A tracking store "
    "has them, of runs of this version on."
)


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
        minus(MANY.format(PASSES), many, ""),
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
    values="tuned dropout",
)


def answer(evidence: Evidence) -> Conclusion:
    """Tell what noise at test time costs or brings: one pass, and the mean of many."""
    accuracy = by_key(evidence.on("accuracy"))
    loss = by_key(evidence.on("loss"))
    # A study in the store may have been declared with another number of passes.
    many = [key for key in accuracy if re.fullmatch(MANY.format(r"\d+"), key)]
    if ONE not in accuracy or not many:
        raise Unanswered
    single = AGAINST[accuracy[ONE].verdict]
    mean = AGAINST[accuracy[many[0]].verdict]
    takeaway = "A mean of passes that beats one pass on loss is Jensen's inequality, no finding"
    if many[0] in loss:
        takeaway += f"; on loss, {many[0]}: {loss[many[0]].verdict}"
    return Conclusion(
        verdict=(
            f"One noisy pass is {single} the deterministic one; the mean of many is {mean} it"
        ),
        takeaway=takeaway,
        notes=[NO_BINS] if evidence.bins.empty else [],
    )
