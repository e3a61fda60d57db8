"""Do the statistics keep what they promise? They are run on simulated scores whose true effect is
known.

`python -m benchmarks.calibration` writes docs/calibration.md. It calls the functions that answer
the study's questions (`analysis.stats.paired`, `analysis.stats.verdicts`) and simulates no
training. It takes an hour or two on one core, most of it for the resampling.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

import click
import numpy as np
import pandas as pd
from scipy import stats as st

from analysis.questions import DESIGNS
from analysis.questions.base import ALPHA, MARGINS
from analysis.schema import Contrast, Question
from analysis.stats import paired, power
from analysis.stats import verdicts as decide
from benchmarks import calibration_images
from study.presets import PRESETS

SEED = 20_240_817
METRIC = "test/accuracy"
MARGIN = MARGINS[METRIC]
LEVEL, SEED_SD = 0.88, 0.003
"""Mean accuracy, and the standard deviation of what the arms of a seed share."""
SD, SMALL_SD = 0.003, 0.0015
"""Standard deviations of a paired difference, as fractions: 0.3 and 0.15 accuracy points."""
SEED_COUNTS = (10, 20)
IMAGES = 10_000
FAR = 1.0
"""A true effect that no test overlooks."""

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def student(degrees: int) -> Draw:
    """Student's t, scaled to variance 1."""
    return lambda rng, shape: math.sqrt((degrees - 2) / degrees) * rng.standard_t(degrees, shape)


def log_normal(s: float) -> Draw:
    """exp(s e), e standard normal, moved to mean 0 and scaled to variance 1; skewness 1.75 at s =
    0.5, 6.2 at 1."""
    mean, variance = math.exp(s**2 / 2), (math.exp(s**2) - 1) * math.exp(s**2)
    return lambda rng, shape: (np.exp(s * rng.standard_normal(shape)) - mean) / math.sqrt(variance)


ERRORS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "t5": student(5),
    "t3": student(3),
    "log-normal 0.5": log_normal(0.5),
    "log-normal 1": log_normal(1.0),
}
"""Name -> independent errors of mean 0 and variance 1, of a shape."""
SYMMETRIC = ("normal", "t5", "t3")
FAMILY_ERRORS = (*SYMMETRIC, "log-normal 1")

Term = tuple[str, str, str]
"""Recipe, arm label and metric: what has one number per seed."""


class Case(NamedTuple):
    """Two arms whose paired difference has its errors from one arm alone, or half its variance from
    each."""

    errors: str  # a name of ERRORS
    n: int  # seeds
    both: bool = False

    @property
    def name(self) -> str:
        """The errors, and where they are."""
        return f"{self.errors}, both arms" if self.both else self.errors


CASES = tuple(
    Case(errors, n, both)
    for errors, both in (
        *((errors, False) for errors in ERRORS),
        ("t3", True),
        ("log-normal 1", True),
    )
    for n in SEED_COUNTS
)


class Rate(NamedTuple):
    """How often something happened, and the Monte-Carlo standard error of that share."""

    share: float
    error: float

    def __str__(self) -> str:
        """In percent."""
        return f"{100 * self.share:.2f} ± {100 * self.error:.2f}"


def rate(events: Iterable[Any]) -> Rate:
    """The share of events, or of lists of events of one length, that are true."""
    happened = np.array(list(events), dtype=bool)
    share = float(happened.mean())
    return Rate(share, math.sqrt(share * (1 - share) / happened.size))


def points(accuracy: float) -> str:
    """A fraction in percentage points."""
    return f"{100 * accuracy:g}"


# One contrast


def shared(case: Case, repetitions: int, rng: np.random.Generator) -> np.ndarray:
    """What all arms of a seed have in common: an accuracy, shape (repetitions, seeds)."""
    return LEVEL + SEED_SD * rng.standard_normal((repetitions, case.n))


