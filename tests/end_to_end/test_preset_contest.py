"""The contest at demonstration size, run as its command runs it; and the question which ingredient
counts."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import load_runs
from analysis.questions import answer
from analysis.questions.ingredients import DESIGN, arms, part_names
from analysis.schema import AUDIT, RUN_TABLE, SEARCH
from models.config import Arm, Recipe
from models.noise import NOISE
from study.commands.cli import main
from study.presets import DECAY, LONG, PRESETS, seeds

ROOT = Path(__file__).parents[2]
TYPES = ("none", "dropout", "shift", "one-sided", "shift+one-sided")


def run_small() -> None:
    """The command line, with `contest` cut down; called in a process of its own."""
    contest = PRESETS["contest"]
    recipes = tuple(replace(one, epochs=1, train_examples=1_000) for one in contest.recipes)
    PRESETS["contest"] = replace(
        contest,
        recipes=recipes,
        questions=dict.fromkeys(contest.questions, recipes),
        trials_per_type=2,
        rerank_top=1,
        rerank_seeds=seeds(100, 1),
        audit_seeds=seeds(300, 3),
        confirm_seeds=seeds(2000, 3),
        noise_types=TYPES,
    )
    main()


def test_it_holds_every_type_and_seeds_of_its_own() -> None:
    contest, full = PRESETS["contest"], PRESETS["full"]
    assert contest.noise_types == tuple(NOISE) and len(NOISE) >= 18
    assert contest.finalists == 8 and len(contest.confirm_seeds) >= 20
    assert not set(contest.confirm_seeds) & set(full.confirm_seeds)


def test_a_small_contest_is_answered(tmp_path: Path, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from tests.end_to_end.test_preset_contest import run_small; run_small()",
         "study", "--preset", "contest", "--data", str(folder.resolve())],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "results" / "answers.json").read_text())
    assert {row["question"] for row in rows} == {"beat-dropout", "ingredients"}
    assert {row["n_seeds"] for row in rows if row["verdict"] != "not entered"} == {3}
    assert {row["question"] for row in rows if row["verdict"] == "not entered"} == {"ingredients"}
    parts = [row for row in rows if row["question"] == "ingredients"]
    assert {row["metric"] for row in parts} == {"val/accuracy", "val/loss"}
    figures = {path.stem for path in (tmp_path / "results" / "figures").glob("*.svg")}
    assert figures >= {
        "beat-dropout",
        "beat-dropout-long",
        "ingredients",
        "search-budget-small",
        "search-budget-long",
    }
    table = pd.read_csv(tmp_path / "results" / "run_table.csv")
    trials = table[table["phase"] == SEARCH].groupby(["recipe", "noise"])["trial_number"].nunique()
    assert set(trials) == {2} and len(trials) == 2 * len(TYPES)


def test_without_another_noise_its_question_is_not_asked() -> None:
    contest = PRESETS["contest"]
    assert set(contest.searching(("none", "dropout", "shift")).questions) == set(contest.questions)
    assert contest.searching(tuple(NOISE)) == contest
    with pytest.raises(ValueError, match="nothing to compare"):
        contest.asking(["ingredients"]).searching(("none", "dropout"))


def tuned(recipe: Recipe, rates: tuple[float, ...] = (0.2, 0.4, 0.3)) -> dict[str, Arm]:
    """Tuned arms, the best first: each class has a composition before a type of one part."""
    best = ("shift+one-sided", "input-dropout+dropout", "none", "dropout", "shift", "input-dropout")
    return {noise: Arm.of(noise, rates[: len(NOISE[noise].rates)], 1e-4, recipe) for noise in best}


def test_the_best_of_each_class_is_taken_apart() -> None:
    found = arms(DECAY, tuned(DECAY))
    assert {label: (arm.noise, arm.rates, arm.weight_decay) for label, arm in found.items()} == {
        "best for images": ("shift+one-sided", (0.2, 0.4, 0.3), 1e-4),
        "best for images, no first part": ("shift+one-sided", (0.0, 0.4, 0.3), 1e-4),
        "best for images, no other parts": ("shift+one-sided", (0.2, 0.0, 0.0), 1e-4),
        "best for images, no weight decay": ("shift+one-sided", (0.2, 0.4, 0.3), 0.0),
        "best for images, no randomness": ("shift+gain", (0.2, 0.4, 0.3), 1e-4),
        "best for images, constant factor": ("gain", (0.4, 0.3), 1e-4),
        "best for images, no noise": ("none", (), 1e-4),
        "best for any input": ("input-dropout+dropout", (0.2, 0.4, 0.3), 1e-4),
        "best for any input, no first part": ("input-dropout+dropout", (0.0, 0.4, 0.3), 1e-4),
        "best for any input, no other parts": ("input-dropout+dropout", (0.2, 0.0, 0.0), 1e-4),
        "best for any input, no weight decay": ("input-dropout+dropout", (0.2, 0.4, 0.3), 0.0),
        "best for any input, no noise": ("none", (), 1e-4),
    }
    assert arms(DECAY, {"dropout": tuned(DECAY)["dropout"]}) == {}
    assert not DESIGN.declare([DECAY], (), ("none", "dropout")).contrasts
    of_one = DESIGN.declare([DECAY], (), ("none", "dropout", "shift"))
    assert {contrast.family for contrast in of_one.contrasts} == {"images, decay"}


def test_a_part_that_is_not_there_is_not_taken_out() -> None:
    one_part = {"shift": DECAY.arm("shift", 0.2, 0.0, 0.0)}
    assert set(arms(DECAY, one_part)) == {"best for images", "best for images, no noise"}
    off = arms(DECAY, tuned(DECAY, (0.2, 0.0, 0.0)))
    assert not {"best for any input, no first part", "best for any input, no other parts"} & set(
        off
    )


@pytest.mark.parametrize(
    ("planted", "told", "alone"),
    [
        (
            {},
            "input-dropout makes no difference that matters, dropout makes no difference that "
            "matters, weight decay makes no difference that matters",
            "equivalent to none (long): input-dropout, dropout, input-dropout+dropout",
        ),
        (
            {"no first part": -0.01, "no noise": -0.01},
            "input-dropout helps by more than the margin, dropout makes no difference",
            "better by more than the margin than none (long): input-dropout, input-dropout+dropout; "
            "equivalent to none (long): dropout",
        ),
        (
            {"no other parts": 0.01},
            "input-dropout makes no difference that matters, dropout does harm by more than the",
            "better by more than the margin than none (long): input-dropout; equivalent to none "
            "(long): dropout, input-dropout+dropout",
        ),
    ],
)
def test_what_each_ingredient_brings_is_told(
    planted: dict[str, float], told: str, alone: str
) -> None:
    table, names = runs_of(
        {recipe: arms(recipe, tuned(recipe)) for recipe in (DECAY, LONG)}, planted
    )
    question = DESIGN.declare((DECAY, LONG), tuple(range(10)), TYPES)
    given = answer(question, table, names)
    assert f"in input-dropout+dropout (for any input, long), {told}" in given.verdict
    assert alone in given.takeaway
    assert given.verdict.count("its randomness") == 2  # of the type that amplifies
    assert given.takeaway.count("a constant factor") == 2
    (table_shown,) = given.tables
    assert table_shown.rows[0][0] == "for any input" and len(table_shown.rows) == 4
    assert not [one for one in given.refused if one.entered]
    (picture,) = given.pictures
    axes = picture.draw().axes
    assert [ax.get_title(loc="left") for ax in axes[:4]] == [
        "input-dropout+dropout, decay: alone",
        "beside the rest",
        "shift+one-sided, decay: alone",
        "beside the rest",
    ]
    # The mean gain of the first part beside the rest is what the verdict rests on.
    whole, rest = (
        table.loc[table["arm"] == names["decay"][label], "val/accuracy"].mean()
        for label in ("best for any input", "best for any input, no first part")
    )
    means = [
        float(np.asarray(line.get_xdata())[0]) for line in axes[1].lines if line.get_marker() == "D"
    ]
    assert means[0] == pytest.approx(100 * (whole - rest))
    assert (
        "for these validation images" in given.takeaway
        and "for these validation images" in given.caption
    )


def test_what_was_tuned_off_is_told() -> None:
    off = {
        noise: arm.with_weight_decay(0.0) for noise, arm in tuned(DECAY, (0.2, 0.0, 0.0)).items()
    }
    table, names = runs_of({DECAY: arms(DECAY, off)}, {})
    given = answer(DESIGN.declare((DECAY,), tuple(range(10)), TYPES), table, names)
    assert given.verdict == (
        "In input-dropout+dropout (for any input), dropout was tuned off, weight decay was tuned "
        "off; in shift+one-sided (for images), one-sided was tuned off, weight decay was tuned off"
    )
    assert not [one for one in given.refused if one.entered]


def test_what_could_not_be_tested_is_told() -> None:
    found = arms(DECAY, tuned(DECAY))
    table, names = runs_of({DECAY: found}, {})
    lost = found["best for images, no other parts"].name
    given = answer(
        DESIGN.declare((DECAY,), tuple(range(10)), TYPES), table[table["arm"] != lost], names
    )
    assert "shift helps" not in given.verdict and "one-sided was not tested" in given.verdict
    assert {one.contrast.key for one in given.refused if one.entered} == {
        "whole - without other parts (images)",
        "first part - none (images)",
    }


@pytest.mark.parametrize("lost", ["images", "any input"])
def test_a_class_without_an_arm_is_refused_and_not_passed_over(lost: str) -> None:
    """All types of a class diverged, or the study has not come to its arms yet."""
    question = DESIGN.declare((DECAY, LONG), tuple(range(10)), TYPES)
    labelled = {recipe: arms(recipe, tuned(recipe)) for recipe in (DECAY, LONG)}
    labelled[LONG] = {label: arm for label, arm in labelled[LONG].items() if lost not in label}
    given = answer(question, *runs_of(labelled, {}))
    entered = {(one.contrast.recipe, one.contrast.family) for one in given.refused if one.entered}
    assert entered == {("long", f"{lost}, long")}
    nothing = answer(question, runs_of(labelled, {})[0], {})
    assert all(one.entered for one in nothing.refused) and not nothing.contrasts


def test_a_contest_of_an_earlier_version_is_told_as_such() -> None:
    published = load_runs(ROOT / "docs/results/contest")
    (question,) = [one for one in published.declaration.questions if one.name == "ingredients"]
    given = answer(question, published.table, published.arms)
    assert given.verdict == (
        "Not answered: an earlier version asked it of one type: the commit that ran it answers"
    )


def test_parts_are_named_as_what_they_are() -> None:
    def names(noise: str, rate3: float) -> list[str]:
        return list(part_names({"noise": noise, "rate3": rate3}).values())[:2]

    assert names("shift+dropout", 0.1) == ["shift", "dropout"]
    assert names("gaussian", math.nan) == ["noise in the first layer", "noise in the second layer"]
    assert names("mine:Warped", 0.1) == [
        "noise before the hidden layers",
        "noise in the hidden layers",
    ]


def runs_of(
    labelled: dict[Recipe, dict[str, Arm]], planted: dict[str, float]
) -> tuple[pd.DataFrame, dict[str, dict[str, str]]]:
    """Return a run table of arms, those whose labels end in a planted one with its effect, and
    their names."""
    random, names, frames = np.random.default_rng(1), {}, []
    for recipe, found in labelled.items():
        names[recipe.name] = {label: arm.name for label, arm in found.items()}
        lacks = {(arm.name, label.partition(", ")[2]) for label, arm in found.items()}
        for arm in dict.fromkeys(found.values()):
            seeds_of = range(10)
            effect = sum(value for part, value in planted.items() if (arm.name, part) in lacks)
            scores = 0.85 + effect + random.normal(0, 5e-4, len(seeds_of))
            frames.append(
                pd.DataFrame(
                    {
                        "run_id": [f"{arm.name} {seed}" for seed in seeds_of],
                        "phase": AUDIT,
                        "question": "ingredients",
                        "noise": arm.noise,
                        "arm": arm.name,
                        "seed": seeds_of,
                        "recipe": recipe.name,
                        "epochs": recipe.epochs,
                        "weight_decay": arm.weight_decay,
                        "rate1": arm.rate1,
                        "rate2": arm.rate2,
                        "rate3": arm.rate3 if len(arm.rates) == 3 else math.nan,
                        "precision": "float32",
                        "device": "cpu",
                        "data_digest": "0123456789ab",
                        "code_version": 5,
                        "val/accuracy": scores,
                        "val/loss": 1 - scores,
                    }
                )
            )
    table = pd.concat(frames, ignore_index=True).reindex(columns=list(RUN_TABLE)).astype(RUN_TABLE)
    return table, names
