"""What did a published set of solutions measure? Each fault alone, against what was meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.stats import norm

from analysis import formatting
from analysis.questions.base import (
    HALF,
    RATE,
    VALIDATION_MARGINS,
    Arm,
    Comparison,
    Design,
    Recipe,
    Tuned,
)
from analysis.questions.sentences import brief, by_key, by_metric, conclude, not_answered
from analysis.schema import AUDIT, Contrast, Question, term
from analysis.stats.results import Answer, Answered, ContrastAnswer, Table
from analysis.stats.verdicts import NEGLIGIBLE, answer_contrasts

WEIGHT_DECAY = 0.5
DROPCONNECT = f"dropconnect({RATE:g},{RATE:g})"
REFERENCE = "dropout - none"
FAULTS = {
    "randn mask - dropout": ("randn mask", HALF),
    "raw pixels - pixels from 0 to 1": (term(HALF, "{metric}_raw"), HALF),
    "weight decay 0.5 - none": ("weight decay 0.5", "none"),
    "dropout with weight decay 0.5 - dropout": ("dropout, weight decay 0.5", HALF),
    "randn DropConnect - DropConnect": ("randn DropConnect", DROPCONNECT),
    "unscaled stochastic ReLU - dropout": ("stochastic ReLU", HALF),
}
"""Key -> the terms of what was run and of what was meant."""


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """Compare what was run with what was meant."""
    faults = [
        Comparison(key, {ran: 1.0, meant: -1.0}, "faults") for key, (ran, meant) in FAULTS.items()
    ]
    return [*faults, Comparison(REFERENCE, {HALF: 1.0, "none": -1.0}, "reference")]


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """Return the solutions' settings, and the same as they were meant."""

    def half(noise: str, weight_decay: float = 0.0) -> Arm:
        return recipe.arm(noise, RATE, RATE, weight_decay)

    return {
        "none": recipe.arm("none", 0.0, 0.0, 0.0),
        HALF: half("dropout"),
        DROPCONNECT: half("dropconnect"),
        "randn mask": half("audited-randn-dropout"),
        "randn DropConnect": half("audited-randn-dropconnect"),
        "stochastic ReLU": half("audited-kept-relu"),
        "weight decay 0.5": recipe.arm("none", 0.0, 0.0, WEIGHT_DECAY),
        "dropout, weight decay 0.5": half("dropout", WEIGHT_DECAY),
    }


DESIGN = Design(
    name="audit",
    title="What did a published set of solutions measure?",
    rule=(
        "The settings of the solutions (rate 0.5 in both layers, learning rate 0.1, 10 epochs) "
        "with each fault of theirs alone, and without; on validation images only."
    ),
    recipes=("book",),
    comparisons=comparisons,
    arms=arms,
    metrics=VALIDATION_MARGINS,
    measures={HALF: ("raw-pixels",)},
    phase=AUDIT,
)

SOURCE = (
    "narcissuskid, 5.6. Dropout (2023), solutions to the exercises of Dive into Deep Learning 5.6"
)
VALUES = "the settings of the solutions"
DROPPED = float(norm.cdf(RATE))  # what a mask of "normal number > 0.5" drops
GAIN = (1 - DROPPED) / (1 - RATE)  # and what it makes of the mean

CLAIMS = {  # key -> exercise, what the code did, what is right
    "randn mask - dropout": (
        "code of the dropout layer",
        f"keeps a unit where a normal number exceeds p: at p = 0.5 it drops {100 * DROPPED:.1f} % "
        f"and scales the mean by {GAIN:.3f}",
        "a uniform number drops p and keeps the mean",
    ),
    "raw pixels - pixels from 0 to 1": (
        "every printed accuracy",
        "evaluates on pixels from 0 to 255 what was trained on 0 to 1",
        "the same scaling in training and evaluation",
    ),
    "weight decay 0.5 - none": (
        "exercise 5",
        "compares weight decay 0 with 0.5: at learning rate 0.1 every step multiplies the weights "
        "by 0.95",
        "useful values are a thousand times smaller; the solutions decay biases too, this run does "
        "not",
    ),
    "dropout with weight decay 0.5 - dropout": (
        "exercise 5",
        "adds the same decay to dropout and asks whether the gains add up",
        "with one gain destroyed there is nothing to add",
    ),
    "randn DropConnect - DropConnect": (
        "exercise 6",
        "draws the mask of the weights by the same normal number",
        "a uniform number; one mask a step for all examples is a simplification of its own",
    ),
    "unscaled stochastic ReLU - dropout": (
        "exercise 7",
        "keeps a unit with probability p and says no scaling is needed, since the mean is the "
        "input",
        "the mean is p times the input: it takes 1/p in training or p at evaluation",
    ),
}
NO_RUN = (
    (
        "exercise 3, Var(Wx + b) = W² Var(x)",
        "one weight and one input",
        "W Cov(x) Wᵀ, and the ReLU changes mean and variance: the recursion built on it does not "
        "hold",
        "see the question on variance",
    ),
    (
        "exercise 3, p(1-p) a² + p Var(a)",
        "right for masks that are not rescaled, with p the probability of keeping and a² the "
        "squared mean",
        "the network has rescaled masks and p drops: Var(a) + p/(1-p) E[a²], at p = 0.5 four times "
        "as much",
        "see the question on variance",
    ),
    (
        "exercise 3, the plotted variances",
        "of layers 3, 4, 6 and 7 of the network, per unit over a batch: before and after each mask",
        "no fault: the layers are the right ones, for one mask of one batch",
        "not needed",
    ),
    (
        "exercise 4, no scaling at inference",
        "says that activations differ in size at inference for want of scaling",
        "rescaled masks keep the mean, so none is needed",
        "see the question on test time",
    ),
    (
        "the scratch network's initial weights",
        "normal with SD 0.01 rather than PyTorch's default",
        "a choice, not a fault; its effect is not measured here",
        "not run",
    ),
)


