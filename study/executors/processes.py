"""Training in worker processes of this machine."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import connection, get_context, parent_process

from study import interrupts, work
from study.executors.base import Results, Trainer
from study.trial import Setting, Trial

TRIES = 4
"""So many workers may die of a batch before it counts as failed; Dask's own number."""


class Worker:
    """A process that trains a batch at a time; in a pool of its own, so that its death takes no other along."""

    def __init__(self) -> None:
        """Starts the process."""
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin)
        self._pid = self._pool.submit(os.getpid).result()

    def train(self, *arguments: object) -> Results:
        """`work.train_in_worker` there."""
        return self._pool.submit(work.train_in_worker, *arguments).result()  # type: ignore[arg-type]

    def kill(self) -> None:
        """Ends it at once, whatever it does."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        self._pool.shutdown(wait=False, cancel_futures=True)


def _begin() -> None:
    """Ctrl-C is the coordinator's to answer; and when that has died, nobody waits for this process any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    coordinator = parent_process()
    assert coordinator is not None

    def follow() -> None:
        connection.wait([coordinator.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


class Processes(Trainer):
    """So many spawned processes. A batch whose worker dies is given to a new one, a few times."""

    def __init__(self, executor: ThreadPoolExecutor, workers: list[Worker], on_step: Callable[[float], None]) -> None:
        """The executor has a thread for each worker, which waits for it."""
        super().__init__(executor, on_step)
        self._count, self._stopped = len(workers), False
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in workers:
            self._free.put(worker)
        self._alive = set(workers)

    @property
    def workers(self) -> int:
        """Its processes."""
        return self._count

    def submit(self, batch: list[Trial], setting: Setting, keep_weights: bool) -> Future:
        """To the next process that is free."""
        return self._executor.submit(self._train, batch, setting, keep_weights)

    def stop(self) -> None:
        """Ends the processes in the midst of what they do."""
        self._stopped = True
        for worker in list(self._alive):
            worker.kill()

    def _train(self, batch: list[Trial], setting: Setting, keep_weights: bool) -> Results:
        worker = self._free.get()
        try:
            for _ in range(TRIES):
                try:
                    results = worker.train(batch, setting, keep_weights, work.versions(batch[0]))
                    self._on_step(sum(trial.network_epochs for trial in batch))
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
        worker = Worker()
        self._alive.add(worker)
        if self._stopped:  # while it started
            worker.kill()
        return worker


@contextmanager
def worker_processes(count: int, on_step: Callable[[float], None]) -> Iterator[Processes]:
    """So many worker processes; on any way out they have ended."""
    with ThreadPoolExecutor(count) as executor, interrupts.ignored():
        workers = list(executor.map(lambda _: Worker(), range(count)))
    with ThreadPoolExecutor(count) as executor:
        processes = Processes(executor, workers, on_step)
        try:
            yield processes
        finally:
            processes.stop()
            executor.shutdown(wait=True, cancel_futures=True)
