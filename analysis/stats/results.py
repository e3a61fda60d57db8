"""What an answered question is made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from analysis.schema import Contrast, Question

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    p_superior: float  # share of seeds in which the first is better (or higher), ties half
    detectable: float  # difference found with 80 % power at this n, sd and alpha
    seeds_needed: int  # seeds for 80 % power at the margin

    @property
    def seeds_to_settle(self) -> int:
        """The seeds of a fresh study; where the margin was within reach already, twice as many."""
        return self.seeds_needed if self.seeds_needed > self.n else 2 * self.n


@dataclass(frozen=True)
class ContrastAnswer:
    """One declared contrast: estimated, then decided with the others of its family."""

    contrast: Contrast
    estimate: Estimate
    run_ids: tuple[str, ...]
    seconds_per_seed: float = math.nan  # training time of one more seed of all its arms
    p_adjusted: float = math.nan  # Holm, over all declared contrasts of its family and metric
    # Holm over the candidates of their largest p-values; NaN for a contrast without candidate.
    p_candidate: float = math.nan
    verdict: str = ""
    sentence: str = ""


@dataclass(frozen=True)
class Refused:
    """One declared contrast that the runs at hand cannot answer, and why, in one line.

    `entered` is False where the declared rule picked no arm: its type did not go on to the recipe,
    or the best type lacks the part. Else something is wrong.
    """

    contrast: Contrast
    reason: str
    entered: bool = True


@dataclass(frozen=True)
class Answered:
    """A question's declared contrasts, each answered or refused, in the declared order; `notes` is
    what else to say."""

    contrasts: tuple[ContrastAnswer, ...]
    refused: tuple[Refused, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Cells of text; `numeric` holds the places of the columns that are aligned to the right."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Picture:
    """A figure beside the question's common one; `draw` is called only when it is shown."""

    name: str
    caption: str
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Answer:
    """One question, answered.

    Attributes:
        verdict: the question's answer in a few words, for the table on top of the report.
        sentence: the same in one plain sentence with its numbers, derived from the contrasts'
            verdicts.
        takeaway: two sentences of what it means, consistent with the verdicts.
        asked: the question as declared, of the name `question`.
        contrasts: the declared contrasts that were answered.
        refused: those that were not; `contrasts` and `refused` together are all that were declared.
        notes: what was refused or is missing, one line each; never averaged over.
        figure: draws the question's figure when called.
        pictures: what else is drawn for it.
        tables: what is told in a table before the contrasts.
        leading: the contrasts that decide the question, in the table of verdicts; by default all on
            accuracy.
        crossed: identity of a contrast -> its 95 % interval over seeds and test images.
    """

    question: str
    asked: Question
    verdict: str
    sentence: str
    takeaway: str
    contrasts: tuple[ContrastAnswer, ...]
    refused: tuple[Refused, ...]
    figure: Callable[[], Figure]
    caption: str
    notes: tuple[str, ...] = field(default=())
    pictures: tuple[Picture, ...] = field(default=())
    tables: tuple[Table, ...] = field(default=())
    leading: tuple[Contrast, ...] = field(default=())
    crossed: Mapping[tuple[str, str, str], tuple[float, float]] = field(default_factory=dict)
