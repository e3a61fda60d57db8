"""What an answered question is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure

from study.schema import Contrast


@dataclass(frozen=True)
class Estimate:
    """Mean of a per-seed contrast with its uncertainty; all in the metric's own unit.

    `differences` is indexed by seed. A quantity that n seeds cannot give is NaN.
    """

    differences: pd.Series
    n: int
    mean: float
    sd: float
    ci_low: float  # 95 % paired-t interval, unadjusted
    ci_high: float
    p_value: float  # paired t, two-sided
    p_sign_flip: float
    bca_low: float
    bca_high: float
    p_tost: float  # equivalence within the margin
    effect_size: float  # d_z
    p_superior: float  # P(A > B): share of seeds with a positive difference, ties half
    detectable: float  # difference found with 80 % power at this n, sd and alpha
    seeds_needed: int  # seeds for 80 % power at the margin


@dataclass(frozen=True)
class ContrastAnswer:
    """One declared contrast, answered."""

    contrast: Contrast
    estimate: Estimate
    p_adjusted: float  # Holm, within the question's family and metric
    verdict: str
    sentence: str
    run_ids: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """One question, answered.

    Attributes:
        verdict: the question's answer in a few words, for the table on top of the report.
        sentence: the same in one plain sentence with its numbers, derived from the contrasts' verdicts.
        takeaway: two sentences of what it means, consistent with the verdicts.
        notes: what was refused or is missing, one line each; never averaged over.
        figure: draws the question's figure when called.
    """

    question: str
    title: str
    verdict: str
    sentence: str
    takeaway: str
    contrasts: tuple[ContrastAnswer, ...]
    figure: Callable[[], Figure]
    caption: str
    declared_hash: str
    alpha: float
    notes: tuple[str, ...] = field(default=())
