"""Every command in folders of any name, with outputs, data and stores of any name."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from running import ROOT, SMALL, command, environment

NAMES = ("größe & co's 100% [x]", '-dash $HOME `x` a"b;d', "my%20project %41")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_command_works_in_a_folder_of_any_name(
    tmp_path: Path, folder: Path, name: str
) -> None:
    place = tmp_path / name
    place.mkdir()
    (place / f"data {name}").symlink_to(folder.resolve())
    variables = environment("")
    del variables["MLFLOW_TRACKING_URI"]  # MLflow's own default

    def run(*arguments: str, **more: str) -> str:
        done = subprocess.run(
            command(*arguments), cwd=place, env={**variables, **more}, capture_output=True, text=True, timeout=600
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    data = ("--data", f"data {name}")
    output = ("--output", f"out {name}")
    assert "will be made by the first study" in run("doctor", *data, *output)
    stdout = run("study", *SMALL, *data, *output)
    assert str(place / f"out {name}" / "index.html") in stdout
    assert (place / f"out {name}" / "index.html").exists() and (place / "mlflow.db").exists()
    command_of_ui = stdout.rpartition("(runs: ")[2].strip().removesuffix(")")
    assert len(shlex.split(command_of_ui)) == 4
    run("study", *SMALL, *data, *output)  # goes on from what is finished
    assert "is a store of MLflow's" in run("doctor", *data, *output)
    absolute = tmp_path / f"absolute {name}"
    run("report", "--output", str(absolute))
    assert (absolute / "answers.json").exists()
    run("report", *output, MLFLOW_TRACKING_URI="sqlite:///mlflow.db")
    run("export")
    assert (place / "search.db").exists()
    assert {path.name for path in tmp_path.iterdir()} == {name, absolute.name}


@pytest.mark.slow
def test_mlflow_run_works_in_a_folder_of_any_name(tmp_path: Path, folder: Path) -> None:
    """The project itself lies there, and the path of what it needs does not help."""
    place = tmp_path / NAMES[0]
    subprocess.run(["git", "clone", "-q", str(ROOT), str(place)], check=True)
    mlflow = [sys.executable, "-m", "mlflow", "run", ".", "-e", "study", "--env-manager", "local"]
    parameters = ("preset=smoke", "noise=dropout,gaussian", "questions=beat-dropout")
    done = subprocess.run(
        [*mlflow, *(f"-P{value}" for value in (*parameters, f"data={folder.resolve()}"))],
        cwd=place,
        env=environment("sqlite:///mlflow.db", PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin"),
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (place / "results" / "index.html").exists()
    assert {path.name for path in tmp_path.iterdir()} == {NAMES[0]}
