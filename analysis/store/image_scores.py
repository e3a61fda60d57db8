"""What each test image said of the confirmed networks, from the files that their trials left."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis import schema
from analysis.store.run_table import TrialRun
from analysis.store.uri import StoreError

MEND = "delete that run (mlflow runs delete --run-id {}), and the study's command trains it again"


@dataclass(frozen=True)
class ImageScores:
    """What each test image said of an arm's networks.

    Attributes:
        seeds: of the rows.
        nll: in nats, float16, (seeds, images).
        correct: bool, (seeds, images).
    """

    seeds: tuple[int, ...]
    nll: np.ndarray
    correct: np.ndarray

    def of(self, score: str, seeds: Sequence[int]) -> np.ndarray:
        """`nll` or `correct` of these seeds, in their order: float32, (seeds, images)."""
        row_of = {seed: row for row, seed in reversed([*enumerate(self.seeds)])}
        rows = [row_of[seed] for seed in seeds]
        return np.asarray(getattr(self, score)[rows], dtype=np.float32)


def read(file: Path, trial: TrialRun, seeds: Iterable[int]) -> ImageScores:
    """The file of one trial.

    Args:
        file: `schema.IMAGES_FILE`.
        trial: names its seeds in the order of the rows.
        seeds: those of its seed runs: where MLflow cut the trial's list off, the rows are in their
            rising order.

    Raises:
        StoreError: the file is broken, or not of these seeds.
    """
    which = f"{schema.IMAGES_FILE} of run {' '.join(trial.name.split())} ({trial.run_id})"
    try:
        with np.load(file, allow_pickle=False) as arrays:
            nll = arrays["nll"]
            correct = np.unpackbits(arrays["correct"], axis=1, count=nll.shape[1]).view(bool)
    except (
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise StoreError(f"{which} is damaged; {MEND.format(trial.run_id)}") from error
    known = sorted(map(int, seeds))
    listed = trial.seeds.split(",")
    of_rows = tuple(map(int, listed)) if sorted(listed) == sorted(map(str, known)) else tuple(known)
    if not len(of_rows) == len(nll) == len(correct):
        told = f"{which} holds {len(nll)} networks, not {len(of_rows)} as the trial"
        raise StoreError(f"{told}; {MEND.format(trial.run_id)}")
    return ImageScores(of_rows, nll, correct)


def joined(blocks: Sequence[ImageScores]) -> ImageScores:
    """An arm's seeds of one trial or of several."""
    if len(blocks) == 1:
        return blocks[0]
    nll, correct = (
        np.concatenate([getattr(block, name) for block in blocks]) for name in ("nll", "correct")
    )
    return ImageScores(tuple(seed for block in blocks for seed in block.seeds), nll, correct)
