"""Exercise 5: are the gains of dropout and of weight decay additive?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.questions.sentences import (
    brief,
    by_metric,
    by_recipe,
    conclude,
    condition,
    gain,
    gain_interval,
    not_answered,
)
from analysis.schema import Question
from analysis.stats.results import Answer, ContrastAnswer
from analysis.stats.verdicts import NEGLIGIBLE, answer_contrasts

VALUES = "the tuned rates and weight decay"
SINGLES = ("dropout", "weight decay")
NEEDED = {
    "dropout - none",
    "weight decay - none",
    "both - none",
    "both - dropout",
    "both - weight decay",
    "interaction",
}
TOLERANCE = (
    0.25  # of the smaller single gain: how far an interaction may be from 0 and still count as none
)

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
    """The class, the first whose rule holds, and what it means or why it is undetermined.

    A single gain counts when its verdict is plainly "better": where it is negligible, everything is equivalent to
    everything. Equivalence to nothing or to the better single is TOST's, whether or not the difference is significant.

    Args:
        verdicts: contrast name (those of NEEDED) -> verdict.
        gains: "dropout", "weight decay" -> mean gain over no regularisation, positive is better.
        interaction: 90 % interval of the interaction, positive is synergy, in the unit of the gains.
    """
    if lacking := [single for single in SINGLES if verdicts[f"{single} - none"] != "better"]:
        return "undetermined", " and ".join(
            _lack(single, verdicts[f"{single} - none"]) for single in lacking
        )
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


def _lack(single: str, verdict: str) -> str:
    if verdict == "inconclusive":
        return f"{single} alone brings no gain yet"
    if verdict in NEGLIGIBLE:
        return f"{single} alone brings no gain that matters"
    return f"{single} alone does harm"


def answer(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> Answer:
    """The class of the joint gain under each recipe; `long`, where regularisation binds, is told first.

    Args:
        question: as declared; its contrasts are the six of NEEDED, for each recipe and metric.
        table: run table, one row per seed run.
        arms: recipe -> arm label -> arm name.
    """
    found = answer_contrasts(question, table, arms)
    deciding, loss_classes, logit_classes = (
        _classes(by_recipe(by_metric(found.contrasts, kind), kind == "accuracy"))
        for kind in ("accuracy", "loss", "logit_error")
    )
    if not deciding:
        return not_answered(question, table, arms, found, VALUES)
    recipes = sorted(
        deciding, key=lambda recipe: recipe != "long"
    )  # sorted is stable: the rest as declared
    first, why = deciding[recipes[0]]
    verdict = (
        f"{first}: {why}"
        if len(recipes) == 1
        else ", ".join(f"{deciding[name][0]} ({name})" for name in recipes)
    )
    numbers = "; ".join(
        _numbers(recipe, by_recipe(found.contrasts, True)[recipe], deciding[recipe][0])
        for recipe in recipes
    )
    beside = "; ".join(
        f"on {scale}: "
        + ", ".join(f"{name} under {recipe}" for recipe, (name, _) in classes.items())
        for scale, classes in (("loss", loss_classes), ("logit error", logit_classes))
        if classes
    )
    return conclude(
        question,
        table,
        arms,
        found,
        verdict=verdict[0].upper() + verdict[1:],
        sentence=f"On accuracy, {numbers}" + (f"; {beside}." if beside else "."),
        takeaway=f"{_finding(first, why, recipes[0])} This holds {condition(question, VALUES)}, and on this scale of "
        "measurement only.",
        values=VALUES,
    )


def _classes(groups: Mapping[str, Sequence[ContrastAnswer]]) -> dict[str, tuple[str, str]]:
    """Recipe -> class and meaning, where all six contrasts were answered."""
    classes = {}
    for recipe, group in groups.items():
        found = {one.contrast.name: one for one in group}
        if found.keys() >= NEEDED:
            verdicts = {name: one.verdict for name, one in found.items()}
            gains = {single: gain(found[f"{single} - none"]) for single in SINGLES}
            classes[recipe] = classify(
                verdicts, gains, gain_interval(found["interaction"], level=0.9)
            )
    return classes


def _numbers(recipe: str, group: Sequence[ContrastAnswer], name: str) -> str:
    shown = [
        one
        for one in group
        if one.contrast.name.endswith(" - none") or one.contrast.name == "interaction"
    ]
    return f"under {recipe}, {', '.join(map(brief, shown))}, hence {name}"


def _finding(name: str, why: str, recipe: str) -> str:
    if name == "undetermined":
        return f"Under {recipe} it cannot be told whether the gains add up: {why}."
    return f"Under {recipe} dropout and weight decay each help alone, and {why}."
