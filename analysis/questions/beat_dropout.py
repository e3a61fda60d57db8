"""Exercise 7: does any other noise beat tuned dropout?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from analysis import formatting
from analysis.questions.base import Arm, Comparison, Design, Recipe, Tuned, tuned_label
from analysis.questions.sentences import (
    AGAINST,
    brief,
    by_recipe,
    conclude,
    condition,
    listed,
    not_answered,
)
from analysis.schema import Question
from analysis.stats.paired import gain, gain_interval
from analysis.stats.results import Answer, Answered, ContrastAnswer
from analysis.stats.verdicts import answer_contrasts

DROPOUT, NONE = tuned_label("dropout"), tuned_label("none")


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """Compare every candidate with tuned dropout and tuned no noise; dropout for reference."""
    declared = [Comparison("dropout - none", {DROPOUT: 1.0, NONE: -1.0}, "reference")]
    for noise in noise_types:
        if noise in ("none", "dropout"):
            continue
        for rival in ("dropout", "none"):
            coefficients = {tuned_label(noise): 1.0, tuned_label(rival): -1.0}
            declared.append(
                Comparison(f"{noise} - {rival}", coefficients, "candidates", candidate=noise)
            )
    return declared


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """Return the winner of each noise type's search."""
    return {tuned_label(noise): arm for noise, arm in tuned.items()}


DESIGN = Design(
    name="beat-dropout",
    title="Does any noise beat dropout?",
    rule=(
        "Each noise type's tuned arm: equal numbers of search trials, the best re-ranked on new "
        "seeds, the winner by mean validation accuracy there. A candidate must beat tuned dropout "
        "and tuned training without noise, under every recipe."
    ),
    family_per_recipe=False,
    recipes=("decay", "long"),
    comparisons=comparisons,
    arms=arms,
    names_winner=True,
)

VALUES = "the tuned rates and weight decays"


@dataclass(frozen=True)
class Candidate:
    """A noise type against its two rivals, under every recipe, on one metric."""

    name: str
    contrasts: tuple[ContrastAnswer, ...]
    alpha: float

    @property
    def p_value(self) -> float:
        """The intersection-union test: the largest p, Holm-adjusted over the candidates."""
        return self.contrasts[0].p_candidate

    @property
    def beats(self) -> bool:
        """True if p reaches alpha and every mean is in the better direction."""
        return self.p_value <= self.alpha and all(gain(one) > 0 for one in self.contrasts)

    @property
    def beats_by_margin(self) -> bool:
        """True if it beats, and the 95 % intervals of all gains lie above the margin."""
        lows = [gain_interval(one)[0] > one.contrast.margin for one in self.contrasts]
        return self.beats and all(lows)

    @property
    def ruled_out(self) -> bool:
        """True if some 95 % interval leaves no room for a gain beyond the margin."""
        highs = [gain_interval(one)[1] <= one.contrast.margin for one in self.contrasts]
        return not self.beats and any(highs)

    @property
    def least_gain(self) -> float:
        """The lowest lower end of its intervals."""
        return min(gain_interval(one)[0] for one in self.contrasts)