def own_errors(case: Case, repetitions: int, sd: float, rng: np.random.Generator) -> np.ndarray:
    """Of two arms, shape (2, repetitions, seeds): their difference has mean 0 and standard
    deviation `sd`."""
    draw, shape = ERRORS[case.errors], (repetitions, case.n)
    if case.both:
        return sd / math.sqrt(2) * draw(rng, (2, *shape))
    return np.stack([sd * draw(rng, shape), np.zeros(shape)])


def differences(
    case: Case, repetitions: int, sd: float, effect: float, rng: np.random.Generator
) -> Iterator[pd.Series]:
    """The paired differences of each repetition, shape (seeds,), of true mean `effect`."""
    first, second = shared(case, repetitions, rng) + own_errors(case, repetitions, sd, rng)
    return (pd.Series(row) for row in first + effect - second)


def one_contrast(case: Case, repetitions: int, rng: np.random.Generator) -> dict[str, Rate]:
    """How often each method errs, every rate on draws of its own; + and - are the side of the true
    difference."""

    def share(event: Callable[[pd.Series], bool], sd: float, effect: float) -> Rate:
        return rate(event(values) for values in differences(case, repetitions, sd, effect, rng))

    def significant(values: pd.Series) -> bool:
        return paired.paired_t(values) <= ALPHA

    def covered(values: pd.Series) -> bool:
        low, high = paired.interval(values)
        return low <= MARGIN <= high

    def equivalent(values: pd.Series) -> bool:
        return paired.tost(values, MARGIN) <= ALPHA

    detectable = power.detectable_effect(SD, case.n, ALPHA)
    return {
        "false positives": share(significant, SD, 0.0),
        "coverage": share(covered, SD, MARGIN),
        "power +": share(lambda values: values.mean() > 0 and significant(values), SD, detectable),
        "power -": share(lambda values: values.mean() < 0 and significant(values), SD, -detectable),
        **{
            f"TOST {side} {points(sd)}": share(equivalent, sd, effect)
            for sd in (SD, SMALL_SD)
            for side, effect in (("+", MARGIN), ("-", -MARGIN), ("0", 0.0))
        },
    }


# From the run table to the verdict


def whole_path(case: Case, repetitions: int, rng: np.random.Generator) -> dict[str, Rate]:
    """Verdicts on the three contrasts of `swap`: no difference, one at the margin, and a detectable
    one.

    Run tables go through `answer_contrasts`: pairing, estimate with sign-flip and BCa, Holm, TOST,
    `decide`. Accuracies are whole numbers of IMAGES, as real ones.
    """
    (recipe,) = PRESETS["full"].questions["swap"]
    declared = DESIGNS["swap"].declare([recipe], tuple(range(case.n)), PRESETS["full"].noise_types)
    question = replace(
        declared, contrasts=tuple(one for one in declared.contrasts if one.metric == METRIC)
    )
    effects = (0.0, MARGIN, power.detectable_effect(SD, case.n, ALPHA / len(question.contrasts)))
    pairs = [own_errors(case, repetitions, SD, rng) + [[[effect]], [[0.0]]] for effect in effects]
    scores = shared(case, repetitions, rng) + np.concatenate(pairs)  # (arms, repetitions, seeds)
    scores = np.round(scores * IMAGES) / IMAGES
    rows = []
    for repetition in range(repetitions):
        found = decide.answer_contrasts(
            question, *run_table(question, scores[:, repetition])
        ).contrasts
        none, at_margin, detectable = found
        estimates = [(one.estimate, effect) for one, effect in zip(found, effects, strict=True)]
        rows.append(
            {
                "false difference": none.verdict.startswith(decide.DIRECTIONS),
                "false equivalence": at_margin.verdict in decide.NEGLIGIBLE,
                "false matters": at_margin.verdict in decide.MATTERS,
                "found": detectable.verdict.startswith("better"),
                "paired t": none.estimate.p_value <= ALPHA,
                "sign flip": none.estimate.p_sign_flip <= ALPHA,
                "t interval": [one.ci_low <= effect <= one.ci_high for one, effect in estimates],
                "BCa": [one.bca_low <= effect <= one.bca_high for one, effect in estimates],
            }
        )
    return {name: rate(row[name] for row in rows) for name in rows[0]}


