"""The statistics against known answers: textbook values, closed forms, enumeration; never the
functions themselves."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from analysis.questions.audit import misordered
from analysis.schema import Contrast
from analysis.stats import contrasts, paired, power
from analysis.stats.paired import Refusal

# Student's "sleep" data (1908): extra hours of sleep of ten patients under two drugs, paired.
SLEEP = pd.Series([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4], index=range(10))
T_975, T_95 = 2.2621572, 1.8331129  # quantiles of t with 9 degrees of freedom, from tables


def t9_two_sided(t: float) -> float:
    """P(|T| > |t|) with 9 degrees of freedom: the finite series of Abramowitz & Stegun 26.7.3."""
    angle = math.atan(abs(t) / 3)
    cos = math.cos(angle)
    series = cos + 2 / 3 * cos**3 + 8 / 15 * cos**5 + 48 / 105 * cos**7
    return 1 - 2 / math.pi * (angle + math.sin(angle) * series)


def draw(mean: float, sd: float = 1.0, n: int = 10, seed: int = 0) -> pd.Series:
    return pd.Series(np.random.default_rng(seed).normal(mean, sd, n), index=range(100, 100 + n))


# Estimates


def test_the_paired_t_gives_students_published_answer():
    found = paired.estimate(SLEEP, margin=1.0, alpha=0.05)
    assert found.mean == pytest.approx(1.58)
    assert found.sd == pytest.approx(1.229995, abs=1e-6)
    assert found.p_value == pytest.approx(0.002833, abs=1e-6)
    assert (found.ci_low, found.ci_high) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)
    assert found.effect_size == pytest.approx(1.58 / 1.229995, abs=1e-5)
    assert found.p_superior == pytest.approx(0.95)  # nine positive, one tie
    assert found.n == 10


def test_the_interval_has_the_level_asked_for():
    half = T_95 * SLEEP.std(ddof=1) / math.sqrt(10)
    assert paired.interval(SLEEP, 0.9) == pytest.approx((1.58 - half, 1.58 + half), abs=1e-6)


def test_sign_flip_enumerates_all_signs():
    values = draw(0.5, n=8).to_numpy()
    means = [abs(np.dot(signs, values)) for signs in itertools.product((-1, 1), repeat=8)]
    known = np.mean([mean >= abs(values.sum()) - 1e-12 for mean in means])
    assert paired.sign_flip(pd.Series(values)) == pytest.approx(known)


def test_sign_flip_resamples_where_enumeration_is_too_long_and_agrees_with_t():
    series = draw(0.45, n=30, seed=3)
    assert paired.sign_flip(series) == paired.sign_flip(series)
    assert 0.001 < paired.sign_flip(series) < 0.2
    assert paired.sign_flip(series) == pytest.approx(paired.paired_t(series), abs=0.02)


def test_many_seeds_take_batches_and_the_normal_limit_to_the_same_end(monkeypatch):
    series = draw(0.05, n=700, seed=4) ** 2
    series -= series.mean() - 0.05
    limit, in_batches = paired.sign_flip(series), paired.bca(series)
    monkeypatch.setattr(paired, "MANY", 10_000)
    monkeypatch.setattr(paired, "BATCH", None)
    assert limit == pytest.approx(paired.sign_flip(series), abs=0.02)
    assert in_batches == pytest.approx(paired.bca(series), rel=1e-9)


def test_bca_agrees_with_its_formula():
    values, normal = np.random.default_rng(1).exponential(1.0, 20), _Normal()
    means = np.sort(np.random.default_rng(2).choice(values, (40_000, 20)).mean(axis=1))
    bias = normal.quantile(np.mean(means < values.mean()))
    jackknife = (values.sum() - values) / 19
    away = jackknife.mean() - jackknife
    skew = (away**3).sum() / (6 * (away**2).sum() ** 1.5)
    known = []
    for z in (-1.959964, 1.959964):
        known.append(np.quantile(means, normal.cdf(bias + (bias + z) / (1 - skew * (bias + z)))))
    assert paired.bca(pd.Series(values)) == pytest.approx(known, abs=0.03)
    low, high = (
        known  # an exponential is skewed: the BCa interval is no longer symmetric around the mean
    )
    assert high - values.mean() > 1.1 * (values.mean() - low)


class _Normal:
    def cdf(self, x: float) -> float:
        return 0.5 * (1 + math.erf(x / math.sqrt(2)))

    def quantile(self, p: float) -> float:
        grid = np.linspace(-4, 4, 80_001)
        return float(np.interp(p, [self.cdf(x) for x in grid], grid))


@pytest.mark.parametrize("margin", [1.0, 1.58, 2.0, 3.0])
def test_tost_is_the_larger_of_two_one_sided_tests(margin):
    error = SLEEP.std(ddof=1) / math.sqrt(10)
    t = (1.58 - margin) / error  # the upper one is the larger, as the mean is positive
    known = t9_two_sided(t) / 2 if t < 0 else 1 - t9_two_sided(t) / 2
    assert paired.tost(SLEEP, margin) == pytest.approx(known, abs=1e-7)
    assert paired.tost(-SLEEP, margin) == pytest.approx(known, abs=1e-7)


def test_tost_and_the_90_percent_interval_say_the_same():
    _, high = paired.interval(SLEEP, 0.9)
    assert paired.tost(SLEEP, high * 1.001) < 0.05 < paired.tost(SLEEP, high * 0.999)


def test_holm_on_a_known_example():
    assert paired.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert paired.holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert paired.holm([]) == []


def test_holm_is_that_of_statsmodels():
    rng = np.random.default_rng(1)
    for n in (1, 2, 3, 10, 40):
        for scale in (1.0, 0.05):
            p = np.round(scale * rng.random(n), 2)  # with ties
            assert paired.holm(p.tolist()) == multipletests(p, method="holm")[1].tolist()


# Power


@pytest.mark.parametrize(("effect", "seeds"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_seeds_needed_are_those_of_g_power(effect, seeds):
    """G*Power 3.1, t test of matched pairs, two tails, alpha 0.05, power 0.8."""
    assert power.seeds_needed(sd=1.0, margin=effect) == seeds
    assert power.seeds_needed(sd=0.003, margin=0.003 * effect) == seeds


def test_seeds_needed_has_a_floor_and_copes_with_a_hopeless_margin():
    assert power.seeds_needed(sd=1e-6, margin=1.0) == 3
    assert power.seeds_needed(sd=1.0, margin=1e-3) == pytest.approx(2.8015852**2 * 1e6, rel=1e-4)


def test_seeds_for_equivalence_find_it_in_four_of_five_studies():
    """Chow, Shao & Wang 2008, section 3.1: (z.95 + z.90)^2 sd^2 / margin^2 = 8.56 sd^2 / margin^2
    where n is large."""
    assert power.seeds_for_equivalence(sd=1.0, margin=0.1) == pytest.approx(856.4 + 2, abs=1.5)
    n = power.seeds_for_equivalence(sd=0.002, margin=0.001)
    differences = np.random.default_rng(1).normal(0, 0.002, (2000, n))
    found = np.mean([paired.tost(pd.Series(sample), 0.001) <= 0.05 for sample in differences])
    assert found == pytest.approx(0.8, abs=0.03)


def test_seeds_for_equivalence_has_a_floor_and_refuses_what_means_nothing():
    assert power.seeds_for_equivalence(sd=1e-6, margin=1.0) == 3
    with pytest.raises(ValueError, match="a margin must be positive, not 0"):
        power.seeds_for_equivalence(sd=1.0, margin=0)
    with pytest.raises(ValueError, match="a standard deviation must be a finite number, not nan"):
        power.seeds_for_equivalence(sd=math.nan, margin=1.0)
    with pytest.raises(ValueError, match="needs at least 2 seeds, not 1"):
        power.equivalence_limit(1.0, 1)


@pytest.mark.parametrize("n", [5, 10, 20, 100])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_the_detectable_effect_has_80_percent_power(n, alpha):
    effect = power.detectable_effect(sd=2.0, n=n, alpha=alpha) / 2.0
    assert TTestPower().power(effect, n, alpha) == pytest.approx(0.8, abs=1e-4)


def test_the_detectable_effect_is_right_at_three_seeds_and_a_holm_divided_alpha():
    effect = power.detectable_effect(sd=1.0, n=3, alpha=0.0025)
    values = np.random.default_rng(0).normal(effect, 1.0, (100_000, 3))
    t = values.mean(axis=1) / values.std(axis=1, ddof=1) * math.sqrt(3)
    critical = (
        math.sqrt(2) * 0.9975 / math.sqrt(1 - 0.9975**2)
    )  # the t quantile with 2 degrees of freedom
    assert np.mean(t > critical) == pytest.approx(0.8, abs=0.01)


def test_power_is_stated_for_the_strictest_step_of_holm():
    alone, three = (paired.estimate(draw(0.0), 0.5, 0.05, size) for size in (1, 3))
    assert three.detectable > alone.detectable
    assert three.seeds_needed > alone.seeds_needed
    assert (three.p_value, three.ci_low) == (alone.p_value, alone.ci_low)


@pytest.mark.parametrize(
    ("alpha", "family", "seeds"), [(0.05, 1, 6), (0.05, 3, 7), (0.05, 5, 8), (0.5, 1, 2)]
)
def test_seeds_for_alpha(alpha, family, seeds):
    assert power.seeds_for_alpha(alpha, family) == seeds
    least = paired.sign_flip(pd.Series(np.arange(1.0, 1 + max(seeds, 3))))
    assert least <= alpha / family


# Edges


def test_equal_differences_get_the_limit():
    zero = paired.estimate(pd.Series([0.0] * 4), margin=0.1, alpha=0.05)
    assert (zero.p_value, zero.p_sign_flip, zero.p_tost, zero.sd) == (1.0, 1.0, 0.0, 0.0)
    assert (zero.ci_low, zero.ci_high, zero.bca_low, zero.bca_high) == (0.0, 0.0, 0.0, 0.0)
    assert math.isnan(zero.effect_size)
    assert (zero.p_superior, zero.detectable, zero.seeds_needed) == (0.5, 0.0, 3)
    small = paired.estimate(
        pd.Series([0.1 + 0.2, 0.3, 0.3]), margin=0.5, alpha=0.05
    )  # equal but for rounding
    assert (small.p_value, small.p_tost, small.sd) == (0.0, 0.0, 0.0)
    assert paired.estimate(pd.Series([0.3] * 3), margin=0.2, alpha=0.05).p_tost == 1.0


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_than_three_seeds_are_refused(n):
    with pytest.raises(Refusal, match=f"{n} seeds are too few.*at least 3"):
        paired.estimate(pd.Series([0.1, 0.2][:n], dtype=float), 0.1, 0.05)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_an_error(value):
    with pytest.raises(ValueError, match="not a finite number"):
        paired.estimate(pd.Series([0.1, 0.2, value, 0.3]), 0.1, 0.05)


@pytest.mark.parametrize("margin", [0.0, -0.1, math.nan])
def test_a_margin_must_be_positive(margin):
    with pytest.raises(ValueError, match="must be positive"):
        paired.estimate(SLEEP, margin, 0.05)
    with pytest.raises(ValueError, match="must be positive"):
        power.seeds_needed(1.0, margin)


# Properties


@pytest.mark.parametrize("seed", range(5))
def test_a_turned_contrast_turns_the_estimate(seed):
    one, other = (paired.estimate(sign * draw(0.3, seed=seed), 0.5, 0.05) for sign in (1, -1))
    assert other.mean == -one.mean
    assert (other.ci_low, other.ci_high) == pytest.approx((-one.ci_high, -one.ci_low))
    assert (other.p_value, other.p_sign_flip, other.p_tost) == pytest.approx(
        (one.p_value, one.p_sign_flip, one.p_tost)
    )
    assert other.effect_size == pytest.approx(-one.effect_size)
    assert other.p_superior == pytest.approx(1 - one.p_superior)


def test_the_order_of_the_seeds_changes_nothing():
    series = draw(0.3)
    one, other = (
        paired.estimate(series, 0.5, 0.05),
        paired.estimate(series.sample(frac=1, random_state=1), 0.5, 0.05),
    )
    fields = [name for name in vars(one) if name != "differences"]
    assert [getattr(one, name) for name in fields] == [getattr(other, name) for name in fields]
    pd.testing.assert_series_equal(one.differences, other.differences)


def test_coverage_and_false_alarms_are_as_stated():
    rows = np.random.default_rng(4).normal(0.5, 1.0, (1500, 8))
    inside = [low <= 0.5 <= high for low, high in (paired.interval(pd.Series(row)) for row in rows)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.017)  # three standard errors
    alarms = [paired.paired_t(pd.Series(row - 0.5)) <= 0.05 for row in rows]
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.017)


# From the table to one number per seed


def table_of(scores: dict[str, dict[int, float]], **columns: object) -> pd.DataFrame:
    """A run table of arm -> seed -> accuracy, with the columns that a contrast looks at."""
    fixed = {
        "phase": "confirm",
        "device": "cpu",
        "precision": "float32",
        "data_digest": "d",
        "code_version": 1,
        "recipe": "decay",
        "epochs": 4,
        **columns,
    }
    rows = [
        {"arm": arm, "seed": seed, "test/accuracy": score, **fixed}
        for arm, by_seed in scores.items()
        for seed, score in by_seed.items()
    ]
    return pd.DataFrame(rows)


SCORES = {
    "x": {3: 0.9, 1: 0.8, 2: 0.7},
    "y": {1: 0.5, 2: 0.6, 3: 0.8},
    "z": {1: 0.1, 2: 0.1, 3: 0.2},
}
ARMS = {"A": "x", "B": "y", "C": "z"}


def contrast(**coefficients: float) -> Contrast:
    return Contrast("A - B", "decay", "test/accuracy", coefficients or {"A": 1.0, "B": -1.0}, 0.002)


def test_pairs_by_seed_and_not_by_row():
    known = pd.Series({1: 0.3, 2: 0.1, 3: 0.1})
    table = table_of(SCORES)
    for rows in (
        table,
        table.sample(frac=1, random_state=0),
        table.iloc[::-1].reset_index(drop=True),
    ):
        pd.testing.assert_series_equal(
            by_seed(rows, ARMS, contrast()),
            known,
            check_names=False,
            check_index_type=False,
        )


def by_seed(*arguments, **more) -> pd.Series:
    return contrasts.combine(*contrasts.contrast_rows(*arguments, **more))


def test_swapping_the_coefficients_turns_the_sign():
    one = by_seed(table_of(SCORES), ARMS, contrast())
    other = by_seed(table_of(SCORES), ARMS, contrast(A=-1.0, B=1.0))
    pd.testing.assert_series_equal(one, -other)


def test_coefficients_weigh_and_those_of_one_arm_add_up():
    weighed = by_seed(table_of(SCORES), ARMS, contrast(A=1.0, B=-0.5, C=2.0))
    assert weighed.to_list() == pytest.approx([0.8 - 0.25 + 0.2, 0.7 - 0.3 + 0.2, 0.9 - 0.4 + 0.4])
    merged = by_seed(
        table_of(SCORES), {"A": "x", "B": "x", "C": "y"}, contrast(A=1.0, B=1.0, C=-1.0)
    )
    assert merged.to_list() == pytest.approx([1.1, 0.8, 1.0])


def test_labels_of_the_same_arm_are_refused():
    with pytest.raises(Refusal, match="A and B are the same arm"):
        by_seed(table_of(SCORES), {"A": "x", "B": "x"}, contrast())


def test_only_the_phase_and_the_declared_seeds_count():
    table = pd.concat(
        [table_of(SCORES), table_of({"x": {9: 0.0}}), table_of({"x": {1: 0.0}}, phase="search")]
    )
    assert by_seed(table, ARMS, contrast(), seeds=[1, 2]).to_list() == pytest.approx([0.3, 0.1])


def broken_tables() -> dict[str, tuple[pd.DataFrame, str]]:
    table = table_of(SCORES)
    is_y2 = (table["arm"] == "y") & (table["seed"] == 2)
    return {
        "missing seed": (table.loc[~is_y2], "arm 'y' lacks seed 2"),
        "duplicate seed": (
            pd.concat([table, table.loc[is_y2]]),
            "arm 'y' has seed 2 more than once",
        ),
        "missing arm": (table.loc[table["arm"] != "y"], "arm 'y' has no confirm runs"),
        "NaN": (
            table.assign(**{"test/accuracy": table["test/accuracy"].mask(is_y2)}),
            "not a finite number for seed 2",
        ),
        "no metric": (table.drop(columns="test/accuracy"), "has no metric"),
        **{
            column: (
                table.assign(**{column: table[column].mask(is_y2, other)}),
                f"mixed {column}: ",
            )
            for column, other in {
                "device": "cuda",
                "precision": "bfloat16",
                "data_digest": "e",
                "code_version": 2,
                "recipe": "long",
                "epochs": 5,
            }.items()
        },
    }


@pytest.mark.parametrize("case", broken_tables())
def test_a_broken_table_is_refused_in_one_line(case):
    table, message = broken_tables()[case]
    with pytest.raises(Refusal, match=message) as refused:
        by_seed(table, ARMS, contrast())
    assert "\n" not in str(refused.value)
    rest = {"A": "x", "B": "z"}  # the same table answers a contrast that the damage does not touch
    if case != "no metric":
        assert len(by_seed(table, rest, contrast())) == 3


def test_a_refusal_names_some_of_very_many_seeds():
    with pytest.raises(Refusal, match="arm 'x' lacks seeds 4, 5, .*, 53 and 47 more$"):
        by_seed(table_of(SCORES), ARMS, contrast(), seeds=range(1, 101))


def test_the_runs_of_a_question_are_those_that_name_it():
    table = pd.DataFrame(
        {
            "question": pd.Series(
                ["swap,epochs", "search", None, "swap-more", "swap"], dtype="string"
            )
        }
    )
    assert list(contrasts.rows_for_question(table, "swap")) == [True, False, False, False, True]


@pytest.mark.parametrize("shift", [0.0, 1.0, -1.0])
def test_the_share_of_misordered_pairs_is_that_of_all_pairs(shift):
    random = np.random.default_rng(6)
    first, second = random.integers(0, 5, 40) + shift, random.integers(0, 5, 30).astype(float)
    order = np.sign(first[:, None] - second[None, :])
    assert misordered(first, second) == np.mean(order != np.sign(first.mean() - second.mean()))
    assert misordered(first, first) == np.mean(np.sign(first[:, None] - first[None, :]) != 0)


def test_a_label_without_an_arm_is_refused():
    with pytest.raises(Refusal, match="no arm was picked for 'B'"):
        by_seed(table_of(SCORES), {"A": "x"}, contrast())


def test_a_declared_seed_that_no_arm_has_is_missing():
    with pytest.raises(Refusal, match="arm 'x' lacks seed 4"):
        by_seed(table_of(SCORES), ARMS, contrast(), seeds=[1, 2, 3, 4])
