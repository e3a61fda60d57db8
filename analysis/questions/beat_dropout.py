"""Exercise 7: does any other noise beat tuned dropout?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis import wording
from analysis.answer import Answer, ContrastAnswer
from analysis.decide import answer_contrasts
from analysis.telling import brief, by_recipe, conclude, condition, gain_interval, not_answered
from study.schema import Question

VALUES = "the tuned rates and weight decays"
DROPOUT = "tuned dropout"

THAN_NONE = {
    "better": "better than",
    "worse": "worse than",
    "equivalent": "equivalent to",
    "better, negligible": "negligibly better than",
    "worse, negligible": "negligibly worse than",
    "inconclusive": "not told apart from",
}


@dataclass(frozen=True)
class Candidate:
    """A noise type against tuned dropout and tuned training without noise, under every recipe, on one metric."""

    name: str
    contrasts: tuple[ContrastAnswer, ...]

    @property
    def against_dropout(self) -> list[ContrastAnswer]:
        """Its contrasts with tuned dropout, one per recipe."""
        return [one for one in self.contrasts if DROPOUT in one.contrast.coefficients]

    @property
    def beats(self) -> bool:
        """Better in all contrasts. The p behind each verdict is the candidate's, the largest of them, Holm-adjusted."""
        return all(one.verdict.startswith("better") for one in self.contrasts)

    @property
    def practically_better(self) -> bool:
        """Beats dropout, and the 95 % interval of the gain over dropout lies above the margin under every recipe."""
        return self.beats and all(gain_interval(one)[0] > one.contrast.margin for one in self.against_dropout)

    @property
    def ruled_out(self) -> bool:
        """Does not beat, and some contrast's 95 % interval leaves no room for a gain beyond the margin."""
        return not self.beats and any(gain_interval(one)[1] <= one.contrast.margin for one in self.contrasts)

    @property
    def worst(self) -> ContrastAnswer:
        """The contrast with tuned dropout in which it gains least."""
        return min(self.against_dropout, key=lambda one: gain_interval(one)[0])


def answer(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> Answer:
    """Which noise types beat tuned dropout and tuned training without noise under every recipe.

    Args:
        question: as declared; contrasts with a candidate compare it, the others are told for reference.
        table: run table, one row per seed run.
        arms: recipe -> arm label -> arm name.
    """
    contrasts, notes = answer_contrasts(question, table, arms)
    deciding, beside = (_candidates(question, by_recipe(contrasts, accuracy)) for accuracy in (True, False))
    if not deciding:
        return not_answered(question, table, arms, contrasts, notes, VALUES)
    winners = [candidate for candidate in deciding if candidate.beats]
    undecided = [candidate for candidate in deciding if not candidate.beats and not candidate.ruled_out]
    references = [one for group in by_recipe(contrasts, True).values() for one in group if not one.contrast.candidate]
    return conclude(
        question,
        table,
        arms,
        contrasts,
        notes,
        verdict=_verdict(deciding, winners, undecided),
        sentence=_sentence(deciding, winners, references, beside),
        takeaway=f"{_finding(deciding, winners, undecided, references)} This holds {condition(question, VALUES)}.",
        values=VALUES,
    )


def _candidates(question: Question, groups: dict[str, list[ContrastAnswer]]) -> list[Candidate]:
    """The candidates of which every declared contrast on the groups' metric was answered, in the declared order."""
    answered = [one for group in groups.values() for one in group if one.contrast.candidate]
    metrics = {one.contrast.metric for one in answered}
    declared = Counter(one.candidate for one in question.contrasts if one.candidate and one.metric in metrics)
    candidates = [
        Candidate(name, tuple(one for one in answered if one.contrast.candidate == name)) for name in declared
    ]
    return [one for one in candidates if len(one.contrasts) == declared[one.name]]


def _verdict(deciding: Sequence[Candidate], winners: Sequence[Candidate], undecided: Sequence[Candidate]) -> str:
    if not winners:
        return "Nothing beat dropout" + (f", {len(undecided)} of {len(deciding)} undecided" if undecided else "")
    who = _names(winners) if len(winners) <= 3 else f"{len(winners)} of {len(deciding)} noise types"
    practical = sum(candidate.practically_better for candidate in winners)
    some = "" if practical == len(winners) else f"{practical} " if practical else "not surely "
    return f"{who} beat{'s' * (len(winners) == 1)} dropout, {some}by more than the margin"


def _sentence(
    deciding: Sequence[Candidate],
    winners: Sequence[Candidate],
    references: Sequence[ContrastAnswer],
    beside: Sequence[Candidate],
) -> str:
    """The winners, or the candidate that came nearest, against dropout; then dropout itself, and what loss says."""
    shown = winners or [max(deciding, key=lambda candidate: gain_interval(candidate.worst)[0])]
    details = [one for candidate in shown for one in candidate.against_dropout] + list(references)
    numbers = ", ".join(brief(one, f"{one.contrast.name} under {one.contrast.recipe}") for one in details)
    on_loss = [candidate for candidate in beside if candidate.beats]
    loss = f"; on loss {_names(on_loss) if on_loss else 'none'} did" if beside else ""
    return (
        f"On accuracy {len(winners) or 'none'} of {wording.plural(len(deciding), 'candidate')} beat both tuned dropout "
        f"and tuned training without noise under every recipe ({'' if winners else 'nearest: '}{numbers}){loss}."
    )


def _finding(
    deciding: Sequence[Candidate],
    winners: Sequence[Candidate],
    undecided: Sequence[Candidate],
    references: Sequence[ContrastAnswer],
) -> str:
    if winners:
        told = f"Tuned {_names(winners)} did better than tuned dropout and than no noise under every recipe"
        practical = [candidate for candidate in winners if candidate.practically_better]
        told += f", by an amount that {'matters' if practical else 'is not shown to matter'}"
        told += f" for {_names(practical)}" if 0 < len(practical) < len(winners) else ""
    else:
        out = len(deciding) - len(undecided)
        ruled_out = f"a gain that matters is ruled out for {out} of {len(deciding)}"
        told = f"No noise type was shown to beat tuned dropout; {ruled_out}"
    itself = [f"{THAN_NONE[one.verdict]} no noise under {one.contrast.recipe}" for one in references]
    return f"{told}; dropout itself was {' and '.join(itself)}." if itself else f"{told}."


def _names(candidates: Sequence[Candidate]) -> str:
    *most, last = [candidate.name for candidate in candidates]
    return f"{', '.join(most)} and {last}" if most else last
