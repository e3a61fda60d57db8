"""Exercise 7: does any other noise beat tuned dropout?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis import formatting
from analysis.questions.base import (
    ALPHA,
    DROPOUT_ALONE,
    Arm,
    Comparison,
    Conclusion,
    Design,
    Evidence,
    Recipe,
    Tuned,
    Unanswered,
    of_class,
    tuned_label,
)
from analysis.questions.sentences import AGAINST, listed
from analysis.schema import base_metric
from analysis.stats.paired import gain, gain_interval
from analysis.stats.results import ContrastAnswer
from analysis.stats.verdicts import NEGLIGIBLE

DROPOUT, NONE = tuned_label("dropout"), tuned_label("none")
WINNERS = 2
"""So many of the best types of each class are run again at FACTORS times the learning rate."""
FACTORS = (0.5, 2)
ANY_INPUT, OF_IMAGES = "Noise for any input", "Noise that knows images"
"""The classes of noise, each of which has its own answer."""
NEAREST = 3
"""So many candidates stand in the first table where none has won."""


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
    return {tuned_label(noise): arm for noise, arm in tuned.items() if noise != DROPOUT_ALONE}


def at_other_rates(tuned: Tuned) -> list[Arm]:
    """Return no noise, dropout and the best types of each class at half and at twice the learning
    rate.

    A type that wins at one learning rate alone may only have taken a larger step.
    """
    best = [*of_class(tuned, False)[:WINNERS], *of_class(tuned, True)[:WINNERS]]
    arms = []
    for factor in FACTORS:
        for arm in (tuned["none"], tuned["dropout"], *best):
            name = at_rate(arm.recipe.name, factor)
            arms.append(arm.with_recipe(arm.recipe.scaled(factor, name)))
    return arms


def at_rate(recipe: str, factor: float) -> str:
    """Return the name of a recipe at `factor` times its learning rate."""
    return f"{recipe} x{factor:g}"


DESIGN = Design(
    name="beat-dropout",
    title="Does any noise beat dropout?",
    rule=(
        "Each noise type's tuned arm: equal numbers of search trials, the best few and no noise's "
        "own arm trained again on new seeds, the winner by the posterior mean of a Gaussian "
        "process over all of them. A candidate must beat tuned dropout and tuned training without "
        "noise, under every recipe."
    ),
    family_per_recipe=False,
    recipes=("small", "long"),
    comparisons=comparisons,
    arms=arms,
    names_winner=True,
    values="the tuned rates and weight decays",
)


@dataclass(frozen=True)
class Candidate:
    """A noise type against its two rivals, under every recipe, on one metric.

    Attributes:
        bound: the most that it may gain over both, of `upper_bounds`.
    """

    name: str
    contrasts: tuple[ContrastAnswer, ...]
    alpha: float
    bound: float

    @property
    def beats(self) -> bool:
        """True if the intersection-union test (the largest p, Holm-adjusted over the candidates)
        reaches alpha and every mean is in the better direction."""
        p_value = self.contrasts[0].p_candidate
        return p_value <= self.alpha and all(gain(one) > 0 for one in self.contrasts)

    @property
    def ruled_out(self) -> bool:
        """True if it does not beat, and a gain that matters is ruled out."""
        return not self.beats and self.bound <= self.contrasts[0].contrast.margin

    @property
    def size(self) -> str:
        """How much it gains over both: negligible if one of its gains is shown to be within the
        margin, more than the margin if all 95 % intervals lie above it."""
        if any(one.verdict in NEGLIGIBLE for one in self.contrasts):
            return "by a negligible amount"
        if all(gain_interval(one)[0] > one.contrast.margin for one in self.contrasts):
            return "by more than the margin"
        return "by how much is open"

    @property
    def least_gain(self) -> float:
        """The lowest lower end of its intervals."""
        return min(gain_interval(one)[0] for one in self.contrasts)


def answer(evidence: Evidence) -> Conclusion:
    """Name the noise types that beat tuned dropout and tuned no noise under every recipe."""
    from analysis.plots import leaderboard  # takes seconds to import, and declaring does without

    accuracy = evidence.on("accuracy")
    bounds = upper_bounds(evidence, accuracy)
    ranked = _candidates(evidence, "accuracy", bounds)
    if not ranked:
        searched = any(contrast.candidate for contrast in evidence.question.contrasts)
        raise Unanswered("" if searched else "no other noise type was searched")
    ranked.sort(key=lambda candidate: (not candidate.beats, -candidate.least_gain))
    winners = [candidate for candidate in ranked if candidate.beats]
    on_loss = [candidate.name for candidate in _candidates(evidence, "loss", {}) if candidate.beats]
    references = [one for one in accuracy if not one.contrast.candidate]
    dropout = [
        f"{AGAINST[one.verdict]} none{evidence.where(one.contrast.recipe, ' with {}')}"
        for one in references
    ]
    takeaway = [
        *_gains_over_dropout(winners, evidence),
        *_ruled_out(ranked, bounds, accuracy[0].contrast.metric),
        f"on loss, {listed(on_loss)} beat{'s' if len(on_loss) < 2 else ''} both",
        f"dropout is {listed(dropout)}",
    ]
    shown = [one for candidate in winners or ranked[:1] for one in candidate.contrasts]
    leading = [one for candidate in winners or ranked[:NEAREST] for one in candidate.contrasts]
    return Conclusion(
        verdict=_verdict(evidence, ranked),
        takeaway=formatting.capital("; ".join(takeaway)),
        shown=[*shown, *references],
        leading=[*references, *leading],
        notes=[*_not_entered(evidence), *_worse_than_none(accuracy)],
        pictures=leaderboard.pictures(
            evidence.question,
            evidence.table,
            evidence.arms,
            evidence.answered.contrasts,
            evidence.recipes,
            evidence.image_types,
        ),
    )


def _candidates(evidence: Evidence, kind: str, bounds: Mapping[str, float]) -> list[Candidate]:
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
            bound = bounds.get(name, math.inf)
            candidates.append(Candidate(name, own, evidence.question.alpha, bound))
    return candidates


def _verdict(evidence: Evidence, ranked: Sequence[Candidate]) -> str:
    """Return the answer, in a sentence for each class of noise where both were to be searched."""
    declared = dict.fromkeys(contrast.candidate for contrast in evidence.question.contrasts)
    lacking = {one.contrast.candidate for one in evidence.answered.refused if one.entered}
    sentences = {}
    for kind, knows in ((ANY_INPUT, False), (OF_IMAGES, True)):
        names = [name for name in declared if name and (name in evidence.image_types) == knows]
        untested = [name for name in names if name in lacking]
        told = _of_class([candidate for candidate in ranked if candidate.name in names])
        if untested == names:
            told = "no type was tested against both dropout and no noise"
        if untested:
            told = f"{told}; untested: {listed(untested)}"
        if names:
            sentences[kind] = told
    if len(sentences) == 1:
        return formatting.capital(*sentences.values())
    return ". ".join(f"{kind}: {told}" for kind, told in sentences.items())


def _of_class(ranked: Sequence[Candidate]) -> str:
    """Return "dropout and no noise were beaten by shift (by more than the margin)", the surest gain
    first, or that nobody has beaten both."""
    winners = [f"{candidate.name} ({candidate.size})" for candidate in ranked if candidate.beats]
    if winners:
        return f"dropout and no noise were beaten by {listed(winners)}"
    undecided = sum(not candidate.ruled_out for candidate in ranked)
    told = "nothing beat both dropout and no noise"
    return f"{told}, {undecided} of {len(ranked)} undecided" if undecided else told


def upper_bounds(evidence: Evidence, accuracy: Sequence[ContrastAnswer]) -> dict[str, float]:
    """Return the gain over both rivals that the data still allow each candidate at most.

    They hold together with 95 % confidence (Bonferroni over all contrasts). A candidate must gain
    over each rival under each recipe, so the least of its contrasts' bounds is its own; of a
    contrast, the larger of that over seeds and that over seeds and images. One that did not go on
    to a later recipe counts with the contrasts that it has: the others could only lower its bound.
    """
    from analysis.stats import crossed_bootstrap  # imports MLflow, which declaring does without

    own = [one for one in accuracy if one.contrast.candidate]
    level = 1 - 2 * ALPHA / max(1, len(own))
    crossed = crossed_bootstrap.intervals(own, evidence.arms, evidence.images, level)
    bounds: dict[str, float] = {}
    for one in own:
        end = gain_interval(one, level)[1]
        _, of_images = crossed.get(one.contrast.identity, (-math.inf, -math.inf))
        candidate = one.contrast.candidate
        bounds[candidate] = min(bounds.get(candidate, math.inf), max(end, of_images))
    return bounds


def _gains_over_dropout(winners: Sequence[Candidate], evidence: Evidence) -> list[str]:
    """Return "over tuned dropout they gain: shift +1.39 pp (5,000 images, 100 epochs)"."""
    gains = []
    for winner in winners:
        for one in winner.contrasts:
            if DROPOUT in one.contrast.coefficients:
                size = formatting.difference(gain(one), one.contrast.metric)
                gains.append(f"{winner.name} {size}{evidence.where(one.contrast.recipe)}")
    return [f"over tuned dropout they gain: {listed(gains)}"] if gains else []


def _ruled_out(
    candidates: Sequence[Candidate], bounds: Mapping[str, float], metric: str
) -> list[str]:
    """Tell for how many candidates a gain that matters is ruled out, and the largest gain over both
    rivals that the data still allow any of them; nothing where all have won."""
    if all(candidate.beats for candidate in candidates):
        return []
    count = sum(candidate.ruled_out for candidate in candidates)
    told = f"a gain that matters is ruled out for {count} of {len(candidates)} candidates"
    if any(candidate.beats for candidate in candidates):
        return [told]
    name = max(bounds, key=lambda candidate: bounds[candidate])
    largest = formatting.difference(bounds[name], metric)
    return [
        f"{told}: no tested candidate gains more than {largest} over both ({name}; simultaneous "
        "95 % bound)"
    ]


def _not_entered(evidence: Evidence) -> list[str]:
    """Note the types that were confirmed under the first recipe alone."""
    out = [refused.contrast for refused in evidence.answered.refused if not refused.entered]
    if not out:
        return []
    names = listed(dict.fromkeys(contrast.candidate for contrast in out))
    recipes = dict.fromkeys(evidence.recipes[contrast.recipe] for contrast in out)
    return [
        f"not trained with {' or with '.join(recipes)}: {names}. By the declared rule only the "
        "best types of each class on validation images go on; the others cannot win, "
        "and count in Holm's adjustment with p = 1"
    ]


def _worse_than_none(accuracy: Sequence[ContrastAnswer]) -> list[str]:
    """Note tuned types that do harm, which a search whose rates include 0 could have avoided."""
    against_none = [one for one in accuracy if NONE in one.contrast.coefficients]
    worse = [one.contrast for one in against_none if one.verdict in ("worse", "worse, matters")]
    if not worse:
        return []
    names = dict.fromkeys(contrast.candidate or "dropout" for contrast in worse)
    return [
        f"worse than no noise although rate 0 was in the search: tuned {listed(names)}. More "
        "search trials would find weaker noise"
    ]