def run_table(
    question: Question, scores: np.ndarray
) -> tuple[pd.DataFrame, dict[str, dict[str, str]]]:
    """A run table of scores (terms, seeds), the terms in the order of `terms_of`; and recipe -> arm
    label -> arm."""
    arms: dict[str, dict[str, str]] = {}
    frames: dict[str, pd.DataFrame] = {}
    for (recipe, label, metric), values in zip(terms_of(question.contrasts), scores, strict=True):
        name = arms.setdefault(recipe, {}).setdefault(label, f"{label} {recipe}")
        frame = frames.setdefault(
            name, pd.DataFrame({"arm": name, "recipe": recipe, "seed": question.seeds})
        )
        frame[metric] = values
    table = pd.concat(frames.values(), ignore_index=True)
    fixed = {
        "phase": question.phase,
        "device": "cpu",
        "precision": "float32",
        "data_digest": "",
        "code_version": 0,
    }
    return table.assign(**fixed, epochs=1, seconds=1.0, run_id=table["arm"]), arms


# Families


@dataclass(frozen=True, eq=False)
class Family:
    """Contrasts that are Holm-adjusted together; the same ones on several metrics are one case."""

    question: str
    name: str
    metrics: tuple[str, ...]
    alpha: float
    coefficients: np.ndarray  # (contrasts, terms)
    candidates: tuple[str, ...]  # of each contrast; empty for a contrast that stands alone


def terms_of(contrasts: Iterable[Contrast]) -> list[Term]:
    """The terms of contrasts, each once."""
    return list(
        dict.fromkeys(
            (one.recipe, label, metric) for one in contrasts for label, metric, _ in one.terms
        )
    )


def coefficients(contrasts: Sequence[Contrast]) -> np.ndarray:
    """What to multiply the scores of `terms_of` by, shape (contrasts, terms)."""
    column = {term: number for number, term in enumerate(terms_of(contrasts))}
    matrix = np.zeros((len(contrasts), len(column)))
    for row, one in zip(matrix, contrasts, strict=True):
        for label, metric, coefficient in one.terms:
            row[column[one.recipe, label, metric]] += coefficient
    return matrix


def families() -> list[Family]:
    """Every family that the questions of the full study declare."""
    found: list[Family] = []
    for name, recipes in PRESETS["full"].questions.items():
        design, full = DESIGNS[name], PRESETS["full"]
        question = design.declare(recipes, full.seeds_of(design.phase), full.noise_types)
        same: dict[tuple[str, bytes, tuple[str, ...]], Family] = {}
        for family, metric in dict.fromkeys((one.family, one.metric) for one in question.contrasts):
            members = [
                one for one in question.contrasts if (one.family, one.metric) == (family, metric)
            ]
            matrix, candidates = coefficients(members), tuple(one.candidate for one in members)
            key = (family, matrix.tobytes(), candidates)
            metrics = (*same[key].metrics, metric) if key in same else (metric,)
            same[key] = Family(name, family, metrics, question.alpha, matrix, candidates)
        found += same.values()
    return found


def null_contrasts(
    family: Family, errors: str, n: int, repetitions: int, rng: np.random.Generator
) -> np.ndarray:
    """The contrasts of terms of equal mean, shape (repetitions, seeds, contrasts).

    Each term is what its seed shares plus an error of its own. The mean is 0, so that a contrast of
    one term, the error of a formula, has no effect either.
    """
    terms = family.coefficients.shape[1]
    scores = SEED_SD * rng.standard_normal((repetitions, n, 1)) + SD * ERRORS[errors](
        rng, (repetitions, n, terms)
    )
    return scores @ family.coefficients.T


