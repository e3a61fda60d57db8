"""Exercise 1: does it matter which layer gets the larger dropout rate?"""

from __future__ import annotations

from collections.abc import Sequence

from analysis import formatting
from analysis.questions.base import (
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
from analysis.questions.sentences import listed
from analysis.stats.results import ContrastAnswer
from analysis.stats.verdicts import DIRECTIONS, MATTERS, NEGLIGIBLE, significant_direction

GRID = (0.0, 0.2, 0.5, 0.8)
PAIRS = ((0.1, 0.5), (0.2, 0.5), (0.1, 0.9))


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """Compare small rate first with large rate first, for each pair."""
    return [
        Comparison(
            f"dropout ({low:g}, {high:g}) - ({high:g}, {low:g})",
            {label_at("dropout", low, high): 1.0, label_at("dropout", high, low): -1.0},
        )
        for low, high in PAIRS
    ]


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """Return both orders of each pair, without weight decay."""
    orders = {}
    for low, high in PAIRS:
        for rates in ((low, high), (high, low)):
            orders[label_at("dropout", *rates)] = recipe.arm("dropout", *rates, 0.0)
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
    values="these fixed rates",
)


def answer(evidence: Evidence) -> Conclusion:
    """Count the pairs of rates in which swapping matters: by more than the margin."""
    pairs = evidence.on("accuracy")
    if not pairs:
        raise Unanswered
    better = [
        _better_order(pair)
        for pair in pairs
        if significant_direction(pair.verdict) and pair.verdict not in NEGLIGIBLE
    ]
    shown = f"Better than swapped: {listed(better)}" if better else "No order is shown to be better"
    return Conclusion(
        verdict=f"Swapping matters in {_count(pairs)}",
        takeaway=f"{shown}; on loss, swapping matters in {_count(evidence.on('loss'))}",
    )


def _count(pairs: Sequence[ContrastAnswer]) -> str:
    """Return "1 of 3 pairs, makes a difference of open size in 1, 1 undecided"."""
    matters = sum(pair.verdict in MATTERS for pair in pairs)
    open_sizes = sum(pair.verdict in DIRECTIONS for pair in pairs)
    undecided = sum(pair.verdict == "inconclusive" for pair in pairs)
    told = f"{matters} of {len(pairs)} pairs"
    if open_sizes:
        told += f", makes a difference of open size in {open_sizes}"
    return f"{told}, {undecided} undecided" if undecided else told


def _better_order(pair: ContrastAnswer) -> str:
    """Return the better arm and its gain: the one counted positive if the contrast is better, else
    the other."""
    sign = 1 if significant_direction(pair.verdict) == "better" else -1
    labels = [arm for arm, weight in pair.contrast.coefficients.items() if weight * sign > 0]
    gain = formatting.difference(abs(pair.estimate.mean), pair.contrast.metric)
    return f"{labels[0]} by {gain.lstrip('+')}"
