"""Exercise 7: does any other noise beat tuned dropout?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from analysis import formatting
from analysis.plots import leaderboard
from analysis.questions.sentences import (
    AGAINST,
    brief,
    by_recipe,
    conclude,
    condition,
    gain,
    gain_interval,
    not_answered,
)
from analysis.schema import Question
from analysis.stats.results import Answer, Answered, ContrastAnswer
from analysis.stats.verdicts import answer_contrasts

VALUES = "the tuned rates and weight decays"
DROPOUT, NONE = "tuned dropout", "tuned none"


@dataclass(frozen=True)
class Candidate:
    """A noise type against tuned dropout and tuned training without noise, under every recipe, on one metric."""

    name: str
    contrasts: tuple[ContrastAnswer, ...]
    alpha: float

    def against(self, rival: str) -> list[ContrastAnswer]:
        """Its contrasts with DROPOUT or NONE, one per recipe."""
        return [one for one in self.contrasts if rival in one.contrast.coefficients]

    def matters_over(self, rival: str) -> bool:
        """Beats, and the 95 % interval of the gain over the rival lies above the margin under every recipe."""
        return self.beats and all(
            gain_interval(one)[0] > one.contrast.margin for one in self.against(rival)
        )

    @property
    def p_value(self) -> float:
        """Of the intersection-union test: the largest p of its contrasts, Holm-adjusted over the candidates."""
        return self.contrasts[0].p_candidate

    @property
    def beats(self) -> bool:
        """The candidate's p reaches alpha, and the means of all its contrasts are in the better direction."""
        return self.p_value <= self.alpha and all(gain(one) > 0 for one in self.contrasts)

    @property
    def practically_better(self) -> bool:
        """Beats, by more than the margin over both rivals."""
        return self.matters_over(DROPOUT) and self.matters_over(NONE)

    @property
    def ruled_out(self) -> bool:
        """Does not beat, and some contrast's 95 % interval leaves no room for a gain beyond the margin."""
        return not self.beats and any(
            gain_interval(one)[1] <= one.contrast.margin for one in self.contrasts
        )

    @property
    def worst(self) -> ContrastAnswer:
        """The contrast in which it gains least."""
        return min(self.contrasts, key=lambda one: gain_interval(one)[0])


