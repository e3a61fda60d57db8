"""What did a published set of solutions measure? Each fault alone, against what was meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import norm

from analysis import formatting
from analysis.questions.base import (
    HALF,
    RATE,
    VALIDATION_MARGINS,
    Arm,
    Comparison,
    Conclusion,
    Design,
    Evidence,
    Recipe,
    Tuned,
    Unanswered,
    label_at,
)
from analysis.questions.sentences import brief, by_key
from analysis.schema import AUDIT, Contrast, term
from analysis.stats.results import ContrastAnswer, Table
from analysis.stats.verdicts import DIRECTIONS, MATTERS, NEGLIGIBLE

WEIGHT_DECAY = 0.5
DROPCONNECT = label_at("dropconnect")
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
    values="the settings of the solutions",
)

SOURCE = (
    "narcissuskid, 5.6. Dropout (2023), solutions to the exercises of Dive into Deep Learning 5.6"
)
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


def answer(evidence: Evidence) -> Conclusion:
    """Count the faults that moved the result, and tell how little a single seed says."""
    accuracy = by_key(evidence.on("accuracy"))
    faults = [accuracy[key] for key in FAULTS if key in accuracy]
    if not faults:
        raise Unanswered
    move = sum(fault.verdict in (*DIRECTIONS, *MATTERS) for fault in faults)
    negligible = sum(fault.verdict in NEGLIGIBLE for fault in faults)
    undecided = sum(fault.verdict == "inconclusive" for fault in faults)
    worst = min(faults, key=lambda fault: fault.estimate.mean)
    points = formatting.difference(worst.estimate.mean, worst.contrast.metric)
    takeaway = f"The worst fault moves it by {points}"
    if REFERENCE in accuracy:
        takeaway += (
            "; the solutions show one seed of each arm, and here one seed each of dropout and "
            "none are not ordered as their means in "
            f"{100 * _misordered_pairs(evidence, accuracy[REFERENCE].contrast):.0f} % of the pairs"
        )
    return Conclusion(
        verdict=(
            f"{move} of {len(faults)} faults move the accuracy, {negligible} negligible, "
            f"{undecided} undecided"
        ),
        takeaway=takeaway,
        shown=faults,
        tables=(claims(accuracy),),
    )


def claims(accuracy: Mapping[str, ContrastAnswer]) -> Table:
    """Return a row for each claim: what the code did, what is right, what runs of both say."""
    rows = []
    for key, (place, did, right) in CLAIMS.items():
        measured = brief(accuracy[key]) if key in accuracy else formatting.MISSING
        rows.append((f"{place}: {key}", did, right, measured))
    header = (
        "claim or number",
        "what its code did, or what it says",
        "what is right",
        "measured (validation accuracy)",
    )
    return Table(f"Source: {SOURCE}", header, (*rows, *NO_RUN))


def _misordered_pairs(evidence: Evidence, contrast: Contrast) -> float:
    runs = evidence.runs(contrast.recipe)
    first, second = (runs[label][contrast.metric].to_numpy(dtype=float) for label in (HALF, "none"))
    return misordered(first, second)


def misordered(first: np.ndarray, second: np.ndarray) -> float:
    """Return the share of pairs, one value of each, that are not ordered as the means."""
    order = np.sign(np.subtract.outer(first, second))
    return float(np.mean(order != np.sign(first.mean() - second.mean())))