def t_tests(values: np.ndarray) -> np.ndarray:
    """`stats.paired_t` of many at once, which a test compares: (repetitions, seeds, contrasts) to p
    without seeds."""
    result: Any = st.ttest_1samp(values, 0.0, axis=1)
    return np.asarray(result.pvalue)


def largest_by_candidate(p_values: np.ndarray, candidates: Sequence[str]) -> np.ndarray:
    """The p-value of each candidate's intersection-union test: (..., contrasts) to (...,
    candidates)."""
    names = np.array(candidates)
    return np.stack(
        [p_values[..., names == name].max(axis=-1) for name in dict.fromkeys(candidates)], axis=-1
    )


def any_rejected(p_values: np.ndarray, alpha: float) -> np.ndarray:
    """Whether Holm leaves any p <= alpha: (repetitions, tests) to (repetitions,)."""
    rejected = (
        p_values.min(axis=1) <= alpha
    )  # Holm lowers no p-value: the others need not be adjusted
    for repetition in np.flatnonzero(rejected):
        rejected[repetition] = min(paired.holm(p_values[repetition].tolist())) <= alpha
    return rejected


def family_wise(
    family: Family, errors: str, n: int, repetitions: int, rng: np.random.Generator
) -> dict[str, Rate]:
    """How often anything is found where there is nothing: among the contrasts, and among the
    candidates.

    All contrasts null is easy for an intersection-union test. Its hard case has a candidate truly
    differ in all its contrasts but one.
    """
    values = null_contrasts(family, errors, n, repetitions, rng)
    found = {"contrasts": rate(any_rejected(t_tests(values), family.alpha))}
    if any(family.candidates):
        first = [family.candidates.index(name) for name in dict.fromkeys(family.candidates)]
        others = ~np.isin(np.arange(len(family.candidates)), first)
        for name, effects in {
            "candidates": 0.0 * others,
            "candidates, hard case": FAR * others,
        }.items():
            p_values = largest_by_candidate(t_tests(values + effects), family.candidates)
            found[name] = rate(any_rejected(p_values, family.alpha))
    return found


# The report


TOST_ERRORS = tuple(f"TOST {side} {points(sd)}" for sd in (SD, SMALL_SD) for side in "+-")
"""The rates of `one_contrast` that are errors of TOST."""


@dataclass(frozen=True)
class Results:
    """All that was simulated."""

    repetitions: int
    resampled: int  # repetitions with resampling
    single: dict[Case, dict[str, Rate]]
    path: dict[Case, dict[str, Rate]]
    families: list[
        tuple[Family, str, dict[Case, Rate]]
    ]  # with what was tested: contrasts or candidates
    images: dict[int, calibration_images.Shares]  # seeds -> how often the truth was held


def simulate(repetitions: int, resampled: int) -> Results:
    """Everything, from one fixed seed."""
    rng = np.random.default_rng(SEED)
    single, path = {}, {}
    for case in CASES:
        click.echo(f"{case.name}, n = {case.n}", err=True)
        single[case] = one_contrast(case, repetitions, rng)
        path[case] = whole_path(case, resampled, rng)
    rows: list[tuple[Family, str, dict[Case, Rate]]] = []
    for family in families():
        click.echo(f"{family.question}: {family.name}", err=True)
        rates = {
            Case(errors, n, True): family_wise(family, errors, n, repetitions, rng)
            for errors in FAMILY_ERRORS
            for n in SEED_COUNTS
        }
        kinds = next(iter(rates.values()))
        rows += [
            (family, kind, {case: found[kind] for case, found in rates.items()}) for kind in kinds
        ]
    click.echo("seeds and images", err=True)
    images = {n: calibration_images.shares(n, resampled, rng) for n in SEED_COUNTS}
    return Results(repetitions, resampled, single, path, rows, images)


