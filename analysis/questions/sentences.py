"""What the questions share in telling their answer."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from matplotlib.figure import Figure

from analysis import formatting
from analysis.schema import CONFIRM, Question, base_metric, higher_is_better
from analysis.stats import paired
from analysis.stats.results import Answer, Answered, ContrastAnswer
from analysis.stats.verdicts import Arms, is_book


def by_recipe(
    contrasts: Iterable[ContrastAnswer], accuracy: bool
) -> dict[str, list[ContrastAnswer]]:
    """Recipe -> its answered contrasts on accuracy, which decides, or on the other metrics, told beside it."""
    groups: dict[str, list[ContrastAnswer]] = {}
    for one in contrasts:
        if formatting.is_accuracy(one.contrast.metric) == accuracy:
            groups.setdefault(one.contrast.recipe, []).append(one)
    return groups


def by_metric(contrasts: Iterable[ContrastAnswer], kind: str) -> list[ContrastAnswer]:
    """The contrasts on one kind of score: "accuracy", "loss", "brier", ..."""
    return [one for one in contrasts if base_metric(one.contrast.metric) == kind]


AGAINST = {
    "better": "better than",
    "worse": "worse than",
    "equivalent": "equivalent to",
    "better, negligible": "negligibly better than",
    "worse, negligible": "negligibly worse than",
    "inconclusive": "not told apart from",
}
"""A verdict between two things that are compared."""


def directed(contrasts: Iterable[ContrastAnswer]) -> dict[str, list[ContrastAnswer]]:
    """The contrasts whose verdict is plainly "better", and those where it is plainly "worse"."""
    found: dict[str, list[ContrastAnswer]] = {"better": [], "worse": []}
    for one in contrasts:
        found.get(one.verdict, []).append(one)
    return found


def brief(one: ContrastAnswer, name: str = "") -> str:
    """A contrast in a few words: "both - none: better (+0.31 pp [+0.10, +0.52])"."""
    metric, estimate = one.contrast.metric, one.estimate
    interval = formatting.interval(estimate.ci_low, estimate.ci_high, metric)
    numbers = f"{formatting.difference(estimate.mean, metric)} {interval}"
    return f"{name or one.contrast.name}: {one.verdict} ({numbers})"


def gain(one: ContrastAnswer) -> float:
    """The mean difference, turned so that positive is better, in the metric's unit."""
    return one.estimate.mean if higher_is_better(one.contrast.metric) else -one.estimate.mean


def gain_interval(one: ContrastAnswer, level: float = 0.95) -> tuple[float, float]:
    """The paired-t interval, turned so that positive is better, in the metric's unit."""
    low, high = paired.interval(one.estimate.differences, level)
    return (low, high) if higher_is_better(one.contrast.metric) else (-high, -low)


def condition(question: Question, values: str) -> str:
    """What every claim of a question depends on: "for this test set, the tuned values and the recipe decay"."""
    recipes = list(dict.fromkeys(contrast.recipe for contrast in question.contrasts))
    images = "this test set" if question.phase == CONFIRM else "these validation images"
    told = (
        f"for {images}, {values} and the recipe{'s' * (len(recipes) > 1)} {' and '.join(recipes)}"
    )
    if any(is_book(contrast) for contrast in question.contrasts):
        told += ", and a gain at its constant learning rate may steady the end point rather than generalise better"
    return told


def conclude(
    question: Question,
    table: pd.DataFrame,
    arms: Arms,
    found: Answered,
    *,
    verdict: str,
    sentence: str,
    takeaway: str,
    values: str,
) -> Answer:
    """The Answer to a question, with its figures, and a caption that says what the claims depend on (`values`)."""
    from analysis.plots import curves

    def figure() -> Figure:
        from analysis.plots import (
            forest,
        )  # drawing is costly to import, and an answer is useful without it

        return forest.question_figure(
            question, table, {recipe: dict(arms[recipe]) for recipe in arms}, found.contrasts
        )

    caption = (
        "Left: the seeds of every arm. Right: paired differences, one point per seed, with mean and 95 % paired-t "
        "interval (not adjusted for multiplicity) beside the band within which a difference is negligible. All of it "
        f"holds {condition(question, values)}."
    )
    return Answer(
        question=question.name,
        title=question.title,
        verdict=verdict,
        sentence=sentence,
        takeaway=takeaway,
        contrasts=found.contrasts,
        refused=found.refused,
        figure=figure,
        caption=caption,
        pictures=tuple(curves.of(question, table, arms)),
        declared_hash=question.hash,
        alpha=question.alpha,
        notes=(*dict.fromkeys(one.reason for one in found.refused if one.entered), *found.notes),
    )


def not_answered(
    question: Question,
    table: pd.DataFrame,
    arms: Arms,
    found: Answered,
    values: str,
    reason: str = "",
) -> Answer:
    """The Answer to a question without a deciding contrast: it names the reason and claims nothing.

    Args:
        question: as declared.
        table: run table, one row per seed run.
        arms: recipe -> arm label -> arm name.
        found: the question's contrasts, none of which decides.
        values: see `condition`.
        reason: by default why the first of the deciding contrasts, those on accuracy, was refused.
    """
    why = reason
    if not reason:
        refusals = [
            one.reason for one in found.refused if formatting.is_accuracy(one.contrast.metric)
        ]
        reason = refusals[0] if refusals else "no contrast on accuracy was declared"
        why = f"accuracy decides, and its contrasts were refused: {reason}" if refusals else reason
    return conclude(
        question,
        table,
        arms,
        found,
        verdict=f"Not answered: {reason}",
        sentence=f"Not answered, since {why}.",
        takeaway="The runs at hand do not answer this question. Nothing is claimed, in either direction.",
        values=values,
    )
