"""The data flows one way: the imports say so, and a module is short enough to be read aloud."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
MODULES = [
    path.relative_to(ROOT)
    for part in ("models", "study", "analysis")
    for path in sorted((ROOT / part).rglob("*.py"))
]


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    tree = ast.parse((ROOT / path).read_text())
    found = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def tops(modules: set[str]) -> set[str]:
    return {module.split(".")[0] for module in modules}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_follow_the_data(path: Path) -> None:
    used = imports(path)
    if path.parts[0] == "models":
        assert not tops(used) & {"mlflow", "optuna", "study", "analysis"}
    if path.parts[0] == "analysis":
        assert not tops(used) & {"torch", "torchvision", "models", "study"}
    if path == Path("analysis/schema.py"):
        assert not tops(used) & {"mlflow", "optuna", "torch", "models", "analysis", "study"}


def test_one_writer_and_one_reader() -> None:
    """In study, one module writes runs and one opens a study; in analysis, one reads and one knows the address.

    A model is logged and registered apart from the runs: that is another part of MLflow.
    """
    know = {str(path) for path in MODULES if "mlflow" in tops(imports(path))}
    assert know == {
        "study/tracking/writer.py",
        "study/tracking/lifecycle.py",
        "study/tracking/cleanup.py",
        "study/tracking/model.py",  # logs the winner with its seed run
        "study/tracking/model_registry.py",  # registers it
        "study/tracking/served_model.py",  # what is served; it writes nothing
        "study/commands/cli.py",  # for the type of its errors alone
        "study/tracking/retry.py",  # for the same
        "analysis/store/reader.py",
        "analysis/store/run_table.py",  # for the type of a run alone
        "analysis/store/uri.py",
    }


def test_optuna_proposes_in_one_place() -> None:
    know = {str(path) for path in MODULES if "optuna" in tops(imports(path))}
    assert know == {
        "study/search.py",
        "study/search_space.py",
        "analysis/plots/search.py",  # draws what was proposed
        "analysis/store/optuna_export.py",  # hands it to Optuna's own tools
    }


def test_what_is_served_needs_nothing_of_this_project() -> None:
    assert tops(imports(Path("study/tracking/served_model.py"))) == {"mlflow", "numpy", "typing"}


def test_versions_are_said_once() -> None:
    conda = yaml.safe_load((ROOT / "conda.yaml").read_text())
    assert conda["dependencies"][-1] == {"pip": ["-r requirements.txt"]}
    assert "requirements.txt" in (ROOT / "Makefile").read_text()
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        assert not line or line.startswith("#") or "==" in line
