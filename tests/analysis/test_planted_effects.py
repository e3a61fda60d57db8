"""Planted run tables (paired SD 0.3 points, 20 seeds; an effect of 0.4 points, and none) are
answered by every question that applies: the effect as better, the null never as better or worse
beyond alpha."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from analysis import questions
from analysis.questions import DESIGNS, QUESTIONS, beat_dropout
from analysis.questions.base import ALPHA, DROPOUT_ALONE, Evidence
from analysis.schema import RUN_TABLE, Question, base_metric
from analysis.stats import paired as stats
from analysis.stats.results import Answer, Estimate
from analysis.stats.verdicts import DIRECTIONS, MATTERS, answer_contrasts, decide
from models.config import Arm
from study.presets import (
    BOOK,
    BY_EPOCHS,
    BY_SIZE,
    CONSTANT,
    CONTEST_ONLY,
    LONG,
    every_question,
    seeds,
)

EVERY = (
    "swap",
    "epochs",
    "variance",
    "test-time",
    "additivity",
    "dropconnect",
    "beat-dropout",
    "audit",
)
TYPES = (
    "none",
    "dropout",
    "gaussian",
    "uniform",
    "dropconnect",
    "gaussian-weights",
    "randomised-slope",
)
SEEDS = seeds(1000, 20)
SD, EFFECT, SHARED_SD = 1.5, 2.0, 5.0
"""In margins: of a paired difference, 0.3 points of accuracy; of what is planted, 0.4; of what a
seed's arms share."""

TABLES = 40
"""Without an effect, for each question."""
DECIDING = ("accuracy", "variance")
"""The kinds of metrics that decide the questions."""

Cell = tuple[str, str, str]
"""Recipe, arm label, metric."""
Planted = Mapping[Cell, float]
"""In EFFECTs."""

HALF = "dropout(0.5,0.5)"
PER_DOUBLING = 0.29  # the SD of a slope over the five horizons is that share of a difference's
GROWING = {
    ("constant", "dropout", f"test/accuracy_at_{n}"): PER_DOUBLING * math.log2(n)
    for n in (5, 10, 20, 50, 100)
}


@dataclass(frozen=True)
class Case:
    """An effect planted in some cells, one of the contrasts that sees it, and what is said of
    it."""

    question: str
    planted: Planted
    contrast: str
    verdict: str
    told: str
    """Words of the question's verdict or takeaway."""
    metric: str = "test/accuracy"

    @property
    def name(self) -> str:
        return f"{self.question}: {self.contrast} ({self.metric})"


def in_both(label: str, metric: str = "test/accuracy") -> dict[Cell, float]:
    return {(recipe, label, metric): 1.0 for recipe in ("small", "long")}


