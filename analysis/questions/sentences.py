"""Building blocks that the questions share in telling their answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from analysis import formatting
from analysis.schema import CONFIRM, Question, base_metric
from analysis.stats.results import Answer, Answered, ContrastAnswer
from analysis.stats.verdicts import Arms, is_book

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AGAINST = {
    "better": "better than",
    "worse": "worse than",
    "equivalent": "equivalent to",
    "better, negligible": "negligibly better than",
    "worse, negligible": "negligibly worse than",
    "inconclusive": "not told apart from",
}
"""A verdict between two things that are compared."""


def by_recipe(
    contrasts: Iterable[ContrastAnswer], accuracy: bool
) -> dict[str, list[ContrastAnswer]]:
    """Group by recipe the contrasts on accuracy, which decides, or those on the other metrics."""
    groups: dict[str, list[ContrastAnswer]] = {}
    for contrast in contrasts:
        if formatting.is_accuracy(contrast.contrast.metric) == accuracy:
            groups.setdefault(contrast.contrast.recipe, []).append(contrast)
    return groups


def by_metric(contrasts: Iterable[ContrastAnswer], kind: str) -> list[ContrastAnswer]:
    """Return the contrasts on one kind of score: "accuracy", "loss", "brier", ..."""
    return [one for one in contrasts if base_metric(one.contrast.metric) == kind]


def by_key(contrasts: Iterable[ContrastAnswer]) -> dict[str, ContrastAnswer]:
    """Return the contrasts by their keys."""
    return {contrast.contrast.key: contrast for contrast in contrasts}


def listed(names: Iterable[str]) -> str:
    """Join names as in a sentence: "a, b and c"."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def brief(contrast: ContrastAnswer, name: str = "") -> str:
    """Tell a contrast in a few words: "both - none: better (+0.31 pp [+0.10, +0.52])"."""
    metric, estimate = contrast.contrast.metric, contrast.estimate
    mean = formatting.difference(estimate.mean, metric)
    interval = formatting.interval(estimate.ci_low, estimate.ci_high, metric)
    return f"{name or contrast.contrast.name}: {contrast.verdict} ({mean} {interval})"


def condition(question: Question, values: str) -> str:
    """Tell what a question's claims depend on: test set, tuned values and recipes."""
    recipes = list(dict.fromkeys(contrast.recipe for contrast in question.contrasts))
    images = "this test set" if question.phase == CONFIRM else "these validation images"
    plural = "s" if len(recipes) > 1 else ""
    text = f"for {images}, {values} and the recipe{plural} {' and '.join(recipes)}"
    if any(map(is_book, question.contrasts)):
        text += (
            ", and a gain at its constant learning rate may steady the end point rather than "
            "generalise better"
        )
    return text


def conclude(
    question: Question,
    table: pd.DataFrame,
    arms: Arms,
    answered: Answered,
    *,
    verdict: str,
    sentence: str,
    takeaway: str,
    values: str,
) -> Answer:
    """Return the Answer to a question, with its figures and a caption of what it depends on.

    Args:
        values: see `condition`.
    """
    from analysis.plots import curves

    def figure() -> Figure:
        from analysis.plots import forest  # costly to import, and an answer is useful without it

        names = {recipe: dict(labels) for recipe, labels in arms.items()}
        return forest.question_figure(question, table, names, answered.contrasts)

    caption = (
        "Left: the seeds of every arm. Right: paired differences, one point per seed, with mean "
        "and 95 % paired-t interval (not adjusted for multiplicity) beside the band within which "
        f"a difference is negligible. All of it holds {condition(question, values)}."
    )
    missing = dict.fromkeys(refused.reason for refused in answered.refused if refused.entered)
    return Answer(
        question=question.name,
        title=question.title,
        verdict=verdict,
        sentence=sentence,
        takeaway=takeaway,
        contrasts=answered.contrasts,
        refused=answered.refused,
        figure=figure,
        caption=caption,
        pictures=tuple(curves.question_pictures(question, table, arms)),
        declared_hash=question.hash,
        alpha=question.alpha,
        declared=question.contrasts,
        notes=(*missing, *answered.notes),
    )


def not_answered(
    question: Question,
    table: pd.DataFrame,
    arms: Arms,
    answered: Answered,
    values: str,
    reason: str = "",
) -> Answer:
    """Return the Answer to a question without a deciding contrast: it names the reason alone.

    Args:
        values: see `condition`.
        reason: by default why the first of the contrasts on accuracy, which decide, was refused.
    """
    why = reason
    if not reason:
        refusals = [
            refused.reason
            for refused in answered.refused
            if formatting.is_accuracy(refused.contrast.metric)
        ]
        reason = refusals[0] if refusals else "no contrast on accuracy was declared"
        why = f"accuracy decides, and its contrasts were refused: {reason}" if refusals else reason
    return conclude(
        question,
        table,
        arms,
        answered,
        verdict=f"Not answered: {reason}",
        sentence=f"Not answered, since {why}.",
        takeaway=(
            "The runs at hand do not answer this question. Nothing is claimed, in either direction."
        ),
        values=values,
    )
