"""Progress on standard error: a line for each phase, the time left and the best so far."""

from __future__ import annotations

import shutil
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from math import isnan
from time import monotonic

import click

from analysis.formatting import arms_in_words, duration, plural
from analysis.schema import RERANK, SEARCH
from study.commands.console import is_terminal, paint, tell
from study.trial import Trial

PLAIN_SECONDS, TERMINAL_SECONDS = 20.0, 0.5
PLAIN_SHARE = 0.05
"""Share of the time passed between two lines of a log, which so grow rarer."""

Part = tuple[str, str]
"""Phase and recipe of a trial."""


def part_of(trial: Trial) -> Part:
    """Return what a trial is counted under; no noise is tuned before all else."""
    first = trial.arm.noise == "none" and trial.phase in (SEARCH, RERANK)
    return f"{trial.phase} without noise" if first else trial.phase, trial.arm.recipe.name


class Copying:
    """Tells now and then how many trials are copied."""

    def __init__(self) -> None:
        """Begin now."""
        self._shown = monotonic()

    def tell(self, done: int, total: int) -> None:
        """Write a line, unless one was written a moment ago and more follow."""
        if done == total or monotonic() - self._shown >= PLAIN_SECONDS:
            self._shown = monotonic()
            tell(f"{done} of {plural(total, 'trial')} brought")


class Progress:
    """Counts finished trials against planned ones; safe to call from the threads that train.

    A terminal gets one line that is rewritten and left standing when its phase ends; a log gets
    plain lines, seldom. The time left is that of the images still to be shown, at each noise type's
    cost as measured so far.
    """

    def __init__(self, planned: Sequence[Trial]) -> None:
        """`planned` is what the study will train; of the arms that it will find, stand-ins."""
        self._trials = Counter(map(part_of, planned))
        self._networks: Counter[Part] = Counter()
        self._left: dict[Part, Counter[str]] = {}  # work of each noise type
        for trial in planned:
            self._networks[part_of(trial)] += len(trial.seeds)
            left = self._left.setdefault(part_of(trial), Counter())
            left[trial.arm.noise] += trial.work
        # Of each noise type: workers' seconds, the work done in them, the work adopted.
        self._seconds: dict[str, float] = defaultdict(float)
        self._trained: Counter[str] = Counter()
        self._adopted_work: Counter[str] = Counter()
        self._in_training = 0.0
        self._parts: tuple[Part, ...] = ()
        self._start = self._shown = monotonic()
        self._reset()
        self._terminal = is_terminal(sys.stderr)
        self._lock = threading.Lock()
        self._told: set[str] = set()
        self._width = 0

    def _reset(self) -> None:
        self._began = monotonic()
        self._done = 0
        self._adopted = 0
        self._best = ("", float("-inf"))

    def begin(self, trials: Iterable[Trial]) -> None:
        """Announce the next trials: a new phase, unless they go on with the one that runs."""
        parts = tuple(dict.fromkeys(map(part_of, trials)))
        with self._lock:
            if parts and parts != self._parts:
                self._end_phase()
                self._parts = parts
                self._reset()
                networks = sum(self._networks[part] for part in parts)
                line = f"{self._title}: {self._planned} trials, {networks} networks"
                self._write(line, lasting=not self._terminal)

    def advance(self, images: float) -> None:
        """Count training of trials that are not finished yet, in images shown."""
        with self._lock:
            self._in_training += images
            now = monotonic()
            pause = max(PLAIN_SECONDS, PLAIN_SHARE * (now - self._start))
            if now - self._shown >= (TERMINAL_SECONDS if self._terminal else pause):
                self._shown = now
                self._write(self._state(now), lasting=not self._terminal)

    def finish(self, trial: Trial, score: float, seconds: float | None = None) -> None:
        """Count a finished trial.

        Args:
            score: NaN if it failed.
            seconds: its worker's; None if it was finished before.
        """
        noise = trial.arm.noise
        with self._lock:
            self._left.setdefault(part_of(trial), Counter())[noise] -= trial.work
            if seconds is None:
                self._adopted += 1
                self._adopted_work[noise] += trial.work
            else:
                self._done += 1
                self._seconds[noise] += seconds
                self._trained[noise] += trial.work
                self._in_training = max(self._in_training - trial.work, 0.0)
            if not isnan(score) and score > self._best[1]:
                self._best = (arms_in_words(trial.arm.name), score)

    def tell(self, line: str) -> None:
        """Write a line beside the count, once."""
        with self._lock:
            if line and line not in self._told:
                self._told.add(line)
                self._write(paint(line, "yellow", sys.stderr), lasting=True)

    def end(self) -> None:
        """End the last phase."""
        with self._lock:
            self._end_phase()

    @property
    def _title(self) -> str:
        phases, recipes = (dict.fromkeys(names) for names in zip(*self._parts, strict=True))
        return f"{' and '.join(phases)}, {', '.join(recipes)}"

    @property
    def _planned(self) -> int:
        return sum(self._trials[part] for part in self._parts)

    def _end_phase(self) -> None:
        if not self._parts:
            return
        adopted = f", {self._adopted} found finished" if self._adopted else ""
        took = duration(monotonic() - self._began)
        trained = plural(self._done, "trial")
        line = f"{self._title}: {trained} trained in {took}{adopted}{self._best_so_far()}"
        self._write(line, lasting=True)
        for part in self._parts:  # two questions' same arm is trained once: something may be left
            self._left.pop(part, None)
        self._parts = ()

    def _best_so_far(self) -> str:
        name, score = self._best
        return f"; best val/accuracy {100 * score:.2f} %, {name}" if name else ""

    def _state(self, now: float) -> str:
        adopted = self._seconds_of(self._adopted_work)
        done, left = self._work()
        passed = now - self._start
        title = ""
        if self._parts:
            title = f"{self._title}: {self._done + self._adopted} of {self._planned} trials, "
        return (
            f"{title}{(adopted + done) / (adopted + done + left):.0%} of all in "
            f"{duration(passed)}, about {duration(passed * left / max(done, 1e-9))} left"
            f"{self._best_so_far()}"
        )

    def _work(self) -> tuple[float, float]:
        """Return what is trained and what is left, in seconds of one worker."""
        in_training = self._in_training * self._cost("")
        left = sum(map(self._seconds_of, self._left.values())) - in_training
        return self._seconds_of(self._trained) + in_training, max(left, 0.0)

    def _seconds_of(self, work: Counter[str]) -> float:
        return sum(self._cost(noise) * images for noise, images in work.items())

    def _cost(self, noise: str) -> float:
        """Worker seconds of an image; the mean of all for a type not trained yet."""
        seconds, trained = self._seconds.get(noise, 0.0), self._trained.get(noise, 0)
        if not seconds or not trained:
            seconds, trained = sum(self._seconds.values()), sum(self._trained.values())
        return seconds / trained if seconds and trained else 1.0

    def _write(self, line: str, lasting: bool) -> None:
        """Write a line; on a terminal over the one before it, unless that one is lasting."""
        if not self._terminal:
            tell(line)
            return
        if not lasting:
            line = line[: shutil.get_terminal_size().columns - 1]
        blanks = " " * (self._width - len(click.unstyle(line)))
        tell(f"\r{line}{blanks}", end="\n" if lasting else "")
        self._width = 0 if lasting else len(line)
