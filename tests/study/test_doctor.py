"""`doctor` finds what stands in a study's way, names that and nothing else, and changes nothing."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import sys
import urllib.request
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import mlflow
import pytest
import synthetic
import torch

from models import download
from models.download import FILES
from study.commands import doctor
from study.commands.cli import main

CHECKS = ["python", "packages", "torch", "device", "data", "store", "output", "cluster"]


class Told(NamedTuple):
    """What doctor said of each check, and its exit code."""

    code: int
    good: list[str]
    bad: dict[str, str]


Examine = Callable[..., Told]


def contents(folder: Path) -> dict[Path, bytes]:
    """Of all files, but for SQLite's own notes of who reads."""
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".db-shm"
    }


@pytest.fixture
def examine(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path, folder: Path
) -> Examine:
    """Runs doctor in a fresh folder with the real data and no store yet; checks that it leaves
    nothing behind."""
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri("sqlite:///mlflow.db")

    def run(*arguments: str) -> Told:
        before = contents(tmp_path)
        where = () if "--data" in arguments else ("--data", str(folder))
        monkeypatch.setattr(sys, "argv", ["study", "doctor", *where, *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert not err
        assert contents(tmp_path) == before
        told = [line.split(maxsplit=2) for line in out.splitlines()]
        assert [check for _, check, _ in told] == CHECKS
        good = [check for word, check, _ in told if word == "ok"]
        bad = {check: found for word, check, found in told if word == "FAIL"}
        assert len(good) + len(bad) == len(CHECKS)
        return Told(int(ended.value.code or 0), good, bad)

    return run


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_sound_set_up(examine: Examine) -> None:
    assert examine() == (0, CHECKS, {})


def test_a_store_that_has_studies(examine: Examine, tmp_path: Path) -> None:
    synthetic.use_store(tmp_path)
    synthetic.Writer(synthetic.declaration()).end()
    assert examine() == (0, CHECKS, {})


def only(told: Told, check: str, *words: str) -> None:
    """That check fails and no other, and says these words."""
    assert told.code == 1
    assert list(told.bad) == [check], told
    for word in words:
        assert word in told.bad[check]


def test_no_data_and_no_source(
    examine: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_internet(*arguments: object, **settings: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", no_internet)
    monkeypatch.setitem(
        download.PROBES,
        "Debian's package",
        lambda dataset: download.read_own(tmp_path / "no-package"),
    )
    only(
        examine("--data", "new"),
        "data",
        "fashion-mnist cannot be had",
        "connect to the internet",
        "apt-get install",
    )


def test_data_that_can_be_had(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PROBES", {"somewhere": lambda dataset: None})
    assert examine("--data", "new") == (0, CHECKS, {})


def test_a_damaged_data_file(examine: Examine, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "fashion-mnist", tmp_path / "data" / "fashion-mnist")
    damaged = next((tmp_path / "data" / "fashion-mnist").glob(f"{FILES[3]}*"))
    damaged.write_bytes(damaged.read_bytes()[:-100])
    only(examine("--data", "data"), "data", FILES[3], "delete the file to have it fetched again")


def test_files_of_ones_own_that_are_not_there(examine: Examine) -> None:
    only(examine("--dataset", "path:letters"), "data", "path:letters: there is no such folder")


def test_a_store_that_is_no_database(examine: Examine, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text(
        "This is no database, but it is as long as the header of one would be." * 20
    )
    only(
        examine(),
        "store",
        "file is not a database",
        "move it out of the way",
        "MLFLOW_TRACKING_URI",
    )


def test_a_store_that_is_another_programs(examine: Examine, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("create table recipes (name text)")
    database.close()
    only(examine(), "store", "something else than MLflow", "MLFLOW_TRACKING_URI")


def test_a_store_of_another_version(examine: Examine, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.executescript(
            "create table experiments (name text); create table alembic_version (version_num text);"
            "insert into alembic_version values ('0123456789ab')"
        )
    database.close()
    only(examine(), "store", "another version of MLflow", "mlflow db upgrade")


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.HTTPWarning")
def test_a_store_that_does_not_answer(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    port = free_port()
    mlflow.set_tracking_uri(f"http://user:secret@127.0.0.1:{port}")
    told = examine()
    only(told, "store", f"http://127.0.0.1:{port} does not answer", "mlflow server")
    assert "secret" not in told.bad["store"]


def test_a_store_whose_folder_is_not_there(examine: Examine) -> None:
    mlflow.set_tracking_uri("sqlite:///nowhere/mlflow.db")
    only(
        examine(),
        "store",
        "cannot be written to (No such file or directory)",
        "MLFLOW_TRACKING_URI",
    )


def test_an_output_folder_that_cannot_be_written(examine: Examine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")  # root may write to any folder
    only(
        examine("--output", "file/results"),
        "output",
        "cannot write to the output folder file/results",
        "--output",
    )


def test_a_scheduler_that_does_not_answer(
    examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from study.executors import dask_cluster

    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 1)
    address = f"tcp://127.0.0.1:{free_port()}"
    only(
        examine("--scheduler", address),
        "cluster",
        f"no Dask scheduler answers at {address}",
        "dask scheduler",
    )


def test_packages_of_other_versions(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is older, and one that is missing; a tool that only developers need is not asked
    for."""
    version = metadata.version

    def other(name: str) -> str:
        if name in ("optuna", "pytest"):
            raise metadata.PackageNotFoundError(name)
        return "1.0" if name == "mlflow" else version(name)

    monkeypatch.setattr(metadata, "version", other)
    only(
        examine(),
        "packages",
        "optuna 5.0.0 is missing, mlflow is 1.0, not 3.",
        "pip install -r requirements.txt",
    )


def test_a_python_that_is_too_old(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PYTHON", (3, 99))
    only(examine(), "python", "is older than 3.99")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is such a device here")
def test_a_device_that_is_not_there(examine: Examine) -> None:
    only(
        examine("--device", "cuda"),
        "device",
        "device cuda is not available here: choose auto or cpu",
    )


def test_a_torch_that_reckons_wrong(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "ones", torch.zeros)
    assert set(examine().bad) == {"torch", "device"}
