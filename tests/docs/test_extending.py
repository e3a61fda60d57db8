"""What docs/extending.md shows is what works: its file, added to a copy of the project, is a
question."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_new_question_is_one_file_and_its_registry_line(tmp_path: Path, folder: Path) -> None:
    for package in ("analysis", "models", "study", "tests"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    text = (ROOT / "docs" / "extending.md").read_text()
    (code,) = re.findall(r"one_layer\.py`.*?```python\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "analysis/questions/one_layer.py").write_text(code)
    registry = tmp_path / "analysis/questions/__init__.py"
    lines = registry.read_text()
    for added, before in (
        ("    one_layer,\n", "    swap,\n"),
        ('    "one-layer": one_layer,\n', '}\n"""Every question'),
    ):
        assert added.strip() in text and lines.count(before) == 1
        lines = lines.replace(before, added + before)
    registry.write_text(lines)
    done = subprocess.run(
        [sys.executable, "-c", "from tests.end_to_end.test_every_question import run_small; run_small()",
         "study", "--preset", "full", "--questions", "one-layer", "--noise", "dropout",
         "--data", str(folder.resolve())],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path), "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "results" / "answers.json").read_text())
    assert {row["contrast"] for row in rows} == {"first - both", "second - both"}
    assert all(row["n_seeds"] == 3 and row["verdict"] != "not answered" for row in rows)
    page = (tmp_path / "results" / "report.md").read_text()
    assert "## Is dropout in one hidden layer enough?" in page
    assert (tmp_path / "results" / "figures" / "one-layer.svg").exists()
