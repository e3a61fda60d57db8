"""Training in worker processes of this machine."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, connection, get_context, parent_process
from multiprocessing.resource_tracker import ensure_running

import torch

from study import worker as work
from study.executors.base import ClusterError, Results, TrialExecutor
from study.signals import KEPT
from study.trial import Setting, Trial

TRIES = 4
"""So many workers may die of a batch before it counts as failed; Dask's own number."""


class Worker:
    """A process that trains a batch at a time, in its own pool: its death takes no other along."""

    def __init__(self, index: int, gpus: int) -> None:
        """Start the process, on one of so many GPUs.

        Raises:
            BrokenProcessPool: it died while it started.
        """
        self._pool = ProcessPoolExecutor(
            1, mp_context=get_context("spawn"), initializer=_begin, initargs=(index, gpus)
        )
        pid = self._pool.submit(os.getpid).result()
        found = [process for process in active_children() if process.pid == pid]
        if not found:
            raise BrokenProcessPool("it died as soon as it had started")
        self._process, self.index = found[0], index

    def train(self, *arguments: object) -> Results:
        """`work.train_in_worker` there."""
        return self._pool.submit(work.train_in_worker, *arguments).result()  # type: ignore[arg-type]

    def kill(self) -> None:
        """End it at once."""
        # Not by its number, which is another process's by now if this one died long ago.
        self._process.kill()
        self._pool.shutdown(wait=False, cancel_futures=True)


def _keep_from_ctrl_c() -> None:
    """Leave Ctrl-C and the terminal's end, which every process is sent, to the coordinator.

    A process that this thread starts has both blocked from its first instruction on; were they
    ignored for that while, the coordinator would miss them.
    """
    if hasattr(signal, "pthread_sigmask"):  # Windows has no masks, and no terminal that hangs up
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGHUP])


def _begin(index: int, gpus: int) -> None:
    """Take a GPU of this worker's own; end this process when the coordinator has died."""
    if gpus > 1:
        torch.cuda.set_device(index % gpus)
    coordinator = parent_process()
    assert coordinator is not None

    def follow() -> None:
        connection.wait([coordinator.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


class Processes(TrialExecutor):
    """So many spawned processes. A batch whose worker dies is given to a new one, a few times."""

    remedy = f"leave code and data as they are while a study runs; {KEPT}"

    def __init__(
        self, executor: ThreadPoolExecutor, count: int, on_step: Callable[[float], None], gpus: int
    ) -> None:
        """The executor has a thread for each of `count` workers; they take turns on the GPUs."""
        super().__init__(executor, on_step)
        self._count, self._gpus, self._stopped = count, gpus, False
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._alive: set[Worker] = set()

    def start(self) -> None:
        """Start the processes, side by side.

        Raises:
            ClusterError: they die of it.
        """
        for worker in self._executor.map(self._started, range(self._count)):
            self._free.put(worker)

    @property
    def workers(self) -> int:
        return self._count

    def submit(self, batch: list[Trial], setting: Setting, keep_weights: bool) -> Future:
        return self._executor.submit(self._train, batch, setting, keep_weights)

    def stop(self) -> None:
        """End the processes in the midst of what they do."""
        self._stopped = True
        for worker in list(self._alive):
            worker.kill()

    def _train(self, batch: list[Trial], setting: Setting, keep_weights: bool) -> Results:
        worker = self._free.get()
        try:
            for _ in range(TRIES):
                try:
                    results = worker.train(batch, setting, keep_weights, work.versions(batch[0]))
                    self._on_step(sum(trial.work for trial in batch))
                    return results
                except BrokenProcessPool:
                    if self._stopped:
                        raise work.Stopped from None
                    worker = self._replace(worker)
            return work.failed_batch(batch, f"given up: {TRIES} workers died of it")
        finally:
            self._free.put(worker)

    def _replace(self, dead: Worker) -> Worker:
        self._alive.discard(dead)
        dead.kill()
        return self._started(dead.index)

    def _started(self, index: int) -> Worker:
        """Start a worker; one that dies of it, as when memory is short, has successors."""
        for _ in range(TRIES):
            try:
                worker = Worker(index, self._gpus)
            except BrokenProcessPool:
                if self._stopped:
                    raise work.Stopped from None
                continue
            self._alive.add(worker)
            if self._stopped:  # while it started
                worker.kill()
            return worker
        raise ClusterError(
            f"{TRIES} worker processes died while they started: ask for fewer by --workers"
        )


@contextmanager
def worker_processes(
    count: int, on_step: Callable[[float], None], device: str = "cpu"
) -> Iterator[Processes]:
    """Open worker processes; on any way out they have ended.

    Raises:
        ClusterError: they die while they start, or a GPU would have several.
    """
    gpus = torch.cuda.device_count() if device == "cuda" else 0
    if 0 < gpus < count:
        raise ClusterError(f"this machine has {gpus} GPUs for {count} workers: ask for fewer")
    # Started by a thread that blocks Ctrl-C, it would unblock it there.
    ensure_running()
    with ThreadPoolExecutor(count, initializer=_keep_from_ctrl_c) as executor:
        processes = Processes(executor, count, on_step, gpus)
        try:
            processes.start()
            yield processes
        finally:
            processes.stop()
            executor.shutdown(wait=True, cancel_futures=True)
