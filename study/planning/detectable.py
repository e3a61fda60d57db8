"""The smallest effect that each question of a study could detect, before it is run."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from analysis import formatting
from analysis.formatting import NAMES, RecipeWords
from analysis.schema import Contrast, Question, base_metric
from analysis.stats.power import detectable_effect

PAIRED_SD: dict[str, dict[str, float]] = {
    "small": {"accuracy": 0.0021, "loss": 0.0113, "logit_error": 0.0158},
    "decay": {
        "accuracy": 0.0011,
        "loss": 0.0012,
        "logit_error": 0.006,
        "brier": 0.0005,
        "ece": 0.0018,
    },
    "long": {"accuracy": 0.0020, "loss": 0.0037, "logit_error": 0.022},
    "constant": {"accuracy": 0.011, "loss": 0.030},
    "book": {"accuracy": 0.012, "loss": 0.070},
}
"""Recipe -> metric -> SD over seeds of the difference of two arms: the median over contrasts of
earlier studies (docs/results). A study measures its own."""
OTHERWISE = "decay"
"""The recipe whose SDs stand in where none was measured."""
OF_VARIANCES = {"variance/log": 0.0067, "variance/excess": 0.0010}


def describe(questions: Sequence[Question], recipes: RecipeWords = NAMES) -> list[str]:
    """Return a line for each question, metric and family of contrasts, and what they mean.

    Args:
        recipes: what each recipe is in words.
    """
    rows = [("question", "metric", "family", "contrasts", "alone", "first by Holm", "negligible")]
    candidates = False
    for question in questions:
        families: dict[tuple[str, str], list[Contrast]] = {}
        for contrast in question.contrasts:
            families.setdefault((contrast.metric, contrast.family), []).append(contrast)
            candidates |= bool(contrast.candidate)
        for (metric, family), contrasts in families.items():
            n, size = len(question.seeds), len(contrasts)
            alone = _between(contrasts, n, question.alpha)
            first = _between(contrasts, n, question.alpha / size)
            margin = formatting.margin(contrasts[0].margin, metric)
            recipe = contrasts[0].recipe
            kind = family.removesuffix(f", {recipe}")
            told = f"{kind}, {recipes[recipe]}" if kind != family else family
            rows.append((question.name, metric, told, str(size), alone, first, margin))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    notes = [
        "alone: the smallest true difference that a paired t finds in 80 % of studies at alpha, as "
        "where the family's",
        "other contrasts have all passed before it; first by Holm: at alpha divided by the "
        "family's contrasts, as for",
        "the only effect of its family. The SDs over seeds are earlier studies'; of 10 epochs "
        "where a recipe has none yet.",
    ]
    if candidates:
        notes.append(
            "A noise type that is to beat dropout has to pass all of its contrasts: the largest p "
            "speaks for it."
        )
    return [*table, *notes]


def paired_sd(contrast: Contrast) -> float:
    """Return about what the SD over seeds of a contrast should be, in the metric's unit.

    That of a difference of two arms, scaled by the coefficients as if the arms' own errors were
    independent.
    """
    kind = base_metric(contrast.metric)
    known = {**PAIRED_SD[OTHERWISE], **PAIRED_SD.get(contrast.recipe, {}), **OF_VARIANCES}
    sd = known.get(contrast.metric, known.get(kind, PAIRED_SD[OTHERWISE]["accuracy"]))
    return sd * sqrt(sum(value**2 for value in contrast.coefficients.values()) / 2)


def _between(contrasts: Sequence[Contrast], n: int, alpha: float) -> str:
    """The least and the largest detectable effect of some contrasts, in words."""
    metric = contrasts[0].metric
    effects = [detectable_effect(paired_sd(contrast), n, alpha) for contrast in contrasts]
    low = formatting.difference(min(effects), metric).lstrip("+")
    high = formatting.difference(max(effects), metric).lstrip("+")
    return low if low == high else f"{low.split()[0]} to {high}"