CASES = (
    Case(
        "swap", {("small", "dropout(0.2,0.5)", "test/accuracy"): 1},
        "dropout (0.2, 0.5) - (0.5, 0.2)", "better", "Swapping matters in 1 of 3 pairs",
    ),
    Case(
        "swap", {("small", "dropout(0.5,0.1)", "test/accuracy"): 1},
        "dropout (0.1, 0.5) - (0.5, 0.1)", "worse", "Better than swapped: dropout(0.5,0.1) by ",
    ),
    Case(
        "epochs", {("constant", "dropout", "test/accuracy_at_20"): 1},
        "dropout - none, 20 epochs", "better", "Dropout is better in 1 of 10 gaps to no noise, worse in 0",
    ),
    Case(
        "epochs", GROWING,
        "dropout - none, change per doubling", "better", "more epochs: dropout moves in its favour, dropout(0.5,0.5) stays where it is",
    ),
    Case(
        "epochs", {("epochs-40", "dropout", "test/accuracy"): 1},
        "dropout - none, 40 epochs down to learning rate 0", "better", "down to learning rate 0, after 3 epochs ",
    ),
    Case(
        "variance", {("small", HALF, "variance/layer1_log_clean_at_100"): 1},
        "layer 1: dropout - none, at evaluation", "higher", "at evaluation: layer 1 higher, matters",
        metric="variance/log",
    ),
    Case(
        "variance", {("small", HALF, "variance/layer2_log_after_at_100"): -1},
        "layer 2: after the mask - before it, in training", "lower", "layer 2 lower, matters",
        metric="variance/log",
    ),
    Case(
        "variance", {("small", HALF, "variance/layer2_excess_at_100"): 1},
        "layer 2: measured / Var(a) + p/(1-p) E[a²], less 1", "higher", "holds within the margin in 1 of 2 layers",
        metric="variance/excess",
    ),
    Case(
        "test-time", {("small", "tuned dropout", "test/accuracy_mc200"): 1},
        "mean of 200 passes - deterministic", "better", "the mean of many is better by more than the margin than it",
    ),
    Case(
        "test-time", {("small", "tuned dropout", "test/loss_mc200"): -1},
        "mean of 200 passes - deterministic", "better", "on loss, mean of 200 passes - deterministic: better, matters",
        metric="test/loss",
    ),
    Case(
        "additivity", in_both("dropout") | in_both("both"),
        "dropout - none", "better", "With long, dropout alone is better than none and weight decay alone is",
    ),
    Case(
        "additivity", in_both("both"),
        "interaction", "better", "dropout alone is not told apart from none",
    ),
    Case(
        "dropconnect", {("small", "tuned dropconnect", "test/accuracy"): 1},
        "dropconnect - dropout, each tuned", "better", "Tuned: dropconnect is better by more than the margin than dropout",
    ),
    Case(
        "dropconnect", {("small", "dropconnect(0.5,0.5)", "test/accuracy_moment"): 1},
        "dropconnect: moment-matched - mean weights", "better", "moment-matched inference is better by more than the margin than mean weights",
    ),
    Case(
        "beat-dropout", in_both("tuned gaussian"),
        "gaussian - dropout", "better", "Dropout and no noise were beaten by gaussian",
    ),
    Case(
        "beat-dropout", in_both("tuned dropout"),
        "dropout - none", "better", "dropout is better by more than the margin than none with small, better by more than the margin than none with long",
    ),
    Case(
        "audit", {("book", HALF, "val/accuracy_raw"): 1},
        "raw pixels - pixels from 0 to 1", "better", "1 of 6 faults move the accuracy",
        metric="val/accuracy",
    ),
    Case(
        "audit", {("book", "randn mask", "val/accuracy"): -1},
        "randn mask - dropout", "worse", "1 of 6 faults move the accuracy",
        metric="val/accuracy",
    ),
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    """Few resamples, which decide nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stats, "RESAMPLES", 99)
        yield


def asked(name: str) -> tuple[Question, dict[str, dict[str, str]]]:
    """The question as a preset declares it, and the names of its arms."""
    recipes = every_question(*BY_SIZE, *BY_EPOCHS, LONG, CONSTANT, BOOK)[name]
    arms = {}
    for recipe in recipes:
        tuned = {
            noise: Arm(noise, 0.2 * (noise != "none"), 0.3 * (noise != "none"), 1e-4, recipe)
            for noise in TYPES
        }
        tuned[DROPOUT_ALONE] = Arm("dropout", 0.2, 0.3, 0.0, recipe)
        arms[recipe.name] = {
            label: arm.name for label, arm in DESIGNS[name].arms(recipe, tuned).items()
        }
    return DESIGNS[name].declare(recipes, SEEDS, TYPES), arms


def test_a_type_that_diverged_under_a_later_recipe_is_untested_and_named() -> None:
    """It has an arm there and no runs; one that was not picked has no arm, and is told apart."""
    planted = in_both("tuned gaussian")
    question, arms = asked("beat-dropout")
    table = run_table(question, arms, np.random.default_rng(1), planted)
    lost = {arms["long"]["tuned gaussian"], arms["long"]["tuned uniform"]}
    table = table.loc[~table["arm"].isin(list(lost))]
    of_long = {label: arm for label, arm in arms["long"].items() if label != "tuned uniform"}
    answer = questions.answer(question, table, arms | {"long": of_long})
    assert answer.verdict.startswith("Nothing beat both dropout and no noise")
    assert answer.verdict.endswith("; untested: gaussian")
    notes = " ".join(answer.notes)
    assert "gaussian(0.2,0.3) wd=0.0001 long@80' has no confirm runs" in notes
    assert "not trained with long: uniform." in notes
    entered = {refused.contrast.candidate: refused.entered for refused in answer.refused}
    assert entered == {"gaussian": True, "uniform": False}


def test_dropout_alone_that_diverged_under_a_later_recipe_is_missing_not_left_out() -> None:
    question, arms = asked("additivity")
    table = run_table(question, arms, np.random.default_rng(1), {})
    of_long = {label: arm for label, arm in arms["long"].items() if label != "dropout"}
    answer = questions.answer(question, table, arms | {"long": of_long})
    assert all(refused.entered for refused in answer.refused) and answer.refused
    assert any("no arm was picked for 'dropout'" in note for note in answer.notes)


@pytest.mark.parametrize("name", [name for name in QUESTIONS if name != CONTEST_ONLY])
def test_display_names_are_free(name: str) -> None:
    """A question finds its contrasts by their keys: with other names it gives the same answer."""
    question, arms = asked(name)
    table = run_table(question, arms, np.random.default_rng(0), {})
    contrasts = [
        replace(contrast, name=f"comparison {number}")
        for number, contrast in enumerate(question.contrasts)
    ]
    renamed = replace(question, contrasts=tuple(contrasts))
    before, after = (questions.answer(one, table, arms) for one in (question, renamed))
    assert (after.verdict, after.takeaway) == (before.verdict, before.takeaway)
    assert not after.verdict.startswith("Not answered")
    assert renamed.hash == question.hash


def run_table(
    question: Question,
    arms: dict[str, dict[str, str]],
    random: np.random.Generator,
    planted: Planted,
) -> pd.DataFrame:
    """Every score is a level, what the seed's arms share, an error of its own, and what is planted.

    A contrast whose coefficients do not cancel (the excess of a formula) has neither level nor
    shared part.
    """
    shared = random.normal(0, SHARED_SD, len(question.seeds))
    columns: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for contrast in question.contrasts:
        margin = DESIGNS[question.name].metrics[contrast.metric]
        paired = abs(sum(contrast.coefficients.values())) < 1e-9
        for label, metric, _ in contrast.terms:
            scores = columns.setdefault((contrast.recipe, arms[contrast.recipe][label]), {})
            if metric not in scores:
                own = random.normal(0, SD / math.sqrt(2), len(question.seeds))
                effect = EFFECT * planted.get((contrast.recipe, label, metric), 0.0)
                scores[metric] = (0.85 + margin * shared) * paired + margin * (own + effect)
    frames = [
        pd.DataFrame(
            {
                "run_id": [f"{arm} seed {seed}" for seed in question.seeds],
                "phase": question.phase,
                "question": question.name,
                "arm": arm,
                "seed": question.seeds,
                "recipe": recipe,
                "epochs": 10,
                "precision": "float32",
                "device": "cpu",
                "data_digest": "0123456789ab",
                "code_version": 3,
                "seconds": 1.5,
                **scores,
            }
        )
        for (recipe, arm), scores in columns.items()
    ]
    table = pd.concat(frames, ignore_index=True)
    measured = sorted(set(table.columns) - set(RUN_TABLE))
    return table.reindex(columns=[*RUN_TABLE, *measured]).astype(RUN_TABLE)


def answered(
    name: str, random: np.random.Generator, planted: Planted, only: tuple[str, ...] = ()
) -> Answer:
    """`only`: the kinds of metrics whose contrasts are asked, to save time; by default all."""
    question, arms = asked(name)
    if only:
        contrasts = tuple(one for one in question.contrasts if base_metric(one.metric) in only)
        question = replace(question, contrasts=contrasts)
    answer = questions.answer(question, run_table(question, arms, random, planted), arms)
    assert not answer.refused and len(answer.contrasts) == len(question.contrasts)
    return answer


def test_every_question_has_a_planted_effect() -> None:
    assert {case.question for case in CASES} == set(EVERY) <= set(DESIGNS)


def test_every_effect_is_planted_in_a_term_that_is_declared() -> None:
    for case in CASES:
        contrasts = asked(case.question)[0].contrasts
        cells = {(one.recipe, label, metric) for one in contrasts for label, metric, _ in one.terms}
        assert set(case.planted) <= cells, case.name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_planted_effect_is_found(case: Case) -> None:
    """In its direction, in its size to 4 standard errors, with the paired SD that was planted; and
    it is told."""
    answer = answered(case.question, np.random.default_rng(1), case.planted)
    found = [
        one
        for one in answer.contrasts
        if (one.contrast.name, one.contrast.metric) == (case.contrast, case.metric)
    ]
    assert found
    for one in found:
        assert one.verdict in (case.verdict, f"{case.verdict}, matters")
        margin, terms = DESIGNS[case.question].metrics[case.metric], one.contrast.terms
        cells = {(one.contrast.recipe, label, metric): weight for label, metric, weight in terms}
        effect = (
            sum(weight * case.planted.get(cell, 0.0) for cell, weight in cells.items())
            * EFFECT
            * margin
        )
        sd = math.hypot(*cells.values()) * SD / math.sqrt(2) * margin
        assert one.estimate.n == len(SEEDS)
        assert one.estimate.mean == pytest.approx(effect, abs=4 * sd / math.sqrt(len(SEEDS)))
        assert 0.5 < one.estimate.sd / sd < 1.6  # 99.9 % of chi, 19 degrees of freedom
    assert case.told in f"{answer.verdict} {answer.takeaway}"


@dataclass(frozen=True)
class Claims:
    """In how many of TABLES a family held a verdict of a direction, and in how many it would have
    without Holm."""

    adjusted: Counter[tuple[str, str]]
    single: Counter[tuple[str, str]]


@pytest.fixture(scope="module")
def false_claims(quick: None) -> dict[str, Claims]:
    """Question -> what is claimed of tables without any effect, for each family and metric."""
    return {
        name: claims_about_nothing(name, np.random.default_rng(2 + i))
        for i, name in enumerate(EVERY)
    }


def claims_about_nothing(name: str, random: np.random.Generator) -> Claims:
    adjusted: Counter[tuple[str, str]] = Counter()
    single: Counter[tuple[str, str]] = Counter()
    for _ in range(TABLES):
        answer = answered(name, random, {}, DECIDING)
        families = {(one.contrast.family, one.contrast.metric): False for one in answer.contrasts}
        for family in families:
            members = [
                one
                for one in answer.contrasts
                if (one.contrast.family, one.contrast.metric) == family
            ]
            adjusted[family] += any(one.verdict.startswith(DIRECTIONS) for one in members)
            single[family] += any(one.estimate.p_value <= answer.asked.alpha for one in members)
    return Claims(adjusted, single)


def at_most(trials: int, alpha: float = 0.05) -> int:
    """Exceeded with a probability of 0.1 % by a count of so many trials that each come true with
    alpha."""
    return int(binom.ppf(0.999, trials, alpha))


@pytest.mark.parametrize("name", EVERY)
def test_nothing_is_claimed_of_the_null_beyond_alpha(
    name: str, false_claims: dict[str, Claims]
) -> None:
    """Any verdict of a family that names a direction is a false claim, "better, negligible" too."""
    counts = false_claims[name].adjusted
    assert counts and max(counts.values()) <= at_most(TABLES)


def test_over_all_questions_holm_keeps_alpha_and_is_needed(false_claims: dict[str, Claims]) -> None:
    """Over all families; the same tables break the bound when no p-value is adjusted."""
    families = sum(len(claims.adjusted) for claims in false_claims.values())
    adjusted, single = (
        sum(sum(getattr(claims, kind).values()) for claims in false_claims.values())
        for kind in ("adjusted", "single")
    )
    assert adjusted <= at_most(families * TABLES) < single


def test_a_candidate_that_equals_one_rival_under_one_recipe_wins_no_more_than_alpha() -> None:
    """The null that tempts most: far above dropout everywhere, above no noise under one recipe,
    level with it else."""
    low = {(recipe, "tuned dropout", "test/accuracy"): -10.0 for recipe in ("small", "long")}
    low["small", "tuned none", "test/accuracy"] = -10.0
    random = np.random.default_rng(20)
    verdicts = [answered("beat-dropout", random, low, DECIDING).verdict for _ in range(TABLES)]
    assert sum(not verdict.startswith("Nothing beat both") for verdict in verdicts) <= at_most(
        TABLES
    )


def test_an_effect_below_the_margin_is_rarely_said_to_matter() -> None:
    """0.15 points where 0.2 are negligible: it is found more often than not, and its size is
    open."""
    random = np.random.default_rng(30)
    verdicts: Counter[str] = Counter()
    for _ in range(2_000):
        values = pd.Series(random.normal(0.0015, 0.003, 20))
        low, high = stats.interval(values)
        nothing = dict.fromkeys(
            ("p_sign_flip", "bca_low", "bca_high", "p_tost", "effect_size", "p_superior"), math.nan
        )
        light = Estimate(
            values, 20, float(values.mean()), float(values.std()), low, high,
            p_value=stats.paired_t(values), detectable=math.nan, seeds_needed=0, **nothing,
        )  # fmt: skip
        verdicts[decide(light, light.p_value, 0.002, ALPHA, True)] += 1
    assert sum(verdicts[one] for one in MATTERS) <= 0.025 * 2_000
    found = sum(count for verdict, count in verdicts.items() if verdict.startswith(DIRECTIONS))
    assert 0.5 < found / 2_000 < 0.65  # the power of a paired t with d = 0.5 and n = 20 is 0.56


@pytest.fixture
def precise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A paired SD of 0.02 points: what is planted is what is measured."""
    monkeypatch.setattr(f"{__name__}.SD", 0.1)


@pytest.mark.parametrize("interaction", [0.03, -0.03])
def test_a_small_interaction_is_additive(precise: None, interaction: float) -> None:
    """Gains of 0.4 points each: 0.03 more or less, though significant, is within a quarter."""
    planted: dict[Cell, float] = {}
    for recipe in ("small", "long"):
        planted |= {
            (recipe, "dropout", "test/accuracy"): 1.0,
            (recipe, "weight decay", "test/accuracy"): 1.0,
            (recipe, "both", "test/accuracy"): 2.0 + interaction / 0.4,
        }
    answer = answered("additivity", np.random.default_rng(31), planted, DECIDING)
    found = [one for one in answer.contrasts if one.contrast.key == "interaction"]
    assert {one.verdict for one in found} == {
        "better, negligible" if interaction > 0 else "worse, negligible"
    }
    assert answer.verdict == "Additive (long), additive (small)"


def test_a_winner_by_a_negligible_amount_is_told_as_such(precise: None) -> None:
    planted = {cell: 0.25 for cell in in_both("tuned gaussian")}  # 0.1 points
    answer = answered("beat-dropout", np.random.default_rng(32), planted, DECIDING)
    assert answer.verdict == (
        "Dropout and no noise were beaten by gaussian (by a negligible amount)"
    )


def test_a_candidate_that_lost_a_seed_is_named_in_the_headline() -> None:
    question, arms = asked("beat-dropout")
    table = run_table(question, arms, np.random.default_rng(33), {})
    lost = (table["arm"] == arms["long"]["tuned gaussian"]) & (table["seed"] == SEEDS[3])
    answer = questions.answer(question, table[~lost], arms)
    assert answer.verdict.startswith("Nothing beat both dropout and no noise")
    assert answer.verdict.endswith("; untested: gaussian")


def test_a_collapsed_seed_is_named_and_no_large_study_is_advised() -> None:
    question, arms = asked("swap")
    table = run_table(question, arms, np.random.default_rng(34), {})
    broken = (table["arm"] == arms["small"]["dropout(0.1,0.9)"]) & (table["seed"] == SEEDS[5])
    table.loc[broken, "test/accuracy"] = 0.1
    answer = questions.answer(question, table, arms)
    [note] = [note for note in answer.notes if "collapsed" in note]
    assert "dropout(0.1,0.9)" in note and f"seed {SEEDS[5]} " in note and "10.00 %" in note
    [hit] = [
        one
        for one in answer.contrasts
        if "0.9" in one.contrast.key and one.contrast.metric == "test/accuracy"
    ]
    assert hit.verdict == "inconclusive" and "which is not worth it" in hit.sentence
    assert "fresh study" not in hit.sentence


def test_the_most_that_is_allowed_holds_for_all_candidates_together() -> None:
    """No candidate gains anything: the bounds are all above 0 in 95 % of tables or more."""
    question, arms = asked("beat-dropout")
    contrasts = tuple(one for one in question.contrasts if base_metric(one.metric) == "accuracy")
    question = replace(question, contrasts=contrasts)
    random = np.random.default_rng(35)
    wrong = 0
    lowest = []
    for _ in range(TABLES):
        table = run_table(question, arms, random, {})
        told = answer_contrasts(question, table, arms)
        bounds = beat_dropout.upper_bounds(Evidence(question, table, arms, told), told.contrasts)
        assert set(bounds) == set(TYPES) - {"none", "dropout"}
        wrong += min(bounds.values()) < 0
        lowest.append(min(bounds.values()))
    assert wrong <= at_most(TABLES)
    assert np.median(lowest) < 0.002  # and they are no wider than they must be


def test_one_difference_has_one_verdict_in_two_questions() -> None:
    """Both against weight decay is tuned dropout against tuned no noise: its families differ."""
    both = [asked("additivity"), asked("beat-dropout")]
    random = np.random.default_rng(36)
    arms = {recipe: both[0][1][recipe] | both[1][1][recipe] for recipe in ("small", "long")}
    merged = replace(both[0][0], contrasts=(*both[0][0].contrasts, *both[1][0].contrasts))
    table = run_table(merged, arms, random, {("small", "both", "test/accuracy"): 0.6})
    answers = questions.answer_all([question for question, _ in both], table, arms)
    found: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for answer, key in zip(answers, ("both - weight decay", "dropout - none"), strict=True):
        for one in answer.contrasts:
            if one.contrast.key == key:
                place = (one.contrast.recipe, one.contrast.metric)
                found.setdefault(place, []).append((one.p_adjusted, one.verdict))
    assert len(found) == 6  # additivity has a third metric
    shared = [verdicts for verdicts in found.values() if len(verdicts) == 2]
    assert len(shared) == 4
    for first, second in shared:
        assert first == second
    alone = questions.answer(both[1][0], table, arms)
    [before] = [
        one.p_adjusted
        for one in alone.contrasts
        if one.contrast.identity == ("dropout - none", "small", "test/accuracy")
    ]
    assert found["small", "test/accuracy"][0][0] > before


def test_of_a_loss_the_lower_is_the_superior() -> None:
    planted = {("small", "dropout(0.2,0.5)", "test/loss"): -5.0}
    answer = answered("swap", np.random.default_rng(37), planted)
    [hit] = [
        one
        for one in answer.contrasts
        if one.contrast.identity == ("dropout (0.2, 0.5) - (0.5, 0.2)", "small", "test/loss")
    ]
    assert hit.verdict == "better, matters" and hit.estimate.p_superior == 1.0
