"""The unit of work: a batch of trials trained as one population, here or in a worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch

from analysis import schema
from models import data
from models.matmul import PRECISIONS, pin_precision
from models.noise import noise_type, noise_version, plugins
from models.train import Trained, not_trained, train_networks
from study.trial import Setting, Trial

OUT_OF_MEMORY = ("out of memory", "allocate memory", "not enough memory", "bad_alloc")
"""What torch says where memory does not suffice: on a GPU, on Linux, on Windows and macOS, in its
C++."""


class Stopped(Exception):
    """The study ends: a population in training gives up at its next step."""


class WorkerDiffers(RuntimeError):
    """A worker has other code or data than the coordinator: its numbers would be others."""


@cache
def load_split(setting: Setting) -> data.Split:
    """The data of a study on its device; read once in each process."""
    images = data.load(setting.dataset, setting.folder)
    split = data.split(images, data.validation_size(len(images.train_labels)))
    return split.to(setting.device).rounded(PRECISIONS[setting.precision])


def train_batch(
    trials: Sequence[Trial],
    setting: Setting,
    keep_weights: bool = True,
    on_step: Callable[[float], None] | None = None,
) -> list[list[Trained]]:
    """Train trials of one group of `study.trial.batches` as one population.

    What the code of a type from outside raises fails its trials, and so does memory that does not
    suffice; anything else is a bug of ours, and is let through.

    Args:
        keep_weights: whether the results hold the networks' parameters, a megabyte each.

    Returns:
        A list of networks for each trial.
    """
    first = trials[0]
    split = load_split(setting)
    pin_precision(setting.precision)
    try:
        trained = train_networks(
            [(trial.arm, seed) for trial in trials for seed in trial.seeds],
            split,
            test=first.reads_test_set,
            measures=first.measures,
            on_step=on_step,
        )
    except Exception as error:
        if told := told_of(first.arm.noise, error):
            return failed_batch(trials, told)
        raise
    if not keep_weights:
        trained = [network.without_weights() for network in trained]
    size = len(first.seeds)
    return [trained[i * size : (i + 1) * size] for i in range(len(trials))]


def failed_batch(trials: Sequence[Trial], told: str) -> list[list[Trained]]:
    """Return what stands for the networks of trials that could not be trained; `told` says why."""
    return [[not_trained(trial.arm, seed, told) for seed in trial.seeds] for trial in trials]


def told_of(noise: str, error: Exception) -> str:
    """Return why a noise type could not be trained, where that is nobody's bug here; else empty."""
    if isinstance(error, Stopped):
        return ""
    short = any(words in str(error) for words in OUT_OF_MEMORY)
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or short:
        return f"out of memory while {noise} was trained"
    return "" if noise_version(noise) is None else plugins.failure(noise, error)


Versions = tuple[int, str | None, int]


def versions(trial: Trial) -> Versions:
    """Return what a trial's code is told by: the repository's version, a plugged-in type's, and how
    many rates the type has, which came to be three within one version."""
    noise = trial.arm.noise
    return schema.CODE_VERSION, noise_version(noise), len(noise_type(noise).rates)


def train_in_worker(
    trials: Sequence[Trial], setting: Setting, keep_weights: bool, expected: Versions
) -> list[list[Trained]]:
    """`train_batch` in a process of a cluster, with the same bits as in the coordinator's.

    Raises:
        WorkerDiffers: this process has code of other versions than `expected`, or other data than
            the study.
        DataError: it has no data.
    """
    try:
        own = versions(trials[0])
    except (KeyError, ValueError) as error:  # a type from outside is not here, or broken here
        raise WorkerDiffers(f"it lacks the noise type {trials[0].arm.noise} ({error})") from error
    if own != expected:
        raise WorkerDiffers(f"it has code of the versions {own}, the study of {expected}")
    try:
        torch.empty(1, device=setting.device)
    except (RuntimeError, AssertionError) as error:
        raise WorkerDiffers(f"it has no device {setting.device}") from error
    if (digest := load_split(setting).digest) != setting.digest:
        raise WorkerDiffers(
            f"it has other data of the name {setting.dataset} (digest {digest}, the study's is "
            f"{setting.digest})"
        )
    if setting.device == "cpu":
        torch.set_num_threads(1)  # sums of one thread have one order
    return train_batch(trials, setting, keep_weights)
