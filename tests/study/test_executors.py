"""What a batch and a worker do where something is wrong: the failure is told in a line, and nothing
else is lost."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import connection
from types import SimpleNamespace

import pytest
import torch

from analysis import schema
from models.config import Arm, Recipe
from models.data import DataError, Split
from models.train import Trained
from study import signals
from study import worker as work
from study.executors import ClusterError, open_executor, processes
from study.executors.threads import in_process
from study.tracking.retry import CutShort
from study.trial import Setting, Trial

OPEN = connection.Pipe()
"""Of a coordinator that lives as long as these tests."""
RECIPE = Recipe("short", epochs=1)
TRIAL = Trial(Arm("dropout", 0.2, 0.2, 0.0, RECIPE), (1, 2), schema.SEARCH)
SETTING = Setting("fashion-mnist", "nowhere", "cpu")


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[list[Trained]]:
    """A batch that is trained where training raises this."""

    def fails(*arguments: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(work, "load_split", lambda setting: None)
    monkeypatch.setattr(work, "train_networks", fails)
    return work.train_batch([TRIAL], SETTING)


def error_of_torch() -> Exception:
    """What this machine's torch raises for what no machine has."""
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        torch.empty(10**15)
    return raised.value


@pytest.mark.parametrize(
    "error",
    [
        error_of_torch(),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4000 bytes."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("std::bad_alloc"),
    ],
    ids=["here", "python", "windows", "linux", "c++"],
)
def test_a_registered_type_that_runs_out_of_memory_fails_alone(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    [networks] = failing(monkeypatch, error)
    assert {network.error for network in networks} == {"out of memory while dropout was trained"}


def test_what_is_a_bug_of_ours_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        failing(monkeypatch, RuntimeError("shapes do not match"))


def nothing(network_epochs: float) -> None:
    """Nobody asks how far it is."""


class Fake:
    """A worker process that is none."""

    asked = Counter[str]()
    index = 0

    def __init__(self, index: int, gpus: int) -> None:
        """It starts nothing."""

    def train(self, *arguments: object) -> list[list[Trained]]:
        self.asked["train"] += 1
        raise BrokenProcessPool

    def kill(self) -> None:
        self.asked["kill"] += 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    monkeypatch.setattr(processes, "Worker", Fake)
    Fake.asked = Counter()
    return Fake


def in_a_worker(setting: Setting = SETTING, trial: Trial = TRIAL) -> object:
    """What a worker does of a batch, in this process; all that the study asks of it is had here."""
    return work.train_in_worker([trial], setting, True, work.versions(TRIAL))


def test_a_worker_with_other_data_takes_no_part(
    monkeypatch: pytest.MonkeyPatch, small: Split
) -> None:
    """Another data set may be had by the same name: a folder of one's own has no digest that is
    known beforehand."""
    monkeypatch.setattr(work, "load_split", lambda setting: small)
    monkeypatch.setattr(work, "train_batch", lambda *arguments: "trained")
    assert in_a_worker(replace(SETTING, digest=small.digest)) == "trained"
    with pytest.raises(
        work.WorkerDiffers,
        match=f"other data of the name fashion-mnist .digest {small.digest}, the",
    ):
        in_a_worker(replace(SETTING, digest="0123456789abcdef"))
    assert replace(SETTING, digest="0123456789abcdef") == SETTING  # the data is still read once


def test_a_worker_whose_type_has_other_rates_takes_no_part() -> None:
    """Compositions came to have a third rate, and the code's version stayed."""
    version, plugged_in, rates = work.versions(TRIAL)
    for expected in ((version, plugged_in), (version, plugged_in, rates + 1)):
        with pytest.raises(work.WorkerDiffers, match="it has code of the versions"):
            work.train_in_worker([TRIAL], SETTING, True, expected)  # type: ignore[arg-type]


def test_a_worker_without_the_device_takes_no_part() -> None:
    setting = replace(SETTING, device="mps")
    with pytest.raises(work.WorkerDiffers, match="it has no device mps"):
        work.train_in_worker([TRIAL], setting, True, work.versions(TRIAL))


def test_workers_start_where_signals_have_no_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, simulated: it has neither masks nor a signal of the terminal's end."""
    monkeypatch.setattr(processes, "signal", SimpleNamespace(SIGINT=signal.SIGINT))
    processes._keep_from_ctrl_c()


def test_a_worker_without_the_type_takes_no_part() -> None:
    lost = replace(TRIAL, arm=replace(TRIAL.arm, noise="dropout"))
    object.__setattr__(lost.arm, "noise", "nowhere:Blink")  # as it comes by pickle
    with pytest.raises(
        work.WorkerDiffers, match="it lacks the noise type nowhere:Blink .*no module nowhere"
    ):
        in_a_worker(trial=lost)


@pytest.mark.parametrize(
    "error",
    [work.WorkerDiffers("other\ncode"), ImportError("other\ncode"), DataError("\nother\ncode")],
    ids=lambda error: type(error).__name__,
)
def test_a_worker_process_that_cannot_take_part_is_told_in_a_line(
    fake: type[Fake], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def train(worker: Fake, *arguments: object) -> None:
        raise error

    monkeypatch.setattr(fake, "train", train)
    told = "a worker cannot take part: other; leave code and data as they are while a study runs; finished trials are"
    with (
        pytest.raises(ClusterError, match=told),
        open_executor("cpu", nothing, workers=1) as workers,
    ):
        list(workers.train([[TRIAL]], SETTING))


def dies(worker: Fake, index: int = 0, gpus: int = 0) -> None:
    """As one that the kernel ends while it imports torch."""
    worker.asked["start"] += 1
    raise BrokenProcessPool


def test_workers_that_die_while_they_start_are_told_in_a_line(
    fake: type[Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "__init__", dies)
    with (
        pytest.raises(ClusterError, match="4 worker processes died while they started"),
        open_executor("cpu", nothing, workers=1),
    ):
        pass
    assert fake.asked["start"] == processes.TRIES


def test_a_replacement_that_dies_while_it_starts_has_successors(
    fake: type[Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_executor("cpu", nothing, workers=1) as workers:
        outcomes = iter(
            [
                dies,
                dies,
                lambda worker: None,
                lambda worker: None,
                lambda worker: None,
                lambda worker: None,
            ]
        )
        monkeypatch.setattr(fake, "__init__", lambda worker, index, gpus: next(outcomes)(worker))
        [(_, [networks])] = workers.train([[TRIAL]], SETTING)
    assert {network.error for network in networks} == {"given up: 4 workers died of it"}
    assert fake.asked["start"] == 2 and fake.asked["train"] == processes.TRIES


@pytest.mark.parametrize(("device", "gpus", "taken"), [("cuda", 3, [0, 1, 2]), ("cpu", 3, [])])
def test_each_worker_takes_a_gpu_of_its_own(
    fake: type[Fake], monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, taken: list[int]
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", seen.append)
    coordinator = SimpleNamespace(sentinel=OPEN[0])
    monkeypatch.setattr(processes, "parent_process", lambda: coordinator)
    monkeypatch.setattr(fake, "__init__", lambda worker, *place: processes._begin(*place))
    with open_executor(device, nothing, workers=3):
        assert sorted(seen) == taken


def test_more_workers_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with (
        pytest.raises(ClusterError, match="2 GPUs for 3 workers: ask for fewer"),
        open_executor("cuda", nothing, workers=3),
    ):
        pass


def test_ctrl_c_while_workers_start_is_remembered(
    fake: type[Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(worker: Fake, index: int, gpus: int) -> None:
        assert signal.SIGINT in signal.pthread_sigmask(
            signal.SIG_BLOCK, ()
        )  # which its process inherits
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(fake, "__init__", start)
    with signals.remembered(), open_executor("cpu", nothing, workers=1):
        time.sleep(0.01)
        with pytest.raises(KeyboardInterrupt):
            signals.check()


@pytest.fixture
def hangup() -> Iterator[Callable[[], None]]:
    """Sends this process what one gets whose terminal is gone; its handler is put back."""

    def send() -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        time.sleep(0.01)

    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    yield send
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_terminal_that_is_gone_stops_a_study_as_ctrl_c_does(hangup: Callable[[], None]) -> None:
    """The shell and the system each send one: the second does not cut a trial's logging in two."""
    signals.heed()
    with pytest.raises(KeyboardInterrupt):
        hangup()
    with signals.remembered():
        hangup()
        hangup()
        with pytest.raises(KeyboardInterrupt):
            signals.check()


def test_under_nohup_a_study_goes_on(hangup: Callable[[], None]) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signals.heed()
    with signals.remembered():
        hangup()
        signals.check()


def test_a_worker_is_deaf_to_ctrl_c_and_its_number_is_not_used_once_it_is_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with open_executor("cpu", nothing, workers=1) as workers:
        [worker] = workers._alive  # type: ignore[attr-defined]
        blocked = worker._pool.submit(signal.pthread_sigmask, signal.SIG_BLOCK, ()).result()
        assert {signal.SIGINT, signal.SIGHUP} <= blocked
        worker._process.kill()
        # The pool's own thread waits for it too: until that has noted how it ended, `join` returns
        # with nothing known.
        until = time.monotonic() + 60
        while worker._process.exitcode is None and time.monotonic() < until:
            time.sleep(0.01)
        monkeypatch.setattr(
            os, "kill", lambda pid, number: pytest.fail("it may be another process's by now")
        )
        worker.kill()
        monkeypatch.undo()


@pytest.mark.parametrize("error", ["CommClosedError", "ClosedClientError"])
@pytest.mark.parametrize("asked", ["nthreads", "submit"])
def test_a_scheduler_that_dies_while_a_trial_is_logged_leaves_the_study_to_go_on(
    asked: str, error: str
) -> None:
    cluster = pytest.importorskip("study.executors.dask_cluster")

    class Client:
        def get_executor(self, pure: bool) -> Client:
            return self

        def nthreads(self) -> dict[str, int]:
            if asked == "nthreads":
                raise getattr(cluster, error)
            return {"tcp://there:1": 1}

        def submit(self, *arguments: object) -> None:
            raise getattr(cluster, error)

        def shutdown(self, wait: bool) -> None:
            raise cluster.ClosedClientError

    there = cluster.OnCluster(Client(), nothing, print)
    with pytest.raises(
        CutShort, match="the cluster is gone; finished trials are kept: the same command goes on"
    ):
        list(there.train([[TRIAL], [TRIAL]], SETTING))
    there.cancel()


def test_a_stage_is_cut_for_workers_that_are_there_not_for_none() -> None:
    """A cluster may begin empty; that is told once, and waited for."""
    cluster = pytest.importorskip("study.executors.dask_cluster")
    threads = [{}, {}, {"tcp://there:1": 1, "tcp://there:2": 1}]
    told: list[str] = []

    class Client:
        def get_executor(self, pure: bool) -> None:
            """None is needed."""

        def nthreads(self) -> dict[str, int]:
            return threads.pop(0)

    there = cluster.OnCluster(Client(), nothing, told.append)
    assert there.workers_to_begin() == 2
    assert threads == []
    assert told == ["the cluster has no workers: waiting for one to join"]


def test_training_in_this_process_is_not_held_up_by_its_other_threads() -> None:
    """Python's own turns of 5 ms are half a training step; they are given back."""
    before = sys.getswitchinterval()
    with in_process("cpu", lambda share: None):
        assert sys.getswitchinterval() < 1e-4 < before
    assert sys.getswitchinterval() == before
