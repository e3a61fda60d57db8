"""What did a published set of solutions measure? Each fault alone, against what was meant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.stats import norm

from analysis import formatting
from analysis.questions.sentences import brief, by_metric, conclude, not_answered
from analysis.schema import Contrast, Question
from analysis.stats.results import Answer, Answered, ContrastAnswer, Table
from analysis.stats.verdicts import NEGLIGIBLE, answer_contrasts

SOURCE = (
    "narcissuskid, 5.6. Dropout (2023), solutions to the exercises of Dive into Deep Learning 5.6"
)
VALUES = "the settings of the solutions"
FAULTS = "faults"
RATE = 0.5
DROPPED = float(norm.cdf(RATE))  # what a mask of "normal number > 0.5" drops
GAIN = (1 - DROPPED) / (1 - RATE)  # and what it makes of the mean

CLAIMS = {  # contrast -> exercise, what the code did, what is right
    "randn mask - dropout": (
        "code of the dropout layer",
        f"keeps a unit where a normal number exceeds p: at p = 0.5 it drops {100 * DROPPED:.1f} % and scales the mean "
        f"by {GAIN:.3f}",
        "a uniform number drops p and keeps the mean",
    ),
    "raw pixels - pixels from 0 to 1": (
        "every printed accuracy",
        "evaluates on pixels from 0 to 255 what was trained on 0 to 1",
        "the same scaling in training and evaluation",
    ),
    "weight decay 0.5 - none": (
        "exercise 5",
        "compares weight decay 0 with 0.5: at learning rate 0.1 every step multiplies the weights by 0.95",
        "useful values are a thousand times smaller; the solutions decay biases too, this run does not",
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
        "keeps a unit with probability p and says no scaling is needed, since the mean is the input",
        "the mean is p times the input: it takes 1/p in training or p at evaluation",
    ),
}
NO_RUN = (
    (
        "exercise 3, Var(Wx + b) = W² Var(x)",
        "one weight and one input",
        "W Cov(x) Wᵀ, and the ReLU changes mean and variance: the recursion built on it does not hold",
        "see the question on variance",
    ),
    (
        "exercise 3, p(1-p) a² + p Var(a)",
        "right for masks that are not rescaled, with p the probability of keeping and a² the squared mean",
        "the network has rescaled masks and p drops: Var(a) + p/(1-p) E[a²], at p = 0.5 four times as much",
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
    """How many of the faults moved the result, and how little a single seed says.

    Args:
        question: as declared; contrasts of the family "faults" are what was run less what was meant.
        table: run table, one row per seed run.
        arms: recipe -> arm label -> arm name.
    """
    found = answer_contrasts(question, table, arms)
    faults = [
        one
        for one in by_metric(found.contrasts, "accuracy")
        if one.contrast.family.startswith(FAULTS)
    ]
    if not faults:
        return not_answered(question, table, arms, found, VALUES)
    matter = [one for one in faults if one.verdict in ("better", "worse")]
    worst = min(faults, key=lambda one: one.estimate.mean)
    single = _single_seed(question, table, arms)
    takeaway = (
        f"{len(matter)} of {len(faults)} faults in the code change validation accuracy by an amount that is shown to "
        f"differ from none and not shown to be negligible; the worst moves it by {_points(worst.estimate.mean)}."
        f"{f' {single}' if single else ''}"
    )
    told = conclude(
        question,
        table,
        arms,
        found,
        verdict=f"{len(matter)} of {len(faults)} faults move the accuracy, {_undecided(faults)}",
        sentence=f"On validation accuracy, {', '.join(map(brief, faults))}.",
        takeaway=takeaway,
        values=VALUES,
    )
    return replace(told, tables=(claims(found),))


def claims(found: Answered) -> Table:
    """Every claim or number: what its code did, what is right, and what a run of both says."""
    answered = {one.contrast.name: one for one in by_metric(found.contrasts, "accuracy")}
    rows = [
        (f"{where}: {name}", did, right, _measured(answered.get(name)))
        for name, (where, did, right) in CLAIMS.items()
    ]
    header = (
        "claim or number",
        "what its code did, or what it says",
        "what is right",
        "measured (validation accuracy)",
    )
    return Table(f"Source: {SOURCE}", header, (*rows, *NO_RUN))


def _measured(one: ContrastAnswer | None) -> str:
    return f"{brief(one)}, n = {one.estimate.n}" if one else formatting.MISSING


def _undecided(faults: list[ContrastAnswer]) -> str:
    negligible = sum(one.verdict in NEGLIGIBLE for one in faults)
    return (
        f"{negligible} negligible, {sum(one.verdict == 'inconclusive' for one in faults)} undecided"
    )


def _points(value: float) -> str:
    return formatting.difference(value, "val/accuracy")


def _single_seed(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> str:
    """How often one seed of each of the two arms of the reference contrast orders them against their means."""
    reference = next(
        (one for one in question.contrasts if one.family.startswith("reference")), None
    )
    if reference is None:
        return ""
    scores = [_scores(question, table, arms, reference, label) for label, _, _ in reference.terms]
    if any(len(values) < 2 for values in scores):
        return ""
    first, second = scores
    wrong = misordered(first, second)
    return (
        f"The solutions show one seed of each arm: here one seed each orders {reference.terms[0][0]} and "
        f"{reference.terms[1][0]} against their means in {100 * wrong:.0f} % of the pairs of runs."
    )


def misordered(first: np.ndarray, second: np.ndarray) -> float:
    """The share of the pairs, one value of each, that are not ordered as the means; counted, not held one by one."""
    lower, upper = (
        np.searchsorted(np.sort(second), first, side).sum() for side in ("left", "right")
    )
    pairs = len(first) * len(second)
    ordered = {
        1.0: lower,
        0.0: upper - lower,
        -1.0: pairs - upper,
    }  # sign of first - second -> pairs
    return float((pairs - ordered.get(float(np.sign(first.mean() - second.mean())), 0)) / pairs)


def _scores(
    question: Question,
    table: pd.DataFrame,
    arms: dict[str, dict[str, str]],
    contrast: Contrast,
    label: str,
) -> np.ndarray:
    arm = arms.get(contrast.recipe, {}).get(label, "")
    rows = table.loc[
        (table["phase"] == question.phase)
        & (table["arm"] == arm)
        & table["seed"].isin(question.seeds)
    ]
    return rows["val/accuracy"].to_numpy(dtype=float)
