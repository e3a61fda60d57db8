"""Exercise 1: does it matter which layer gets the larger dropout rate?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from analysis.questions.base import Arm, Comparison, Design, Recipe, Tuned
from analysis.questions.sentences import brief, by_recipe, conclude, condition, not_answered
from analysis.schema import Question
from analysis.stats.results import Answer, ContrastAnswer
from analysis.stats.verdicts import NEGLIGIBLE, answer_contrasts

GRID = (0.0, 0.2, 0.5, 0.8)
PAIRS = ((0.1, 0.5), (0.2, 0.5), (0.1, 0.9))


def label(rate1: float, rate2: float) -> str:
    """Return the label of a dropout arm."""
    return f"dropout({rate1:g},{rate2:g})"


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """Compare small rate first with large rate first, for each pair."""
    return [
        Comparison(
            f"dropout ({low:g}, {high:g}) - ({high:g}, {low:g})",
            {label(low, high): 1.0, label(high, low): -1.0},
        )
        for low, high in PAIRS
    ]


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """Return both orders of each pair, without weight decay."""
    orders = {}
    for low, high in PAIRS:
        orders[label(low, high)] = recipe.arm("dropout", low, high, 0.0)
        orders[label(high, low)] = recipe.arm("dropout", high, low, 0.0)
    return orders


def explore(recipe: Recipe, tuned: Tuned) -> list[Arm]:
    """Return the plane of the two rates."""
    return [recipe.arm("dropout", rate1, rate2, 0.0) for rate1 in GRID for rate2 in GRID]


DESIGN = Design(
    name="swap",
    title="Does it matter which layer gets the larger dropout rate?",
    rule=(
        "The pairs are fixed: (0.1, 0.5), (0.2, 0.5), (0.1, 0.9), each in both orders, without "
        "weight decay."
    ),
    comparisons=comparisons,
    arms=arms,
    explore=explore,
)

VALUES = "these fixed rates"


def answer(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> Answer:
    """Count the pairs of rates in which swapping matters: significant and not negligible."""
    answered = answer_contrasts(question, table, arms)
    deciding = by_recipe(answered.contrasts, accuracy=True)
    beside = by_recipe(answered.contrasts, accuracy=False)
    if not deciding:
        return not_answered(question, table, arms, answered, VALUES)
    counts = []
    for recipe, pairs in deciding.items():
        suffix = f" ({recipe})" if len(deciding) > 1 else ""
        counts.append(_count(pairs) + suffix)
    accuracy = "; ".join(
        f"under {recipe}, {', '.join(map(brief, pairs))}" for recipe, pairs in deciding.items()
    )
    loss = "; ".join(f"under {recipe} in {_count(pairs)}" for recipe, pairs in beside.items())
    all_pairs = [pair for pairs in deciding.values() for pair in pairs]
    return conclude(
        question,
        table,
        arms,
        answered,
        verdict=f"Swapping matters in {'; in '.join(counts)}",
        sentence=f"On accuracy, {accuracy}"
        + (f"; on loss swapping matters {loss}." if loss else "."),
        takeaway=f"{_finding(all_pairs)} This holds {condition(question, VALUES)}.",
        values=VALUES,
    )


def _count(pairs: Sequence[ContrastAnswer]) -> str:
    """ "1 of 3 pairs, 1 undecided": pairs that matter, of those answered."""
    kinds = Counter(map(_kind, pairs))
    undecided = f", {kinds['undecided']} undecided" if kinds["undecided"] else ""
    return f"{kinds['matters'] or 'none'} of {len(pairs)} pairs{undecided}"


def _kind(pair: ContrastAnswer) -> str:
    if pair.verdict == "inconclusive":
        return "undecided"
    return "negligible" if pair.verdict in NEGLIGIBLE else "matters"


def _finding(pairs: Sequence[ContrastAnswer]) -> str:
    kinds = Counter(map(_kind, pairs))
    if kinds["matters"]:
        better = " and ".join(_better_order(pair) for pair in pairs if _kind(pair) == "matters")
        return (
            f"Which layer gets the larger rate can matter: {better} did better than swapped; "
            f"negligible in {kinds['negligible']} and undecided in {kinds['undecided']} of "
            f"{len(pairs)} pairs."
        )
    if kinds["undecided"]:
        return (
            f"No order was shown to matter; undecided: {kinds['undecided']} of {len(pairs)} pairs."
        )
    return "Which layer gets the larger rate makes no difference that matters."


def _better_order(pair: ContrastAnswer) -> str:
    """Name the better arm: the one counted positive if the contrast is better, else the other."""
    sign = 1 if pair.verdict.startswith("better") else -1
    labels = (arm for arm, weight in pair.contrast.coefficients.items() if weight * sign > 0)
    return f"{next(labels)} under {pair.contrast.recipe}"
