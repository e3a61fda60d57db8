"""Statistics of per-seed contrasts: pure functions from one number per seed to an estimate.

Every question comes down to a series with one number per seed (a paired difference, an interaction,
a slope); its mean over seeds is estimated here. The paired t decides; the sign-flip permutation and
BCa stand beside it as sensitivity. Fewer than three seeds are refused: two leave one degree of
freedom and an interval that says nothing.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import special
from scipy import stats as st
from statsmodels.stats.weightstats import DescrStatsW

from analysis.schema import higher_is_better
from analysis.stats.power import MIN_SEEDS, detectable_effect, seeds_needed
from analysis.stats.results import ContrastAnswer, Estimate

RESAMPLES = 9_999
BATCH = 500  # resamples held at once: all of them would take gigabytes for thousands of seeds
MANY = 500  # seeds above which the sign-flip test takes its normal limit
RESAMPLING_SEED = 20_240_601  # fixed: the same runs give the same report, byte for byte


class Refusal(ValueError):
    """A contrast that the runs at hand cannot answer; the message is one line for the report."""


def estimate(differences: pd.Series, margin: float, alpha: float, family_size: int = 1) -> Estimate:
    """Mean of a per-seed contrast with its intervals, tests, effect size and power.

    All differences equal is a case the t statistic does not cover; it gets the limit as sd goes to
    0: the interval is the point, p is 1 for a difference of 0 and else 0, TOST is 0 within the
    margin and else 1, and d_z is NaN.

    Args:
        differences: one finite number per seed, shape (seeds,), in the metric's unit, indexed by
            seed.
        margin: equivalence margin > 0, same unit.
        alpha: significance level of the question.
        family_size: tests that share alpha by Holm. `detectable` and `seeds_needed` are for its
            strictest step, alpha / family_size.

    Raises:
        Refusal: fewer than three seeds.
        ValueError: a difference that is not finite, or a margin that is not positive.
    """
    values = _checked(differences)
    n, mean, sd = len(values), float(values.mean()), _sd(values)
    ties = np.abs(values) < 1e-12  # 0 up to rounding
    low, high = interval(differences)
    bca_low, bca_high = bca(differences)
    return Estimate(
        differences=differences.sort_index(),
        n=n,
        mean=mean,
        sd=sd,
        ci_low=low,
        ci_high=high,
        p_value=paired_t(differences),
        p_sign_flip=sign_flip(differences),
        bca_low=bca_low,
        bca_high=bca_high,
        p_tost=tost(differences, margin),
        effect_size=mean / sd if sd > 0 else math.nan,
        p_superior=float(np.mean((values > 0) & ~ties) + np.mean(ties) / 2),
        detectable=detectable_effect(sd, n, alpha / family_size),
        seeds_needed=seeds_needed(sd, margin, alpha / family_size),
    )


def paired_t(differences: pd.Series) -> float:
    """Two-sided p-value of the paired t-test that the mean difference is 0 (Student 1908)."""
    values = _checked(differences)
    if _sd(values) == 0:
        return 1.0 if abs(values.mean()) < 1e-12 else 0.0
    result: Any = st.ttest_1samp(values, 0.0)
    return float(result.pvalue)


def interval(differences: pd.Series, level: float = 0.95) -> tuple[float, float]:
    """Paired-t confidence interval of the mean difference; a point where all differences are
    equal."""
    values = _checked(differences)
    if _sd(values) == 0:
        return float(values.mean()), float(values.mean())
    low, high = st.ttest_1samp(values, 0.0).confidence_interval(level)
    return float(low), float(high)


def gain(contrast: ContrastAnswer) -> float:
    """Return the mean difference, positive is better, in the metric's unit."""
    mean = contrast.estimate.mean
    return mean if higher_is_better(contrast.contrast.metric) else -mean


def gain_interval(contrast: ContrastAnswer, level: float = 0.95) -> tuple[float, float]:
    """Return the paired-t interval of the gain, positive is better, in the metric's unit."""
    low, high = interval(contrast.estimate.differences, level)
    return (low, high) if higher_is_better(contrast.contrast.metric) else (-high, -low)


def images_dominate(seeds: tuple[float, float], crossed: tuple[float, float]) -> bool:
    """Return True if the test images make up most of the variance: more seeds would tell little.

    Args:
        seeds: interval over seeds alone.
        crossed: over seeds and images.
    """
    return (crossed[1] - crossed[0]) ** 2 > 2 * (seeds[1] - seeds[0]) ** 2


def sign_flip(differences: pd.Series) -> float:
    """Two-sided sign-flip permutation p-value (Fisher 1935).

    Exact up to 13 seeds, then from 9,999 resamples, and by its normal limit above 500 seeds.
    """
    values = _checked(differences)
    if len(values) > MANY:
        z = values.sum() / np.linalg.norm(values)
        return float(2 * special.ndtr(-abs(z)))
    result = st.permutation_test(
        (values,),
        np.mean,
        permutation_type="samples",
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(RESAMPLING_SEED),
    )
    return float(result.pvalue)


def bca(differences: pd.Series, level: float = 0.95) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval of the mean (Efron 1987); NaN where it is
    not defined."""
    values = _checked(differences)
    if _sd(values) == 0:
        return float(values.mean()), float(values.mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", st.DegenerateDataWarning)  # the interval is NaN then
        result = st.bootstrap(
            (values,),
            np.mean,
            method="BCa",
            confidence_level=level,
            n_resamples=RESAMPLES,
            batch=BATCH,
            rng=np.random.default_rng(RESAMPLING_SEED),
        )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def tost(differences: pd.Series, margin: float) -> float:
    """p-value of equivalence: the larger of two one-sided t-tests against -margin and +margin
    (Schuirmann 1987).

    Raises:
        ValueError: the margin is not positive.
    """
    values = _checked(differences)
    if not margin > 0:
        raise ValueError(f"an equivalence margin must be positive, not {margin}")
    if _sd(values) == 0:
        return 0.0 if abs(values.mean()) < margin else 1.0
    p_value, _, _ = DescrStatsW(values).ttost_mean(-margin, margin)
    return float(p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (Holm 1979), in the order given: the kth smallest of n times
    n-k+1, never falling.

    Not by statsmodels' multipletests, with which the tests compare: it collects Python's garbage at
    every call, 0.2 s in a process that has this much imported, a quarter of the time that answers
    took.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return [float(value) for value in adjusted]


def _checked(differences: pd.Series) -> np.ndarray:
    # Sorted, since resampling depends on the order.
    values = differences.sort_index().to_numpy(dtype=float)
    if not np.isfinite(values).all():
        raise ValueError("a per-seed contrast holds a value that is not a finite number")
    if len(values) < MIN_SEEDS:
        raise Refusal(
            f"{len(values)} seeds are too few: a paired t-test needs at least {MIN_SEEDS}"
        )
    return values


def _sd(values: np.ndarray) -> float:
    """Standard deviation (ddof 1); exactly 0 where the values differ by rounding errors only."""
    rounding = 1e-12 * max(1.0, np.abs(values).max())
    return float(values.std(ddof=1)) if np.ptp(values) > rounding else 0.0
