"""Exercise 5: are the gains of dropout and weight decay additive?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis import formatting
from analysis.questions.base import MARGINS, Arm, Comparison, Design, Recipe, Tuned
from analysis.questions.sentences import (
    brief,
    by_key,
    by_metric,
    by_recipe,
    conclude,
    condition,
    not_answered,
)
from analysis.schema import Question
from analysis.stats.paired import gain, gain_interval
from analysis.stats.results import Answer, ContrastAnswer
from analysis.stats.verdicts import NEGLIGIBLE, answer_contrasts

GRID_RATES = (0.0, 0.1, 0.2, 0.3, 0.5)
GRID_WEIGHT_DECAYS = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
SINGLES = ("dropout", "weight decay")
COMPARISONS = {
    "dropout - none": {"dropout": 1.0, "none": -1.0},
    "weight decay - none": {"weight decay": 1.0, "none": -1.0},
    "both - none": {"both": 1.0, "none": -1.0},
    "both - dropout": {"both": 1.0, "dropout": -1.0},
    "both - weight decay": {"both": 1.0, "weight decay": -1.0},
    "interaction": {"both": 1.0, "dropout": -1.0, "weight decay": -1.0, "none": 1.0},
}
"""The three gains over no regularisation, the pair against each single, and the interaction."""


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """Return COMPARISONS."""
    return [Comparison(key, coefficients) for key, coefficients in COMPARISONS.items()]


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """Return the 2 x 2: the rates of tuned dropout, the weight decay tuned without noise."""
    none, dropout = tuned["none"], tuned["dropout"]
    return {
        "none": none.with_weight_decay(0.0),
        "dropout": dropout.with_weight_decay(0.0),
        "weight decay": none,
        "both": dropout.with_weight_decay(none.weight_decay),
    }


def explore(recipe: Recipe, tuned: Tuned) -> list[Arm]:
    """Return a grid of rates and weight decays, under the recipe of the least cost alone."""
    if recipe.momentum:
        return []
    return [
        recipe.arm("dropout", rate, rate, weight_decay)
        for rate in GRID_RATES
        for weight_decay in GRID_WEIGHT_DECAYS
    ]


DESIGN = Design(
    name="additivity",
    title="Are the gains of dropout and weight decay additive?",
    rule=(
        "A 2 x 2 of tuned values: the rates are those of the tuned dropout arm, the weight decay "
        "that of the tuned arm without noise; each is also run alone, and both are left out once."
    ),
    recipes=("decay", "long"),
    comparisons=comparisons,
    arms=arms,
    metrics=MARGINS | {"test/logit_error": 0.02},  # 0.2 points of accuracy at 88 %
    explore=explore,
)

VALUES = "the tuned rates and weight decay"
TOLERANCE = 0.25
"""So far an interaction may be from 0 and still count as none, of the smaller single gain."""

MEANING = {
    "antagonistic": "together they do worse than neither",
    "cancelling": "together nothing is left of either gain",
    "redundant": "together they gain no more than the better one alone",
    "synergistic": "together they gain more than the sum",
    "additive": "together they gain the sum",
    "diminishing": "together they gain less than the sum, but more than either alone",
}


def classify(
    verdicts: Mapping[str, str], gains: Mapping[str, float], interaction: tuple[float, float]
) -> tuple[str, str]:
    """Return the first class whose rule holds, and what it means or why it is undetermined.

    A single gain counts when its verdict is plainly "better": where it is negligible, everything
    is equivalent to everything. Equivalence to nothing or to the better single is TOST's, whether
    or not the difference is significant.

    Args:
        verdicts: key of COMPARISONS -> verdict.
        gains: "dropout", "weight decay" -> mean gain over no regularisation, positive is better.
        interaction: 90 % interval, positive is synergy, in the unit of the gains.
    """
    if lacking := [single for single in SINGLES if verdicts[f"{single} - none"] != "better"]:
        reasons = [_no_gain(single, verdicts[f"{single} - none"]) for single in lacking]
        return "undetermined", " and ".join(reasons)
    stronger = max(SINGLES, key=lambda single: gains[single])
    over_stronger = verdicts[f"both - {stronger}"]
    bound = TOLERANCE * min(gains[single] for single in SINGLES)
    rules = {
        "antagonistic": verdicts["both - none"].startswith("worse"),
        "cancelling": verdicts["both - none"] in NEGLIGIBLE,
        "redundant": over_stronger in NEGLIGIBLE,
        "synergistic": verdicts["interaction"].startswith("better"),
        "additive": -bound <= interaction[0] and interaction[1] <= bound,
        "diminishing": verdicts["interaction"].startswith("worse") and over_stronger == "better",
    }
    for name, holds in rules.items():
        if holds:
            return name, MEANING[name]
    return "undetermined", "both help alone, but what they gain together is too uncertain"


def _no_gain(single: str, verdict: str) -> str:
    if verdict == "inconclusive":
        return f"{single} alone brings no gain yet"
    if verdict in NEGLIGIBLE:
        return f"{single} alone brings no gain that matters"
    return f"{single} alone does harm"


def answer(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> Answer:
    """Classify the joint gain under each recipe; `long`, where regularisation binds, comes
    first."""
    answered = answer_contrasts(question, table, arms)
    classes = {
        scale: _classes(by_recipe(by_metric(answered.contrasts, scale), scale == "accuracy"))
        for scale in ("accuracy", "loss", "logit_error")
    }
    deciding = classes["accuracy"]
    if not deciding:
        return not_answered(question, table, arms, answered, VALUES)
    recipes = sorted(deciding, key=lambda recipe: recipe != "long")  # stable: the rest as declared
    first, why = deciding[recipes[0]]
    verdict = f"{first}: {why}"
    if len(recipes) > 1:
        verdict = ", ".join(f"{deciding[recipe][0]} ({recipe})" for recipe in recipes)
    contrasts = by_recipe(answered.contrasts, accuracy=True)
    parts = [_numbers(recipe, contrasts[recipe], deciding[recipe][0]) for recipe in recipes]
    for scale in ("loss", "logit_error"):
        if classes[scale]:
            others = (f"{name} under {recipe}" for recipe, (name, _) in classes[scale].items())
            parts.append(f"on {scale.replace('_', ' ')}: {', '.join(others)}")
    return conclude(
        question,
        table,
        arms,
        answered,
        verdict=formatting.capital(verdict),
        sentence=f"On accuracy, {'; '.join(parts)}.",
        takeaway=(
            f"{_finding(first, why, recipes[0])} This holds {condition(question, VALUES)}, and on "
            "this scale of measurement only."
        ),
        values=VALUES,
    )


def _classes(groups: Mapping[str, Sequence[ContrastAnswer]]) -> dict[str, tuple[str, str]]:
    """Return recipe -> class and meaning, where all six contrasts were answered."""
    classes = {}
    for recipe, group in groups.items():
        answers = by_key(group)
        if answers.keys() >= COMPARISONS.keys():
            verdicts = {key: contrast.verdict for key, contrast in answers.items()}
            gains = {single: gain(answers[f"{single} - none"]) for single in SINGLES}
            interval = gain_interval(answers["interaction"], level=0.9)
            classes[recipe] = classify(verdicts, gains, interval)
    return classes


def _numbers(recipe: str, group: Sequence[ContrastAnswer], name: str) -> str:
    answers = by_key(group)
    gains = ("dropout - none", "weight decay - none", "both - none", "interaction")
    shown = (brief(answers[key]) for key in gains)
    return f"under {recipe}, {', '.join(shown)}, hence {name}"


def _finding(name: str, why: str, recipe: str) -> str:
    if name == "undetermined":
        return f"Under {recipe} it cannot be told whether the gains add up: {why}."
    return f"Under {recipe} dropout and weight decay each help alone, and {why}."
