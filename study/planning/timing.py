"""How long training takes here: a few steps of each noise type, with all cores at work."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple, dataclass
from itertools import chain

import numpy as np
import torch

from models.config import Arm
from models.data import Split
from models.metrics import evaluate
from models.rng import Stream
from models.train import build, fit
from study.executors import in_process
from study.executors.pieces import cut, makespan
from study.trial import Setting, Trial, batches
from study.worker import load_split, told_of

SECONDS = 16.0
"""Of the whole probe, about; its set-up and a slow type's steps come on top."""
WARM_UP, FEWEST_STEPS = 3, 2
EVERLASTING = 1_000_000
"""Epochs of a training that the clock ends."""


class CannotTime(RuntimeError):
    """A noise type from outside fails in training."""


Job = tuple[str, int]
"""Noise type, and networks of the population it is trained as."""


@dataclass(frozen=True)
class Sample:
    """What was timed of a job: wall seconds of a step, of what each epoch of all images has beside
    its steps, of a curve's point, and of the float32 evaluation that decides.

    Attributes:
        undisturbed: the share of the time in which the thread had its core; less where others are
            at work.
    """

    step: float
    shuffle: float
    point: float
    scoring: float
    undisturbed: float


@dataclass(frozen=True)
class Costs:
    """What training costs on this machine.

    Attributes:
        samples: one for each job.
        workers: populations trained at a time.
        population: networks of one, at most.
        examples: training images there are; a recipe may use fewer.
    """

    samples: dict[Job, Sample]
    workers: int
    population: int
    examples: int

    def of(self, batch: Sequence[Trial]) -> float:
        """Seconds in which a worker trains a batch of trials, without measures asked for."""
        first = batch[0]
        recipe, seconds = first.arm.recipe, 0.0
        examples = min(recipe.train_examples, self.examples)
        steps = -(-examples // recipe.batch_size)
        for size in chunk_sizes(len(batch) * len(first.seeds), self.population):
            cost = self._at(first.arm.noise, size)
            seconds += recipe.epochs * (steps * cost.step + cost.shuffle * examples / self.examples)
            seconds += (len(recipe.evaluated_epochs) - 1) * cost.point + cost.scoring
            # The test images are as many as those that validate, and have a calibration on top.
            seconds += 2 * cost.scoring * first.reads_test_set
        return seconds

    def makespan(self, trials: Sequence[Trial]) -> float:
        """Seconds until the last of a stage's batches is trained, cut for the workers there are."""
        pieces = cut(batches(trials, self.population), self.workers)
        return makespan([self.of(piece.trials) for piece in pieces], self.workers)

    @property
    def undisturbed(self) -> float:
        """The share of their cores that the probe's threads had, the mean over jobs."""
        return statistics.fmean(sample.undisturbed for sample in self.samples.values())

    def _at(self, noise: str, size: int) -> Sample:
        """Interpolate for a population of this size, between the sizes that were timed."""
        known = sorted(networks for name, networks in self.samples if name == noise)
        columns = zip(*(astuple(self.samples[noise, one]) for one in known), strict=True)
        return Sample(*(float(np.interp(size, known, values)) for values in columns))


def chunk_sizes(networks: int, population: int) -> list[int]:
    """Return the populations that `models.train` trains so many networks as."""
    size = -(-networks // -(-networks // population))
    return [min(size, networks - start) for start in range(0, networks, size)]


def probe(stages: Sequence[Sequence[Trial]], setting: Setting) -> Costs:
    """Time every noise type of a study, in the smallest and the largest population it will have.

    Raises:
        CannotTime: a type from outside fails in training.
    """
    split, stop = load_split(setting), threading.Event()
    with in_process(setting.device, lambda images: None) as trainer:
        population, workers = trainer.population(setting), trainer.workers
        arms: dict[str, Arm] = {}
        sizes: dict[str, set[int]] = {}
        for stage in stages:
            for piece in cut(batches(stage, population), workers):
                first = piece.trials[0]
                arms.setdefault(first.arm.noise, first.arm)
                chunks = chunk_sizes(len(piece.trials) * len(first.seeds), population)
                sizes.setdefault(first.arm.noise, set()).update(chunks)
        jobs: list[Job] = []
        for noise, found in sizes.items():
            jobs += [(noise, size) for size in sorted({min(found), max(found)})]

        def timed(job: Job) -> tuple[Job, Sample]:
            noise, size = job
            try:
                return job, _time(arms[noise], size, split, SECONDS / len(jobs), stop)
            except Exception as error:
                if told := told_of(noise, error):
                    raise CannotTime(f"{told}: a study would go on without it") from error
                raise

        def work(worker: int) -> list[tuple[Job, Sample]]:
            turn = worker * len(jobs) // workers  # a type is timed beside another one
            return [timed(job) for job in (*jobs[turn:], *jobs[:turn])]

        with ThreadPoolExecutor(workers) as executor:
            try:
                samples = list(chain.from_iterable(executor.map(work, range(workers))))
            finally:
                stop.set()
    return Costs(
        {job: _mean([one for which, one in samples if which == job]) for job in jobs},
        workers,
        population,
        len(split.train_y),
    )


class _Enough(Exception):
    """The time of a job is over."""


def _time(arm: Arm, networks: int, split: Split, seconds: float, stop: threading.Event) -> Sample:
    arms = [arm.with_recipe(arm.recipe.with_epochs(EVERLASTING))] * networks
    seeds = tuple(range(networks))
    population, noise = build(arms, seeds, split)
    wall: list[float] = []
    own: list[float] = []

    def on_step(images: float) -> None:
        wall.append(_now(split))
        own.append(time.thread_time())
        enough = len(wall) >= WARM_UP + FEWEST_STEPS and wall[-1] - wall[0] >= seconds
        if enough or stop.is_set():
            raise _Enough

    start = _now(split)
    Stream(seeds, "order").permutation(len(split.train_y)).to(split.train_x.device)
    shuffle = _now(split) - start
    with suppress(_Enough):
        for _ in fit(population, noise, arms, seeds, split, on_step):
            pass
    rough_x = split.validation_x.to(split.train_x.dtype)
    start = _now(split)
    evaluate(population.rounded(rough_x.dtype), noise, seeds, rough_x, split.validation_y)
    middle = _now(split)
    evaluate(population, noise, seeds, split.validation_x, split.validation_y)
    point, scoring, timed = middle - start, _now(split) - middle, wall[WARM_UP - 1 :] or wall
    passed = max(timed[-1] - timed[0], 1e-9)
    # A thread that drives a GPU does little itself.
    busy = (own[-1] - own[-len(timed)]) / passed if split.train_x.device.type == "cpu" else 1.0
    return Sample(passed / max(len(timed) - 1, 1), shuffle, point, scoring, min(busy, 1.0))


def _now(split: Split) -> float:
    """The clock, once a GPU has done what it was told."""
    if split.train_x.device.type == "cuda":
        torch.cuda.synchronize()
    elif split.train_x.device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


def _mean(samples: Sequence[Sample]) -> Sample:
    return Sample(*map(statistics.fmean, zip(*map(astuple, samples), strict=True)))
