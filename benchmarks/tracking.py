"""What of a study's wall time is not training? Tracking, search, report and the rest, itemised.

`python -m benchmarks.tracking` runs a whole study (`quick` unless told otherwise) into a store of
its own and gives every second of the coordinating thread to one item. Then it trains the same
trials in the same order again, without MLflow: the ratio of the two is what tracking costs, with
what it takes from the workers' cores while they train.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any

import click
import mlflow

from analysis.report import writer
from analysis.store import reader
from models.train import CPU_POPULATION, GPU_POPULATION
from study import executors, runner, worker
from study.commands import cli
from study.resumable import ResumableStudy
from study.tracking import lifecycle
from study.tracking.writer import Tracker
from study.trial import Setting, Trial, batches

ITEMS: tuple[tuple[str, object, str], ...] = (
    ("training", ResumableStudy, "run"),
    ("MLflow", Tracker, "log_trial"),
    ("MLflow", Tracker, "log_arms"),
    ("MLflow", Tracker, "log_report"),
    ("MLflow", Tracker, "finish"),
    ("MLflow", lifecycle, "open_study"),
    ("MLflow", reader, "load"),
    ("Optuna", runner, "search"),
    ("data", worker, "load_split"),
    ("report", writer, "write"),
)


class Stopwatch:
    """Seconds by item; a call within a call counts for the inner one alone."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self.seconds: dict[str, float] = {}
        self._open: list[str] = ["the rest"]
        self._since = time.perf_counter()

    def switch(self, to: str | None) -> None:
        """The time since the last switch goes to the item that was open; None closes it."""
        now = time.perf_counter()
        self.seconds[self._open[-1]] = self.seconds.get(self._open[-1], 0.0) + now - self._since
        self._since = now
        if to is None:
            self._open.pop()
        else:
            self._open.append(to)

    def around(self, item: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self.switch(item)
            try:
                return function(*args, **kwargs)
            finally:
                self.switch(None)

        return timed


@contextmanager
def timed_items(watch: Stopwatch) -> Iterator[None]:
    """Puts the stopwatch around every item."""
    before = [(owner, name, getattr(owner, name)) for _, owner, name in ITEMS]
    for item, owner, name in ITEMS:
        setattr(owner, name, watch.around(item, getattr(owner, name)))
    try:
        yield
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


@contextmanager
def recorded(asked: list[tuple[Sequence[Trial], Setting]]) -> Iterator[None]:
    """Keeps what the study asks to be trained, call by call."""
    run = ResumableStudy.run

    def recording(session: ResumableStudy, trials: Sequence[Trial], **rest: Any) -> None:
        asked.append((list(trials), session.tracker.setting))
        run(session, trials, **rest)

    ResumableStudy.run = recording  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        ResumableStudy.run = run  # type: ignore[method-assign]


@click.command()
@click.option("--preset", default="quick", show_default=True)
@click.option("--folder", default="data", show_default=True, help="Folder that keeps the data set.")
@click.argument("more", nargs=-1, type=click.UNPROCESSED)
def main(preset: str, folder: str, more: tuple[str, ...]) -> None:
    """Itemise a study's wall time, and train the same without tracking; MORE options of the study
    after `--`."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "import analysis.report.writer, study.runner, study.executors"],
        check=True,
    )
    imports = time.perf_counter() - start
    asked: list[tuple[Sequence[Trial], Setting]] = []
    with tempfile.TemporaryDirectory() as place:
        mlflow.set_tracking_uri(f"sqlite:///{Path(place) / 'mlflow.db'}")
        os.environ["MLFLOW_TRACKING_URI"] = mlflow.get_tracking_uri()
        mlflow.create_experiment("dropout-study", (Path(place) / "artifacts").as_uri())
        watch = Stopwatch()
        with recorded(asked), timed_items(watch):
            arguments = [
                "study",
                "--preset",
                preset,
                "--data",
                folder,
                "--output",
                str(Path(place) / "results"),
                *more,
            ]
            with suppress(
                SystemExit
            ):  # a study with a hole in its answers: its seconds count all the same
                cli.cli.main(arguments, standalone_mode=False)
        watch.switch(None)
    seconds = {"imports": imports, **watch.seconds}
    device = asked[0][1].device
    population = CPU_POPULATION if device == "cpu" else GPU_POPULATION
    start = time.perf_counter()
    with executors.in_process(device, lambda share: None) as trainer:
        for trials, setting in asked:
            for _ in trainer.train(batches(trials, population), setting):
                pass
    alone = time.perf_counter() - start
    total = sum(seconds.values())
    print(f"| {preset}: item | seconds | share |\n| --- | --: | --: |")
    for item, spent in sorted(seconds.items(), key=lambda pair: -pair[1]):
        print(f"| {item} | {spent:.1f} | {spent / total:.1%} |")
    print(f"| all | {total:.1f} | 100 % |")
    tracked = seconds["training"] + seconds["MLflow"]
    ratio = tracked / alone
    print(
        f"\ntraining the same without MLflow: {alone:.1f} s; with it {tracked:.1f} s: {ratio:.3f} "
        "times"
    )
    row = {
        "name": f"tracking-{preset}",
        "seconds": tracked,
        "alone": alone,
        "ratio": ratio,
        "items": seconds,
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