def judged(results: Results) -> tuple[str, str]:
    """What was required, what was found and whether it holds, as a table; and the rates outside or
    near a limit."""
    symmetric = {case: rates for case, rates in results.single.items() if case.errors in SYMMETRIC}

    def cells(*names: str) -> dict[str, Rate]:
        return {
            f"{case.name}, n = {case.n}" + f" ({name})" * (len(names) > 1): rates[name]
            for case, rates in symmetric.items()
            for name in names
        }

    of_families = {
        f"{family.question}, {family.name} ({tested}), {case.errors}, n = {case.n}": found
        for family, tested, rates in results.families
        for case, found in rates.items()
        if case.errors in SYMMETRIC
    }
    rows, remarks = [], []
    for name, rates, low, high in (
        ("false positives of the paired t", cells("false positives"), 0.04, 0.055),
        ("coverage of the 95 % interval", cells("coverage"), 0.945, 0.965),
        ("false equivalence at the margin, by TOST", cells(*TOST_ERRORS), 0.0, 0.055),
        ("error of a question's family", of_families, 0.0, 0.055),
    ):
        outside = [cell for cell, one in rates.items() if not low <= one.share <= high]
        holds = (
            f"**does not hold** in {len(outside)} of {len(rates)}"
            if outside
            else f"**holds** in all {len(rates)}"
        )
        limits = f"{100 * low:g} to {100 * high:g} %" if low else f"at most {100 * high:g} %"
        rows.append((name, limits, f"{span(rates.values())} %", holds))
        for cell, one in rates.items():
            near = min(abs(one.share - limit) for limit in (low, high) if limit) < 2 * one.error
            if cell in outside or near:
                place = "outside" if cell in outside else "inside"
                doubt = ", less than two standard errors from the limit" if near else ""
                remarks.append(f"- {name}, {cell}: {one} %, {place}{doubt}")
    header = ("with symmetric errors", "required", "found, lowest to highest", "verdict")
    return table(header, rows), "\n".join(
        remarks
    ) or "No rate is within two standard errors of its limit."


def table(header: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """A Markdown table; all but the first `left` columns are numbers."""
    rule = ["---"] * left + ["--:"] * (len(header) - left)
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in (header, rule, *rows))


def case_table(results: Mapping[Case, Mapping[str, Rate]], columns: Mapping[str, str]) -> str:
    """One row a case; `columns` are names of rates and their headings."""
    rows = [
        (case.name, case.n, *(rates[name] for name in columns)) for case, rates in results.items()
    ]
    return table(("errors", "n", *columns.values()), rows)


def family_table(results: Results) -> str:
    """One row for what Holm counts together."""
    cases = [f"{case.errors}, n = {case.n}" for case in results.families[0][2]]
    rows = [
        (
            family.question,
            family.name,
            ", ".join(family.metrics),
            tested,
            len(family.candidates) if tested == "contrasts" else len(set(family.candidates)),
            *rates.values(),
        )
        for family, tested, rates in results.families
    ]
    return table(("question", "family", "metrics", "tested", "tests", *cases), rows, left=4)


def span(rates: Iterable[Rate]) -> str:
    """The lowest and the highest share, in percent."""
    shares = [100 * one.share for one in rates]
    low, high = f"{min(shares):.2f}", f"{max(shares):.2f}"
    return low if low == high else f"{low} to {high}"


def wrapped(block: str) -> str:
    """A paragraph or a list in lines of 120 characters; a heading or a table as it is."""
    if block.startswith(("#", "|")):
        return block
    lines = []
    for item in re.split(r"\n(?=- )", block):
        indent = "  " if item.startswith("- ") else ""
        text = " ".join(item.split())
        lines.append(
            fill(
                text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
            )
        )
    return "\n".join(lines)


