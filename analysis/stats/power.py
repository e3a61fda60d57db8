"""How many seeds a question takes: power of the paired t-test and of equivalence, by the
non-central t."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable

from scipy import special
from scipy import stats as st

MIN_SEEDS = 3
MOST_SEEDS = 200
"""A study of more seeds is not worth it: what it could settle is far below the margin."""
POWER = 0.8


def detectable_effect(sd: float, n: int, alpha: float = 0.05) -> float:
    """Return the true mean difference found with 80 % power by a two-sided paired t-test.

    By scipy's non-centrality: statsmodels' TTestPower returns NaN, and its solver a wrong root, at
    3 seeds and a Holm-divided alpha. A rejection in the wrong direction is not counted as power.

    Raises:
        ValueError: fewer than 2 seeds.
    """
    return _limit(sd, n, alpha / 2, 1 - POWER)


def equivalence_limit(sd: float, n: int, alpha: float = 0.05) -> float:
    """Return the margin within which TOST finds equal means equivalent with at least 80 % power.

    Each of the two one-sided tests may miss in half of the other 20 % (Chow, Shao & Wang 2008,
    section 3.1).

    Raises:
        ValueError: fewer than 2 seeds.
    """
    return _limit(sd, n, alpha, (1 - POWER) / 2)


def seeds_needed(sd: float, margin: float, alpha: float = 0.05) -> int:
    """Return the fewest seeds (at least 3) that find a true difference of `margin` with 80 % power.

    Raises:
        ValueError: the margin is not positive, or sd no finite number.
    """
    return _fewest_seeds(detectable_effect, sd, margin, alpha)


def seeds_for_equivalence(sd: float, margin: float, alpha: float = 0.05) -> int:
    """Return the fewest seeds (at least 3) that find equal means equivalent with 80 % power.

    Raises:
        ValueError: the margin is not positive, or sd no finite number.
    """
    return _fewest_seeds(equivalence_limit, sd, margin, alpha)


def seeds_for_alpha(alpha: float, family_size: int = 1) -> int:
    """Return the fewest seeds with which a two-sided sign-flip test can reach alpha / family_size.

    Its least p is 2 / 2**n.
    """
    return max(1, math.ceil(1 - math.log2(alpha / family_size)))


def _limit(sd: float, n: int, tail: float, miss: float) -> float:
    if n < 2:
        raise ValueError(f"a paired t-test needs at least 2 seeds, not {n}")
    critical = st.t.isf(tail, n - 1)
    return sd * float(special.nctdtrinc(n - 1, miss, critical)) / math.sqrt(n)


def _fewest_seeds(
    limit: Callable[[float, int, float], float], sd: float, margin: float, alpha: float
) -> int:
    """Find the fewest seeds at which `limit`, falling with their number, is at most `margin`."""
    if not margin > 0:
        raise ValueError(f"a margin must be positive, not {margin}")
    if not 0 <= sd < math.inf:
        raise ValueError(f"a standard deviation must be a finite number, not {sd}")
    enough = MIN_SEEDS
    while limit(sd, enough, alpha) > margin:
        enough *= 2
    least = max(MIN_SEEDS, enough // 2)
    return bisect_left(range(enough), True, least, key=lambda n: limit(sd, n, alpha) <= margin)
