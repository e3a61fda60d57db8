"""Where trials are trained, behind `concurrent.futures`: in this process, in worker processes, on a cluster."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager

import torch

from models.config import Arm
from models.data import DataError
from models.train import CPU_POPULATION, GPU_POPULATION, Trained, population_size
from study import interrupts, work
from study.faults import KEPT, CutShort, one_line
from study.trial import Setting, Trial

Results = list[list[Trained]]

POLL_SECONDS = 0.2
"""How often a study that waits for its workers looks whether it is to stop."""
CONNECT_SECONDS = 10
AHEAD = 2
"""Batches handed out for each worker: while one is logged, the next is trained."""


class ClusterError(RuntimeError):
    """The cluster cannot be used; the message is one line for the user."""


EQUIPPED = "start every worker with this checkout as its folder and on PYTHONPATH, and with its requirements"


class Trainer:
    """Keeps an executor busy with batches of trials. Made by `trainer`."""

    def __init__(self, executor: Executor, on_step: Callable[[float], None]) -> None:
        """`on_step` is told of training done, in network-epochs."""
        self._executor, self._on_step = executor, on_step

    @property
    def workers(self) -> int:
        """How many batches are trained at a time, as of now."""
        raise NotImplementedError

    def population(self, setting: Setting) -> int:
        """About how many networks a batch should have."""
        raise NotImplementedError

    def submit(self, batch: list[Trial], setting: Setting, keep_weights: bool) -> Future:
        """Hands out a batch."""
        raise NotImplementedError

    def results(self, batch: list[Trial], future: Future) -> Results:
        """Of a batch that is done."""
        result: Results = future.result()
        return result

    def train(
        self, batches: Iterable[list[Trial]], setting: Setting, winner: Arm | None = None
    ) -> Iterator[tuple[list[Trial], Results]]:
        """Trains the batches; yields each with its results as soon as it is finished.

        Args:
            winner: the arm whose networks' weights are wanted.
        """
        waiting: dict[Future, list[Trial]] = {}
        for batch in batches:
            while len(waiting) >= AHEAD * max(self.workers, 1):
                yield from self._finished(waiting)
            keep = any(trial.arm == winner for trial in batch)
            waiting[self.submit(batch, setting, keep)] = batch
        while waiting:
            yield from self._finished(waiting)

    def _finished(self, waiting: dict[Future, list[Trial]]) -> Iterator[tuple[list[Trial], Results]]:
        done: set[Future] = set()
        while not done:
            interrupts.check()
            done, _ = wait(waiting, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            batch = waiting.pop(future)
            yield batch, self.results(batch, future)


class InProcess(Trainer):
    """A population for each core, each on one thread of its own; on a GPU one population at a time.

    One-thread products need no barriers, are the faster for it, and give the same bits on any number of cores.
    """

    def __init__(self, executor: ThreadPoolExecutor, workers: int, on_step: Callable[[float], None]) -> None:
        """The executor has so many threads."""
        super().__init__(executor, on_step)
        self._workers, self._stop = workers, threading.Event()

    @property
    def workers(self) -> int:
        """Its threads."""
        return self._workers

    def population(self, setting: Setting) -> int:
        """As many as the device trains at once."""
        return population_size(torch.device(setting.device))

    def submit(self, batch: list[Trial], setting: Setting, keep_weights: bool) -> Future:
        """To the next thread that is free."""
        return self._executor.submit(work.train_batch, batch, setting, keep_weights, self._step)

    def stop(self) -> None:
        """Makes the populations in training give up."""
        self._stop.set()

    def _step(self, network_epochs: float) -> None:
        if self._stop.is_set():
            raise work.Stopped
        self._on_step(network_epochs)


class OnCluster(Trainer):
    """Dask's workers, as many as there are at the moment: they may join, leave, and die.

    The engine hands a dead worker's batch to another; one that its workers die of, as when memory runs out, fails.
    """

    def __init__(self, client: object, on_step: Callable[[float], None], tell: Callable[[str], None]) -> None:
        """`client` is a `distributed.Client`; `tell` shows the user a line."""
        super().__init__(client.get_executor(pure=False), on_step)  # type: ignore[attr-defined]
        self._client, self._tell = client, tell

    @property
    def workers(self) -> int:
        """The threads of all workers."""
        count = sum(self._client.nthreads().values())  # type: ignore[attr-defined]
        if not count:
            self._tell("the cluster has no workers: waiting for one to join")
        return count

    def population(self, setting: Setting) -> int:
        """As many as pay; a worker of little memory trains them in parts."""
        return CPU_POPULATION if setting.device == "cpu" else GPU_POPULATION

    def cancel(self) -> None:
        """Takes back what has been handed out; a batch that is being trained goes on to its end, for nobody."""
        self._executor.shutdown(wait=False)

    def submit(self, batch: list[Trial], setting: Setting, keep_weights: bool) -> Future:
        """To the scheduler."""
        return self._executor.submit(work.train_in_worker, batch, setting, keep_weights, work.versions(batch[0]))

    def results(self, batch: list[Trial], future: Future) -> Results:
        """Of a batch that is done; those of one that its workers died of are failed.

        Raises:
            ClusterError: a worker lacks the code or the data, or has other code.
            CutShort: the scheduler is gone.
        """
        from distributed import KilledWorker
        from distributed.comm import CommClosedError

        try:
            results = super().results(batch, future)
        except KilledWorker as error:
            results = work.failed_batch(batch, f"given up: {error.allowed_failures + 1} workers died of it")
        except (work.WorkerDiffers, ImportError, DataError) as error:
            raise ClusterError(f"a worker cannot take part: {one_line(error)}; {EQUIPPED}") from error
        except (CancelledError, CommClosedError) as error:
            raise CutShort(f"the cluster is gone; {KEPT}") from error
        self._on_step(sum(trial.network_epochs for trial in batch))
        return results


@contextmanager
def trainer(
    device: str,
    on_step: Callable[[float], None],
    workers: int = 0,
    scheduler: str = "none",
    tell: Callable[[str], None] = lambda line: None,
) -> Iterator[Trainer]:
    """Where to train: in this process, in so many processes of this machine, or on the cluster of a scheduler.

    Args:
        device: on which each worker trains.
        workers: processes to start; 0 for none.
        scheduler: address of a running Dask scheduler, or "none".
        tell: shows the user a line.

    Raises:
        ClusterError: no scheduler answers at the address.
    """
    if scheduler == "none" and not workers:
        with in_process(device, on_step) as local:
            yield local
        return
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what it has to say of dead workers is told here
    with ExitStack() as stack:
        if scheduler == "none":
            # No dashboard, no port beyond this machine. A worker that takes more than its share of memory is ended.
            scheduler = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address=None,
                    silence_logs=logging.CRITICAL,
                )
            )
        try:
            client = stack.enter_context(Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False))
        except (TypeError, RuntimeError) as error:  # of Dask, for certificates that are missing, or an address without
            told = f"the TLS settings here do not go with {scheduler} ({one_line(error)}): see docs/safety.md"
            raise ClusterError(told) from error
        except (OSError, ValueError) as error:
            told = f"no Dask scheduler answers at {scheduler} ({one_line(error)}): start one by `dask scheduler`"
            raise ClusterError(told) from error
        cluster = OnCluster(client, on_step, tell)
        stack.callback(cluster.cancel)
        yield cluster


@contextmanager
def in_process(device: str, on_step: Callable[[float], None]) -> Iterator[InProcess]:
    """This process's cores; on any way out its threads have ended."""
    threads = torch.get_num_threads()  # as many as there are cores for this process, or OMP_NUM_THREADS says
    workers = threads if device == "cpu" else 1
    torch.set_num_threads(1 if device == "cpu" else threads)
    with ThreadPoolExecutor(workers) as executor:
        local = InProcess(executor, workers, on_step)
        try:
            yield local
        finally:
            local.stop()
            executor.shutdown(wait=True, cancel_futures=True)
            torch.set_num_threads(threads)
