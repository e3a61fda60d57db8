"""Exercise 6: what if single weights are dropped rather than units?"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.questions.base import (
    RATE,
    Arm,
    Comparison,
    Conclusion,
    Design,
    Evidence,
    Recipe,
    Tuned,
    Unanswered,
    label_at,
    tuned_label,
)
from analysis.questions.sentences import AGAINST, by_key, listed
from analysis.schema import term

WEIGHT_TYPES = ("dropconnect", "gaussian-weights")
MATCHED = f"{{}} - dropout, at rate {RATE:g}"
TUNED = "{} - dropout, each tuned"
"""Keys of the contrasts of a noise type with dropout."""
INFERENCE = "dropconnect: moment-matched - mean weights"


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """Compare with dropout at the same rate and each tuned; then the two kinds of inference."""
    declared = []
    for noise in WEIGHT_TYPES:
        matched = {label_at(noise): 1.0, label_at("dropout"): -1.0}
        declared.append(Comparison(MATCHED.format(noise), matched, "training"))
        if noise in noise_types:
            tuned = {tuned_label(noise): 1.0, tuned_label("dropout"): -1.0}
            declared.append(Comparison(TUNED.format(noise), tuned, "training"))
    label = label_at("dropconnect")
    inference = {term(label, "{metric}_moment"): 1.0, label: -1.0}
    return [*declared, Comparison(INFERENCE, inference, "inference")]


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """Return dropout and both weight noises: tuned, and at rate 0.5 without weight decay."""
    types = ("dropout", *WEIGHT_TYPES)
    fixed = {label_at(noise): recipe.arm(noise, RATE, RATE, 0.0) for noise in types}
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
    measures={label_at("dropconnect"): ("moment-matched",)},
    explore=explore,
    values="rate 0.5 and the tuned values",
)


def answer(evidence: Evidence) -> Conclusion:
    """Compare noise on weights with dropout, then the two ways to predict with it."""
    accuracy = by_key(evidence.on("accuracy"))
    tuned: list[str] = []
    matched: list[str] = []
    for noise in WEIGHT_TYPES:
        for findings, key in ((tuned, TUNED.format(noise)), (matched, MATCHED.format(noise))):
            if key in accuracy:
                findings.append(f"{noise} is {AGAINST[accuracy[key].verdict]} dropout")
    if not tuned and not matched:
        raise Unanswered
    takeaway = f"At rate {RATE:g}: {listed(matched)}"
    if INFERENCE in accuracy:
        inference = AGAINST[accuracy[INFERENCE].verdict]
        takeaway += f"; moment-matched inference is {inference} mean weights"
    return Conclusion(verdict=f"Tuned: {listed(tuned)}", takeaway=takeaway)
