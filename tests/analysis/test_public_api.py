"""`from analysis import ...` answers every question where nothing that trains is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import synthetic
from running import environment

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
