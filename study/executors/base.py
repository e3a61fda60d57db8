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
from study.executors.pieces import Piece, cut
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

    def workers_to_begin(self) -> int:
        """Return the number of workers that a stage is cut for, at least one."""
        return self.workers

    def population(self, setting: Setting) -> int:
        """Return about how many networks a batch should have, where memory does for them."""
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
            told = f"a worker cannot take part: {one_line(error)}; {self.remedy}"
            raise ClusterError(told) from error
        return result

    def train(
        self, batches: Iterable[list[Trial]], setting: Setting, winner: Arm | None = None
    ) -> Iterator[tuple[list[Trial], Results]]:
        """Train the batches; yield trials with their results once all their seeds are trained.

        Args:
            winner: the arm whose networks' weights are wanted.
        """
        batches = list(batches)
        if not batches:
            return
        # A GPU is filled by whole batches.
        pieces = cut(batches, self.workers_to_begin() if setting.device == "cpu" else 1)
        trials = [trial for batch in batches for trial in batch]
        waiting: dict[Future, Piece] = {}
        trained: dict[int, list[Trained]] = {place: [] for place in range(len(trials))}

        def finished() -> Iterator[tuple[list[Trial], Results]]:
            for piece, results in self._finished(waiting):
                ready = []
                for place, networks in zip(piece.places, results, strict=True):
                    trained[place] += networks
                    if len(trained[place]) == len(trials[place].seeds):
                        ready.append(place)
                if ready:
                    some = [trials[place] for place in ready]
                    yield some, [_whole(trials[place], trained.pop(place)) for place in ready]

        for piece in pieces:
            while len(waiting) >= self.ahead * max(self.workers, 1):
                yield from finished()
            keep = any(trial.arm == winner for trial in piece.trials)
            waiting[self.submit(piece.trials, setting, keep)] = piece
        while waiting:
            yield from finished()

    def _finished(self, waiting: dict[Future, Piece]) -> Iterator[tuple[Piece, Results]]:
        done: set[Future] = set()
        while not done:
            signals.check()
            done, _ = wait(waiting, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            piece = waiting.pop(future)
            yield piece, self.results(piece.trials, future)


def _whole(trial: Trial, networks: list[Trained]) -> list[Trained]:
    """A trial's networks in the order of its seeds; where one was not trained, none was."""
    if told := next((network.error for network in networks if network.error), ""):
        return worker.failed_batch([trial], told)[0]
    return sorted(networks, key=lambda network: trial.seeds.index(network.seed))
