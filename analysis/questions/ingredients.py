"""Exercise 7, continued: which ingredient of the project's own candidate brings what it gains?"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from analysis.questions.sentences import (
    AGAINST,
    brief,
    by_recipe,
    conclude,
    condition,
    not_answered,
)
from analysis.schema import Question
from analysis.stats.results import Answer, ContrastAnswer
from analysis.stats.verdicts import NEGLIGIBLE, answer_contrasts

VALUES = "the candidate's tuned rates and weight decay"
INGREDIENTS = {
    "without shifts": ("shifting", "rate1"),
    "without amplification": ("amplifying", "rate2"),
    "with a constant factor": ("doing so at random", "rate2"),
}
"""What is taken out -> what it is called, and the rate that it has in the whole."""


def answer(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> Answer:
    """What is lost with each ingredient, on validation images.

    Args:
        question: as declared; "whole - ..." takes an ingredient out, the family "control" is told beside.
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
    rates = {recipe: _rates(table, contrasts, arms) for recipe, contrasts in deciding.items()}
    verdicts = [
        f"under {recipe}, {_told(contrasts, rates[recipe])}"
        for recipe, contrasts in deciding.items()
    ]
    out = dict.fromkeys(one.contrast.recipe for one in found.refused if not one.entered)
    notes = [
        f"the candidate did not go on to {recipe}: it was not among the best there"
        for recipe in out
    ]
    found = replace(found, notes=(*found.notes, *notes))
    asked = replace(
        question, contrasts=tuple(one.contrast for one in found.contrasts)
    )  # what the claims hold for
    accuracy = "; ".join(
        f"under {recipe}, {', '.join(map(brief, some))}" for recipe, some in deciding.items()
    )
    loss = "; ".join(
        f"under {recipe}, {', '.join(map(brief, some))}" for recipe, some in beside.items()
    )
    controls = [one for some in deciding.values() for one in some if _ingredient(one) is None]
    bare = " and ".join(
        f"{AGAINST[one.verdict]} no noise under {one.contrast.recipe}" for one in controls
    )
    return conclude(
        question,
        table,
        arms,
        found,
        verdict=_capital("; ".join(verdicts)),
        sentence=f"On accuracy, {accuracy}" + (f"; on loss, {loss}." if loss else "."),
        takeaway=f"{_capital('; '.join(verdicts))}."
        + (f" A constant factor without any noise is {bare}." if bare else "")
        + f" This holds {condition(asked, VALUES)}.",
        values=VALUES,
    )


def _rates(
    table: pd.DataFrame, contrasts: list[ContrastAnswer], arms: dict[str, dict[str, str]]
) -> pd.Series:
    """The rates of the whole, which the first contrast has first."""
    label, _, _ = contrasts[0].contrast.terms[0]
    return table.loc[table["arm"] == arms[contrasts[0].contrast.recipe][label]].iloc[0]


def _told(contrasts: list[ContrastAnswer], rates: pd.Series) -> str:
    """ "shifting helps, amplifying was tuned off"."""
    told = []
    for one in contrasts:
        if ingredient := _ingredient(one):
            name, rate = ingredient
            told.append(f"{name} was tuned off" if rates[rate] == 0 else f"{name} {_does(one)}")
    return ", ".join(told)


def _does(one: ContrastAnswer) -> str:
    if one.verdict == "inconclusive":
        return "is undecided"
    if one.verdict in NEGLIGIBLE:
        return "makes no difference that matters"
    return "helps" if one.verdict.startswith("better") else "does harm"


def _ingredient(one: ContrastAnswer) -> tuple[str, str] | None:
    return INGREDIENTS.get(one.contrast.name.removeprefix("whole - "))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
