"""How far a study is, on standard error: a line for each phase, and between them what is left and the best so far."""

from __future__ import annotations

import shutil
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from math import isnan
from time import monotonic

import click

from analysis.formatting import duration, plural
from study.commands.console import is_terminal, paint, tell
from study.trial import Trial

PLAIN_SECONDS, TERMINAL_SECONDS = 20.0, 0.5
PLAIN_SHARE = 0.05
"""Of the time passed: a long study's log has its lines further and further apart."""

Part = tuple[str, str]
"""Phase and recipe of a trial."""


def part_of(trial: Trial) -> Part:
    """What a trial is counted under."""
    return trial.phase, trial.arm.recipe.name


class Progress:
    """Counts what is done of what is planned; safe to call from the threads that train.

    A terminal gets one line that is rewritten, and left standing when its phase ends; anything else plain lines,
    seldom. The time left is that of the network-epochs left, each noise type's at its own cost as measured so far.
    """

    def __init__(self, planned: Sequence[Trial]) -> None:
        """`planned` is what the study will train; of the arms that it will find, stand-ins."""
        self._trials = Counter(map(part_of, planned))
        self._networks: Counter[Part] = Counter()
        self._left: dict[Part, dict[str, float]] = {}  # network-epochs of each noise type
        for trial in planned:
            self._networks[part_of(trial)] += len(trial.seeds)
            self._left.setdefault(part_of(trial), defaultdict(float))[trial.arm.noise] += (
                trial.network_epochs
            )
        self._seconds: dict[str, float] = defaultdict(
            float
        )  # of workers, and the network-epochs they took
        self._trained: dict[str, float] = defaultdict(float)
        self._found: dict[str, float] = defaultdict(
            float
        )  # network-epochs that were finished before
        self._in_training = 0.0
        self._parts: tuple[Part, ...] = ()
        self._start = self._began = self._shown = monotonic()
        self._done, self._adopted, self._best = 0, 0, ("", float("-inf"))
        self._terminal = is_terminal(sys.stderr)
        self._lock, self._told, self._width = threading.Lock(), set[str](), 0

    def begin(self, trials: Iterable[Trial]) -> None:
        """These come next: another phase begins, unless they go on with the one that runs."""
        parts = tuple(dict.fromkeys(map(part_of, trials)))
        with self._lock:
            if parts and parts != self._parts:
                self._end_phase()
                self._parts, self._began = parts, monotonic()
                self._done, self._adopted, self._best = 0, 0, ("", float("-inf"))
                networks = sum(self._networks[part] for part in parts)
                self._line(
                    f"{self._title}: {self._planned} trials, {networks} networks",
                    lasting=not self._terminal,
                )

    def advance(self, network_epochs: float) -> None:
        """So much was trained, of a trial that is not finished yet."""
        with self._lock:
            self._in_training += network_epochs
            now = monotonic()
            pause = (
                TERMINAL_SECONDS
                if self._terminal
                else max(PLAIN_SECONDS, PLAIN_SHARE * (now - self._start))
            )
            if now - self._shown >= pause:
                self._shown = now
                self._line(self._state(now), lasting=not self._terminal)

    def finish(self, trial: Trial, score: float, seconds: float | None = None) -> None:
        """A trial is finished: its score (NaN: it failed), and its worker's seconds, or None if it was so before."""
        with self._lock:
            noise = trial.arm.noise
            self._left.setdefault(part_of(trial), defaultdict(float))[noise] -= trial.network_epochs
            if seconds is None:
                self._adopted += 1
                self._found[noise] += trial.network_epochs
            else:
                self._done += 1
                self._seconds[noise] += seconds
                self._trained[noise] += trial.network_epochs
                self._in_training = max(self._in_training - trial.network_epochs, 0.0)
            if not isnan(score) and score > self._best[1]:
                self._best = (trial.arm.name, score)

    def tell(self, line: str) -> None:
        """A line beside the count, such as why a trial failed; nothing for an empty one or one told before."""
        with self._lock:
            if line and line not in self._told:
                self._told.add(line)
                self._line(paint(line, "yellow", sys.stderr), lasting=True)

    def end(self) -> None:
        """The last phase is over."""
        with self._lock:
            self._end_phase()

    @property
    def _title(self) -> str:
        phases, recipes = (list(dict.fromkeys(names)) for names in zip(*self._parts, strict=True))
        return f"{' and '.join(phases)}, {', '.join(recipes)}"

    @property
    def _planned(self) -> int:
        return sum(self._trials[part] for part in self._parts)

    def _end_phase(self) -> None:
        if not self._parts:
            return
        found = f", {self._adopted} found finished" if self._adopted else ""
        took = duration(monotonic() - self._began)
        self._line(
            f"{self._title}: {plural(self._done, 'trial')} trained in {took}{found}{self._best_so_far()}",
            lasting=True,
        )
        for (
            part
        ) in self._parts:  # an arm that was found twice is trained once, so something may be left
            self._left.pop(part, None)
        self._parts = ()

    def _best_so_far(self) -> str:
        name, score = self._best
        return f"; best val/accuracy {100 * score:.2f} %, {name}" if name else ""

    def _state(self, now: float) -> str:
        done, left = self._work()
        state = (
            f"{self._title}: {self._done + self._adopted} of {self._planned} trials, "
            if self._parts
            else ""
        )
        found = sum(self._cost(noise) * epochs for noise, epochs in self._found.items())
        passed = now - self._start
        state += f"{(found + done) / (found + done + left):.0%} of all in {duration(passed)}"
        return (
            f"{state}, about {duration(passed * left / max(done, 1e-9))} left{self._best_so_far()}"
        )

    def _work(self) -> tuple[float, float]:
        """What is trained and what is left, in seconds of one worker, or in network-epochs where none is timed yet."""
        in_training = self._in_training * self._cost("")
        done = (
            sum(self._cost(noise) * epochs for noise, epochs in self._trained.items()) + in_training
        )
        left = sum(
            self._cost(noise) * epochs
            for part in self._left.values()
            for noise, epochs in part.items()
        )
        return done, max(left - in_training, 0.0)

    def _cost(self, noise: str) -> float:
        """Worker seconds of a network-epoch; of a type that none was trained of yet, the mean of all."""
        trained, seconds = self._trained.get(noise, 0.0), self._seconds.get(noise, 0.0)
        if not trained or not seconds:
            trained, seconds = sum(self._trained.values()), sum(self._seconds.values())
        return seconds / trained if trained and seconds else 1.0

    def _line(self, line: str, lasting: bool) -> None:
        """Writes a line; on a terminal over the one before it, which stays where that one is `lasting`."""
        if not self._terminal:
            tell(line)
        else:
            if not lasting:
                line = line[: shutil.get_terminal_size().columns - 1]
            rest = " " * (self._width - len(click.unstyle(line)))
            tell(f"\r{line}{rest}", end="\n" * lasting)
            self._width = 0 if lasting else len(line)
