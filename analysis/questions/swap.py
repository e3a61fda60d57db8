"""Exercise 1: does it matter which layer gets the larger dropout rate?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from analysis.questions.sentences import brief, by_recipe, conclude, condition, not_answered
from analysis.schema import Question
from analysis.stats.results import Answer, ContrastAnswer
from analysis.stats.verdicts import NEGLIGIBLE, answer_contrasts

VALUES = "these fixed rates"


def answer(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> Answer:
    """In how many pairs of rates swapping them matters: a significant difference that is not negligible.

    Args:
        question: as declared; each contrast is one order of the rates minus the other.
        table: run table, one row per seed run.
        arms: recipe -> arm label -> arm name.
    """
    found = answer_contrasts(question, table, arms)
    deciding, beside = (
        by_recipe(found.contrasts, accuracy=True),
        by_recipe(found.contrasts, accuracy=False),
    )
    if not deciding:
        return not_answered(question, table, arms, found, VALUES)
    counts = [
        _count(pairs) + (f" ({recipe})" if len(deciding) > 1 else "")
        for recipe, pairs in deciding.items()
    ]
    accuracy = "; ".join(
        f"under {recipe}, {', '.join(map(brief, pairs))}" for recipe, pairs in deciding.items()
    )
    loss = "; ".join(f"under {recipe} in {_count(pairs)}" for recipe, pairs in beside.items())
    return conclude(
        question,
        table,
        arms,
        found,
        verdict=f"Swapping matters in {'; in '.join(counts)}",
        sentence=f"On accuracy, {accuracy}"
        + (f"; on loss swapping matters {loss}." if loss else "."),
        takeaway=f"{_finding([pair for pairs in deciding.values() for pair in pairs])} "
        f"This holds {condition(question, VALUES)}.",
        values=VALUES,
    )


def _count(pairs: Sequence[ContrastAnswer]) -> str:
    """ "1 of 3 pairs, 1 undecided": pairs that matter, of those answered."""
    kinds = Counter(_kind(pair) for pair in pairs)
    open_ = f", {kinds['undecided']} undecided" if kinds["undecided"] else ""
    return f"{kinds['matters'] or 'none'} of {len(pairs)} pairs{open_}"


def _kind(pair: ContrastAnswer) -> str:
    if pair.verdict == "inconclusive":
        return "undecided"
    return "negligible" if pair.verdict in NEGLIGIBLE else "matters"


def _finding(pairs: Sequence[ContrastAnswer]) -> str:
    kinds = Counter(_kind(pair) for pair in pairs)
    if kinds["matters"]:
        better = " and ".join(_better_order(pair) for pair in pairs if _kind(pair) == "matters")
        rest = (
            f"; in {kinds['negligible']} of {len(pairs)} the order makes no difference"
            if kinds["negligible"]
            else ""
        )
        rest += f"; undecided: {kinds['undecided']} of {len(pairs)}" if kinds["undecided"] else ""
        return (
            f"Which layer gets the larger rate can matter: {better} did better than swapped{rest}."
        )
    if kinds["undecided"]:
        return f"No order of the rates was shown to matter; undecided: {kinds['undecided']} of {len(pairs)} pairs."
    return "Which layer gets the larger rate makes no difference that matters."


def _better_order(pair: ContrastAnswer) -> str:
    """The better arm and its recipe: the arm counted positive if the contrast is better, else the other."""
    sign = 1 if pair.verdict.startswith("better") else -1
    label = next(
        label for label, coefficient in pair.contrast.coefficients.items() if coefficient * sign > 0
    )
    return f"{label.replace(',', ', ')} under {pair.contrast.recipe}"
