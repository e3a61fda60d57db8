"""Training in the coordinator's own process."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch

from study import worker
from study.executors.base import TrialExecutor
from study.trial import Setting, Trial

SWITCH_INTERVAL = 1e-5
"""Seconds after which a thread of Python is asked to let another on. Python's own 5 ms are half a
training step, and while the coordinator logs or draws, each of a step's dozens of operations may
wait so long."""


class InProcess(TrialExecutor):
    """A population for each core, each on one thread of its own; on a GPU one population at a time.

    One-thread products need no barriers, are the faster for it, and give the same bits on any
    number of cores.
    """

    ahead = 2  # while a batch is logged, the next is trained

    def __init__(
        self, executor: ThreadPoolExecutor, workers: int, on_step: Callable[[float], None]
    ) -> None:
        """The executor has so many threads."""
        super().__init__(executor, on_step)
        self._workers, self._stop = workers, threading.Event()

    @property
    def workers(self) -> int:
        return self._workers

    def submit(self, batch: list[Trial], setting: Setting, keep_weights: bool) -> Future:
        return self._executor.submit(worker.train_batch, batch, setting, keep_weights, self._step)

    def stop(self) -> None:
        """Stop the populations in training at their next step."""
        self._stop.set()

    def _step(self, images: float) -> None:
        if self._stop.is_set():
            raise worker.Stopped
        self._on_step(images)


@contextmanager
def in_process(device: str, on_step: Callable[[float], None]) -> Iterator[InProcess]:
    """Open this process's cores; on any way out its threads have ended."""
    threads = torch.get_num_threads()  # the cores of this process, or what OMP_NUM_THREADS says
    workers = threads if device == "cpu" else 1
    torch.set_num_threads(1 if device == "cpu" else threads)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    with ThreadPoolExecutor(workers) as executor:
        local = InProcess(executor, workers, on_step)
        try:
            yield local
        finally:
            local.stop()
            executor.shutdown(wait=True, cancel_futures=True)
            torch.set_num_threads(threads)
            sys.setswitchinterval(interval)
