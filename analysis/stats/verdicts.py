"""From an estimate to a verdict and its sentence: one rule for all questions, and a question's
contrasts answered."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from analysis import formatting
from analysis.schema import Contrast, Question, higher_is_better
from analysis.stats import contrasts, paired, power
from analysis.stats.results import Answered, ContrastAnswer, Estimate, Refused

DIRECTIONS = ("better", "worse", "higher", "lower")
NEGLIGIBLE = ("equivalent", *(f"{direction}, negligible" for direction in DIRECTIONS))
"""The verdicts under which the difference is shown to lie within the margin (TOST)."""
VERDICTS = (*DIRECTIONS, *NEGLIGIBLE, "inconclusive")

Arms = Mapping[str, Mapping[str, str]]
"""Recipe -> arm label -> arm name."""


def decide(
    estimate: Estimate,
    p_adjusted: float,
    margin: float,
    alpha: float,
    higher_is_better: bool | None,
) -> str:
    """The verdict on a contrast: one of VERDICTS.

    Significant means p_adjusted <= alpha; equivalent means that TOST within the margin, unadjusted,
    gives p <= alpha. Both at once is a difference that exists and does not matter: "better,
    negligible".

    Args:
        estimate: of the per-seed contrast, in the metric's unit.
        p_adjusted: two-sided, adjusted within the contrast's family.
        margin: equivalence margin, in the metric's unit.
        alpha: of the question.
        higher_is_better: the metric's direction; a loss that falls is better, and None says
            "higher" or "lower".

    Raises:
        ValueError: the p-value is not in [0, 1], or the margin is not positive.
    """
    if not 0 <= p_adjusted <= 1:
        raise ValueError(f"a p-value lies in [0, 1], not {p_adjusted}")
    equivalent = paired.tost(estimate.differences, margin) <= alpha
    if p_adjusted > alpha:
        return "equivalent" if equivalent else "inconclusive"
    if higher_is_better is None:
        verdict = "higher" if estimate.mean > 0 else "lower"
    else:
        verdict = "better" if (estimate.mean > 0) == higher_is_better else "worse"
    return f"{verdict}, negligible" if equivalent else verdict


def sentence(
    contrast: Contrast,
    estimate: Estimate,
    p_adjusted: float,
    verdict: str,
    seconds_per_seed: float = math.nan,
) -> str:
    """The verdict as a sentence, in the reader's units (accuracy in percentage points, loss in
    nats).

    An inconclusive one goes on with what these seeds can detect and what would settle it;
    `seconds_per_seed`, the training time of one more seed of all its arms, adds the minutes.

    Raises:
        ValueError: no such verdict.
    """
    metric, margin = contrast.metric, formatting.margin(contrast.margin, contrast.metric)
    if verdict not in VERDICTS:
        raise ValueError(f"no such verdict: {verdict!r}")
    clause = f"equivalent, no difference beyond {margin}" if verdict == "equivalent" else verdict
    clause = clause.replace(", negligible", f", but by a negligible amount, within {margin}")
    if verdict.startswith(("better", "worse")) and is_book(contrast):
        clause += " (end-point stabilisation)"
    lower = ", lower is better" if higher_is_better(metric) is False else ""
    told = (
        f"{contrast.name}, {contrast.recipe}: {clause}; the mean difference in "
        f"{formatting.metric_name(metric)} is {formatting.difference(estimate.mean, metric)} (95 % "
        f"interval {formatting.interval(estimate.ci_low, estimate.ci_high, metric)}, n = "
        f"{formatting.plural(estimate.n, 'seed')}, adjusted "
        f"{formatting.p_equals(p_adjusted)}{lower})."
    )
    return (
        f"{told} {_settle(contrast, estimate, seconds_per_seed)}"
        if verdict == "inconclusive"
        else told
    )


def _settle(contrast: Contrast, estimate: Estimate, seconds_per_seed: float) -> str:
    """Tell what an inconclusive contrast could have found, and the fresh study that would settle
    it."""
    needed = estimate.seeds_needed
    cost = needed * seconds_per_seed
    time = f", about {formatting.duration(cost)} of training" if math.isfinite(cost) else ""
    detectable = formatting.difference(estimate.detectable, contrast.metric).lstrip("+")
    study = f"a fresh study of {formatting.plural(needed, 'seed')}{time}"
    if needed > estimate.n:
        ending = (
            f"{study}, would find one of {formatting.margin(contrast.margin, contrast.metric)[1:]}"
        )
    else:  # the margin was within reach: the truth is likely smaller
        ending = f"only a fresh study of more than {estimate.n} seeds would settle it"
    return f"With 80 % power these seeds detect a difference of {detectable}; {ending}."


def is_book(contrast: Contrast) -> bool:
    """Return True if the learning rate is constant: there a gain may only steady the end point, not
    generalise."""
    return contrast.recipe in ("book", "constant")


@dataclass(frozen=True)
class _Tested:
    """A contrast between its estimate and its verdict."""

    contrast: Contrast
    estimate: Estimate
    run_ids: tuple[str, ...]
    seconds_per_seed: float  # training time of one more seed of all the contrast's arms


def answer_contrasts(question: Question, table: pd.DataFrame, arms: Arms) -> Answered:
    """Answer a question's declared contrasts on the confirm phase's runs of its declared seeds.

    Every contrast is a test of its own, Holm-adjusted within family and metric. Beside it, the
    contrasts of a candidate are one intersection-union test (Berger 1982) with the largest of their
    p-values, and Holm runs over the candidates of family and metric. Missing runs must not make the
    others look better: a refused contrast stays in its family with p = 1, and so does its
    candidate.

    Args:
        question: as declared.
        table: run table, one row per seed run.
        arms: recipe -> arm label -> arm name.

    Returns:
        What was answered and what was refused, and notes: a line for each candidate that missing
        runs left without a test, and for each family in which the sign-flip test cannot reach
        alpha.
    """
    sizes = Counter((contrast.family, contrast.metric) for contrast in question.contrasts)
    tested: dict[_Test, _Tested] = {}
    refused: list[Refused] = []
    p_values: dict[_Test, float] = {}
    p_largest: dict[_Test, float] = {}
    for contrast in question.contrasts:
        test, candidate = _test_of(contrast), _candidate_of(contrast)
        try:
            size = sizes[contrast.family, contrast.metric]
            tested[test] = _estimate(question, contrast, table, arms.get(contrast.recipe, {}), size)
            p_values[test] = tested[test].estimate.p_value
        except paired.Refusal as refusal:
            refused.append(Refused(contrast, str(refusal), _entered(contrast, arms)))
            p_values[test] = 1.0
        if contrast.candidate:
            p_largest[candidate] = max(p_largest.get(candidate, 0.0), p_values[test])
    adjusted, of_candidates = _adjust(p_values), _adjust(p_largest)

    answers = []
    for test, one in tested.items():
        contrast, estimate, p_adjusted = one.contrast, one.estimate, adjusted[test]
        better = higher_is_better(contrast.metric)
        verdict = decide(estimate, p_adjusted, contrast.margin, question.alpha, better)
        told = sentence(contrast, estimate, p_adjusted, verdict, one.seconds_per_seed)
        p_candidate = of_candidates.get(_candidate_of(contrast), math.nan)
        answers.append(
            ContrastAnswer(contrast, estimate, p_adjusted, p_candidate, verdict, told, one.run_ids)
        )
    lacking = {_candidate_of(one.contrast) for one in refused if one.entered}
    partly = lacking & {_candidate_of(one.contrast) for one in tested.values()}
    notes = [
        f"{candidate.name} ({candidate.metric}): not tested as a candidate, one of its contrasts "
        "was refused; its candidate p is set to 1"
        for candidate in p_largest
        if candidate in partly
    ]
    for (family, metric), size in sizes.items():
        n = min(
            (one.estimate.n for test, one in tested.items() if test[:2] == (family, metric)),
            default=0,
        )
        if 0 < n < (needed := power.seeds_for_alpha(question.alpha, size)):
            notes.append(
                f"family {family!r}: {n} seeds are too few for the sign-flip test to reach "
                f"{question.alpha:g} over {formatting.plural(size, 'test')}; it needs {needed} (it "
                "is shown for sensitivity, the paired t decides)"
            )
    return Answered(tuple(answers), tuple(refused), tuple(dict.fromkeys(notes)))


def _entered(contrast: Contrast, arms: Arms) -> bool:
    """False where a label has no arm under the contrast's recipe but under another: its type did
    not go on."""
    missing = {label for label, _, _ in contrast.terms} - set(arms.get(contrast.recipe, {}))
    elsewhere = {label for labels in arms.values() for label in labels}
    return not missing or not missing <= elsewhere


class _Test(NamedTuple):
    """What Holm counts as one test: a contrast, or a candidate."""

    family: str
    metric: str
    name: str
    recipe: str  # empty for a candidate, whose contrasts span the recipes


def _test_of(contrast: Contrast) -> _Test:
    return _Test(contrast.family, contrast.metric, contrast.key, contrast.recipe)


def _candidate_of(contrast: Contrast) -> _Test:
    return _Test(contrast.family, contrast.metric, contrast.candidate, "")


def _estimate(
    question: Question,
    contrast: Contrast,
    table: pd.DataFrame,
    arms: Mapping[str, str],
    family_size: int,
) -> _Tested:
    rows, coefficients = contrasts.contrast_rows(
        table, arms, contrast, question.phase, question.seeds
    )
    differences = contrasts.combine(rows, coefficients)
    try:
        estimate = paired.estimate(differences, contrast.margin, question.alpha, family_size)
    except paired.Refusal as refusal:
        raise paired.Refusal(
            f"{contrast.name} ({contrast.recipe}, {contrast.metric}): {refusal}"
        ) from refusal
    seconds = float(rows["seconds"].to_numpy(dtype=float).sum()) / estimate.n
    return _Tested(contrast, estimate, tuple(map(str, rows["run_id"])), seconds)


def _adjust(p_values: Mapping[_Test, float]) -> dict[_Test, float]:
    """The Holm-adjusted p-value of each test, within its family and metric."""
    adjusted: dict[_Test, float] = {}
    for family in dict.fromkeys(test[:2] for test in p_values):
        members = [test for test in p_values if test[:2] == family]
        adjusted.update(
            zip(members, paired.holm([p_values[test] for test in members]), strict=True)
        )
    return adjusted