PAGE = """# Calibration of the statistics

The functions that answer the study's questions were run on simulated scores whose true effect is known, to count how
often they err. A repetition is a set of scores for n paired seeds. What the arms of a seed share is normal (SD
{shared_sd} accuracy points); an arm's own error is normal, Student's t with 5 or 3 degrees of freedom, or log-normal
exp(s e) with s = 0.5 or 1 (skewness 1.75 and 6.2), moved to mean 0 and scaled to the SD that is stated. Rates are in
percent with their Monte-Carlo standard error, from {repetitions:,} repetitions unless said. Alpha is {alpha}, the
margin {margin} accuracy points.

## Does it hold?

{verdicts}

{remarks}

Skewed errors have no requirement; they are in the tables below, whatever they are.

## One contrast

The paired difference of two arms, with an SD of {sd} points. Its error comes from one arm alone, so that the difference
has just this distribution, or in equal parts from both arms. False positives: no true difference. Coverage: of a true
difference of {margin} points. Power: at the true difference that `detectable_effect` plans for 80 %, on the side of a
skewed error's long tail (+) or on the other (-), a rejection in the wrong direction not counted.

{single}

## Equivalence

How often TOST says "equivalent" when the true difference is exactly the margin, above 0 (+) or below (-): an error. And
when there is none: TOST's power. The SD of the difference is {sd} or {small} points.

{equivalence}

## From the run table to the verdict

{resampled:,} run tables of the question `swap` on accuracy went through `answer_contrasts`: pairing by seed, paired t,
Holm over the three contrasts, TOST, `decide`. The SD is {sd} points; the true differences are 0, {margin} points, and
what can be detected at the strictest step of Holm. False difference: a verdict better or worse where there is none.
False equivalence: equivalent or negligible at the margin. False matters: "better, matters" at the margin; an effect
below it is called so more rarely still. Found: better where it is. Then two tests of no difference, unadjusted, and
two 95 % intervals, these on all three contrasts ({intervals:,} intervals). Accuracies are of 10,000 images, hence
whole numbers of them.

{path}

## Each question's families

Every family of the full study, as declared: scores without any true effect, contrasts by their coefficients, p-values
of the paired t, Holm. Each term (an arm's metric) has what its seed shares and an error of its own. Shown is how often
at least one adjusted p is at most alpha. Metrics in one row have the same contrasts, hence the same simulation.
A candidate is an intersection-union test: the largest p of its contrasts, Holm over the candidates. With no true effect
at all that can hardly reject; in the hard case each candidate truly differs in all its contrasts but one.

{families}

## Over seeds and images

Networks simulated image by image ({images:,} images, drawn anew {resampled:,} times as the seeds are): whether one is
right depends on the image, on how image and arm get on, on the seed, and on chance. True accuracies: {accuracies}.
Shown in percent: how often the 95 % interval over seeds (paired t) and that over seeds and images hold the true
difference of all images and seeds, over the seven contrasts of `beat-dropout`; and how often all three candidates lie
below the simultaneous 95 % bound on what they gain over both rivals.

{over_images}

## What it means

- **Seeds and images.** An interval over seeds alone speaks of the images at hand: of all images it holds the truth in
  {of_seeds} % only. The interval over both, and the bound, hold it more often than the 95 % they promise: the pigeonhole
  bootstrap counts the chance of a single network and image thrice. It errs on the careful side.
- **Symmetric differences.** With normal, t5 and t3 errors the paired t finds a difference that is not there in
  {false_positives} % of the repetitions, and its interval covers the truth in {coverage} %. Heavy tails make it
  careful, not careless: a far value widens the standard deviation more than it moves the mean. With t3 in one arm it
  errs in {t3}; its interval, on other draws, covers {t3_coverage}. Where that is less than 4 % false positives, there
  are fewer false findings than promised, and power does not suffer ({power_t3}).
- **Skewed differences** are the weak point. With log-normal errors in one arm it errs in {mild} (s = 0.5) and in
  {skewed} (s = 1): more seeds help slowly. It is the difference that must be skewed. Where both arms have such errors,
  the difference and its reverse have the same distribution, so it is symmetric however skewed the arms are, and the t
  errs in {both}. The skewed case stands for one arm with rare bad (or good) seeds that its rival does not have.
- **Equivalence.** With symmetric errors TOST errs in {tost} % at the margin. Its power depends on the SD: two equal
  arms are called equivalent at {sd} points in {tost_power}, at {small} points in {tost_power_small} (normal errors). If
  the difference is skewed and lies on the side of its long tail, TOST is too ready to say equivalent (s = 1, {small}
  points: {tost_skewed}): a sample without the rare far values has too small a mean and too small a standard deviation.
  On the other side it errs in {tost_skewed_other}.
- **Power** is as planned with normal errors, {power}. With heavy tails there is more, since most seeds lie closer than
  the SD says; with skewed ones it is {power_skewed} % on the side of the long tail and {power_skewed_other} % on the
  other.
- **Beside the paired t.** With symmetric errors the sign-flip test errs in {sign_flip} %. BCa covers {bca_10} % with 10
  seeds and {bca_20} % with 20, less than its 95 %: it is shown, and does not decide.
- **Families.** With symmetric errors Holm keeps the error of the families at {family_errors} %. Contrasts that share an
  arm are correlated, which makes Holm careful. With log-normal errors (s = 1) in all terms it is {family_skewed} %, the
  highest where a contrast is a single term and hence skewed (`variance`, formula). Candidates err in {candidates} %
  without any effect and in {hard} % in the hard case. Both directions are counted; to be said to beat, a candidate must
  also be the better one in every contrast. Types that do not go on to the second recipe have p = 1, which lowers it.

## What was not checked

- Whether real scores look like any of these errors: nothing here was fitted to a training run. What a seed shares
  cancels in every contrast but the error of a formula (`variance`), so its size hardly matters.
- Other numbers of seeds; arms of unequal variance within a family; errors of different terms that are correlated
  beyond what their seed shares.
- Families together: Holm holds within one, and the full study has {count} (each metric is one of its own). Over all of
  them a false finding somewhere is likelier than {percent} %.
- Families in which some contrasts have a true effect, but for the candidates' hard case and `swap`; contrasts refused
  for missing runs, which stay in their family with p = 1; how arms were searched and picked.
- Families in which one arm alone has skewed errors: by what one contrast shows, they would err more than {percent} %.
- The interval over seeds and images on losses, and with arms that get on with images less alike than simulated here.

Made by `python -m benchmarks.calibration --repetitions {repetitions} --resampled {resampled}`, with a fixed seed and
without any data. It calls the project's own functions; only the t-tests of the families are computed many at once, by
the SciPy function that `analysis.stats.paired.paired_t` calls, and `tests/benchmarks/test_calibration.py` holds the two together.
"""


