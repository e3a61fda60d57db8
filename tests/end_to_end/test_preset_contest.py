"""The contest at demonstration size, run as its command runs it; and the question which ingredient
counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.questions import answer
from analysis.questions.ingredients import CANDIDATE, DESIGN, arms
from analysis.schema import AUDIT, RUN_TABLE, SEARCH
from models.config import Arm, Recipe
from models.noise import NOISE
from study.commands.cli import main
from study.presets import DECAY, LONG, PRESETS, seeds

ROOT = Path(__file__).parents[2]
TYPES = ("none", "dropout", "shift", "one-sided", CANDIDATE)


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
    assert all(row["n_seeds"] == 3 for row in rows)
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


def test_without_the_candidate_its_question_is_not_asked() -> None:
    contest = PRESETS["contest"]
    assert set(contest.searching(("none", "dropout", "shift")).questions) == {"beat-dropout"}
    assert contest.searching(tuple(NOISE)) == contest
    with pytest.raises(ValueError, match="nothing to compare"):
        contest.asking(["ingredients"]).searching(("none", "dropout"))


def tuned(recipe: Recipe) -> dict[str, Arm]:
    return {
        noise: Arm.of(noise, (0.2, 0.4, 0.3)[: len(NOISE[noise].rates)], 1e-4, recipe)
        for noise in TYPES
    }


def test_each_part_keeps_the_candidates_rates() -> None:
    found = arms(DECAY, tuned(DECAY))
    assert {label: (arm.noise, arm.rates) for label, arm in found.items()} == {
        f"tuned {CANDIDATE}": (CANDIDATE, (0.2, 0.4, 0.3)),
        "without shifts": ("one-sided", (0.4, 0.3)),
        "without amplification": ("shift", (0.2,)),
        "with a constant factor": ("shift+gain", (0.2, 0.4, 0.3)),
        "constant factor alone": ("gain", (0.4, 0.3)),
        "no noise, same weight decay": ("none", ()),
    }
    assert {arm.weight_decay for arm in found.values()} == {1e-4}
    assert arms(DECAY, {"dropout": tuned(DECAY)["dropout"]}) == {}
    assert DESIGN.comparisons(("none", "dropout"), DECAY) == []


@pytest.mark.parametrize(
    ("planted", "told"),
    [
        (
            {},
            "shifting makes no difference that matters, amplifying makes no difference that "
            "matters",
        ),
        (
            {},
            "shifting makes no difference that matters, amplifying was tuned off, doing so at "
            "random was tuned off",
        ),
        ({"without shifts": -0.01}, "shifting helps, amplifying makes no difference that matters"),
        (
            {"without amplification": -0.01, "with a constant factor": 0.01},
            "amplifying helps, doing so at random does harm",
        ),
    ],
)
def test_what_each_ingredient_brings_is_told(planted: dict[str, float], told: str) -> None:
    amplified = "off" not in told
    random, names, frames = np.random.default_rng(1), {}, []
    for recipe in (DECAY, LONG):
        found = arms(recipe, tuned(recipe))
        names[recipe.name] = {label: arm.name for label, arm in found.items()}
        for label, arm in found.items():
            seeds_of = range(10)
            scores = 0.85 + planted.get(label, 0.0) + random.normal(0, 5e-4, len(seeds_of))
            frames.append(
                pd.DataFrame(
                    {
                        "run_id": [f"{arm.name} {seed}" for seed in seeds_of],
                        "phase": AUDIT,
                        "question": "ingredients",
                        "arm": arm.name,
                        "seed": seeds_of,
                        "recipe": recipe.name,
                        "epochs": recipe.epochs,
                        "rate1": arm.rate1,
                        "rate2": 0.0,
                        "rate3": arm.rate3 if amplified else 0.0,
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
    question = DESIGN.declare((DECAY, LONG), tuple(range(10)), TYPES)
    given = answer(question, table, names)
    assert told in given.verdict
    (picture,) = given.pictures
    axes = picture.draw().axes
    assert [ax.get_title(loc="left") for ax in axes] == [
        "decay: alone",
        "beside the others",
        "long: alone",
        "beside the others",
    ]
    # The mean gain of shifts beside the others is what the verdict rests on.
    whole, rest = (
        table.loc[table["arm"] == names["decay"][label], "val/accuracy"].mean()
        for label in (f"tuned {CANDIDATE}", "without shifts")
    )
    means = [
        float(np.asarray(line.get_xdata())[0]) for line in axes[1].lines if line.get_marker() == "D"
    ]
    assert means[0] == pytest.approx(100 * (whole - rest))
    assert (
        "for these validation images" in given.takeaway
        and "for these validation images" in given.caption
    )