def answer(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> Answer:
    """Name the noise types that beat tuned dropout and tuned no noise under every recipe."""
    from analysis.plots import leaderboard  # takes seconds to import, and declaring does without

    answered = answer_contrasts(question, table, arms)
    notes = (*answered.notes, *_not_entered(answered), *_worse_than_none(answered.contrasts))
    answered = replace(answered, notes=notes)
    on_accuracy = _flat(by_recipe(answered.contrasts, accuracy=True))
    on_loss = _flat(by_recipe(answered.contrasts, accuracy=False))
    candidates = _candidates(question, on_accuracy)
    if not candidates:
        searched = any(contrast.candidate for contrast in question.contrasts)
        reason = "" if searched else "no other noise type was searched"
        return not_answered(question, table, arms, answered, VALUES, reason)
    references = [one for one in on_accuracy if not one.contrast.candidate]
    sentence = [
        _told_on_accuracy(question, candidates, references),
        _told_on_loss(_candidates(question, on_loss)),
    ]
    if not any(candidate.beats_by_margin for candidate in candidates):
        sentence.append(_allowed(on_accuracy))
    concluded = conclude(
        question,
        table,
        arms,
        answered,
        verdict=_verdict(candidates),
        sentence=f"{'; '.join(filter(None, sentence))}.",
        takeaway=f"{_takeaway(candidates, references)} This holds {condition(question, VALUES)}.",
        values=VALUES,
    )
    nearest = sorted(candidates, key=lambda one: (not one.beats, -one.least_gain))
    leading = [*references, *(one for candidate in nearest for one in candidate.contrasts)]
    first, *others = leaderboard.pictures(question, table, arms, answered.contrasts)
    return replace(
        concluded,
        figure=first.draw,
        caption=f"{first.caption} All of it holds {condition(question, VALUES)}.",
        pictures=tuple(others),
        leading=tuple(one.contrast for one in leading),
    )


def _flat(groups: dict[str, list[ContrastAnswer]]) -> list[ContrastAnswer]:
    return [one for group in groups.values() for one in group]


def _candidates(question: Question, contrasts: Sequence[ContrastAnswer]) -> list[Candidate]:
    """Return the candidates of which every declared contrast on these metrics was answered."""
    metrics = {one.contrast.metric for one in contrasts}
    declared = Counter(
        one.candidate for one in question.contrasts if one.candidate and one.metric in metrics
    )
    candidates = []
    for name, count in declared.items():
        own = tuple(one for one in contrasts if one.contrast.candidate == name)
        if len(own) == count:
            candidates.append(Candidate(name, own, question.alpha))
    return candidates


def _not_entered(answered: Answered) -> list[str]:
    """Note the types that were confirmed under the first recipe alone."""
    out = [refused.contrast for refused in answered.refused if not refused.entered]
    if not out:
        return []
    names = listed(dict.fromkeys(contrast.candidate for contrast in out))
    recipes = listed(dict.fromkeys(contrast.recipe for contrast in out))
    return [
        f"{names} did not go on to {recipes}: by the declared rule only the best types on "
        "validation images do. They were not trained there and cannot win; they count in Holm's "
        "adjustment with p = 1"
    ]


def _worse_than_none(contrasts: Sequence[ContrastAnswer]) -> list[str]:
    """Note tuned types that do harm, which a search whose rates include 0 could have avoided."""
    harmful = dict.fromkeys(
        one.contrast.candidate or "dropout"
        for one in contrasts
        if one.verdict == "worse"
        and formatting.is_accuracy(one.contrast.metric)
        and NONE in one.contrast.coefficients
    )
    if not harmful:
        return []
    return [
        f"worse than no noise although rate 0 was in the search: tuned {listed(harmful)}. More "
        "search trials would find weaker noise"
    ]


def _verdict(candidates: Sequence[Candidate]) -> str:
    winners = [candidate for candidate in candidates if candidate.beats]
    undecided = _undecided(candidates)
    if not winners:
        rest = f", {undecided} of {len(candidates)} undecided" if undecided else ""
        return f"Nothing beat both dropout and no noise{rest}"
    by_margin = sum(winner.beats_by_margin for winner in winners)
    names = _names(winners) if len(winners) <= 3 else f"{len(winners)} of {len(candidates)} types"
    return (
        f"{names} beat dropout and no noise; by more than the margin: {by_margin} of {len(winners)}"
    )


def _undecided(candidates: Sequence[Candidate]) -> int:
    return sum(not candidate.beats and not candidate.ruled_out for candidate in candidates)


def _told_on_accuracy(
    question: Question, candidates: Sequence[Candidate], references: Sequence[ContrastAnswer]
) -> str:
    """Tell the winners, or the nearest candidate, against both rivals; then dropout itself."""
    winners = [candidate for candidate in candidates if candidate.beats]
    shown = winners or [max(candidates, key=lambda candidate: candidate.least_gain)]
    names = listed(f"{one.name} (candidate {formatting.p_equals(one.p_value)})" for one in shown)
    details = [one for candidate in shown for one in candidate.contrasts] + list(references)
    numbers = ", ".join(
        brief(one, f"{one.contrast.name} under {one.contrast.recipe}") for one in details
    )
    declared = {one.candidate for one in question.contrasts if one.candidate}
    others = len(declared) - len(candidates)
    more = f" ({others} more were not confirmed under every recipe)" if others else ""
    return (
        f"On accuracy {len(winners) or 'none'} of {formatting.plural(len(candidates), 'candidate')}"
        f"{more} beat both tuned dropout and tuned training without noise under every recipe"
        f"{': ' if winners else '; nearest: '}{names}, with {numbers}"
    )


def _told_on_loss(candidates: Sequence[Candidate]) -> str:
    winners = [candidate for candidate in candidates if candidate.beats]
    return f"on loss {_names(winners) if winners else 'none'} did" if candidates else ""


def _allowed(on_accuracy: Sequence[ContrastAnswer]) -> str:
    """Tell the largest gain over both rivals that the data still allow any candidate.

    A candidate may still gain the least upper end of its contrasts' 95 % intervals (unadjusted), as
    it must gain that over each rival under each recipe. One that did not go on to a later recipe
    counts with the contrasts that it has: the others could only lower its bound.
    """
    ends: dict[str, tuple[float, str]] = {}
    for one in on_accuracy:
        candidate = one.contrast.candidate
        if candidate:
            end = gain_interval(one)[1], one.contrast.metric
            ends[candidate] = min(ends.get(candidate, end), end)
    name = max(ends, key=lambda candidate: ends[candidate])
    largest, metric = ends[name]
    amount = "any gain"
    if largest > 0:
        amount = f"more than {formatting.difference(largest, metric)} ({name})"
    return f"the 95 % intervals allow no candidate {amount} over both under every recipe"


def _takeaway(candidates: Sequence[Candidate], references: Sequence[ContrastAnswer]) -> str:
    winners = [candidate for candidate in candidates if candidate.beats]
    by_margin = [winner for winner in winners if winner.beats_by_margin]
    ruled_out = len(candidates) - len(winners) - _undecided(candidates)
    if winners:
        matters = f"for {_names(by_margin)}" if by_margin else "for none of them"
        finding = (
            f"Tuned {_names(winners)} did better than tuned dropout and than no noise under every "
            f"recipe; the gain over both is shown to matter {matters}"
        )
    else:
        finding = (
            "No noise type was shown to beat both tuned dropout and no noise under every recipe; a "
            f"gain that matters is ruled out for {ruled_out} of {len(candidates)}"
        )
    dropout = [f"{AGAINST[one.verdict]} no noise under {one.contrast.recipe}" for one in references]
    return f"{finding}; dropout itself was {' and '.join(dropout)}." if dropout else f"{finding}."


def _names(candidates: Sequence[Candidate]) -> str:
    return listed(candidate.name for candidate in candidates)
