"""What the questions share in telling their answer."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from matplotlib.figure import Figure

from analysis import stats, wording
from analysis.answer import Answer, ContrastAnswer
from analysis.decide import Arms, is_book
from study.schema import Question, higher_is_better


def by_recipe(contrasts: Iterable[ContrastAnswer], accuracy: bool) -> dict[str, list[ContrastAnswer]]:
    """Recipe -> its answered contrasts on accuracy, which decides, or on the other metrics, told beside it."""
    groups: dict[str, list[ContrastAnswer]] = {}
    for one in contrasts:
        if wording.is_accuracy(one.contrast.metric) == accuracy:
            groups.setdefault(one.contrast.recipe, []).append(one)
    return groups


def brief(one: ContrastAnswer, name: str = "") -> str:
    """A contrast in a few words: "both - none: better (+0.31 pp [+0.10, +0.52])"."""
    metric, estimate = one.contrast.metric, one.estimate
    numbers = (
        f"{wording.difference(estimate.mean, metric)} {wording.interval(estimate.ci_low, estimate.ci_high, metric)}"
    )
    return f"{name or one.contrast.name}: {one.verdict} ({numbers})"


def gain(one: ContrastAnswer) -> float:
    """The mean difference, turned so that positive is better, in the metric's unit."""
    return one.estimate.mean if higher_is_better(one.contrast.metric) else -one.estimate.mean


def gain_interval(one: ContrastAnswer, level: float = 0.95) -> tuple[float, float]:
    """The paired-t interval, turned so that positive is better, in the metric's unit."""
    low, high = stats.interval(one.estimate.differences, level)
    return (low, high) if higher_is_better(one.contrast.metric) else (-high, -low)


def condition(question: Question, values: str) -> str:
    """What every claim of a question depends on: "for this test set, the tuned values and the recipe decay"."""
    recipes = list(dict.fromkeys(contrast.recipe for contrast in question.contrasts))
    told = f"for this test set, {values} and the recipe{'s' * (len(recipes) > 1)} {' and '.join(recipes)}"
    if any(is_book(contrast) for contrast in question.contrasts):
        told += ", and a gain under book is end-point stabilisation rather than better generalisation"
    return told


def conclude(
    question: Question,
    table: pd.DataFrame,
    arms: Arms,
    contrasts: tuple[ContrastAnswer, ...],
    notes: tuple[str, ...],
    *,
    verdict: str,
    sentence: str,
    takeaway: str,
    values: str,
) -> Answer:
    """The Answer to a question, with its figure, and a caption that says what the claims depend on (`values`)."""

    def figure() -> Figure:
        from analysis import plots  # drawing is costly to import, and an answer is useful without it

        return plots.question_figure(question, table, {recipe: dict(arms[recipe]) for recipe in arms}, contrasts)

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
        contrasts=contrasts,
        figure=figure,
        caption=caption,
        declared_hash=question.hash,
        alpha=question.alpha,
        notes=notes,
    )


def not_answered(
    question: Question,
    table: pd.DataFrame,
    arms: Arms,
    contrasts: tuple[ContrastAnswer, ...],
    notes: tuple[str, ...],
    values: str,
) -> Answer:
    """The Answer to a question whose deciding contrasts were refused: it names the first reason and claims nothing."""
    reason = notes[0] if notes else "no contrast on accuracy was declared"
    return conclude(
        question,
        table,
        arms,
        contrasts,
        notes,
        verdict=f"Not answered: {reason}",
        sentence=f"Not answered, since accuracy decides and its contrasts were refused: {reason}.",
        takeaway="The runs at hand do not answer this question. Nothing is claimed, in either direction.",
        values=values,
    )
