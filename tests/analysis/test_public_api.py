"""`from analysis import ...` answers every question where nothing that trains is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
import synthetic
from running import environment

from analysis import ESTIMATES, answer, estimates, load_runs

ROOT = Path(__file__).parents[2]

SCRIPT = """
import sys

HIDDEN = {"torch", "torchvision", "optuna", "numba", "models", "study"}


class NotInstalled:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, NotInstalled)

from analysis import answer, draw, estimates, load_runs

runs = load_runs(*sys.argv[1:])
assert len(runs.table)
for question in runs.declaration.questions:
    result = answer(question.name, runs)
    assert result.verdict and len(estimates(result)) and draw(result)
"""


def test_a_saved_report_is_answered_without_torch_and_optuna() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT, "docs/results"], cwd=ROOT, check=True)


def test_a_store_is_answered_without_torch_and_optuna(tmp_path: Path) -> None:
    uri = synthetic.use_store(tmp_path)
    synthetic.write_study()
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, env=environment(uri), check=True)


def test_estimates_have_their_columns_where_nothing_was_confirmed(tmp_path: Path) -> None:
    before = mlflow.get_tracking_uri()
    synthetic.use_store(tmp_path)
    synthetic.Writer(synthetic.declaration()).end()
    try:
        runs = load_runs()
    finally:
        mlflow.set_tracking_uri(before)
    for question in runs.declaration.questions:
        table = estimates(answer(question.name, runs))
        assert list(table.columns) == ESTIMATES and table["verdict"].empty


@pytest.mark.parametrize("name", ["null", "NA", "nan", "None", "n/a", "NULL", "-nan"])
def test_a_noise_type_may_be_called_as_missing_values_are(tmp_path: Path, name: str) -> None:
    """The same from a report's folder as from the store."""
    shutil.copytree(ROOT / "docs" / "results", tmp_path / "results")
    file = tmp_path / "results" / "run_table.csv"
    file.write_text(re.sub(r",gaussian,", f",{name},", file.read_text()))
    table = load_runs(tmp_path / "results").table
    assert (table["noise"] == name).any() and table["noise"].notna().all()
