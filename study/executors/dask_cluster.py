"""Training on a Dask cluster."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress

from distributed import Client, KilledWorker
from distributed.client import ClosedClientError
from distributed.comm import CommClosedError

from analysis.formatting import one_line
from study import signals, worker
from study.devices import pick_device
from study.executors.base import POLL_SECONDS, ClusterError, Results, TrialExecutor
from study.signals import KEPT
from study.tracking.retry import CutShort
from study.trial import Setting, Trial

CONNECT_SECONDS = 10


class OnCluster(TrialExecutor):
    """Dask's workers, as many as there are at the moment: they may join, leave, and die.

    The engine hands a dead worker's batch to another; one that its workers die of, as when memory
    runs out, fails. A worker has one batch at a time: with a second in hand, that one would share
    the blame for its death.
    """

    remedy = (
        "start every worker with this checkout as its folder and on PYTHONPATH, its requirements "
        "and its data"
    )

    def __init__(
        self, client: Client, on_step: Callable[[float], None], tell: Callable[[str], None]
    ) -> None:
        """`client` is a `distributed.Client`; `tell` shows the user a line."""
        super().__init__(client.get_executor(pure=False), on_step)
        self._client, self._tell = client, tell
        self._had_workers = True  # or has not been asked yet

    @property
    def workers(self) -> int:
        with _cluster_there():
            count = sum(self._client.nthreads().values())
        if not count and self._had_workers:
            self._tell("the cluster has no workers: waiting for one to join")
        self._had_workers = count > 0
        return count

    def workers_to_begin(self) -> int:
        """Wait until there is a worker: a stage that is cut for none would keep many idle."""
        while not (count := self.workers):
            signals.check()
            time.sleep(POLL_SECONDS)
        return count

    def cancel(self) -> None:
        """Cancel pending batches; the result of one already training is discarded."""
        with suppress(ClosedClientError):  # Dask closed it when the scheduler was gone
            self._executor.shutdown(wait=False)

    def submit(self, batch: list[Trial], setting: Setting, keep_weights: bool) -> Future:
        expected = worker.versions(batch[0])
        with _cluster_there():
            return self._executor.submit(
                worker.train_in_worker, batch, setting, keep_weights, expected
            )

    def results(self, batch: list[Trial], future: Future) -> Results:
        """Return the results of a finished batch; failed ones if its workers died of it.

        Raises:
            ClusterError: a worker lacks the code or the data, or has others.
            CutShort: the scheduler is gone.
        """
        try:
            results = super().results(batch, future)
        except KilledWorker as error:
            told = f"given up: {error.allowed_failures + 1} workers died of it"
            results = worker.failed_batch(batch, told)
        except (CancelledError, CommClosedError, ClosedClientError) as error:
            raise CutShort(f"the cluster is gone; {KEPT}") from error
        self._on_step(sum(trial.work for trial in batch))
        return results


@contextmanager
def _cluster_there() -> Iterator[None]:
    """Ask the scheduler; raise CutShort where it is gone, as while a trial was logged."""
    try:
        yield
    except (CancelledError, OSError, ClosedClientError) as error:  # OSError: CommClosedError too
        raise CutShort(f"the cluster is gone; {KEPT}") from error


@contextmanager
def dask_cluster(
    address: str, on_step: Callable[[float], None], tell: Callable[[str], None]
) -> Iterator[OnCluster]:
    """The workers of the scheduler at an address.

    Raises:
        ClusterError: no scheduler answers there.
    """
    with _client(address) as client:
        cluster = OnCluster(client, on_step, tell)
        try:
            yield cluster
        finally:
            cluster.cancel()


def device_of_workers(address: str) -> str:
    """Return the device that auto means on a cluster: that of all its workers, else the cpu.

    Raises:
        ClusterError: no scheduler answers there.
    """
    with _client(address) as client:
        try:
            found = set(client.run(pick_device, "auto").values())
        except (ImportError, AttributeError):  # a worker's code is checked when it is given work
            return "cpu"
        except OSError as error:  # Dask's CommClosedError among them
            raise ClusterError(f"a worker is gone ({one_line(error)}): try again") from error
    return found.pop() if len(found) == 1 else "cpu"


def _client(address: str) -> Client:
    for name in ("distributed", "distributed.client"):  # what they say of the dead is told here
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (TypeError, RuntimeError) as error:  # certificates are missing, or an address has none
        raise ClusterError(
            f"the TLS settings here do not go with {address} ({one_line(error)}): see "
            "docs/safety.md"
        ) from error
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"no Dask scheduler answers at {address} ({one_line(error)}): start one by "
            "`dask scheduler`"
        ) from error
