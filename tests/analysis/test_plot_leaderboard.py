"""A contest of 25 noise types under two recipes: its leaderboards, its search against the budget,
and its answer."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from scipy import stats

from analysis import formatting, questions
from analysis.plots import leaderboard, search
from analysis.questions import DESIGNS
from analysis.report import checks, tables, writer
from analysis.schema import CONFIRM, RERANK, RUN_TABLE, SEARCH
from analysis.stats import paired
from analysis.stats.results import Answer, ContrastAnswer
from analysis.store.reader import Study
from analysis.store.search_trials import search_trials
from study.presets import DECAY, LONG

TYPES = ("none", "dropout", "gaussian", *(f"noise-{number:02}" for number in range(1, 23)))
FINALISTS = ("none", "dropout", "gaussian", "noise-01", "noise-02", "noise-03", "noise-04")
OFF, EDGE, BAD, SINGLE, TRIPLE = "noise-05", "noise-06", "noise-22", "noise-07", "noise-08"
SEEDS = tuple(range(1000, 1020))
TRIALS = 12


def arm_of(noise: str, trial: int, recipe: str) -> dict[str, object]:
    """The configuration of a type's trial; the last one is the winner."""
    rates = (0.0, 0.0) if noise in ("none", OFF) else (0.6, 0.4) if noise == EDGE else (0.2, 0.35)
    scale = 1.0 if trial == TRIALS - 1 else 0.9 - 0.05 * trial
    rate1, rate2 = (round(rate * scale, 3) for rate in rates)
    settings = {"noise": noise, "rate1": rate1, "rate2": 0.0 if noise == SINGLE else rate2}
    settings["rate3"] = 0.6 if noise == TRIPLE else math.nan
    weight_decay = 1e-5 * (1 + trial)
    name = f"{noise}({rate1:g},{settings['rate2']:g}) wd={weight_decay:g} {recipe}"
    return settings | {"weight_decay": weight_decay, "recipe": recipe, "arm": name}


def table() -> pd.DataFrame:
    """Search, re-ranking and confirmation: later types are worse, BAD is off every scale."""
    random = np.random.default_rng(3)
    rows: list[dict[str, object]] = []
    for recipe, types in (("decay", TYPES), ("long", FINALISTS)):
        for place, noise in enumerate(types):
            level = 0.888 - 0.0002 * place - 0.06 * (noise == BAD)
            for phase, seeds, trials in (
                (SEARCH, (0, 1, 2), range(TRIALS)),
                (RERANK, (100, 101, 102), range(TRIALS - 2, TRIALS)),
                (CONFIRM, SEEDS, (TRIALS - 1,)),
            ):
                for trial in trials:
                    drawn = random.normal(0, 0.002)
                    for seed in seeds:
                        score = (
                            level
                            + 1e-4 * seed % 7e-4
                            + random.normal(0, 8e-4)
                            + (phase == SEARCH) * drawn
                        )
                        score += 0.001 * (phase == RERANK and trial == TRIALS - 1) * 20
                        test = (
                            {"test/accuracy": score, "test/loss": 3.2 - 3.2 * score}
                            if phase == CONFIRM
                            else {}
                        )
                        number = trial * len(types) + place if phase == SEARCH else pd.NA
                        rows.append(
                            arm_of(noise, trial, recipe)
                            | {
                                "phase": phase,
                                "question": "beat-dropout",
                                "trial_hash": f"{recipe}{noise}{phase}{trial}",
                            }
                            | {
                                "trial_number": number,
                                "seed": seed,
                                "epochs": 10,
                                "learning_rate": 0.1,
                            }
                            | {
                                "run_id": f"run{len(rows)}",
                                "seconds": 5.0 + place / 4,
                                "val/accuracy": score,
                                **test,
                            }
                        )
    constant = {
        "study_id": "s",
        "precision": "float32",
        "device": "cpu",
        "data_digest": "d",
        "code_version": 4,
    }
    frame = pd.DataFrame(rows).assign(**constant, trial_run_id=[row["trial_hash"] for row in rows])
    return frame.reindex(columns=list(RUN_TABLE)).astype(RUN_TABLE)