def answer(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> Answer:
    """Which noise types beat tuned dropout and tuned training without noise under every recipe.

    Args:
        question: as declared; contrasts with a candidate compare it, the others are told for reference.
        table: run table, one row per seed run.
        arms: recipe -> arm label -> arm name.
    """
    found = answer_contrasts(question, table, arms)
    found = replace(
        found, notes=(*found.notes, *_screened(found), *_worse_than_none(found.contrasts))
    )
    deciding, beside = (
        _candidates(question, by_recipe(found.contrasts, accuracy)) for accuracy in (True, False)
    )
    if not deciding:
        searched = any(contrast.candidate for contrast in question.contrasts)
        reason = "" if searched else "no other noise type was searched"
        return not_answered(question, table, arms, found, VALUES, reason)
    winners = [candidate for candidate in deciding if candidate.beats]
    allowed = "" if any(one.practically_better for one in winners) else _allowed(found.contrasts)
    undecided = [
        candidate for candidate in deciding if not candidate.beats and not candidate.ruled_out
    ]
    on_accuracy = [one for group in by_recipe(found.contrasts, True).values() for one in group]
    references = [one for one in on_accuracy if not one.contrast.candidate]
    told = conclude(
        question,
        table,
        arms,
        found,
        verdict=_verdict(deciding, winners, undecided),
        sentence=_sentence(
            deciding, winners, references, beside, _declared(question) - len(deciding), allowed
        ),
        takeaway=f"{_finding(deciding, winners, undecided, references)} This holds {condition(question, VALUES)}.",
        values=VALUES,
    )
    nearest = sorted(deciding, key=lambda one: (not one.beats, -gain_interval(one.worst)[0]))
    leading = [*references, *(one for candidate in nearest for one in candidate.contrasts)]
    first, *others = leaderboard.pictures(question, table, arms, found.contrasts)
    return replace(
        told,
        figure=first.draw,
        caption=f"{first.caption} All of it holds {condition(question, VALUES)}.",
        pictures=tuple(others),
        leading=tuple(one.contrast for one in leading),
    )


def _candidates(question: Question, groups: dict[str, list[ContrastAnswer]]) -> list[Candidate]:
    """The candidates of which every declared contrast on the groups' metric was answered, in the declared order."""
    answered = [one for group in groups.values() for one in group if one.contrast.candidate]
    metrics = {one.contrast.metric for one in answered}
    declared = Counter(
        one.candidate for one in question.contrasts if one.candidate and one.metric in metrics
    )
    candidates = [
        Candidate(
            name, tuple(one for one in answered if one.contrast.candidate == name), question.alpha
        )
        for name in declared
    ]
    return [one for one in candidates if len(one.contrasts) == declared[one.name]]


def _declared(question: Question) -> int:
    return len({one.candidate for one in question.contrasts if one.candidate})


def _screened(found: Answered) -> list[str]:
    """A note on the types that were confirmed under the first recipe alone."""
    out = [one.contrast for one in found.refused if not one.entered]
    if not out:
        return []
    names, recipes = ({getattr(one, of): None for one in out} for of in ("candidate", "recipe"))
    return [
        f"{_listed(list(names))} did not go on to {_listed(list(recipes))}: by the declared rule only the best types "
        "on validation images do. They count as candidates with p = 1, so that picking finalists flatters nobody"
    ]


def _worse_than_none(contrasts: Sequence[ContrastAnswer]) -> list[str]:
    """A note when a tuned type does harm on accuracy, which a search over rates that hold 0 could have avoided."""
    names = dict.fromkeys(
        label.removeprefix("tuned ")
        for one in contrasts
        if one.verdict == "worse"
        and formatting.is_accuracy(one.contrast.metric)
        and NONE in one.contrast.coefficients
        for label in one.contrast.coefficients
        if label != NONE
    )
    if not names:
        return []
    verb, space = ("is", "its search space") if len(names) == 1 else ("are", "their search spaces")
    return [
        f"tuned {_listed(list(names))} {verb} worse than no noise although rate 0 lies in {space}: more search trials "
        "would find weaker noise"
    ]


def _verdict(
    deciding: Sequence[Candidate], winners: Sequence[Candidate], undecided: Sequence[Candidate]
) -> str:
    if not winners:
        return "Nothing beat both dropout and no noise" + (
            f", {len(undecided)} of {len(deciding)} undecided" if undecided else ""
        )
    who = _names(winners) if len(winners) <= 3 else f"{len(winners)} of {len(deciding)} noise types"
    practical = sum(candidate.practically_better for candidate in winners)
    some = "" if practical == len(winners) else f"{practical} " if practical else "not surely "
    return (
        f"{who} beat{'s' * (len(winners) == 1)} dropout and no noise, {some}by more than the margin"
    )


def _sentence(
    deciding: Sequence[Candidate],
    winners: Sequence[Candidate],
    references: Sequence[ContrastAnswer],
    beside: Sequence[Candidate],
    others: int,
    allowed: str,
) -> str:
    """The winners, or the nearest candidate, against both rivals; dropout itself; what loss says; what is allowed."""
    shown = winners or [max(deciding, key=lambda candidate: gain_interval(candidate.worst)[0])]
    who = _listed(
        [
            f"{candidate.name} (candidate {formatting.p_equals(candidate.p_value)})"
            for candidate in shown
        ]
    )
    details = [one for candidate in shown for one in candidate.contrasts] + list(references)
    numbers = ", ".join(
        brief(one, f"{one.contrast.name} under {one.contrast.recipe}") for one in details
    )
    on_loss = [candidate for candidate in beside if candidate.beats]
    loss = f"; on loss {_names(on_loss) if on_loss else 'none'} did" if beside else ""
    more = f" ({others} more were not confirmed under every recipe)" if others else ""
    return (
        f"On accuracy {len(winners) or 'none'} of {formatting.plural(len(deciding), 'candidate')}{more} beat both "
        f"tuned dropout and tuned training without noise under every recipe{': ' if winners else '; nearest: '}{who}, "
        f"with {numbers}{loss}{allowed}."
    )


def _allowed(contrasts: Sequence[ContrastAnswer]) -> str:
    """The largest gain over both rivals under every recipe that the data still allow any candidate.

    What a candidate may still gain is the least upper end of its contrasts' 95 % intervals on accuracy (unadjusted), as
    it must gain that over each rival under each recipe. A candidate that did not go on to a later recipe counts with
    the contrasts that it has: the others could only lower its bound.
    """
    ends: dict[str, tuple[float, str]] = {}
    for one in contrasts:
        if one.contrast.candidate and formatting.is_accuracy(one.contrast.metric):
            end = gain_interval(one)[1], one.contrast.metric
            ends[one.contrast.candidate] = min(ends.get(one.contrast.candidate, end), end)
    name = max(ends, key=lambda candidate: ends[candidate])
    largest, metric = ends[name]
    how_much = (
        f"more than {formatting.difference(largest, metric)} ({name})"
        if largest > 0
        else "any gain"
    )
    return f"; the 95 % intervals allow no candidate {how_much} over both under every recipe"


def _finding(
    deciding: Sequence[Candidate],
    winners: Sequence[Candidate],
    undecided: Sequence[Candidate],
    references: Sequence[ContrastAnswer],
) -> str:
    if winners:
        told = f"Tuned {_names(winners)} did better than tuned dropout and than no noise under every recipe"
        amounts: dict[str, list[Candidate]] = {}
        for candidate in winners:
            amounts.setdefault(_amount(candidate), []).append(candidate)
        told += "".join(
            f", by an amount that {amount}" + (f" for {_names(some)}" if len(amounts) > 1 else "")
            for amount, some in amounts.items()
        )
    else:
        out = len(deciding) - len(undecided)
        ruled_out = f"a gain that matters is ruled out for {out} of {len(deciding)}"
        told = f"No noise type was shown to beat both tuned dropout and no noise under every recipe; {ruled_out}"
    itself = [f"{AGAINST[one.verdict]} no noise under {one.contrast.recipe}" for one in references]
    return f"{told}; dropout itself was {' and '.join(itself)}." if itself else f"{told}."


def _amount(winner: Candidate) -> str:
    """How much a winner gained, over each of its two rivals."""
    if winner.practically_better:
        return "matters over both"
    if winner.matters_over(DROPOUT):
        return "matters over dropout but is not shown to matter over no noise"
    if winner.matters_over(NONE):
        return "matters over no noise but is not shown to matter over dropout"
    return "is not shown to matter over either"


def _names(candidates: Sequence[Candidate]) -> str:
    return _listed([candidate.name for candidate in candidates])


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