def answer(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> Answer:
    """Count the faults that moved the result, and say how little a single seed tells."""
    answered = answer_contrasts(question, table, arms)
    accuracy = by_key(by_metric(answered.contrasts, "accuracy"))
    faults = [accuracy[key] for key in FAULTS if key in accuracy]
    if not faults:
        return not_answered(question, table, arms, answered, VALUES)
    matter = sum(fault.verdict in ("better", "worse") for fault in faults)
    negligible = sum(fault.verdict in NEGLIGIBLE for fault in faults)
    undecided = sum(fault.verdict == "inconclusive" for fault in faults)
    worst = min(faults, key=lambda fault: fault.estimate.mean)
    points = formatting.difference(worst.estimate.mean, "val/accuracy")
    takeaway = (
        f"{matter} of {len(faults)} faults in the code change validation accuracy by an amount "
        "that is shown to differ from none and not shown to be negligible; the worst moves it by "
        f"{points}. {_single_seed(question, table, arms)}"
    )
    concluded = conclude(
        question,
        table,
        arms,
        answered,
        verdict=(
            f"{matter} of {len(faults)} faults move the accuracy, {negligible} negligible, "
            f"{undecided} undecided"
        ),
        sentence=f"On validation accuracy, {', '.join(map(brief, faults))}.",
        takeaway=takeaway.strip(),
        values=VALUES,
    )
    return replace(concluded, tables=(claims(answered),))


def claims(answered: Answered) -> Table:
    """Return a row for each claim or number: what its code did, what is right, what runs of both
    say."""
    accuracy = by_key(by_metric(answered.contrasts, "accuracy"))
    rows = [
        (f"{place}: {key}", did, right, _measured(accuracy.get(key)))
        for key, (place, did, right) in CLAIMS.items()
    ]
    header = (
        "claim or number",
        "what its code did, or what it says",
        "what is right",
        "measured (validation accuracy)",
    )
    return Table(f"Source: {SOURCE}", header, (*rows, *NO_RUN))


def _measured(fault: ContrastAnswer | None) -> str:
    return f"{brief(fault)}, n = {fault.estimate.n}" if fault else formatting.MISSING


def _single_seed(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> str:
    """Tell how often one seed of each arm of the reference orders them against their means."""
    references = [one for one in question.contrasts if one.key == REFERENCE]
    if not references:
        return ""
    labels = [label for label, _, _ in references[0].terms]
    first, second = (_scores(question, table, arms, references[0], label) for label in labels)
    if len(first) < 2 or len(second) < 2:
        return ""
    return (
        f"The solutions show one seed of each arm: here one seed each orders {labels[0]} and "
        f"{labels[1]} against their means in {100 * misordered(first, second):.0f} % of the pairs "
        "of runs."
    )


def misordered(first: np.ndarray, second: np.ndarray) -> float:
    """Return the share of pairs, one value of each, that are not ordered as the means.

    The pairs are counted by sorting, not held one by one.
    """
    lower, upper = (
        np.searchsorted(np.sort(second), first, side).sum() for side in ("left", "right")
    )
    pairs = len(first) * len(second)
    ordered = {1.0: lower, 0.0: upper - lower, -1.0: pairs - upper}  # sign of the difference
    sign = float(np.sign(first.mean() - second.mean()))
    return float((pairs - ordered.get(sign, 0)) / pairs)


def _scores(
    question: Question,
    table: pd.DataFrame,
    arms: dict[str, dict[str, str]],
    contrast: Contrast,
    label: str,
) -> np.ndarray:
    arm = arms.get(contrast.recipe, {}).get(label, "")
    chosen = (
        (table["phase"] == question.phase)
        & (table["arm"] == arm)
        & table["seed"].isin(question.seeds)
    )
    return table.loc[chosen, "val/accuracy"].to_numpy(dtype=float)