@pytest.fixture(scope="module")
def study() -> Study:
    found = table()
    arms: dict[str, dict[str, str]] = {
        recipe: {f"tuned {noise}": str(arm_of(noise, TRIALS - 1, recipe)["arm"]) for noise in types}
        for recipe, types in (("decay", TYPES), ("long", FINALISTS))
    }
    declared = replace(
        synthetic.declaration(),
        noise_types=TYPES,
        recipes={name: synthetic.SETTINGS["decay"] | {"epochs": 10} for name in arms},
        tuned_recipes=tuple(arms),
        search_space={
            "rate_step": 0.01,
            "log10_weight_decay": [-6.0, -2.0],
            "bounds": {
                noise: [[0.0, 0.95]] * {"none": 0, SINGLE: 1, TRIPLE: 3}.get(noise, 2)
                for noise in TYPES
            },
        },
        questions=(DESIGNS["beat-dropout"].declare((DECAY, LONG), SEEDS, TYPES),),
    )
    return Study("s", "run", "experiment", declared, arms, found)


@pytest.fixture(scope="module")
def answer(study: Study) -> Answer:
    return questions.answer(study.declaration.questions[0], study.table, study.arms)


def test_one_leaderboard_a_recipe_with_a_row_for_each_type(study: Study, answer: Answer) -> None:
    figure, (picture,) = answer.figure(), answer.pictures
    assert picture.name == "long"
    for drawn, types in ((figure, TYPES), (picture.draw(), FINALISTS)):
        names = [tick.get_text() for tick in drawn.axes[0].get_yticklabels()]
        assert sorted(name.removesuffix(" (noise off)") for name in names) == sorted(types)
        assert len(drawn.axes) == len(leaderboard.PANELS) + 1
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert names[-1] == BAD and f"{OFF} (noise off)" in names
    assert any("◄" in text.get_text() for text in figure.axes[0].texts)  # BAD, off the scale


def test_gains_are_told_from_both_sides_and_up_is_good(answer: Answer) -> None:
    gains = leaderboard.gains_of(answer.contrasts)
    for metric in ("test/accuracy", "test/loss"):
        one, other = (
            gains["decay", metric, "dropout", "none"],
            gains["decay", metric, "none", "dropout"],
        )
        assert (one.mean, one.low, one.high) == (-other.mean, -other.high, -other.low)
        bad = gains["decay", metric, BAD, "dropout"]
        assert bad.mean < 0 and bad.verdict == "worse"


def test_a_negligible_gain_looks_equivalent_from_both_sides(answer: Answer) -> None:
    negligible = [one for one in answer.contrasts if one.verdict.endswith(", negligible")]
    assert negligible
    for one in negligible:
        assert {gain.verdict for gain in leaderboard.gains_of([one]).values()} == {"equivalent"}


def test_costs_are_relative_to_dropout(study: Study) -> None:
    found = leaderboard.costs(study.declaration.questions[0], study.table, study.arms["decay"])
    assert found["dropout"] == 1 and found["gaussian"] == pytest.approx(5.5 / 5.25)


