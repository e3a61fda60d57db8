"""The calibration in small: it simulates what it says, tests as the study tests, and notices
statistics that err."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats as st

from analysis.questions import DESIGNS
from analysis.schema import Question
from analysis.stats import paired as stats
from analysis.stats import verdicts as decide
from benchmarks import calibration, calibration_images
from benchmarks.calibration import SD, Case, Rate
from study.presets import PRESETS


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


ASKED = PRESETS["full"].questions


def declared(name: str, seeds: int = 6) -> Question:
    return DESIGNS[name].declare(ASKED[name], tuple(range(seeds)), PRESETS["full"].noise_types)


# What is simulated


def spread(s: float) -> float:
    """The standard deviation of exp(s e)."""
    return math.sqrt((math.exp(s**2) - 1) * math.exp(s**2))


DISTRIBUTIONS = {
    "normal": st.norm(),
    "t5": st.t(5, scale=math.sqrt(3 / 5)),
    "t3": st.t(3, scale=math.sqrt(1 / 3)),
    "log-normal 0.5": st.lognorm(0.5, loc=-math.exp(0.125) / spread(0.5), scale=1 / spread(0.5)),
    "log-normal 1": st.lognorm(1, loc=-math.exp(0.5) / spread(1), scale=1 / spread(1)),
}


@pytest.mark.parametrize("name", calibration.ERRORS)
def test_errors_are_of_their_distribution_with_mean_0_and_variance_1(name, rng):
    known = DISTRIBUTIONS[name]
    assert (known.mean(), known.std()) == pytest.approx((0, 1), abs=1e-9)
    assert st.kstest(calibration.ERRORS[name](rng, (20_000,)), known.cdf).pvalue > 0.01


def test_what_a_seed_shares_correlates_its_arms_and_cancels_in_their_difference(monkeypatch):
    case = Case("normal", 10, both=True)

    def simulated() -> np.ndarray:
        rows = calibration.differences(case, 2_000, SD, 0.001, np.random.default_rng(3))
        return np.array([row.to_numpy() for row in rows])

    rng = np.random.default_rng(3)
    first, second = calibration.shared(case, 2_000, rng) + calibration.own_errors(
        case, 2_000, SD, rng
    )
    assert 0.6 < np.corrcoef(first.ravel(), second.ravel())[0, 1] < 0.7
    paired = simulated()
    assert (paired.mean(), paired.std()) == pytest.approx((0.001, SD), rel=0.03)
    monkeypatch.setattr(calibration, "SEED_SD", 0.0)
    assert simulated() == pytest.approx(paired, abs=1e-12)


@pytest.mark.parametrize("both", [False, True])
def test_a_difference_is_skewed_only_where_one_arm_is(both, rng):
    first, second = calibration.own_errors(Case("log-normal 1", 20, both), 1_000, 1.0, rng)
    below = np.mean(first - second < 0)
    assert below == pytest.approx(0.5, abs=0.01) if both else below > 0.65


# How it is tested


@pytest.mark.parametrize("errors", calibration.ERRORS)
def test_many_t_tests_at_once_are_the_studys_paired_t(errors, rng):
    values = 0.3 + calibration.ERRORS[errors](rng, (5, 8, 3))
    one_by_one = [
        [stats.paired_t(pd.Series(column)) for column in repetition.T] for repetition in values
    ]
    assert calibration.t_tests(values) == pytest.approx(np.array(one_by_one), rel=1e-12)


def test_every_declared_contrast_is_in_one_family():
    found = calibration.families()
    assert {family.question for family in found} == set(ASKED)
    for name in ASKED:
        tests = sum(
            len(family.coefficients) * len(family.metrics)
            for family in found
            if family.question == name
        )
        assert tests == len(declared(name).contrasts)


@pytest.mark.parametrize("name", ASKED)
def test_families_are_tested_as_the_study_answers_them(name, rng):
    """On one run table: the same p-values, adjusted alike, for contrasts and for candidates."""
    question = declared(name)
    terms = calibration.terms_of(question.contrasts)
    scores = dict(zip(terms, rng.normal(0.5, SD, (len(terms), 6)), strict=True))
    table, arms = calibration.run_table(question, np.array(list(scores.values())))
    answers = decide.answer_contrasts(question, table, arms)
    assert not answers.refused
    for family in (one for one in calibration.families() if one.question == name):
        for metric in family.metrics:
            found = [
                one
                for one in answers.contrasts
                if (one.contrast.family, one.contrast.metric) == (family.name, metric)
            ]
            of_terms = [
                scores[term] for term in calibration.terms_of([one.contrast for one in found])
            ]
            p_values = calibration.t_tests((np.array(of_terms).T @ family.coefficients.T)[None])
            assert stats.holm(p_values[0].tolist()) == pytest.approx(
                [one.p_adjusted for one in found], rel=1e-6
            )
            if any(family.candidates):
                largest = calibration.largest_by_candidate(p_values, family.candidates)[0]
                of_candidates = {one.contrast.candidate: one.p_candidate for one in found}
                assert stats.holm(largest.tolist()) == pytest.approx(
                    list(of_candidates.values()), rel=1e-6
                )


def test_leaving_out_what_holm_cannot_reject_changes_nothing(rng):
    p_values = rng.uniform(size=(300, 4)) ** 2
    every = [min(stats.holm(row.tolist())) <= 0.05 for row in p_values]
    assert 10 < sum(every) < 290
    assert calibration.any_rejected(p_values, 0.05).tolist() == every


# What is found


def near(found: Rate, share: float) -> bool:
    return abs(found.share - share) < 3 * found.error


def test_the_statistics_keep_their_promises_on_normal_errors(rng):
    found = calibration.one_contrast(Case("normal", 10), 500, rng)
    assert near(found["false positives"], 0.05) and near(found["coverage"], 0.95)
    assert near(found["power +"], 0.8) and near(found["power -"], 0.8)
    assert near(found["TOST + 0.15"], 0.05) and near(
        found["TOST - 0.15"], 0.05
    )  # with power the error is alpha
    assert found["TOST + 0.3"].share < 0.08 and found["TOST - 0.3"].share < 0.08
    assert found["TOST 0 0.15"].share > 0.9 > 0.5 > found["TOST 0 0.3"].share


def test_a_skewed_difference_is_shown_as_the_weak_point(rng):
    one, both = (
        calibration.one_contrast(Case("log-normal 1", 10, both), 200, rng) for both in (False, True)
    )
    assert one["false positives"].share > 0.08 > both["false positives"].share
    assert one["TOST + 0.15"].share > 0.1 > both["TOST + 0.15"].share


def test_verdicts_on_run_tables(rng):
    found = calibration.whole_path(Case("normal", 10), 30, rng)
    assert found["false difference"].share < 0.12 and found["false equivalence"].share < 0.16
    assert found["found"].share > 0.6
    assert found["false matters"].share < 0.1
    assert found["paired t"].share < 0.16 and found["sign flip"].share < 0.16
    assert found["t interval"].share > 0.88 and found["BCa"].share > 0.8


@pytest.mark.parametrize("errors", calibration.SYMMETRIC)
def test_holm_keeps_the_error_of_every_family(errors, rng):
    for family in calibration.families():
        for tested, found in calibration.family_wise(family, errors, 10, 1_000, rng).items():
            assert found.share < 0.05 + 3 * 0.0069, (family.question, family.name, tested)


def test_a_candidate_needs_all_its_contrasts(rng):
    (family,) = (one for one in calibration.families() if any(one.candidates))
    found = calibration.family_wise(family, "normal", 10, 1_000, rng)
    assert found["candidates"].share < 0.01 < 0.025 < found["candidates, hard case"].share


def test_of_all_images_only_the_interval_over_seeds_and_images_holds_the_truth(rng):
    shares = calibration_images.shares(20, 20, rng)
    assert shares.of_seeds < 0.88 and shares.crossed > 0.93 and shares.bounds > 0.85


def test_simulated_networks_have_the_accuracy_that_is_said(rng):
    scores = [calibration_images.networks(2, rng) for _ in range(40)]
    for label, share in calibration_images.ACCURACY.items():
        found = [images[label].correct.mean() for images in scores]
        assert abs(np.mean(found) - share) < 3 * np.std(found) / math.sqrt(len(found))


# That it notices


def test_a_normal_quantile_instead_of_t_is_noticed(monkeypatch, rng):
    def z_test(values: pd.Series) -> float:
        return float(2 * st.norm.sf(abs(values.mean() / values.sem())))

    monkeypatch.setattr(stats, "paired_t", z_test)
    assert calibration.one_contrast(Case("normal", 10), 500, rng)["false positives"].share > 0.06


def test_a_family_without_adjustment_is_noticed(monkeypatch, rng):
    monkeypatch.setattr(stats, "holm", list)
    swap = calibration.families()[0]
    assert calibration.family_wise(swap, "normal", 10, 1_000, rng)["contrasts"].share > 0.1


# The report


@pytest.fixture(scope="module")
def results() -> calibration.Results:
    return calibration.simulate(repetitions=10, resampled=1)


def test_the_same_seed_writes_the_same_report(results, tmp_path: Path):
    output = tmp_path / "calibration.md"
    done = CliRunner().invoke(
        calibration.main,
        ["--repetitions", "10", "--resampled", "1", "--output", str(output)],
        catch_exceptions=False,
    )
    assert done.exit_code == 0
    assert output.read_text() == calibration.to_markdown(results)
    for case in calibration.CASES:
        assert output.read_text().count(f"| {case.name} | {case.n} |") == 3
    for name in ASKED:
        assert f"| {name} | " in output.read_text()


@pytest.mark.parametrize(
    ("name", "share", "holds"),
    [
        ("false positives", 0.045, True),
        ("false positives", 0.0395, False),
        ("false positives", 0.056, False),
        ("coverage", 0.96, True),
        ("coverage", 0.966, False),
        ("coverage", 0.944, False),
        ("TOST + 0.3", 0.0, True),
        ("TOST - 0.15", 0.056, False),
    ],
)
def test_a_requirement_is_judged_by_its_worst_case(results, name, share, holds):
    good = {"false positives": 0.047, "coverage": 0.953} | dict.fromkeys(
        calibration.TOST_ERRORS, 0.04
    )
    rates = {cell: Rate(value, 0.0001) for cell, value in good.items()}
    single = {Case("normal", 10): rates, Case("t3", 20): rates | {name: Rate(share, 0.0001)}}
    of_families = [
        (family, tested, {Case("normal", 10): Rate(0.05, 0.0001)})
        for family, tested, _ in results.families
    ]
    verdicts, remarks = calibration.judged(replace(results, single=single, families=of_families))
    assert verdicts.count("**holds**") == 3 + holds
    assert verdicts.count("**does not hold** in 1 of") == 1 - holds
    assert ("t3, n = 20" in remarks) == (not holds)


def test_skewed_errors_are_not_judged(results):
    bad = {
        Case("log-normal 1", 10): {
            name: Rate(0.5, 0.01) for name in results.single[calibration.CASES[0]]
        }
    }
    assert calibration.judged(replace(results, single=results.single | bad)) == calibration.judged(
        results
    )
