"""What comes from outside is data: it is not run, not unpickled, and reaches no shell; servers
listen at home."""

from __future__ import annotations

import ast
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from click.testing import CliRunner
from mlflow.projects._project_spec import load_project

from study.commands.cli import cli
from study.executors import open_executor

ROOT = Path(__file__).parents[1]
MODULES = [
    path.relative_to(ROOT)
    for part in ("models", "study", "analysis")
    for path in sorted((ROOT / part).rglob("*.py"))
]
UNPICKLERS = {
    "pickle",
    "_pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "jsonpickle",
}
RUNNERS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "system",
    "popen",
    "execfile",
    "run_path",
    "run_module",
}
LOADERS = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
    "pd.read_pickle": ("", None),
    "yaml.load": ("", None),
    "yaml.unsafe_load": ("", None),
    "yaml.full_load": ("", None),
}
"""What can run code when it loads a file -> the argument, and its value, by which it does not."""


def unsafe(source: str) -> Iterator[str]:
    """What of a module's source runs, unpickles or hands to a shell what it is given."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
            )
            yield from (f"import {name}" for name in names if name.partition(".")[0] in UNPICKLERS)
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        owner, _, name = called.rpartition(".")
        given = {one.arg: ast.unparse(one.value) for one in node.keywords}
        if name in RUNNERS and owner in ("", "os", "runpy", "builtins"):
            yield called
        if called.endswith("load_model") or given.get("shell", "False") != "False":
            yield called
        if called in LOADERS:
            argument, safe = LOADERS[called]
            if given.get(argument) != str(safe):
                yield f"{called} without {argument}={safe}"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_module_runs_or_unpickles_what_it_is_given(path: Path) -> None:
    assert list(unsafe((ROOT / path).read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from joblib import load", "import torch\ntorch.load(f)", "torch.load(f, weights_only=False)",
        "np.load(f)", "np.load(f, allow_pickle=True)", "yaml.load(f)", "eval('1')", "exec(x)", "os.system(x)",
        "os.popen(x)", "subprocess.run(x, shell=True)", "mlflow.pyfunc.load_model(x)", "pd.read_pickle(x)",
    ],
)  # fmt: skip
def test_what_is_unsafe_is_found(source: str) -> None:
    assert list(unsafe(source))
    assert not list(
        unsafe(
            "network.eval()\nre.compile('x')\ntorch.load(f, weights_only=True)\nyaml.safe_load(f)"
        )
    )


HOSTILE = [
    "$(touch x)", "`touch x`", "; touch x", "| touch x", "&& touch x", "> x", "'; touch x; '", '"; touch x; "', "\\",
    "a b", "*", "~", "${HOME}", "!1", "{data}", "{0.__class__}", "%s", "\n touch x", "-P", "--help", "", "größe 📁",
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", ["main", "study", "plan", "report", "merge"])
def test_the_command_that_mlflow_builds_hands_a_value_over_as_it_is(name: str, value: str) -> None:
    """By MLflow's own code; the command is what it gives to bash."""
    entry_point = load_project(str(ROOT)).get_entry_point(name)
    declared = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"][name]["parameters"]
    for parameter in declared:
        words = shlex.split(entry_point.compute_command({parameter: value}, None), posix=True)
        option = "--" + parameter.replace("_", "-")
        assert words[:3] == ["python", "-m", "study"]
        assert words[words.index(option) + 1] == value
        assert len(words) == 4 + 2 * len(declared)
    unknown = shlex.split(entry_point.compute_command({value: value}, None))
    assert unknown[-2:] == [f"--{value}", value]


def test_bash_reads_that_command_as_shlex_does() -> None:
    """Every hostile value in one command, whose program tells its arguments."""
    command = " ".join(shlex.quote(value) for value in (r"%s\0", *HOSTILE))
    told = subprocess.run(
        ["bash", "-c", f"printf {command}"], capture_output=True, text=True, check=True
    ).stdout
    assert told.split("\0")[:-1] == HOSTILE


def test_the_ui_is_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """It listens to nobody else, and the store's address, with its password, is no argument."""
    executed: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda path, arguments: executed.append(arguments))
    monkeypatch.setattr("analysis.store.uri.check_address", lambda: None)
    monkeypatch.setattr("analysis.store.uri.settle_address", lambda: "postgresql://me:pw@db/x")
    monkeypatch.setattr("analysis.store.whereabouts.newest_study", lambda: "")
    for name in ("MLFLOW_BACKEND_STORE_URI", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"):
        monkeypatch.setenv(name, "")
    told = CliRunner().invoke(cli, ["ui", "--port", "5001"]).output
    ((*_, host, address, port, number, _, _),) = executed
    assert (host, address, port, number) == ("--host", "127.0.0.1", "--port", "5001")
    assert "pw" not in f"{executed} {told}"
    assert os.environ["MLFLOW_BACKEND_STORE_URI"] == "postgresql://me:pw@db/x"


def test_nothing_here_names_an_address_of_all_interfaces() -> None:
    for path in [*MODULES, Path("Makefile"), Path("MLproject")]:
        assert "0.0.0.0" not in (ROOT / path).read_text(), path


@pytest.mark.slow
def test_worker_processes_open_no_port() -> None:
    def listening() -> set[tuple[str, int]]:
        family = (process, *process.children(recursive=True))
        there = [one for member in family for one in member.net_connections("inet")]
        return {(one.laddr.ip, one.laddr.port) for one in there if one.status == psutil.CONN_LISTEN}

    process = psutil.Process()
    before = listening()
    with open_executor("cpu", lambda epochs: None, workers=1):
        assert len(process.children()) >= 1
        assert listening() == before
