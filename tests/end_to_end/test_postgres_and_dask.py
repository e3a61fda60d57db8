"""A tracking server on Postgres and a Dask cluster, real ones on loopback: the numbers are those of
one process."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import mlflow
import psycopg
import pytest
from running import SMALL, Place, environment, wait_until

from analysis.store import reader
from study import devices

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OTHER = ("--preset", "smoke", "--noise", "dropout,uniform", "--questions", "beat-dropout")
AS_HERE = ("--precision", devices.pick_precision("auto", "cpu"))
"""What a study without a cluster takes."""
OWNER = "postgres"
"""Postgres refuses to run as root: then it runs as the user that its Debian package makes."""


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


@contextmanager
def running(*arguments: str, log: Path, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server for the length of a test, in a process group of its own."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            arguments, stdout=file, stderr=file, env=environment("", **more), start_new_session=True
        )
    try:
        yield process
    finally:
        try:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def answers_at(port: int, path: str = "") -> bool:
    try:
        if not path:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def wait_for(port: int, log: Path, path: str = "", seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not answers_at(port, path):
        if time.monotonic() > end:
            pytest.fail(f"nothing answers at port {port}: {log.read_text()[-2000:]}")
        time.sleep(0.3)


def postgres_programs() -> Path | None:
    """The folder of Debian's Postgres programs, or that of those on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a fresh Postgres on loopback."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("Postgres is not installed: apt-get install postgresql")
    place = tmp_path_factory.mktemp("postgres")
    base, port, log = place / "base", free_port(), place / "log"
    user: tuple[str, ...] = ()
    if os.geteuid() == 0:
        user = ("runuser", "-u", OWNER, "--")
        shutil.chown(place, OWNER)
        for parent in place.parents:  # pytest's folders are closed to others
            if parent == Path(parent.anchor):
                break
            if not parent.stat().st_mode & 1:
                parent.chmod(parent.stat().st_mode | 0o011)
    made = [
        *user,
        str(programs / "initdb"),
        "-D",
        str(base),
        "-U",
        "study",
        "--auth",
        "trust",
        "--no-sync",
    ]
    subprocess.run(made, check=True, capture_output=True)
    log.touch()
    with running(
        *user, str(programs / "postgres"), "-D", str(base), "-p", str(port), "-k", str(place),
        "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", log=log,
    ):  # fmt: skip
        wait_for(port, log)
        address = f"postgresql://study@127.0.0.1:{port}/"
        for _ in range(50):
            try:
                connection = psycopg.connect(address + "postgres", autocommit=True)
                break
            except psycopg.OperationalError:  # it is still starting
                time.sleep(0.2)
        connection.execute("create database mlflow")
        connection.close()
        yield address + "mlflow"


class Server:
    """`mlflow server` on Postgres, artifacts through it; can be stopped and started again at the
    same address."""

    def __init__(self, store: str, place: Path) -> None:
        self.store, self.place, self.port = store, place, free_port()
        self._open = ExitStack()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        log = self.place / "server.log"
        self._open.enter_context(
            running(
                sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.store,
                "--artifacts-destination", str(self.place / "artifacts"), "--host", "127.0.0.1",
                "--port", str(self.port), "--workers", "1", log=log,
            )
        )  # fmt: skip
        wait_for(self.port, log, "/health")

    def stop(self) -> None:
        self._open.close()