def test_the_table_of_verdicts_shows_the_nearest_and_the_page_leaves_out_who_did_not_enter(
    study: Study, answer: Answer, tmp_path: Path
) -> None:
    assert [one.candidate for one in answer.leading[:6]] == ["", ""] + [
        answer.leading[2].candidate
    ] * 4
    writer.write(study, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "not entered" not in text
    assert "without the 36 contrasts of arms that were not picked" in text
    assert {"beat-dropout.svg", "beat-dropout-long.svg", "search-budget-long.svg"} <= {
        path.name for path in (tmp_path / "figures").iterdir()
    }


def test_the_answer_says_the_largest_gain_that_is_still_allowed(answer: Answer) -> None:
    """Over the candidates, the largest of each one's least upper end: of all recipes and rivals
    that it has. They hold together."""
    own = [
        one
        for one in answer.contrasts
        if one.contrast.candidate and one.contrast.metric == "test/accuracy"
    ]
    ends: dict[str, list[float]] = {}
    for one in own:
        values = one.estimate.differences
        error = values.std() / math.sqrt(len(values))
        end = values.mean() + stats.t.isf(0.05 / len(own), len(values) - 1) * error
        ends.setdefault(one.contrast.candidate, []).append(end)
    assert len(ends) == 23 and {len(some) for some in ends.values()} == {2, 4}
    name = max(ends, key=lambda candidate: min(ends[candidate]))
    largest = min(ends[name])
    gain = formatting.difference(largest, "test/accuracy")
    assert (
        f"no tested candidate gains more than {gain} over both ({name}; simultaneous 95 % bound);"
        in answer.takeaway
    )


def test_edges_are_the_lower_of_the_types_bound_and_the_studys(study: Study) -> None:
    assert [line for line in checks.edges(study) if "(long)" not in line] == [
        f"{EDGE}, 50,000 images, 10 epochs: rate 1 is the highest searched, 0.6",
        f"{TRIPLE}, 50,000 images, 10 epochs: rate 3 is the highest searched, 0.6",
    ]
    bounds = study.declaration.search_space["bounds"] | {"gaussian": [[0.0, 0.2], [0.0, 0.95]]}
    space = study.declaration.search_space | {"bounds": bounds}
    narrow = replace(study, declaration=replace(study.declaration, search_space=space))
    told = "gaussian, 50,000 images, 10 epochs: rate 1 is the highest searched, 0.2"
    assert told in list(checks.edges(narrow))


def test_rates_that_are_off_or_do_not_exist_are_told_apart(study: Study) -> None:
    table = tables.tuned(study)
    assert table.header[2:6] == ("rate 1", "rate 2", "rate 3", "weight decay")
    shown = {row[1]: row[2:5] for row in table.rows if not row[0].endswith("(long)")}
    assert shown[OFF] == ("off", "off", formatting.MISSING)
    assert shown[SINGLE][1] == shown["none"][0] == formatting.MISSING
    assert shown[TRIPLE] == ("0.2", "0.35", "0.6")


def test_the_search_is_drawn_against_each_rate_that_a_type_has(study: Study) -> None:
    figure = search.rate_figures(study)["decay"]
    marks = {}
    for ax in figure.axes:
        noise = ax.get_title(loc="left").partition(" ")[0]
        marks[noise] = [line.get_marker() for line in ax.lines if line.get_marker() in list("os^")]
    assert marks[TRIPLE] == ["o", "s", "^", "o"] and marks[EDGE] == ["o", "s", "o"]
    (legend,) = figure.legends
    assert "rate 3" in [text.get_text() for text in legend.get_texts()]


def test_the_best_so_far_never_falls_and_ends_at_the_best(study: Study) -> None:
    rows = study.table.loc[(study.table["phase"] == SEARCH) & (study.table["recipe"] == "decay")]
    trials = search_trials(study.table, "decay", "val/accuracy")
    curves = search.best_so_far(trials, TYPES, "val/accuracy")
    assert list(curves) == list(TYPES)
    for noise, scores in curves.items():
        means = rows.loc[rows["noise"] == noise].groupby("trial_hash")["val/accuracy"].mean() * 100
        assert len(scores) == TRIALS and (np.diff(scores) >= 0).all()
        assert scores[-1] == pytest.approx(means.max())


def test_a_gain_keeps_its_sign_whatever_the_order_of_the_terms() -> None:
    """The store gives a declaration back with its terms in alphabetical order: `dropout` before
    `gaussian`."""
    declared = synthetic.declaration()
    (contrast, *_) = [
        one for one in declared.questions[2].contrasts if one.name == "gaussian - dropout"
    ]
    turned = replace(contrast, coefficients=dict(sorted(contrast.coefficients.items())))
    assert list(turned.coefficients) != list(contrast.coefficients)
    estimate = paired.estimate(pd.Series([0.01, 0.02, 0.03]), contrast.margin, 0.05)
    for one in (contrast, turned):
        answered = ContrastAnswer.__new__(ContrastAnswer)
        object.__setattr__(answered, "contrast", one)
        object.__setattr__(answered, "estimate", estimate)
        object.__setattr__(answered, "verdict", "better")
        gains = leaderboard.gains_of([answered])
        assert gains["decay", "test/accuracy", "gaussian", "dropout"].mean == pytest.approx(2.0)
        assert gains["decay", "test/accuracy", "dropout", "gaussian"].mean == pytest.approx(-2.0)
