"""The questions, one file each: above what is declared before the first run, below the answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from analysis.formatting import NAMES, RecipeWords
from analysis.questions import (
    activation_variance,
    additivity,
    audit,
    beat_dropout,
    dropconnect,
    epochs,
    ingredients,
    noisy_inference,
    swap,
)
from analysis.questions.base import Conclusion, Design, Evidence, Unanswered
from analysis.questions.sentences import condition, numbers
from analysis.schema import IMAGE_TYPES, Question, base_metric
from analysis.stats.agreement import with_one_verdict
from analysis.stats.paired import images_dominate
from analysis.stats.results import Answer, ContrastAnswer, Picture
from analysis.stats.verdicts import Arms, answer_contrasts, borne_out

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from analysis.store.image_scores import ImageScores


class QuestionModule(Protocol):
    """A module of this package that holds a question."""

    DESIGN: Design

    def answer(self, evidence: Evidence) -> Conclusion:
        """Conclude from the contrasts; Unanswered where those that decide are missing."""


QUESTIONS: dict[str, QuestionModule] = {
    "swap": swap,
    "epochs": epochs,
    "variance": activation_variance,
    "test-time": noisy_inference,
    "additivity": additivity,
    "dropconnect": dropconnect,
    "beat-dropout": beat_dropout,
    "ingredients": ingredients,
    "audit": audit,
}
"""Every question by its name, in the order of the exercises and of a report."""

DESIGNS: dict[str, Design] = {name: module.DESIGN for name, module in QUESTIONS.items()}

CAPTION = (
    "Left: the seeds of every arm. Right: paired differences, one point per seed, with mean and "
    "95 % paired-t interval (not adjusted for multiplicity) beside the band within which a "
    "difference is negligible. An arrow stands for a difference off the scale."
)


def answer_all(
    questions: Sequence[Question],
    table: pd.DataFrame,
    arms: Arms,
    images: Mapping[str, ImageScores] | None = None,
    recipes: RecipeWords = NAMES,
    image_types: Collection[str] = IMAGE_TYPES,
    bins: pd.DataFrame | None = None,
) -> list[Answer]:
    """Answer declared questions together: a difference that two of them ask for has one verdict.

    Args:
        arms: recipe -> arm label -> arm name.
        images: arm name -> its networks' scores on each test image.
        recipes: what each recipe is in words.
        image_types: the noise types that know that an input is an image.
        bins: of `analysis.store.curves.read_bins`.

    Raises:
        StoreError: only another version of this code knows a question.
    """
    from analysis.stats import crossed_bootstrap  # imports MLflow, which declaring does without
    from analysis.store.uri import StoreError

    for question in questions:
        if question.name not in QUESTIONS:
            raise StoreError(
                f"the study asks {question.name!r}, a question that this version does not know: "
                "read the study with the commit that ran it, which its study run names"
            )
    answered = [answer_contrasts(question, table, arms, recipes) for question in questions]
    answers = []
    for question, contrasts in zip(
        questions, with_one_verdict(questions, answered, arms, recipes), strict=True
    ):
        crossed = crossed_bootstrap.intervals(contrasts.contrasts, arms, images or {})
        told = replace(contrasts, contrasts=tuple(_on_images(contrasts.contrasts, crossed)))
        evidence = Evidence(
            question,
            table,
            arms,
            told,
            images or {},
            recipes,
            image_types,
            pd.DataFrame() if bins is None else bins,
        )
        answers.append(replace(_answer(evidence), crossed=crossed))
    return answers


def answer(question: Question, table: pd.DataFrame, arms: Arms) -> Answer:
    """Answer one question alone; see `answer_all`."""
    return answer_all([question], table, arms)[0]


def _on_images(
    contrasts: Sequence[ContrastAnswer], crossed: Mapping[tuple[str, str, str], tuple[float, float]]
) -> Iterator[ContrastAnswer]:
    """Add to the sentence of a contrast what the interval over seeds and images says of it."""
    for one in contrasts:
        text = one.sentence
        low, high = crossed.get(one.contrast.identity, (math.nan, math.nan))
        seeds = one.estimate.ci_low, one.estimate.ci_high
        if not borne_out(one.verdict, low, high, one.contrast.margin):
            text += " It holds on these test images: over seeds and images it is open."
        elif one.verdict == "inconclusive" and images_dominate(seeds, (low, high)):
            text += " Most of the uncertainty is the finite test set, which more seeds do not help."
        yield replace(one, sentence=text)


def _answer(evidence: Evidence) -> Answer:
    question, answered = evidence.question, evidence.answered
    recipes = dict.fromkeys(one.contrast.recipe for one in answered.contrasts)
    declared = dict.fromkeys(contrast.recipe for contrast in question.contrasts)
    told = [evidence.recipes[recipe] for recipe in recipes or declared]
    holds = condition(question, told, DESIGNS[question.name].values)
    try:
        conclusion = QUESTIONS[question.name].answer(evidence)
        shown = conclusion.shown or evidence.on("accuracy") or answered.contrasts
        sentence = numbers(shown, evidence.recipes)
        takeaway = f"{conclusion.takeaway}. This holds {holds}."
    except Unanswered as reason:
        conclusion = Conclusion(f"Not answered: {str(reason) or _why_refused(evidence)}", "")
        sentence = f"{conclusion.verdict}."
        takeaway = "The runs do not answer this question, in either direction."
    figure, caption, pictures = _figures(evidence, conclusion)
    missing = dict.fromkeys(refused.reason for refused in answered.refused if refused.entered)
    return Answer(
        question=question.name,
        asked=question,
        verdict=conclusion.verdict,
        sentence=sentence,
        takeaway=takeaway,
        contrasts=answered.contrasts,
        refused=answered.refused,
        figure=figure,
        caption=f"{caption} All of it holds {holds}.",
        notes=(*missing, *answered.notes, *conclusion.notes),
        pictures=pictures,
        tables=conclusion.tables,
        leading=tuple(one.contrast for one in conclusion.leading),
    )


def _why_refused(evidence: Evidence) -> str:
    """Return why the first contrast on accuracy was refused, or any where none is on accuracy."""
    refused = evidence.answered.refused
    deciding = [one for one in refused if base_metric(one.contrast.metric) == "accuracy"]
    reasons = [one.reason for one in deciding or refused]
    return reasons[0] if reasons else "the contrasts that decide were not declared"


def _figures(
    evidence: Evidence, conclusion: Conclusion
) -> tuple[Callable[[], Figure], str, tuple[Picture, ...]]:
    """Return the main figure, its caption and the further pictures."""
    if conclusion.pictures:
        first, *others = conclusion.pictures
        return first.draw, first.caption, tuple(others)
    from analysis.plots import curves, forest  # costly to import

    def figure() -> Figure:
        return forest.question_figure(
            evidence.question,
            evidence.table,
            evidence.arms,
            evidence.answered.contrasts,
            evidence.recipes,
        )

    return figure, CAPTION, tuple(curves.question_pictures(evidence))