@pytest.fixture(scope="module")
def server(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(postgres, tmp_path_factory.mktemp("server"))
    one.start()
    yield one
    one.stop()


class Cluster(NamedTuple):
    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A Dask scheduler and two workers, as docs/teams.md starts them."""
    port, log = free_port(), tmp_path / "dask.log"
    dask = (sys.executable, "-m", "dask")
    address = f"tcp://127.0.0.1:{port}"
    with ExitStack() as stack:
        scheduler = stack.enter_context(
            running(
                *dask,
                "scheduler",
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
                "--no-dashboard",
                log=log,
            )
        )
        wait_for(port, log)
        workers = [
            stack.enter_context(
                running(*dask, "worker", address, "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1",
                        "--local-directory", str(tmp_path), "--no-nanny", log=log)
            )
            for _ in range(2)
        ]  # fmt: skip
        yield Cluster(address, scheduler, workers)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Place:
    """The same study in one process, into a database file."""
    place = Place(tmp_path_factory.mktemp("alone"), folder)
    place.finish()
    return place


def study_there(
    server: Server, where: Path, folder: Path, experiment: str, small: tuple[str, ...] = SMALL
) -> Place:
    return Place(
        where, folder, server.uri, (*small, "--experiment", experiment), experiment=experiment
    )


def test_a_cluster_that_loses_a_worker_gives_the_numbers_of_one_process(
    server: Server, cluster: Cluster, tmp_path: Path, folder: Path, alone: Place
) -> None:
    place = study_there(server, tmp_path, folder, "cluster")
    process = place.start("--scheduler", cluster.address, *AS_HERE)
    wait_until(lambda: place.count() >= 8, process, every=0.5)
    os.killpg(cluster.workers[0].pid, signal.SIGKILL)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert "Traceback" not in stderr and "Warning" not in stderr
    place.check(alone)


def test_two_coordinators_of_different_studies_write_at_once(
    server: Server, tmp_path: Path, folder: Path, alone: Place
) -> None:
    """Into one experiment of one server: each report has its own runs alone."""
    places = [
        study_there(server, tmp_path / str(i), folder, "both", small)
        for i, small in enumerate((SMALL, OTHER))
    ]
    for place in places:
        place.folder.mkdir()
    processes = [place.start() for place in places]
    for process in processes:
        _, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stderr
    assert places[0].answers() == alone.answers()
    contrasts = {row["contrast"] for row in places[1].answers()}
    assert contrasts == {"dropout - none", "uniform - dropout", "uniform - none"}
    assert not [run for run in places[0].runs() if run.info.status == "RUNNING"]


def test_a_server_that_is_away_for_a_while_is_waited_for(
    server: Server, tmp_path: Path, folder: Path, alone: Place
) -> None:
    place = study_there(server, tmp_path, folder, "away")
    process = place.start()
    wait_until(lambda: place.count() >= 8, process, every=0.5)
    server.stop()
    time.sleep(8)
    server.start()
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    place.check(alone)


def test_a_server_that_stays_away_ends_the_study_and_loses_nothing(
    server: Server, tmp_path: Path, folder: Path, alone: Place
) -> None:
    place = study_there(server, tmp_path, folder, "gone")
    place.more = {"DROPOUT_STUDY_PATIENCE": "4", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    process = place.start()
    wait_until(lambda: place.count() >= 8, process, every=0.5)
    server.stop()
    _, stderr = process.communicate(timeout=300)
    server.start()
    assert process.returncode == 3, stderr
    assert "the same command goes on from them" in stderr and "Traceback" not in stderr
    finished = place.finished_trials()
    place.finish()
    assert finished and finished <= place.finished_trials()
    place.check(alone)


def test_a_scheduler_that_goes_away_ends_the_study_and_loses_nothing(
    cluster: Cluster, tmp_path: Path, folder: Path, alone: Place
) -> None:
    where = tmp_path / "study"
    where.mkdir()
    place = Place(where, folder)
    process = place.start("--scheduler", cluster.address, *AS_HERE)
    wait_until(lambda: place.count() >= 8, process, every=0.5)
    os.killpg(cluster.scheduler.pid, signal.SIGKILL)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 3, stderr
    assert "the cluster is gone" in stderr and "Traceback" not in stderr
    finished = place.finished_trials()
    place.finish()
    assert finished and finished <= place.finished_trials()
    place.check(alone)


def test_workers_of_other_code_are_refused(cluster: Cluster, tmp_path: Path, folder: Path) -> None:
    where = tmp_path / "study"
    where.mkdir()
    place = Place(where, folder)
    (where / "newer.py").write_text("from analysis import schema\nschema.CODE_VERSION += 1\n")
    (where / "sitecustomize.py").write_text("import newer\n")
    place.more = {"PYTHONPATH": f"{where}{os.pathsep}{ROOT}"}
    stderr = place.finish("--scheduler", cluster.address, code=1)
    assert "a worker cannot take part: it has code of the versions" in stderr
    mlflow.set_tracking_uri(place.uri)
    assert reader.load().table.empty
