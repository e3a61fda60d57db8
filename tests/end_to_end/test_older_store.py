"""Stores of earlier code: one from before its modules moved (code version 6) is read and reported,
one of today's code version is resumed, too.

A fixture is a `smoke` study in float32: the database as SQL, in which @STORE@ stands for its
folder, the study run's JSON artifacts, and the answers and run table that the code of then wrote
from them. A change that raises the code version brings a fixture of its own.
"""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient
from running import environment

from analysis import schema

TRAINED = re.compile(r"[1-9]\d* trials? trained")
FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The folder of a store of code version 6."""
    return unpacked("smoke_before_the_move", tmp_path)


@pytest.fixture
def resumable(tmp_path: Path) -> Path:
    """The folder of a store of today's code version."""
    return unpacked(f"smoke_version_{schema.CODE_VERSION}", tmp_path)


def unpacked(name: str, tmp_path: Path) -> Path:
    with tarfile.open(FIXTURES / f"{name}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    statements = (tmp_path / "store.sql").read_text().replace("@STORE@", str(tmp_path))
    database = sqlite3.connect(tmp_path / "mlflow.db")
    database.executescript(statements)
    database.close()
    return tmp_path


def run(store: Path, *arguments: str) -> str:
    """Call the command line in the store's folder and return its standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "study", *arguments],
        cwd=store,
        env=environment(f"sqlite:///{store / 'mlflow.db'}"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def resume(store: Path, data: Path) -> str:
    """Give the command of the old study again."""
    preset = ("--preset", "smoke", "--precision", "float32")
    return run(store, "study", *preset, "--data", str(data.resolve()))


def answers(folder: Path) -> list[dict[str, Any]]:
    """The fields of answers.json that have stayed what they were: version 7 has other words for
    verdicts, other names for the crossed interval, and counts the better of a loss. The fixtures
    hold no scores of single images, so there is no crossed interval."""
    rows = json.loads((folder / "answers.json").read_text())
    changed = {"contrast", "sentence", "verdict", "p_superior"}
    changed |= {f"{prefix}crossed_{end}" for prefix in ("", "ci_") for end in ("low", "high")}
    return [{k: v for k, v in row.items() if k not in changed} for row in rows]


def assert_same_answers(store: Path) -> None:
    """All but the last digits, in which processors' sums differ."""
    old, new = answers(store), answers(store / "results")
    assert len(old) == len(new)
    for before, after in zip(old, new, strict=True):
        for name, value in before.items():
            close = pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
            assert after[name] == close, name


def test_it_is_reported_with_the_same_numbers(store: Path) -> None:
    run(store, "report")
    assert_same_answers(store)
    table = pd.read_csv(store / "results/run_table.csv", dtype=str, keep_default_na=False)
    assert (table.pop("rate3") == "").all()  # the column is newer than the store
    assert table.to_csv(index=False, lineterminator="\n") == (store / "run_table.csv").read_text()


def test_it_is_resumed_without_training_anything(resumable: Path, folder: Path) -> None:
    progress = resume(resumable, folder)
    assert "0 trials trained" in progress and not TRAINED.search(progress), progress
    assert_same_answers(resumable)


def test_only_what_is_missing_is_trained(resumable: Path, folder: Path) -> None:
    client = MlflowClient(f"sqlite:///{resumable / 'mlflow.db'}")
    confirm = "tags.`study.kind` = 'trial' and tags.`study.phase` = 'confirm'"
    trial, *others = client.search_runs(["1"], confirm)
    for child in client.search_runs(["1"], f"tags.`{schema.TAG_PARENT}` = '{trial.info.run_id}'"):
        client.delete_run(child.info.run_id)
    client.delete_run(trial.info.run_id)

    progress = resume(resumable, folder)

    assert TRAINED.findall(progress) == ["1 trial trained"], progress
    again = client.search_runs(["1"], f"{confirm} and status = 'FINISHED'")
    hashes = [run.data.tags[schema.TAG_HASH] for run in again]
    assert trial.data.tags[schema.TAG_HASH] in hashes
    assert len(set(hashes)) == len(hashes) == len(others) + 1
