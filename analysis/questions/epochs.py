"""Exercise 2: what becomes of dropout's gain when training goes on?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.questions.sentences import (
    brief,
    by_metric,
    conclude,
    condition,
    directed,
    gain,
    not_answered,
)
from analysis.schema import Question
from analysis.stats.results import Answer, ContrastAnswer
from analysis.stats.verdicts import answer_contrasts

VALUES = "the rates tuned under another recipe and 0.5"
SLOPES = "slopes"


def answer(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> Answer:
    """Where dropout gains on no noise, and whether the gap moves with the epochs.

    Args:
        question: as declared; contrasts of the family "slopes" are changes per doubling of the epochs, the others gaps.
        table: run table, one row per seed run.
        arms: recipe -> arm label -> arm name.
    """
    found = answer_contrasts(question, table, arms)
    deciding = by_metric(found.contrasts, "accuracy")
    gaps, slopes = (
        [one for one in deciding if not _is_slope(one)],
        [one for one in deciding if _is_slope(one)],
    )
    if not gaps:
        return not_answered(question, table, arms, found, VALUES)
    loss = [one for one in by_metric(found.contrasts, "loss") if _is_slope(one)]
    counts = directed(gaps)
    verdict = f"Dropout is better in {len(counts['better'])} of {len(gaps)} gaps to no noise, worse in {len(counts['worse'])}"
    verdict += f"; with the epochs the gap {_movement(slopes)}" if slopes else ""
    sentence = f"On accuracy, {', '.join(brief(one) for one in [*gaps, *slopes])}"
    sentence += f"; on loss, {', '.join(map(brief, loss))}." if loss else "."
    finding = (
        f"At a constant learning rate dropout did better than no noise {_where(counts['better'])} and worse "
        f"{_where(counts['worse'])}; {_moved(slopes)}."
    )
    return conclude(
        question,
        table,
        arms,
        found,
        verdict=verdict,
        sentence=sentence,
        takeaway=f"{finding} This holds {condition(question, VALUES)}.",
        values=VALUES,
    )


def _is_slope(one: ContrastAnswer) -> bool:
    return one.contrast.family.startswith(SLOPES)


def _movement(slopes: Sequence[ContrastAnswer]) -> str:
    """ "grows with the epochs (dropout), is steady (dropout(0.5,0.5))"."""
    words: dict[str, list[str]] = {_trend(one): [] for one in slopes}
    for one in slopes:
        words[_trend(one)].append(one.contrast.name.split(" - ")[0])
    return ", ".join(f"{trend} for {' and '.join(names)}" for trend, names in words.items())


def _trend(one: ContrastAnswer) -> str:
    if one.verdict == "inconclusive":
        return "has no sure trend"
    if one.verdict in ("better", "worse"):
        return (
            "moves in favour of dropout with the epochs"
            if gain(one) > 0
            else "moves against dropout with the epochs"
        )
    return "stays where it is"


def _where(gaps: Sequence[ContrastAnswer]) -> str:
    """ "for dropout after 5, 10 epochs and for dropout(0.5,0.5) after 5 epochs"; "nowhere"."""
    horizons: dict[str, list[str]] = {}
    for one in gaps:
        arm, _, epochs = one.contrast.name.partition(" - none, ")
        horizons.setdefault(arm, []).append(epochs.removesuffix(" epochs"))
    return (
        " and ".join(f"for {arm} after {', '.join(some)} epochs" for arm, some in horizons.items())
        or "nowhere"
    )


def _moved(slopes: Sequence[ContrastAnswer]) -> str:
    return (
        f"with the epochs the gap {_movement(slopes)}"
        if slopes
        else "how the gap moves was not answered"
    )
