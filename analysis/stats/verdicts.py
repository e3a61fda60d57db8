"""From an estimate to a verdict and its sentence: one rule for all questions."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import pandas as pd

from analysis import formatting
from analysis.formatting import NAMES, RecipeWords
from analysis.schema import BEST, CONFIRM, TUNED, Contrast, Question, higher_is_better
from analysis.stats import contrasts, paired, power
from analysis.stats.results import Answered, ContrastAnswer, Estimate, Refused

_Key = TypeVar("_Key", bound=Hashable)

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

_Family = tuple[str, str]
"""Family and metric of a contrast: those that share both are adjusted together."""


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
    if estimate.seeds_to_settle > power.MOST_SEEDS:
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


def judged(
    one: ContrastAnswer, p_adjusted: float, alpha: float, recipes: RecipeWords = NAMES
) -> ContrastAnswer:
    """Return an estimated contrast with the verdict and the sentence that follow from its adjusted
    p-value."""
    contrast, estimate = one.contrast, one.estimate
    better = higher_is_better(contrast.metric)
    verdict = decide(estimate, p_adjusted, contrast.margin, alpha, better)
    told = sentence(contrast, estimate, p_adjusted, verdict, one.seconds_per_seed, recipes)
    return replace(one, p_adjusted=p_adjusted, verdict=verdict, sentence=told)


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
    sizes = Counter(_family(one) for one in question.contrasts if _entered(one, arms))
    tested: list[ContrastAnswer] = []
    refused: list[Refused] = []
    p_values: dict[_Family, dict[tuple[str, str, str], float]] = defaultdict(dict)
    p_largest: dict[_Family, dict[str, float]] = defaultdict(dict)
    for contrast in question.contrasts:
        family, p_value = _family(contrast), 1.0
        try:
            one = _estimate(question, contrast, table, arms, max(1, sizes[family]))
            p_value = p_values[family][contrast.identity] = one.estimate.p_value
            tested.append(one)
        except paired.Refusal as refusal:
            entered = _entered(contrast, arms)
            place = f"{contrast.name} ({recipes[contrast.recipe]}; {contrast.metric})"
            refused.append(Refused(contrast, f"{place}: {refusal}", entered))
            if entered:  # one that was never to be run takes no place in its family
                p_values[family][contrast.identity] = p_value
        if contrast.candidate:
            largest = p_largest[family].get(contrast.candidate, 0.0)
            p_largest[family][contrast.candidate] = max(largest, p_value)
    p_adjusted = {family: _holm(of_family) for family, of_family in p_values.items()}
    p_candidates = {family: _holm(of_family) for family, of_family in p_largest.items()}

    answers = []
    for one in tested:
        contrast, family = one.contrast, _family(one.contrast)
        p_candidate = p_candidates.get(family, {}).get(contrast.candidate, math.nan)
        decided = judged(one, p_adjusted[family][contrast.identity], question.alpha, recipes)
        answers.append(replace(decided, p_candidate=p_candidate))
    notes = _untested_candidates(question, tested, refused)
    notes += _collapsed(question, table, arms)
    notes += _too_few_for_sign_flips(tested, sizes, question.alpha)
    return Answered(tuple(answers), tuple(refused), tuple(dict.fromkeys(notes)))


def _family(contrast: Contrast) -> _Family:
    return contrast.family, contrast.metric


def _holm(p_values: Mapping[_Key, float]) -> dict[_Key, float]:
    return dict(zip(p_values, paired.holm(list(p_values.values())), strict=True))


def _estimate(
    question: Question, contrast: Contrast, table: pd.DataFrame, arms: Arms, family_size: int
) -> ContrastAnswer:
    """Return a contrast with its estimate, before its family tells the verdict."""
    rows, coefficients = contrasts.contrast_rows(
        table, arms.get(contrast.recipe, {}), contrast, question.phase, question.seeds
    )
    differences = contrasts.combine(rows, coefficients)
    estimate = paired.estimate(differences, contrast.margin, question.alpha, family_size)
    if higher_is_better(contrast.metric) is False:  # of a loss, less is superior
        estimate = replace(estimate, p_superior=1 - estimate.p_superior)
    seconds = float(rows["seconds"].to_numpy(dtype=float).sum()) / estimate.n
    run_ids = tuple(map(str, rows["run_id"]))
    return ContrastAnswer(contrast, estimate, run_ids, seconds)


def _entered(contrast: Contrast, arms: Arms) -> bool:
    """False where the declared rule picked no arm for a label: a type did not go on to the recipe
    (its labels have arms under another; a tuned arm is among them, or none of the contrast's arms
    is there), or the best arm of a class lacks what was to be taken out of it."""
    labels = {label for label, _, _ in contrast.terms}
    here = set(arms.get(contrast.recipe, {}))
    missing = labels - here
    if of_the_best := {label.partition(",")[0] for label in missing if label.startswith(BEST)}:
        return not of_the_best <= here
    elsewhere = {label for labels in arms.values() for label in labels}
    of_a_type = missing == labels or any(label.startswith(TUNED) for label in missing)
    return not missing or not missing <= elsewhere or not of_a_type


def _collapsed(question: Question, table: pd.DataFrame, arms: Arms) -> list[str]:
    """Name networks far below the others of their arm: one alone can make a contrast
    inconclusive."""
    metric = "test/accuracy" if question.phase == CONFIRM else "val/accuracy"
    if metric not in table.columns:
        return []
    rows = contrasts.rows_of(question, table)
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
    question: Question, tested: Sequence[ContrastAnswer], refused: Sequence[Refused]
) -> list[str]:
    lacking = {(one.contrast.candidate, one.contrast.metric) for one in refused if one.entered}
    begun = {(one.contrast.candidate, one.contrast.metric) for one in tested}
    declared = dict.fromkeys((one.candidate, one.metric) for one in question.contrasts)
    return [
        f"{candidate} ({metric}): not tested as a candidate, one of its contrasts was refused; its "
        "candidate p is set to 1"
        for candidate, metric in declared
        if candidate and (candidate, metric) in lacking & begun
    ]


def _too_few_for_sign_flips(
    tested: Sequence[ContrastAnswer], sizes: Mapping[_Family, int], alpha: float
) -> list[str]:
    notes = []
    for family, size in sizes.items():
        fewest = min(
            (one.estimate.n for one in tested if _family(one.contrast) == family), default=0
        )
        needed = power.seeds_for_alpha(alpha, size)
        if 0 < fewest < needed:
            notes.append(
                f"family {family[0]!r}: {fewest} seeds are too few for the sign-flip test to "
                f"reach {alpha:g} over {formatting.plural(size, 'test')}; it needs {needed} (it is "
                "shown for sensitivity, the paired t decides)"
            )
    return notes
