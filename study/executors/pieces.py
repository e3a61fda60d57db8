"""A stage's batches, cut so that no worker idles while another trains."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from study.trial import Trial

OVERHEAD = 0.3
"""What a population costs beside its networks on a CPU, as a share of what one network does."""


@dataclass(frozen=True)
class Piece:
    """What a worker trains as one population: trials with all or some of their seeds.

    Attributes:
        trials: equally many seeds each.
        places: where the whole trials stand in the stage.
    """

    trials: list[Trial]
    places: tuple[int, ...]

    @property
    def cost(self) -> float:
        """In images shown; the noise type is left out of account."""
        networks = sum(len(trial.seeds) for trial in self.trials)
        return self.trials[0].work / len(self.trials[0].seeds) * (networks + OVERHEAD)


def cut(batches: Iterable[Sequence[Trial]], workers: int) -> list[Piece]:
    """Cut the batches for so many workers, those of the longest pieces first.

    Pieces have at most as many networks as brings the end of the stage nearest; a worker that is
    free takes the next. A batch's pieces follow each other, so that it is logged early. A network's
    result does not depend on its company, so nothing else changes.
    """
    batches = list(batches)
    largest = max((_networks(batch) for batch in batches), default=1)
    sizes = range(largest, 0, -1) if workers > 1 else [largest]
    candidates = (_of_size(batches, size) for size in sizes)
    return min(candidates, key=lambda pieces: makespan([one.cost for one in pieces], workers))


def makespan(costs: Iterable[float], workers: int) -> float:
    """Return when the last is done, in their order, each by the worker that is free first."""
    free = [0.0] * workers
    for cost in costs:
        heapq.heapreplace(free, free[0] + cost)
    return max(free)


def _networks(batch: Sequence[Trial]) -> int:
    return len(batch) * len(batch[0].seeds)


def _of_size(batches: Sequence[Sequence[Trial]], size: int) -> list[Piece]:
    """Cut into equal parts of at most `size` networks, the batch of the longest first."""
    cut_batches, place = [], 0
    for batch in batches:
        cut_batches.append([*_parts(batch, place, size)])
        place += len(batch)
    cut_batches.sort(key=lambda pieces: -max(piece.cost for piece in pieces))
    return [piece for pieces in cut_batches for piece in pieces]


def _parts(batch: Sequence[Trial], place: int, size: int) -> Iterator[Piece]:
    """Cut a batch whose first trial has this place, into whole trials or else their seeds."""
    seeds = len(batch[0].seeds)
    for group in _evenly(range(len(batch)), max(1, size // seeds)):
        for some in _evenly(range(seeds), size):
            part = slice(some[0], some[-1] + 1)
            trials = [replace(batch[i], seeds=batch[i].seeds[part]) for i in group]
            yield Piece(trials, tuple(place + i for i in group))


def _evenly(items: range, most: int) -> list[range]:
    """Cut a range into as few parts of at most so many as will do, equal but for one."""
    parts = -(-len(items) // most)
    cuts = [len(items) * i // parts for i in range(parts + 1)]
    return [items[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]
