"""Real studies for the tests: `python -m study` in processes of its own, stopped in every way there
is."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient

from analysis import schema
from analysis.store import reader as runs

ROOT = Path(__file__).parents[2]
SMALL = ("--preset", "smoke", "--noise", "dropout,gaussian", "--questions", "beat-dropout")
"""A study of smoke's size, ten seconds of it."""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "study", *arguments]


def environment(tracking_uri: str, **more: str) -> dict[str, str]:
    """Of a process that studies into a store, without what this one's MLflow was told."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return {**kept, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": tracking_uri, **more}


@dataclass
class Place:
    """Where a study runs: a folder, a store, and how it is called."""

    folder: Path
    data: Path
    uri: str = ""
    arguments: tuple[str, ...] = SMALL
    more: dict[str, str] = field(default_factory=dict)
    experiment: str = schema.EXPERIMENT

    def __post_init__(self) -> None:
        self.uri = self.uri or f"sqlite:///{self.folder / 'mlflow.db'}"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The study, as leader of a process group of its own."""
        return subprocess.Popen(
            command("study", *self.arguments, *arguments, "--data", str(self.data.resolve())),
            cwd=self.folder, env=environment(self.uri, **self.more), text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def finish(self, *arguments: str, code: int = 0) -> str:
        """The study run to its end; its standard error."""
        process = self.start(*arguments)
        _, stderr = process.communicate(timeout=600)
        assert process.returncode == code, stderr
        assert "Traceback" not in stderr
        return stderr

    def runs(self) -> list[Any]:
        """Every run of the experiment, as the store has it."""
        mlflow.set_tracking_uri(self.uri)
        found = mlflow.search_runs(experiment_names=[self.experiment], output_format="list")
        assert isinstance(found, list)
        return found

    def count(self) -> int:
        """How many runs there are; 0 where there is no experiment yet."""
        try:
            return len(self.runs())
        except Exception:  # the database is being made
            return 0

    def finished_trials(self) -> set[str]:
        """The run ids of the trials that are whole."""
        kinds = [(run.data.tags[schema.TAG_KIND], run.info) for run in self.runs()]
        return {
            info.run_id for kind, info in kinds if kind == "trial" and info.status == "FINISHED"
        }

    def answers(self, output: str = "results") -> list[dict[str, Any]]:
        """The answers of the report, without what is another thing every time: run ids, and how
        long training took."""
        rows: list[dict[str, Any]] = json.loads((self.folder / output / "answers.json").read_text())
        for row in rows:
            row["run_ids"] = len(row["run_ids"])
            row["sentence"] = re.sub(
                r"about [\d.,]+ \w+ of training", "some training", row["sentence"]
            )
        return rows

    def check(self, undisturbed: Place) -> None:
        """The study has ended as an undisturbed one: same answers, same scores, nothing twice,
        nothing RUNNING."""
        assert self.answers() == undisturbed.answers()
        mlflow.set_tracking_uri(undisturbed.uri)
        expected = scores(runs.load(experiment=undisturbed.experiment))
        mlflow.set_tracking_uri(self.uri)
        assert scores(runs.load(experiment=self.experiment)) == expected
        assert Counter(run.info.status for run in self.runs())["RUNNING"] == 0
        finished = [
            run.data.tags[schema.TAG_HASH]
            for run in self.runs()
            if run.info.status == "FINISHED" and run.data.tags[schema.TAG_KIND] == "trial"
        ]
        assert len(finished) == len(set(finished)), "a finished trial was trained twice"


def scores(study: runs.Study) -> list[tuple]:
    """What each seed run scored, in the order of arms and seeds."""
    columns = [
        "phase",
        "arm",
        "seed",
        "train/loss",
        "val/loss",
        "val/accuracy",
        "test/loss",
        "test/accuracy",
    ]
    rows = study.table[columns].fillna(-1.0).sort_values(columns[:3])
    return list(rows.itertuples(index=False, name=None))


def wait_until(
    condition: Callable[[], bool], process: subprocess.Popen[str], every: float = 0.02
) -> None:
    """Waits for a condition while a process runs; fails when it ends first."""
    while not condition():
        if process.poll() is not None:
            pytest.fail(f"the process ended too early: {process.communicate()[1]}")
        time.sleep(every)


def kill(process: subprocess.Popen[str], number: int = signal.SIGKILL) -> str:
    """Sends a signal to a process and waits for its end; its standard error."""
    process.send_signal(number)
    return process.communicate(timeout=60)[1]


def set_up(uri: str) -> MlflowClient:
    """A store whose database is there: two processes that open a fresh one can crash."""
    mlflow.set_tracking_uri(uri)
    client = MlflowClient()
    client.search_experiments()
    return client
