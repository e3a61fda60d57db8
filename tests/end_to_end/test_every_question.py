"""All eight questions in one real study at demonstration size: designed, trained, measured,
answered, drawn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from analysis import schema
from analysis.questions import DESIGNS, QUESTIONS, noisy_inference
from analysis.store import reader
from models.probes import mc_dropout
from study.commands.cli import main
from study.presets import BOOK, BY_EPOCHS, BY_SIZE, CONSTANT, LONG, PRESETS, every_question, seeds

ROOT = Path(__file__).parents[2]
SHORT_RECIPES = [
    replace(recipe, epochs=epochs, train_examples=min(recipe.train_examples, 1_000 + 100 * place))
    for place, (recipe, epochs) in enumerate(
        (
            *((recipe, 2) for recipe in BY_SIZE),
            (LONG, 2),
            (CONSTANT, 10),
            (BOOK, 2),
            *((recipe, 2) for recipe in BY_EPOCHS),
        )
    )
]
SMALL = replace(
    PRESETS["full"],
    recipes=tuple(recipe for recipe in SHORT_RECIPES if recipe.name in ("small", "long")),
    questions=every_question(*SHORT_RECIPES),
    trials_per_type=3,
    rerank_top=1,
    rerank_seeds=seeds(100, 1),
    explore_seeds=seeds(200, 1),
    audit_seeds=seeds(300, 3),
    confirm_seeds=seeds(1000, 3),
    finalists=2,
)


def run_small() -> None:
    """The command line, with `full` cut down; called in a process of its own."""
    PRESETS["full"] = SMALL
    mc_dropout.PASSES = (1, 3)  # type: ignore[assignment]
    noisy_inference.PASSES = 3
    main()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    """The folder of the report; the tracking store is the current one."""
    where = tmp_path_factory.mktemp("every")
    store = f"sqlite:///{where / 'mlflow.db'}"
    code = "from tests.end_to_end.test_every_question import run_small; run_small()"
    done = subprocess.run(
        [sys.executable, "-c", code, "study", "--preset", "full", "--data", str(folder.resolve())],
        cwd=where, env={**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": store},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    mlflow.set_tracking_uri(store)
    return where / "results"


def test_designs_and_answers_have_the_same_names() -> None:
    asked = set(PRESETS["full"].questions) | set(PRESETS["contest"].questions)
    assert set(DESIGNS) == set(QUESTIONS) == asked


def test_every_question_is_answered(written: Path) -> None:
    """Every declared contrast has an answer, but for those of types that did not go on to the
    second recipe."""
    rows = json.loads((written / "answers.json").read_text())
    assert {row["question"] for row in rows} == set(SMALL.questions)
    unanswered = [row for row in rows if row["estimate"] is None]
    assert {row["verdict"] for row in unanswered} == {"not entered"}
    assert all(row["question"] == "beat-dropout" and row["recipe"] == "long" for row in unanswered)
    out = {row["candidate"] for row in unanswered}
    candidates = {row["candidate"] for row in rows if row["candidate"]}
    assert len(candidates - out) == SMALL.finalists
    for row in rows:
        assert row["verdict"] == "not entered" or row["run_ids"]


def test_every_question_has_its_figures(written: Path) -> None:
    found = {path.stem for path in (written / "figures").glob("*.svg")}
    assert found >= set(SMALL.questions) | {
        "epochs-curves",
        "epochs-sizes",
        "epochs-decayed",
        "variance-curves",
        "test-time-passes",
        "test-time-reliability",
        "swap-grid",
        "additivity-grid",
    }


def test_only_the_confirm_phase_read_test_images(written: Path) -> None:
    """No metric of any other phase comes from them, and none of its trials keeps what an image
    said."""
    table = reader.load().table
    assert set(table["phase"]) == set(schema.PHASES)
    test_columns = [name for name in table.columns if name.startswith("test/")]
    assert table.loc[table["phase"] != schema.CONFIRM, test_columns].isna().all(axis=None)
    client = mlflow.MlflowClient()
    for trial, phase in table.groupby("trial_run_id")["phase"].first().items():
        assert bool(client.list_artifacts(str(trial))) == (phase == schema.CONFIRM)


def test_horizons_are_points_of_one_trajectory(written: Path) -> None:
    """The last horizon is the end of the training, and each was logged at its own step."""
    table = reader.load().table
    rows = table.loc[(table["recipe"] == "constant") & (table["phase"] == schema.CONFIRM)]
    assert len(rows) == 9 and (rows["test/accuracy_at_10"] == rows["test/accuracy"]).all()
    assert (rows["test/accuracy_at_5"] != rows["test/accuracy"]).any()
    history = mlflow.MlflowClient().get_metric_history(rows["run_id"].iloc[0], "test/accuracy_at_5")
    assert [point.step for point in history] == [5]
