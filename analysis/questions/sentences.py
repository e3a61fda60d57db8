"""Building blocks of the sentences in which questions are answered."""

from __future__ import annotations

from collections.abc import Iterable

from analysis import formatting
from analysis.formatting import RecipeWords
from analysis.schema import CONFIRM, Question
from analysis.stats.results import ContrastAnswer
from analysis.stats.verdicts import is_book

AGAINST = {
    "better, matters": "better by more than the margin than",
    "worse, matters": "worse by more than the margin than",
    "better": "better than",
    "worse": "worse than",
    "equivalent": "equivalent to",
    "better, negligible": "negligibly better than",
    "worse, negligible": "negligibly worse than",
    "inconclusive": "not told apart from",
}
"""A verdict between two things that are compared."""


def by_recipe(answers: Iterable[ContrastAnswer]) -> dict[str, list[ContrastAnswer]]:
    """Group contrasts by recipe."""
    groups: dict[str, list[ContrastAnswer]] = {}
    for answer in answers:
        groups.setdefault(answer.contrast.recipe, []).append(answer)
    return groups


def by_key(answers: Iterable[ContrastAnswer]) -> dict[str, ContrastAnswer]:
    """Return contrasts by their keys."""
    return {answer.contrast.key: answer for answer in answers}


def listed(names: Iterable[str]) -> str:
    """Join names by commas; "none" where there are none."""
    return ", ".join(names) or "none"


def brief(answer: ContrastAnswer) -> str:
    """Return "both - none: better (+0.31 pp [+0.10, +0.52])"."""
    metric, estimate = answer.contrast.metric, answer.estimate
    mean = formatting.difference(estimate.mean, metric)
    interval = formatting.interval(estimate.ci_low, estimate.ci_high, metric)
    return f"{answer.contrast.name}: {answer.verdict} ({mean} {interval})"


def numbers(answers: Iterable[ContrastAnswer], recipes: RecipeWords) -> str:
    """Return the estimates of contrasts as a sentence, those of one metric and recipe together."""
    groups: dict[str, list[str]] = {}
    for answer in answers:
        metric = formatting.metric_name(answer.contrast.metric)
        place = f"on {metric} ({recipes[answer.contrast.recipe]})"
        groups.setdefault(place, []).append(brief(answer))
    parts = [f"{place}, {', '.join(told)}" for place, told in groups.items()]
    return f"{formatting.capital('; '.join(parts))}."


def condition(question: Question, recipes: Iterable[str], values: str) -> str:
    """Return the settings that the claims depend on: images, tuned values and recipes."""
    images = "this test set" if question.phase == CONFIRM else "these validation images"
    text = f"for {images}, {values}, and training with {' and with '.join(recipes)}"
    if any(map(is_book, question.contrasts)):
        text += "; with a constant learning rate a gain may steady the end point, not generalise"
    return text
