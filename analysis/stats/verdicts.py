"""From an estimate to a verdict and its sentence: one rule for all questions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import pandas as pd

from analysis import formatting
from analysis.formatting import NAMES, RecipeWords
from analysis.schema import CONFIRM, TUNED, Contrast, Question, higher_is_better
from analysis.stats import contrasts, paired, power
from analysis.stats.results import Answered, ContrastAnswer, Estimate, Refused

DIRECTIONS = ("better", "worse", "higher", "lower")
NEGLIGIBLE = ("equivalent", *(f"{direction}, negligible" for direction in DIRECTIONS))
"""The verdicts under which the difference is shown to lie within the margin (TOST)."""
MATTERS = tuple(f"{direction}, matters" for direction in DIRECTIONS)
"""The verdicts under which it is shown to lie beyond the margin."""
VERDICTS = (*MATTERS, *DIRECTIONS, *NEGLIGIBLE, "inconclusive")

COLLAPSE = 0.05
"""A network so far below the median accuracy of its arm, and six SDs, has collapsed."""

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
    negligible". A significant one matters when its 95 % interval lies beyond the margin; else its
    size is open: "better".

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
    if equivalent:
        return f"{verdict}, negligible"
    beyond = estimate.ci_low > margin or estimate.ci_high < -margin
    return f"{verdict}, matters" if beyond else verdict


def significant_direction(verdict: str) -> str:
    """Return "better", "worse", "higher" or "lower" of a significant difference, else ""."""
    direction = verdict.partition(",")[0]
    return direction if direction in DIRECTIONS else ""


def tone(verdict: str) -> str:
    """Return better, worse, equivalent or open: how a verdict looks. A negligible one looks
    equivalent."""
    if verdict in NEGLIGIBLE:
        return "equivalent"
    direction = verdict.partition(",")[0]
    return direction if direction in ("better", "worse") else "open"


def borne_out(verdict: str, low: float, high: float, margin: float) -> bool:
    """Return False if an interval over seeds and images leaves the verdict open; NaN says
    nothing."""
    if verdict in MATTERS:
        return not (low <= margin and high >= -margin)
    if verdict in DIRECTIONS:
        return not low <= 0 <= high
    return verdict not in NEGLIGIBLE or not (low <= -margin or high >= margin)


def sentence(
    contrast: Contrast,
    estimate: Estimate,
    p_adjusted: float,
    verdict: str,
    seconds_per_seed: float = math.nan,
    recipes: RecipeWords = NAMES,
) -> str:
    """The verdict as a sentence, in the reader's units (accuracy in percentage points, loss in
    nats).

    An inconclusive one goes on with what these seeds can detect and what would settle it;
    `seconds_per_seed`, the training time of one more seed of all its arms, adds the minutes.

    Raises:
        ValueError: no such verdict.
    """
    if verdict not in VERDICTS:
        raise ValueError(f"no such verdict: {verdict!r}")
    metric = contrast.metric
    margin = formatting.margin(contrast.margin, metric)
    clause = f"equivalent, no difference beyond {margin}" if verdict == "equivalent" else verdict
    clause = clause.replace(", negligible", f", but by a negligible amount, within {margin}")
    clause = clause.replace(", matters", f", by more than {margin[1:]}")
    if verdict in DIRECTIONS:
        clause += ", by how much is open"
    if verdict.startswith(("better", "worse")) and is_book(contrast):
        clause += " (end-point stabilisation)"
    lower = ", lower is better" if higher_is_better(metric) is False else ""
    text = (
        f"{contrast.name} ({recipes[contrast.recipe]}): {clause}; the mean difference in "
        f"{formatting.metric_name(metric)} is {formatting.difference(estimate.mean, metric)} (95 % "
        f"interval {formatting.interval(estimate.ci_low, estimate.ci_high, metric)}, n = "
        f"{formatting.plural(estimate.n, 'seed')}, adjusted "
        f"{formatting.p_equals(p_adjusted)}{lower})."
    )
    if verdict == "inconclusive":
        text = f"{text} {_further_seeds(contrast, estimate, seconds_per_seed)}"
    return text


def _further_seeds(contrast: Contrast, estimate: Estimate, seconds_per_seed: float) -> str:
    """Tell what an inconclusive contrast could have found, and the fresh study to settle it."""
    detectable = formatting.difference(estimate.detectable, contrast.metric).lstrip("+")
    needed = estimate.seeds_needed
    if max(needed, 2 * estimate.n if needed <= estimate.n else 0) > power.MOST_SEEDS:
        study = f"to settle it takes more than {power.MOST_SEEDS} seeds, which is not worth it"
    elif needed > estimate.n:
        cost = needed * seconds_per_seed
        time = f", about {formatting.duration(cost)} of training" if math.isfinite(cost) else ""
        margin = formatting.margin(contrast.margin, contrast.metric)[1:]
        seeds = formatting.plural(needed, "seed")
        study = f"a fresh study of {seeds}{time}, would find one of {margin}"
    else:  # the margin was within reach: the truth is likely smaller
        study = f"only a fresh study of more than {estimate.n} seeds would settle it"
    return f"With 80 % power these seeds detect a difference of {detectable}; {study}."


def is_book(contrast: Contrast) -> bool:
    """Return True if the learning rate is constant: there a gain may only steady the end point, not
    generalise."""
    return contrast.recipe in ("book", "constant")


class _Test(NamedTuple):
    """A test as Holm counts it: a contrast, or a candidate."""

    family: str
    metric: str
    name: str
    recipe: str  # empty for a candidate, whose contrasts span the recipes

    @classmethod
    def of_contrast(cls, contrast: Contrast) -> _Test:
        return cls(contrast.family, contrast.metric, contrast.key, contrast.recipe)

    @classmethod
    def of_candidate(cls, contrast: Contrast) -> _Test:
        return cls(contrast.family, contrast.metric, contrast.candidate, "")


@dataclass(frozen=True)
class _Tested:
    """A contrast between its estimate and its verdict."""

    contrast: Contrast
    estimate: Estimate
    run_ids: tuple[str, ...]
    seconds_per_seed: float  # training time of one more seed of all the contrast's arms


def answer_contrasts(
    question: Question, table: pd.DataFrame, arms: Arms, recipes: RecipeWords = NAMES
) -> Answered:
    """Answer a question's declared contrasts on the confirm phase's runs of its declared seeds.

    Every contrast is a test of its own, Holm-adjusted within family and metric. Beside it, the
    contrasts of a candidate are one intersection-union test (Berger 1982) with the largest of their
    p-values, and Holm runs over the candidates of family and metric. Missing runs must not make the
    others look better: a refused contrast stays in its family with p = 1, and so does its
    candidate. A contrast whose arm the declared rule did not pick was never to be run, and takes no
    place in the family of single contrasts; its candidate does.

    Args:
        question: as declared.
        table: run table, one row per seed run.
        arms: recipe -> arm label -> arm name.
        recipes: what each recipe is in words.

    Returns:
        The contrasts answered and refused, and notes: a line for each candidate that missing runs
        left without a test, and for each family in which the sign-flip test cannot reach alpha.
    """
    sizes = Counter(
        (contrast.family, contrast.metric)
        for contrast in question.contrasts
        if _entered(contrast, arms)
    )
    tested: dict[_Test, _Tested] = {}
    refused: list[Refused] = []
    p_values: dict[_Test, float] = {}
    p_largest: dict[_Test, float] = {}
    for contrast in question.contrasts:
        test = _Test.of_contrast(contrast)
        try:
            size = max(1, sizes[contrast.family, contrast.metric])
            tested[test] = _estimate(question, contrast, table, arms.get(contrast.recipe, {}), size)
            p_values[test] = tested[test].estimate.p_value
        except paired.Refusal as refusal:
            entered = _entered(contrast, arms)
            place = f"{contrast.name} ({recipes[contrast.recipe]}; {contrast.metric})"
            refused.append(Refused(contrast, f"{place}: {refusal}", entered))
            if entered:  # one that was never to be run takes no place in its family
                p_values[test] = 1.0
        if contrast.candidate:
            candidate = _Test.of_candidate(contrast)
            p_value = p_values.get(test, 1.0)
            p_largest[candidate] = max(p_largest.get(candidate, 0.0), p_value)
    p_adjusted = _adjust(p_values)
    p_candidates = _adjust(p_largest)

    answers = []
    for test, result in tested.items():
        contrast = result.contrast
        estimate = result.estimate
        better = higher_is_better(contrast.metric)
        verdict = decide(estimate, p_adjusted[test], contrast.margin, question.alpha, better)
        answers.append(
            ContrastAnswer(
                contrast=contrast,
                estimate=estimate,
                p_adjusted=p_adjusted[test],
                p_candidate=p_candidates.get(_Test.of_candidate(contrast), math.nan),
                verdict=verdict,
                sentence=sentence(
                    contrast,
                    estimate,
                    p_adjusted[test],
                    verdict,
                    result.seconds_per_seed,
                    recipes,
                ),
                run_ids=result.run_ids,
                seconds_per_seed=result.seconds_per_seed,
            )
        )
    notes = _untested_candidates(tested, refused, p_largest)
    notes += _collapsed(question, table, arms)
    notes += _too_few_for_sign_flips(tested, sizes, question.alpha)
    return Answered(tuple(answers), tuple(refused), tuple(dict.fromkeys(notes)))


def _collapsed(question: Question, table: pd.DataFrame, arms: Arms) -> list[str]:
    """Name networks far below the others of their arm: one alone can make a contrast
    inconclusive."""
    metric = "test/accuracy" if question.phase == CONFIRM else "val/accuracy"
    if metric not in table.columns:
        return []
    rows = table.loc[(table["phase"] == question.phase) & table["seed"].isin(question.seeds)]
    names: dict[str, None] = {}
    for contrast in question.contrasts:
        labels = arms.get(contrast.recipe, {})
        names |= dict.fromkeys(labels[label] for label, _, _ in contrast.terms if label in labels)
    notes = []
    for arm in names:
        scores = rows.loc[rows["arm"] == arm].set_index("seed")[metric].astype(float)
        middle = scores.median()
        spread = 1.4826 * (scores - middle).abs().median()  # as an SD, of normal scores
        for seed, score in scores[scores < middle - max(COLLAPSE, 6 * spread)].items():
            notes.append(
                f"{arm}: the network of seed {seed} collapsed, at "
                f"{formatting.score(score, metric)} where the median is "
                f"{formatting.score(middle, metric)}; what is inconclusive here may be due to it"
            )
    return notes


def _untested_candidates(
    tested: Mapping[_Test, _Tested], refused: list[Refused], candidates: Mapping[_Test, float]
) -> list[str]:
    lacking = {_Test.of_candidate(refusal.contrast) for refusal in refused if refusal.entered}
    begun = {_Test.of_candidate(result.contrast) for result in tested.values()}
    return [
        f"{candidate.name} ({candidate.metric}): not tested as a candidate, one of its contrasts "
        "was refused; its candidate p is set to 1"
        for candidate in candidates
        if candidate in lacking & begun
    ]


def _too_few_for_sign_flips(
    tested: Mapping[_Test, _Tested], sizes: Mapping[tuple[str, str], int], alpha: float
) -> list[str]:
    notes = []
    for (family, metric), size in sizes.items():
        seeds = [
            result.estimate.n
            for test, result in tested.items()
            if (test.family, test.metric) == (family, metric)
        ]
        needed = power.seeds_for_alpha(alpha, size)
        if seeds and min(seeds) < needed:
            notes.append(
                f"family {family!r}: {min(seeds)} seeds are too few for the sign-flip test to "
                f"reach {alpha:g} over {formatting.plural(size, 'test')}; it needs {needed} (it is "
                "shown for sensitivity, the paired t decides)"
            )
    return notes


def _entered(contrast: Contrast, arms: Arms) -> bool:
    """False where labels have no arm under the contrast's recipe but under another: their type did
    not go on. Then a tuned arm is among them, or none of the contrast's arms is there."""
    labels = {label for label, _, _ in contrast.terms}
    missing = labels - set(arms.get(contrast.recipe, {}))
    elsewhere = {label for labels in arms.values() for label in labels}
    of_a_type = missing == labels or any(label.startswith(TUNED) for label in missing)
    return not missing or not missing <= elsewhere or not of_a_type


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
    estimate = paired.estimate(differences, contrast.margin, question.alpha, family_size)
    if higher_is_better(contrast.metric) is False:  # of a loss, less is superior
        estimate = replace(estimate, p_superior=1 - estimate.p_superior)
    seconds = float(rows["seconds"].to_numpy(dtype=float).sum()) / estimate.n
    return _Tested(contrast, estimate, tuple(map(str, rows["run_id"])), seconds)


def _adjust(p_values: Mapping[_Test, float]) -> dict[_Test, float]:
    """The Holm-adjusted p-value of each test, within its family and metric."""
    adjusted: dict[_Test, float] = {}
    for family in dict.fromkeys((test.family, test.metric) for test in p_values):
        members = [test for test in p_values if (test.family, test.metric) == family]
        holm = paired.holm([p_values[test] for test in members])
        adjusted.update(zip(members, holm, strict=True))
    return adjusted
