"""The house rules: imports point one way, without a circle, and nothing happens at import."""

from __future__ import annotations

import ast
import shutil
import subprocess
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PACKAGES = ("models", "analysis", "study")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

CLOSED = {
    "models": {"analysis", "study", "mlflow", "optuna", "click"},
    "analysis": {"models", "study", "torch", "torchvision", "click"},
    "study": set(),
}
"""Package -> what no module of it may import."""

OPEN_ONLY_TO = {
    "mlflow": ("study/tracking/", "analysis/store/"),
    "click": ("study/commands/",),
    "optuna": ("study/search.py", "study/search_space.py", "analysis/store/"),
}
"""Library -> the only places that may import it: one writer, one reader, one command line."""

COMMANDS = ("study/commands/", "study/__main__.py")

AT_IMPORT = {"environ", "getenv", "putenv", "monotonic", "perf_counter", "process_time"}
"""Names that a module may use in its functions alone."""


def name_of(path: Path) -> str:
    """Return the dotted name of a module."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def imported(source: str) -> set[str]:
    """Return every module that a source imports, wherever in it, by its dotted name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            package = node.module or ""
            names |= {
                full if (full := f"{package}.{alias.name}") in NAMES else package
                for alias in node.names
            }
    return names


def misplaced_imports(path: str, source: str) -> set[str]:
    """Return a module's forbidden imports; `path` is relative to the root."""
    package = path.partition("/")[0]
    wrong = set()
    for name in imported(source):
        top = name.partition(".")[0]
        if top in CLOSED[package]:
            wrong.add(name)
        if top in OPEN_ONLY_TO and not path.startswith(OPEN_ONLY_TO[top]):
            wrong.add(name)
        if path == "analysis/schema.py" and top in PACKAGES:
            wrong.add(name)
        below_commands = path.startswith("study/") and not path.startswith(COMMANDS)
        if name.startswith("study.commands") and below_commands:
            wrong.add(name)
    return wrong


def used_at_import(source: str) -> set[str]:
    """Return the names of AT_IMPORT that a source uses outside of functions."""
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Attribute | ast.Name):
            names.add(node.attr if isinstance(node, ast.Attribute) else node.id)
        waiting.extend(ast.iter_child_nodes(node))
    return names & AT_IMPORT


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of a circle of imports; none where there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_what_its_place_allows(path: Path) -> None:
    assert not misplaced_imports(path.relative_to(ROOT).as_posix(), path.read_text())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_happens_at_import(path: Path) -> None:
    assert not used_at_import(path.read_text())


def test_no_circle_of_imports() -> None:
    graph = {name_of(path): imported(path.read_text()) & NAMES for path in MODULES}
    assert circle(graph) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("analysis/stats/paired.py", "def f():\n    from study.presets import PRESETS"),
        ("analysis/store/reader.py", "import models.config"),
        ("analysis/questions/swap.py", "import torch.nn"),
        ("analysis/report/page.py", "from mlflow import MlflowClient"),
        ("analysis/schema.py", "from analysis import formatting"),
        ("models/train.py", "from analysis import schema"),
        ("models/noise/dropout.py", "import study.trial"),
        ("study/runner.py", "import click"),
        ("study/runner.py", "import mlflow"),
        ("study/trial.py", "from study.commands import progress"),
    ],
)
def test_a_misplaced_import_is_found(path: str, source: str) -> None:
    assert misplaced_imports(path, source)


def test_what_happens_at_import_is_found() -> None:
    assert used_at_import("import os\nPATIENCE = os.environ.get('A')") == {"environ"}
    assert used_at_import("import time\nclass A:\n    start = time.monotonic()") == {"monotonic"}
    assert not used_at_import("import os\ndef patience():\n    return os.environ.get('A')")


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})
    assert not circle({"a": {"b", "c"}, "b": {"c"}})


def test_no_folder_is_crowded() -> None:
    """A dozen modules at most, so that a folder is taken in at a glance; noise types apart."""
    for folder in {path.parent for path in MODULES}:
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= 12 or folder == ROOT / "models" / "noise", folder


def test_every_package_says_what_lives_there() -> None:
    for path in MODULES:
        if path.name == "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text())), path


def test_the_served_model_needs_nothing_of_this_project() -> None:
    source = (ROOT / "study/tracking/served_model.py").read_text()
    tops = {name.partition(".")[0] for name in imported(source)}
    assert not tops & {*PACKAGES, "torch"}


def test_versions_are_said_once() -> None:
    conda = yaml.safe_load((ROOT / "conda.yaml").read_text())
    assert conda["dependencies"][-1] == {"pip": ["-r requirements.txt"]}
    assert "requirements.txt" in (ROOT / "Makefile").read_text()
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        assert not line or line.startswith("#") or "==" in line


def test_make_looks_for_no_command_on_the_path() -> None:
    """macOS's make 3.81 runs plain lines by the user's own PATH, not by the one exported here.

    Simulated: what make would run, where nothing but make itself is on the path.
    """
    targets = ["study", "plan", "doctor", "report", "test", "test-all", "docs"]
    done = subprocess.run(
        [str(shutil.which("make")), "-n", "-o", ".venv/installed", *targets],
        cwd=ROOT, env={"PATH": "/nonexistent"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) >= len(targets)
    assert [line for line in lines if not line.startswith(".venv/bin/")] == []
