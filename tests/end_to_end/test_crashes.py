"""Whatever happens to a study, the same command finishes it, with the numbers of an undisturbed
one."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from running import Place, kill, set_up, wait_until

pytestmark = pytest.mark.slow

HUNGRY = """
import os, signal
from models.noise import Noise, Rate, per_layer

class Hungry(Noise):
    rates = per_layer(Rate("nothing"))
    def hidden(self, layer, z, context):
        # As the kernel does to a process that takes too much memory.
        os.kill(os.getpid(), signal.SIGKILL)

class Greedy(Noise):
    rates = per_layer(Rate("nothing"))
    def hidden(self, layer, z, context):
        return z.new_empty(10**15)
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Place:
    place = Place(tmp_path_factory.mktemp("undisturbed"), folder)
    place.finish()
    return place


@pytest.fixture
def place(tmp_path: Path, folder: Path) -> Place:
    return Place(tmp_path, folder)


def rows(place: Place) -> int:
    """How many runs the database holds, asked without MLflow, so that no moment is missed."""
    try:
        with closing(
            sqlite3.connect(f"file:{place.folder / 'mlflow.db'}?mode=ro", uri=True)
        ) as database:
            return int(database.execute("select count(*) from runs").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.mark.parametrize("moment", range(10))
def test_a_killed_coordinator_loses_nothing(moment: int, place: Place, undisturbed: Place) -> None:
    """SIGKILL at a moment drawn at random between the first run and the last, often amid the
    logging of a trial."""
    draw = random.Random(f"coordinator {moment}")
    wanted, pause = draw.randrange(1, rows(undisturbed)), draw.random() * 0.05
    process = place.start()
    wait_until(lambda: rows(place) >= wanted, process, every=0.002)
    time.sleep(pause)
    kill(process)
    finished = place.finished_trials()
    place.finish()
    assert finished <= place.finished_trials(), "a finished trial was lost"
    place.check(undisturbed)


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The worker processes of a study."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    except psutil.NoSuchProcess:
        return []


@pytest.mark.parametrize("moment", range(5))
def test_a_killed_worker_is_replaced(moment: int, place: Place, undisturbed: Place) -> None:
    """The study ends by itself; its numbers are those of the one that was trained in one
    process."""
    draw = random.Random(f"worker {moment}")
    wanted, pause = draw.randrange(1, rows(undisturbed) * 2 // 3), draw.random() * 0.5
    process = place.start("--workers", "2")
    wait_until(lambda: rows(place) >= wanted, process)
    time.sleep(pause)
    draw.choice(workers(process)).kill()
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert "Traceback" not in stderr
    place.check(undisturbed)


def test_ctrl_c_with_workers(place: Place, undisturbed: Place) -> None:
    """The terminal sends it to all processes at once: exit 130, no process left behind, and the
    study goes on later."""
    process = place.start("--workers", "2")
    wait_until(lambda: rows(place) >= 8, process)
    children = workers(process)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "the same command goes on" in stderr and "Traceback" not in stderr
    assert not [
        child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE
    ]
    assert not [run for run in place.runs() if run.info.status == "RUNNING"]
    place.finish()
    place.check(undisturbed)


def test_a_locked_store_is_waited_for(place: Place, undisturbed: Place) -> None:
    process = place.start()
    wait_until(lambda: rows(place) >= 8, process)
    with closing(
        sqlite3.connect(place.folder / "mlflow.db", isolation_level=None, timeout=30)
    ) as database:
        database.execute("begin immediate")
        time.sleep(20)
        assert process.poll() is None
        database.execute("rollback")
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    place.check(undisturbed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MB."""
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(where)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield where
    subprocess.run(["umount", "--lazy", str(where)], check=True)


def test_a_full_disk_ends_the_study_and_loses_nothing(
    small_disk: Path, folder: Path, undisturbed: Place
) -> None:
    place = Place(small_disk, folder, more={"DROPOUT_STUDY_PATIENCE": "3"})
    process = place.start()
    wait_until(lambda: rows(place) >= 8, process)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 3, stderr
    assert "the same command goes on from them" in stderr and "Traceback" not in stderr
    filler.unlink()
    place.finish()
    place.check(undisturbed)


@pytest.mark.parametrize(
    ("kind", "told"), [("Hungry", "4 workers died of it"), ("Greedy", "out of memory")]
)
def test_a_trial_that_takes_too_much_memory_fails_alone(kind: str, told: str, place: Place) -> None:
    """Its trials are FAILED and never scored; every other is finished, and the answers without it
    stand."""
    (place.folder / "eats.py").write_text(HUNGRY)
    place.arguments = (
        *place.arguments[:2],
        "--noise",
        f"dropout,eats:{kind}",
        *place.arguments[4:],
    )
    place.more = {"PYTHONPATH": f"{Path(__file__).parents[2]}{os.pathsep}{place.folder}"}
    stderr = place.finish("--workers", "2", code=3)
    assert told in stderr
    trials = [run for run in place.runs() if run.data.tags["study.kind"] == "trial"]
    assert {run.info.status for run in trials if run.data.params["noise"] == f"eats:{kind}"} == {
        "FAILED"
    }
    assert {run.info.status for run in trials if run.data.params["noise"] != f"eats:{kind}"} == {
        "FINISHED"
    }
    assert {row["contrast"] for row in place.answers() if row["verdict"] != "not answered"} == {
        "dropout - none"
    }


def test_of_two_coordinators_one_at_most_goes_on(place: Place, undisturbed: Place) -> None:
    """Started at the same moment: neither misses the other, and a rerun finishes what they left."""
    set_up(place.uri).create_experiment("dropout-study")
    both = [place.start("--output", f"results{i}") for i in range(2)]
    told = [process.communicate(timeout=300)[1] for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) in ([0, 1], [1, 1]), told
    for code, stderr, number in zip(codes, told, range(2), strict=True):
        assert code == 0 or "is running this study already" in stderr
        assert code != 0 or place.answers(f"results{number}") == undisturbed.answers()
    place.finish()
    place.check(undisturbed)
