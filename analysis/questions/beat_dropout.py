"""Exercise 7: does any other noise beat tuned dropout?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from analysis import formatting
from analysis.questions.base import (
    Arm,
    Comparison,
    Conclusion,
    Design,
    Evidence,
    Recipe,
    Tuned,
    Unanswered,
    tuned_label,
)
from analysis.questions.sentences import AGAINST, listed
from analysis.schema import base_metric
from analysis.stats.paired import gain, gain_interval
from analysis.stats.results import Answered, ContrastAnswer

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
    values="the tuned rates and weight decays",
)


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


def answer(evidence: Evidence) -> Conclusion:
    """Name the noise types that beat tuned dropout and tuned no noise under every recipe."""
    from analysis.plots import leaderboard  # takes seconds to import, and declaring does without

    accuracy = evidence.on("accuracy")
    candidates = _candidates(evidence, "accuracy")
    if not candidates:
        searched = any(contrast.candidate for contrast in evidence.question.contrasts)
        raise Unanswered("" if searched else "no other noise type was searched")
    winners = [candidate for candidate in candidates if candidate.beats]
    on_loss = [candidate.name for candidate in _candidates(evidence, "loss") if candidate.beats]
    by_margin = sum(winner.beats_by_margin for winner in winners)
    ruled_out = sum(candidate.ruled_out for candidate in candidates)
    undecided = len(candidates) - len(winners) - ruled_out
    verdict = "Nothing beat both dropout and no noise"
    if undecided:
        verdict = f"{verdict}, {undecided} of {len(candidates)} undecided"
    if winners:
        names = listed(winner.name for winner in winners)
        verdict = f"{names} beat dropout and no noise, {by_margin} by more than the margin"
    references = [one for one in accuracy if not one.contrast.candidate]
    dropout = [f"{AGAINST[one.verdict]} none under {one.contrast.recipe}" for one in references]
    nearest = sorted(candidates, key=lambda candidate: (not candidate.beats, -candidate.least_gain))
    shown = [one for candidate in winners or nearest[:1] for one in candidate.contrasts]
    leading = [one for candidate in nearest for one in candidate.contrasts]
    return Conclusion(
        verdict=verdict,
        takeaway=(
            f"A gain that matters is ruled out for {ruled_out} of {len(candidates)} candidates: "
            f"{_largest_gain(accuracy)}; on loss, these beat both: {listed(on_loss)}; dropout is "
            f"{listed(dropout)}"
        ),
        shown=[*shown, *references],
        leading=[*references, *leading],
        notes=[*_not_entered(evidence.answered), *_worse_than_none(accuracy)],
        pictures=leaderboard.pictures(
            evidence.question, evidence.table, evidence.arms, evidence.answered.contrasts
        ),
    )


def _candidates(evidence: Evidence, kind: str) -> list[Candidate]:
    """Return the candidates of which every declared contrast on one kind of score was answered."""
    declared = Counter(
        contrast.candidate
        for contrast in evidence.question.contrasts
        if contrast.candidate and base_metric(contrast.metric) == kind
    )
    candidates = []
    for name, count in declared.items():
        own = tuple(one for one in evidence.on(kind) if one.contrast.candidate == name)
        if len(own) == count:
            candidates.append(Candidate(name, own, evidence.question.alpha))
    return candidates


def _largest_gain(accuracy: Sequence[ContrastAnswer]) -> str:
    """Return the largest gain over both rivals that the data still allow any candidate.

    A candidate may still gain the least upper end of its contrasts' 95 % intervals (unadjusted), as
    it must gain that over each rival under each recipe. One that did not go on to a later recipe
    counts with the contrasts that it has: the others could only lower its bound.
    """
    ends: dict[str, float] = {}
    for one in accuracy:
        candidate = one.contrast.candidate
        if candidate:
            end = gain_interval(one)[1]
            ends[candidate] = min(ends.get(candidate, end), end)
    name = max(ends, key=lambda candidate: ends[candidate])
    gain = formatting.difference(ends[name], accuracy[0].contrast.metric)
    return f"the 95 % intervals allow no candidate more than {gain} ({name}) over both"


def _not_entered(answered: Answered) -> list[str]:
    """Note the types that were confirmed under the first recipe alone."""
    out = [refused.contrast for refused in answered.refused if not refused.entered]
    if not out:
        return []
    names = listed(dict.fromkeys(contrast.candidate for contrast in out))
    recipes = listed(dict.fromkeys(contrast.recipe for contrast in out))
    return [
        f"not trained under {recipes}: {names}. By the declared rule only the best types on "
        "validation images go on; the others cannot win, and count in Holm's adjustment with p = 1"
    ]


def _worse_than_none(accuracy: Sequence[ContrastAnswer]) -> list[str]:
    """Note tuned types that do harm, which a search whose rates include 0 could have avoided."""
    against_none = [one for one in accuracy if NONE in one.contrast.coefficients]
    worse = [one.contrast for one in against_none if one.verdict == "worse"]
    if not worse:
        return []
    names = dict.fromkeys(contrast.candidate or "dropout" for contrast in worse)
    return [
        f"worse than no noise although rate 0 was in the search: tuned {listed(names)}. More "
        "search trials would find weaker noise"
    ]
