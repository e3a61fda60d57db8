"""Exercise 4: why is dropout not used at test time?"""

from __future__ import annotations

import re

import pandas as pd

from analysis.questions.sentences import (
    AGAINST,
    brief,
    by_metric,
    conclude,
    condition,
    not_answered,
)
from analysis.schema import Question
from analysis.stats.results import Answer, ContrastAnswer
from analysis.stats.verdicts import answer_contrasts

VALUES = "tuned dropout"
ONE = "one noisy pass - deterministic"


def answer(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> Answer:
    """What noise at test time costs or brings: one pass, and the mean of many, against none.

    Args:
        question: as declared, on accuracy, which decides, and on loss, Brier score and calibration error.
        table: run table, one row per seed run.
        arms: recipe -> arm label -> arm name.
    """
    found = answer_contrasts(question, table, arms)
    accuracy = {one.contrast.name: one for one in by_metric(found.contrasts, "accuracy")}
    loss = {one.contrast.name: one for one in by_metric(found.contrasts, "loss")}
    many = next((name for name in accuracy if _passes(name) and name.endswith("deterministic")), "")
    if ONE not in accuracy or not many:
        return not_answered(question, table, arms, found, VALUES)
    single, mean, passes = accuracy[ONE], accuracy[many], _passes(many)
    verdict = f"One noisy pass is {_than(single)} the deterministic one; the mean of {passes} is {_than(mean)} it"
    sentence = f"On accuracy, {', '.join(map(brief, accuracy.values()))}; on loss, {', '.join(map(brief, loss.values()))}."
    finding = (
        f"On accuracy one random mask at test time is {_than(single)} none, and averaging {passes} masks, at {passes} "
        f"times the cost, is {_than(mean)} none"
    )
    if many in loss:
        finding += f"; on loss the average is {_than(loss[many])} the deterministic pass"
    return conclude(
        question,
        table,
        arms,
        found,
        verdict=verdict,
        sentence=sentence,
        takeaway=f"{finding} (that it beats a single pass in loss is Jensen's inequality, no finding). This holds "
        f"{condition(question, VALUES)}.",
        values=VALUES,
    )


def _than(one: ContrastAnswer) -> str:
    return AGAINST[one.verdict]


def _passes(name: str) -> int:
    found = re.match(r"mean of (\d+) passes", name)
    return int(found[1]) if found else 0
