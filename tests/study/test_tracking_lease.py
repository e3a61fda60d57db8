"""The lease of a study: a fresh heartbeat is trusted, unless its process is provably gone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from study.tracking import lease
from study.tracking.lease import Heartbeat

LINUX = pytest.mark.skipif(not lease._boot(), reason="only Linux tells boot and process table")


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """Another process that lives until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def beat_of(pid: int) -> Heartbeat:
    """The heartbeat that a process of this machine writes now."""
    return Heartbeat.now()._replace(pid=pid, started=lease._start_of(pid) or "")


def test_a_heartbeat_comes_back_whole() -> None:
    beat = Heartbeat.now()
    assert Heartbeat.from_json(beat.to_json()) == beat


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1",
        "[1, 2]",
        "5",
        "{}",
        '{"host": "a", "pid": Infinity, "time": 1}',
        '{"host": "a", "pid": "x", "time": 1}',
    ],
)
def test_a_damaged_heartbeat_holds_nothing(text: str) -> None:
    assert Heartbeat.from_json(text) is None


@LINUX
def test_a_process_that_lives_holds_its_lease_however_silent(
    other: subprocess.Popen[bytes],
) -> None:
    beat = beat_of(other.pid)
    assert beat.is_held()
    assert beat._replace(time=time.time() - 24 * 3600).is_held()


@LINUX
def test_a_killed_process_has_lost_its_lease_at_once(other: subprocess.Popen[bytes]) -> None:
    beat = beat_of(other.pid)
    other.kill()
    deadline = time.monotonic() + 10
    while lease._start_of(other.pid) and time.monotonic() < deadline:
        time.sleep(0.01)  # it stays a zombie until somebody waits for it
    assert not beat.is_held()


@LINUX
def test_a_number_that_is_another_process_by_now_holds_nothing() -> None:
    assert not beat_of(os.getppid())._replace(started="1").is_held()


@LINUX
def test_a_process_of_another_user_that_proc_hides_is_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As under hidepid, simulated."""

    def not_permitted(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(lease, "_start_of", lambda pid: None)
    beat = Heartbeat.now()._replace(pid=2**22 + 1, started="5")
    assert not beat.is_held()
    monkeypatch.setattr(lease.os, "kill", not_permitted)
    assert beat.is_held()
    assert not beat._replace(time=time.time() - beat.silent - 10).is_held()


def test_one_does_not_hold_the_lease_against_oneself() -> None:
    if lease._boot():
        assert not Heartbeat.now().is_held()


@pytest.mark.parametrize("boot", ["", "another boot pid:[1]"])
def test_elsewhere_a_heartbeat_is_trusted_until_it_runs_out(boot: str) -> None:
    """Another machine, another container of the same host name, a heartbeat of older code."""
    beat = Heartbeat.now()._replace(boot=boot, pid=2**22 + 1, started="")
    assert beat.is_held()
    assert beat._replace(time=time.time() - beat.silent + 10).is_held()
    assert not beat._replace(time=time.time() - beat.silent - 10).is_held()
    assert not beat._replace(time=time.time() + 24 * 3600).is_held()  # a clock that is ahead


def test_the_heartbeat_of_older_code_is_understood() -> None:
    text = f'{{"host": "a", "pid": 7, "started": 1.5, "time": {time.time()}, "silent": 240.0}}'
    beat = Heartbeat.from_json(text)
    assert beat is not None and beat.is_held()


@LINUX
def test_a_study_in_another_container_of_the_same_host_name_is_trusted() -> None:
    """A real second table of processes, in which this process's number means another one."""
    code = "from study.tracking.lease import Heartbeat; print(Heartbeat.now().to_json(), flush=True); input()"
    command = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]  # fmt: skip
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    text = process.stdout.readline()
    try:
        if not text:
            pytest.skip("this system lets nobody make a table of processes")
        beat = Heartbeat.from_json(text)
        assert beat is not None and beat.host == Heartbeat.now().host
        assert beat.boot != lease._boot()
        assert beat.is_held()
    finally:
        process.kill()
        process.communicate()
