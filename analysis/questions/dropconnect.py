"""Exercise 6: what if single weights are dropped rather than units?"""

from __future__ import annotations

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
from analysis.stats.results import Answer
from analysis.stats.verdicts import answer_contrasts

VALUES = "rate 0.5 and the tuned values"
TRAINING = "training"


def answer(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> Answer:
    """Noise on weights against dropout, at the same rate and each tuned; then the two ways to predict with it.

    Args:
        question: as declared; contrasts of the family "training" compare arms, the others the inference.
        table: run table, one row per seed run.
        arms: recipe -> arm label -> arm name.
    """
    found = answer_contrasts(question, table, arms)
    accuracy = by_metric(found.contrasts, "accuracy")
    training = [one for one in accuracy if one.contrast.family.startswith(TRAINING)]
    inference = [one for one in accuracy if one not in training]
    if not training:
        return not_answered(question, table, arms, found, VALUES)
    tuned = [one for one in training if "tuned" in one.contrast.name] or training
    told = "; ".join(
        f"{_who(one.contrast.name)} is {AGAINST[one.verdict]} dropout" for one in tuned
    )
    matched = "; ".join(
        f"{_who(one.contrast.name)} is {AGAINST[one.verdict]} it"
        for one in training
        if one not in tuned
    )
    loss = by_metric(found.contrasts, "loss")
    takeaway = f"On accuracy {told}" + (f", while at dropout's rate {matched}" if matched else "")
    if inference:
        takeaway += f"; moment-matched inference is {AGAINST[inference[0].verdict]} mean weights"
    return conclude(
        question,
        table,
        arms,
        found,
        verdict=f"Tuned: {told}" if tuned is not training else f"At the same rate: {told}",
        sentence=f"On accuracy, {', '.join(map(brief, accuracy))}; on loss, {', '.join(map(brief, loss))}.",
        takeaway=f"{takeaway}. This holds {condition(question, VALUES)}.",
        values=VALUES,
    )


def _who(name: str) -> str:
    return name.split(" - ")[0]