def to_markdown(results: Results) -> str:
    """The whole of docs/calibration.md."""
    single, path = results.single, results.path
    symmetric = [case for case in single if case.errors in SYMMETRIC]
    skewed = [case for case in single if case.errors not in SYMMETRIC and not case.both]

    def by_seeds(name: str, errors: str, both: bool = False) -> str:
        """Such as "5.01 % with 10 seeds and 4.98 % with 20"."""
        few, many = (100 * single[Case(errors, n, both)][name].share for n in SEED_COUNTS)
        return f"{few:.2f} % with {SEED_COUNTS[0]} seeds and {many:.2f} % with {SEED_COUNTS[1]}"

    def of_families(kind: str, errors: Sequence[str] = SYMMETRIC) -> str:
        return span(
            found
            for _, tested, rates in results.families
            for case, found in rates.items()
            if tested == kind and case.errors in errors
        )

    wide, narrow = points(SD), points(SMALL_SD)
    verdicts, remarks = judged(results)
    page = PAGE.format(
        shared_sd=points(SEED_SD),
        repetitions=results.repetitions,
        resampled=results.resampled,
        intervals=3 * results.resampled,
        alpha=ALPHA,
        percent=f"{100 * ALPHA:g}",
        margin=points(MARGIN),
        sd=wide,
        small=narrow,
        verdicts=verdicts,
        remarks=remarks,
        single=case_table(
            single,
            {name: name for name in ("false positives", "coverage", "power +", "power -")},
        ),
        equivalence=case_table(
            single,
            {
                f"TOST {side} {sd}": f"{'no difference' if side == '0' else f'at {side}{points(MARGIN)}'}, SD {sd}"
                for sd in (wide, narrow)
                for side in "+-0"
            },
        ),
        path=case_table(
            path,
            {
                "false difference": "false difference",
                "false equivalence": "false equivalence",
                "false matters": "false matters",
                "found": "found",
                "paired t": "false positives, t",
                "sign flip": "sign-flip",
                "t interval": "coverage, t",
                "BCa": "BCa",
            },
        ),
        families=family_table(results),
        images=calibration_images.IMAGES,
        accuracies=", ".join(
            f"{label} {100 * share:g} %" for label, share in calibration_images.ACCURACY.items()
        ),
        over_images=table(
            ("n", "interval over seeds", "over seeds and images", "simultaneous bound"),
            [
                (n, *(f"{100 * share:.1f}" for share in shares))
                for n, shares in results.images.items()
            ],
            left=0,
        ),
        of_seeds=" and ".join(f"{100 * shares.of_seeds:.0f}" for shares in results.images.values()),
        false_positives=span(single[case]["false positives"] for case in symmetric),
        coverage=span(single[case]["coverage"] for case in symmetric),
        t3=by_seeds("false positives", "t3"),
        t3_coverage=by_seeds("coverage", "t3"),
        mild=by_seeds("false positives", "log-normal 0.5"),
        skewed=by_seeds("false positives", "log-normal 1"),
        both=by_seeds("false positives", "log-normal 1", both=True),
        tost=span(single[case][name] for case in symmetric for name in TOST_ERRORS),
        tost_power=by_seeds(f"TOST 0 {wide}", "normal"),
        tost_power_small=by_seeds(f"TOST 0 {narrow}", "normal"),
        tost_skewed=by_seeds(f"TOST + {narrow}", "log-normal 1"),
        tost_skewed_other=by_seeds(f"TOST - {narrow}", "log-normal 1"),
        power=by_seeds("power +", "normal"),
        power_t3=by_seeds("power +", "t3"),
        power_skewed=span(single[case]["power +"] for case in skewed),
        power_skewed_other=span(single[case]["power -"] for case in skewed),
        sign_flip=span(path[case]["sign flip"] for case in symmetric),
        bca_10=span(path[case]["BCa"] for case in symmetric if case.n == SEED_COUNTS[0]),
        bca_20=span(path[case]["BCa"] for case in symmetric if case.n == SEED_COUNTS[1]),
        family_errors=of_families("contrasts"),
        family_skewed=of_families("contrasts", ["log-normal 1"]),
        candidates=of_families("candidates"),
        hard=of_families("candidates, hard case"),
        count=sum(
            len(family.metrics) for family, tested, _ in results.families if tested == "contrasts"
        ),
    )
    return "\n\n".join(wrapped(block) for block in page.strip().split("\n\n")) + "\n"


@click.command()
@click.option("--repetitions", default=20_000, show_default=True, type=click.IntRange(1))
@click.option(
    "--resampled",
    default=1_000,
    show_default=True,
    type=click.IntRange(1),
    help="Repetitions with BCa, or with images.",
)
@click.option(
    "--output", default="docs/calibration.md", show_default=True, type=click.Path(path_type=Path)
)
def main(repetitions: int, resampled: int, output: Path) -> None:
    """Simulate scores, count the errors of the study's statistics, and write what was found."""
    results = simulate(repetitions, resampled)
    output.write_text(to_markdown(results), encoding="utf-8")
    click.echo("\n\n".join(judged(results)))


if __name__ == "__main__":
    main()
