"""Exercise 2: what becomes of dropout's gain when training goes on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2

import pandas as pd

from analysis.questions.base import HALF, RATE, Arm, Comparison, Design, Recipe, Tuned
from analysis.questions.sentences import (
    brief,
    by_key,
    by_metric,
    conclude,
    condition,
    not_answered,
)
from analysis.schema import Question, term
from analysis.stats.paired import gain
from analysis.stats.results import Answer, ContrastAnswer
from analysis.stats.verdicts import answer_contrasts

HORIZONS = (5, 10, 20, 50, 100)
ARMS = ("dropout", HALF)
SLOPES = "slopes"


def gap_key(arm: str, epochs: int) -> str:
    """Return the key of the gap between an arm and no noise after so many epochs."""
    return f"{arm} - none, {epochs} epochs"


def slope_key(arm: str) -> str:
    """Return the key of the gap's slope over the doublings of the epochs."""
    return f"{arm} - none, change per doubling"


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """Compare with no noise at each horizon, and take the gap's slope over their doublings."""
    horizons = [epochs for epochs in HORIZONS if epochs <= recipe.epochs]
    doublings = [log2(epochs) for epochs in horizons]
    centred = [x - sum(doublings) / len(doublings) for x in doublings]
    declared = []
    for arm in ARMS:
        declared += [
            Comparison(gap_key(arm, epochs), gap(arm, epochs, 1.0), f"{arm}: horizons")
            for epochs in horizons
        ]
        slope: dict[str, float] = {}
        for epochs, x in zip(horizons, centred, strict=True):
            slope |= gap(arm, epochs, x / sum(value**2 for value in centred))
        # A negligible slope moves the gap by no more than the margin from first to last horizon.
        width = doublings[-1] - doublings[0]
        declared.append(Comparison(slope_key(arm), slope, SLOPES, margin_factor=1 / width))
    return declared


def gap(arm: str, epochs: int, weight: float) -> dict[str, float]:
    """Return `weight` times the difference to no noise after so many epochs."""
    metric = f"{{metric}}_at_{epochs}"
    return {term(arm, metric): weight, term("none", metric): -weight}


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """Return no noise, dropout at its tuned rates, and at 0.5; no weight decay in any of them."""
    dropout = tuned["dropout"]
    return {
        "none": recipe.arm("none", 0.0, 0.0, 0.0),
        "dropout": recipe.arm("dropout", dropout.rate1, dropout.rate2, 0.0),
        HALF: recipe.arm("dropout", RATE, RATE, 0.0),
    }


DESIGN = Design(
    name="epochs",
    title="What becomes of dropout's gain when training goes on?",
    rule=(
        "No noise, dropout at the rates tuned under the first recipe, and dropout at 0.5, none "
        "with weight decay. One training at a constant learning rate passes through all horizons."
    ),
    recipes=("constant",),
    comparisons=comparisons,
    arms=arms,
    measures=dict.fromkeys(("none", *ARMS), ("horizons",)),
)

VALUES = "the rates tuned under another recipe and 0.5"


def answer(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> Answer:
    """Say where dropout gains on no noise, and whether the gap moves with the epochs."""
    answered = answer_contrasts(question, table, arms)
    deciding = by_metric(answered.contrasts, "accuracy")
    by_arm = {arm: _gaps(by_key(deciding), arm) for arm in ARMS}
    gaps = [gap for of_arm in by_arm.values() for gap in of_arm.values()]
    if not gaps:
        return not_answered(question, table, arms, answered, VALUES)
    slopes = _slopes(deciding)
    loss_slopes = _slopes(by_metric(answered.contrasts, "loss"))
    movement = _movement(slopes)
    better, worse = (sum(gap.verdict == word for gap in gaps) for word in ("better", "worse"))
    verdict = f"Dropout is better in {better} of {len(gaps)} gaps to no noise, worse in {worse}"
    verdict += f"; with the epochs the gap {movement}" if slopes else ""
    sentence = f"On accuracy, {', '.join(map(brief, [*gaps, *slopes.values()]))}"
    sentence += f"; on loss, {', '.join(map(brief, loss_slopes.values()))}." if loss_slopes else "."
    takeaway = (
        f"At a constant learning rate dropout did better than no noise {_where(by_arm, 'better')} "
        f"and worse {_where(by_arm, 'worse')}; with the epochs the gap {movement or 'is unknown'}. "
        f"This holds {condition(question, VALUES)}."
    )
    return conclude(
        question,
        table,
        arms,
        answered,
        verdict=verdict,
        sentence=sentence,
        takeaway=takeaway,
        values=VALUES,
    )


def _gaps(answers: Mapping[str, ContrastAnswer], arm: str) -> dict[int, ContrastAnswer]:
    """Return horizon -> the arm's answered gap."""
    keys = {epochs: gap_key(arm, epochs) for epochs in HORIZONS}
    return {epochs: answers[key] for epochs, key in keys.items() if key in answers}


def _slopes(contrasts: Sequence[ContrastAnswer]) -> dict[str, ContrastAnswer]:
    answers = by_key(contrasts)
    return {arm: answers[slope_key(arm)] for arm in ARMS if slope_key(arm) in answers}


def _movement(slopes: Mapping[str, ContrastAnswer]) -> str:
    """ "stays where it is for dropout, has no sure trend for dropout(0.5,0.5)"."""
    arms_of: dict[str, list[str]] = {}
    for arm, slope in slopes.items():
        arms_of.setdefault(_trend(slope), []).append(arm)
    return ", ".join(f"{trend} for {' and '.join(names)}" for trend, names in arms_of.items())


def _trend(slope: ContrastAnswer) -> str:
    if slope.verdict == "inconclusive":
        return "has no sure trend"
    if slope.verdict not in ("better", "worse"):
        return "stays where it is"
    return f"moves {'in favour of' if gain(slope) > 0 else 'against'} dropout with the epochs"


def _where(by_arm: Mapping[str, Mapping[int, ContrastAnswer]], verdict: str) -> str:
    """ "for dropout after 5, 10 epochs and for dropout(0.5,0.5) after 5 epochs"; "nowhere"."""
    places = []
    for arm, gaps in by_arm.items():
        epochs = [str(horizon) for horizon, gap in gaps.items() if gap.verdict == verdict]
        if epochs:
            places.append(f"for {arm} after {', '.join(epochs)} epochs")
    return " and ".join(places) or "nowhere"
