"""One verdict for one difference: two questions may ask for the same arms on the same seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analysis.formatting import NAMES, RecipeWords
from analysis.schema import Contrast, Question
from analysis.stats.results import Answered
from analysis.stats.verdicts import Arms, judged


def with_one_verdict(
    questions: Sequence[Question],
    answered: Sequence[Answered],
    arms: Arms,
    recipes: RecipeWords = NAMES,
) -> list[Answered]:
    """Give the same difference of the same arms on the same seeds one verdict in all questions: by
    the largest of its adjusted p-values."""
    largest: dict[tuple[object, ...], float] = {}
    for question, of_question in zip(questions, answered, strict=True):
        for one in of_question.contrasts:
            key = _difference(question, one.contrast, arms)
            largest[key] = max(largest.get(key, 0.0), one.p_adjusted)
    agreed = []
    for question, of_question in zip(questions, answered, strict=True):
        contrasts = []
        for one in of_question.contrasts:
            p_adjusted = largest[_difference(question, one.contrast, arms)]
            contrasts.append(judged(one, p_adjusted, question.alpha, recipes))
        agreed.append(replace(of_question, contrasts=tuple(contrasts)))
    return agreed


def sharing(asked: Question, questions: Sequence[Question], arms: Arms) -> list[Question]:
    """Return the question and those that ask for one of its differences, too."""
    own = {_difference(asked, contrast, arms) for contrast in asked.contrasts}
    shared = []
    for question in questions:
        others = {_difference(question, contrast, arms) for contrast in question.contrasts}
        if question == asked or own & others:
            shared.append(question)
    return shared


def _difference(question: Question, contrast: Contrast, arms: Arms) -> tuple[object, ...]:
    """Return what tells a difference of arms from all others of a study."""
    labels = arms.get(contrast.recipe, {})
    terms = frozenset(
        (labels.get(label, label), own, value) for label, own, value in contrast.terms
    )
    place = contrast.recipe, contrast.metric, contrast.margin
    return terms, place, question.seeds, question.phase, question.alpha
