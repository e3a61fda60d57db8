"""Where trials are trained, behind `concurrent.futures`; and what becomes of them when something fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

from models import data
from models.noise import noise_version, outside
from models.train import Trained, not_trained, train_population
from study import interrupts
from study.trial import Setting, Trial

Item, Result = TypeVar("Item"), TypeVar("Result")


def pick_device(wanted: str) -> str:
    """`wanted`, or for "auto" the first of cuda, mps and cpu that is there.

    Raises:
        ValueError: the wanted device is not there.
    """
    available = [name for name, has in (("cuda", torch.cuda), ("mps", torch.backends.mps)) if has.is_available()]
    if wanted == "auto":
        return next(iter(available), "cpu")
    if wanted not in (*available, "cpu"):
        raise ValueError(f"device {wanted} is not available here: choose auto or cpu")
    return wanted


def pick_precision(wanted: str) -> str:
    """`wanted`, or float32 for "auto".

    bfloat16 has to be asked for: that it leaves the answers where they are has not been shown yet (docs/speed.md).
    """
    return "float32" if wanted == "auto" else wanted


def multiplies_bfloat16_fast(device: str) -> bool:
    """Whether the hardware has bfloat16 products; without, they are many times slower than float32's."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    has = torch.cpu.get_capabilities()
    return device == "cpu" and bool(has.get("avx512_bf16") or has.get("amx_bf16") or has.get("bf16"))


@cache
def load_split(setting: Setting) -> data.Split:
    """The data of a study on its device; read once in each process."""
    split = data.split(data.load(setting.dataset, setting.folder))
    return split.subset(setting.train_examples).to(setting.device).rounded(getattr(torch, setting.precision))


def train_batch(trials: Sequence[Trial], setting: Setting, on_step: Callable[[float], None]) -> list[list[Trained]]:
    """Trains trials of one noise type, recipe, phase, block of seeds and measures as one population.

    What the code of a type from outside raises fails its trials; anything else is a bug of ours, and is let through.

    Returns:
        A list of networks for each trial.
    """
    first = trials[0]
    arms, split = [trial.arm for trial in trials], load_split(setting)
    try:
        trained = train_population(
            arms, first.seeds, split, test=first.reads_test_set, measures=first.measures, on_step=on_step
        )
    except Exception as error:
        if isinstance(error, Stopped) or noise_version(first.arm.noise) is None:
            raise
        told = outside.failure(first.arm.noise, error)
        trained = [not_trained(arm, seed, told) for arm in arms for seed in first.seeds]
    size = len(first.seeds)
    return [trained[i * size : (i + 1) * size] for i in range(len(trials))]


POLL_SECONDS = 0.2
"""How often a study that waits for its workers looks whether it is to stop."""


class Stopped(Exception):
    """The study ends: a population in training gives up at its next step."""


class Local:
    """This process: a population for each core, each on one thread of its own; on a GPU one population at a time.

    One-thread products need no barriers, are the faster for it, and give the same bits on any number of cores.
    """

    def __init__(self, executor: Executor, workers: int, on_step: Callable[[float], None]) -> None:
        """Use `local()`, which also cleans up."""
        self.workers = workers
        self._executor, self._on_step = executor, on_step
        self._stop = threading.Event()

    def train(
        self, batches: Iterable[list[Trial]], setting: Setting
    ) -> Iterator[tuple[list[Trial], list[list[Trained]]]]:
        """Trains the batches; yields each with its results as soon as it is finished."""
        waiting: dict[Future, list[Trial]] = {}
        for batch in batches:
            if len(waiting) == self.workers:
                yield from self._finished(waiting)
            waiting[self._executor.submit(train_batch, batch, setting, self._step)] = batch
        while waiting:
            yield from self._finished(waiting)

    def stop(self) -> None:
        """Makes the populations in training give up."""
        self._stop.set()

    def _finished(self, waiting: dict[Future, list[Trial]]) -> Iterator[tuple[list[Trial], list[list[Trained]]]]:
        done: set[Future] = set()
        while not done:
            interrupts.check()
            done, _ = wait(waiting, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            yield waiting.pop(future), future.result()

    def _step(self, network_epochs: float) -> None:
        if self._stop.is_set():
            raise Stopped
        self._on_step(network_epochs)


@contextmanager
def local(device: str, on_step: Callable[[float], None]) -> Iterator[Local]:
    """The in-process executor; on any way out its threads have ended."""
    threads = torch.get_num_threads()  # as many as there are cores for this process, or OMP_NUM_THREADS says
    workers = threads if device == "cpu" else 1
    torch.set_num_threads(1 if device == "cpu" else threads)
    with ThreadPoolExecutor(workers) as executor:
        trainer = Local(executor, workers, on_step)
        try:
            yield trainer
        finally:
            trainer.stop()
            executor.shutdown(wait=True, cancel_futures=True)
            torch.set_num_threads(threads)
