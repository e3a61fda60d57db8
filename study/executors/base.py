"""What every place to train has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait

from analysis.formatting import one_line
from models.config import Arm
from models.data import DataError
from models.train import CPU_POPULATION, GPU_POPULATION, Trained
from study import signals, worker
from study.trial import Setting, Trial

Results = list[list[Trained]]

POLL_SECONDS = 0.2
"""How often a study that waits for its workers looks whether it is to stop."""


class ClusterError(RuntimeError):
    """The workers cannot be used; the message is one line for the user."""


class TrialExecutor(ABC):
    """Keeps an executor busy with batches of trials. Made by `open_executor`."""

    ahead = 1
    """Batches handed out for each worker."""
    remedy = ""
    """What to do where a worker cannot take part; empty where all is trained in this process."""

    def __init__(self, executor: Executor, on_step: Callable[[float], None]) -> None:
        """`on_step` is told of training done, in images shown."""
        self._executor, self._on_step = executor, on_step

    @property
    @abstractmethod
    def workers(self) -> int:
        """The number of batches trained at a time, as of now."""

    def population(self, setting: Setting) -> int:
        """Return about how many networks a batch should have; a device of little memory trains them
        in parts."""
        return CPU_POPULATION if setting.device == "cpu" else GPU_POPULATION

    @abstractmethod
    def submit(self, batch: list[Trial], setting: Setting, keep_weights: bool) -> Future:
        """Submit a batch."""

    def results(self, batch: list[Trial], future: Future) -> Results:
        """Return the results of a finished batch.

        Raises:
            ClusterError: a worker lacks the code or the data, or has others.
        """
        try:
            result: Results = future.result()
        except (worker.WorkerDiffers, ImportError, DataError) as error:
            if not self.remedy:
                raise
            raise ClusterError(
                f"a worker cannot take part: {one_line(error)}; {self.remedy}"
            ) from error
        return result

    def train(
        self, batches: Iterable[list[Trial]], setting: Setting, winner: Arm | None = None
    ) -> Iterator[tuple[list[Trial], Results]]:
        """Train the batches; yield each with its results as soon as it is finished.

        Args:
            winner: the arm whose networks' weights are wanted.
        """
        waiting: dict[Future, list[Trial]] = {}
        for batch in batches:
            while len(waiting) >= self.ahead * max(self.workers, 1):
                yield from self._finished(waiting)
            keep = any(trial.arm == winner for trial in batch)
            waiting[self.submit(batch, setting, keep)] = batch
        while waiting:
            yield from self._finished(waiting)

    def _finished(
        self, waiting: dict[Future, list[Trial]]
    ) -> Iterator[tuple[list[Trial], Results]]:
        done: set[Future] = set()
        while not done:
            signals.check()
            done, _ = wait(waiting, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            batch = waiting.pop(future)
            yield batch, self.results(batch, future)
