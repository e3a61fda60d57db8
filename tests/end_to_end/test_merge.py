"""Two machines share a study: what each has trained is put together, and reads as one study."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from running import ROOT, Place, environment, kill, scores, wait_until

from analysis.store import reader

pytestmark = pytest.mark.slow

PRECISION = ("--precision", "float32")
HALF = """
import sys
from study.commands.cli import main
from study.tracking.writer import Tracker

half, log = int(sys.argv.pop(1)), Tracker.log_trial


def log_half(self, trial, networks, with_model=False):
    if int(trial.hash(self.setting, self.declaration.data["digest"]), 16) % 2 == half:
        log(self, trial, networks, with_model)


Tracker.log_trial = log_half
main()
"""
"""A study that keeps only every other trial, by its hash."""


@pytest.fixture(scope="module")
def undivided(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Place:
    place = Place(tmp_path_factory.mktemp("undivided"), folder)
    place.finish(*PRECISION)
    return place


def train_half(place: Place, half: int) -> None:
    (place.folder / "half.py").write_text(HALF)
    arguments = ["study", *place.arguments, *PRECISION, "--data", str(place.data.resolve())]
    done = subprocess.run(
        [sys.executable, "half.py", str(half), *arguments],
        cwd=place.folder, env=environment(place.uri), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture
def halves(tmp_path: Path, folder: Path) -> tuple[Place, Place]:
    """Two stores, each with every other trial; the second one was brought from elsewhere."""
    places = []
    for half, name in enumerate(("here", "there")):
        (tmp_path / name).mkdir()
        place = Place(tmp_path / name, folder)
        train_half(place, half)
        places.append(place)
    here, there = places
    there.folder.rename(tmp_path / "brought")
    return here, Place(tmp_path / "brought", folder)


def merging(target: Place, source: Place) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "study", "merge", "--from", source.uri],
        cwd=target.folder, env=environment(target.uri), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def merge(target: Place, source: Place) -> str:
    process = merging(target, source)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    return stdout.splitlines()[-1]


def has_more_than(place: Place, runs: int) -> bool:
    return place.count() > runs


def report(place: Place) -> None:
    subprocess.run(
        [sys.executable, "-m", "study", "report"],
        cwd=place.folder, env=environment(place.uri), check=True, capture_output=True,
    )  # fmt: skip


def test_two_halves_answer_as_one(halves: tuple[Place, Place], undivided: Place) -> None:
    """Killed twice while it merges; then the report, and the study, which trains nothing."""
    here, there = halves
    own = len(here.finished_trials())
    for pause in (0.0, 0.1):
        before, process = here.count(), merging(here, there)
        wait_until(partial(has_more_than, here, before + 1), process)
        time.sleep(pause)
        kill(process)
    assert " 0 trials brought" not in merge(here, there)
    assert len(here.finished_trials()) == own + len(there.finished_trials())
    report(here)
    here.check(undivided)
    assert ": 0 trials brought, " in merge(here, there)
    progress = here.finish(*PRECISION)
    assert "0 trials trained" in progress and "1 trial trained" not in progress
    here.check(undivided)


def test_all_of_a_node_without_a_network(undivided: Place, tmp_path: Path) -> None:
    """By `mlflow run`, into a store that does not exist yet."""
    here = Place(tmp_path, undivided.data)
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "run", str(ROOT), "-e", "merge", "--env-manager", "local",
         "--experiment-name", "dropout-study", "-P", f"from={undivided.uri}"],
        cwd=here.folder, capture_output=True, text=True, check=False,
        env=environment(here.uri, PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert scores(load(here)) == scores(load(undivided))
    report(here)
    here.check(undivided)
    pages = [place.folder / "results/figures/overview.svg" for place in (here, undivided)]
    assert pages[0].read_bytes() == pages[1].read_bytes()


def load(place: Place) -> reader.Study:
    import mlflow

    mlflow.set_tracking_uri(place.uri)
    return reader.load()
