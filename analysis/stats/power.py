"""How many seeds a question takes: power of the paired t-test and of equivalence, by the
non-central t."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import special
from scipy import stats as st

MIN_SEEDS = 3
POWER = 0.8


def detectable_effect(sd: float, n: int, alpha: float = 0.05) -> float:
    """The true mean difference that a two-sided paired t-test with n seeds finds with 80 % power,
    in the unit of sd.

    The non-centrality at which power is 0.8, by scipy: statsmodels' TTestPower returns NaN, and its
    solver a wrong root, at 3 seeds and a Holm-divided alpha. (A rejection in the wrong direction is
    not counted as power.)

    Raises:
        ValueError: fewer than 2 seeds.
    """
    if n < 2:
        raise ValueError(f"a paired t-test needs at least 2 seeds, not {n}")
    critical = st.t.isf(alpha / 2, n - 1)
    return sd * float(special.nctdtrinc(n - 1, 1 - POWER, critical)) / math.sqrt(n)


def seeds_needed(sd: float, margin: float, alpha: float = 0.05) -> int:
    """The fewest seeds (at least 3) with which a true difference of `margin` is found with 80 %
    power.

    Raises:
        ValueError: the margin is not positive, or sd no finite number.
    """
    return _fewest_seeds(detectable_effect, sd, margin, alpha)


def equivalence_limit(sd: float, n: int, alpha: float = 0.05) -> float:
    """The margin within which TOST with n seeds finds equal means equivalent with at least 80 %
    power, in sd's unit.

    Each of the two one-sided tests may miss in half of the other 20 % (Chow, Shao & Wang 2008,
    section 3.1).

    Raises:
        ValueError: fewer than 2 seeds.
    """
    if n < 2:
        raise ValueError(f"a paired t-test needs at least 2 seeds, not {n}")
    critical = st.t.isf(alpha, n - 1)
    return sd * float(special.nctdtrinc(n - 1, (1 - POWER) / 2, critical)) / math.sqrt(n)


def seeds_for_equivalence(sd: float, margin: float, alpha: float = 0.05) -> int:
    """The fewest seeds (at least 3) with which equal means are found equivalent within `margin`
    with 80 % power.

    Raises:
        ValueError: the margin is not positive, or sd no finite number.
    """
    return _fewest_seeds(equivalence_limit, sd, margin, alpha)


def _fewest_seeds(
    limit: Callable[[float, int, float], float], sd: float, margin: float, alpha: float
) -> int:
    """The fewest seeds with which `limit`, which falls with their number, is at most `margin`."""
    if not margin > 0:
        raise ValueError(f"a margin must be positive, not {margin}")
    if not 0 <= sd < math.inf:
        raise ValueError(f"a standard deviation must be a finite number, not {sd}")
    few, enough = MIN_SEEDS - 1, MIN_SEEDS
    while limit(sd, enough, alpha) > margin:
        few, enough = enough, 2 * enough
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (middle, enough) if limit(sd, middle, alpha) > margin else (few, middle)
    return enough


def seeds_for_alpha(alpha: float, family_size: int = 1) -> int:
    """The fewest seeds with which a two-sided sign-flip test can reach alpha / family_size: its
    least p is 2 / 2**n."""
    n = 1
    while 2 / 2**n > alpha / family_size:
        n += 1
    return n
