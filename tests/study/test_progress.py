"""What a study tells while it runs: a line for each phase, a fair time left, nothing but plain
lines in a log."""

from __future__ import annotations

import io
import math

import pytest

from analysis import schema
from models.config import Arm, Recipe
from study.commands import progress
from study.commands.cli import main
from study.commands.progress import Progress
from study.trial import Trial

SHORT, LONG = (
    Recipe("short", epochs=2, train_examples=1),
    Recipe("long", epochs=10, train_examples=1),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr(progress, "monotonic", one)
    return one


class Unwritable(io.StringIO):
    """Standard error on a full disk, or into a pipe that nobody reads any more."""

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def trial(
    noise: str, phase: str = schema.SEARCH, recipe: Recipe = SHORT, weight_decay: float = 0.0
) -> Trial:
    rate = 0.0 if noise in ("none", "uniform") else 0.5
    return Trial(Arm(noise, rate, rate, weight_decay, recipe), (0, 1), phase)


SEARCHED = [trial("uniform"), trial("dropout")]
CONFIRMED = [trial("uniform", schema.CONFIRM, LONG), trial("dropout", schema.CONFIRM, LONG)]


def run(stream: io.StringIO | None, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two phases; dropout takes three times as long as none."""
    monkeypatch.setattr("sys.stderr", stream)
    shown = Progress([*SEARCHED, *CONFIRMED])
    for phase in (SEARCHED, CONFIRMED):
        shown.begin(phase)
        for one, speed in zip(phase, (1, 3), strict=True):
            for _ in range(one.work * speed):
                clock.now += 10
                shown.advance(1 / speed)
            shown.finish(one, 0.87 + 0.01 * speed, 10.0 * one.work * speed)
        shown.tell("a trial failed")
    shown.end()


def test_a_log_has_plain_lines(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    run(log, clock, monkeypatch)
    lines = log.getvalue().splitlines()
    assert "\r" not in log.getvalue() and "\x1b" not in log.getvalue()
    assert lines[0] == "search, short: 2 trials, 4 networks"
    best = "best val/accuracy 90.00 %, dropout (0.5, 0.5), weight decay 0"
    assert f"search, short: 2 trials trained in 2.7 min; {best}, short (2 epochs)" in lines
    assert "confirm, long: 2 trials, 4 networks" in lines
    assert lines[-1] == f"confirm, long: 2 trials trained in 13.3 min; {best}, long (10 epochs)"
    assert lines.count("a trial failed") == 1
    between = [line for line in lines if " left" in line]
    assert 20 < len(between) < 45  # of 96 steps of ten seconds
    assert between[-1].startswith("confirm, long: 1 of 2 trials, ")


def test_the_time_left_counts_each_type_at_its_cost(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the search 160 of 960 seconds are over. While one type alone is timed, all that is left
    seems as cheap."""
    monkeypatch.setattr("sys.stderr", io.StringIO())
    shown = Progress([*SEARCHED, *CONFIRMED])
    shown.begin(SEARCHED)
    shown.finish(SEARCHED[0], 0.5, 40.0)
    shown.finish(SEARCHED[1], 0.5, 120.0)
    assert shown._work() == (160, 800)
    shown.begin(CONFIRMED)
    shown.finish(CONFIRMED[0], 0.5, 200.0)
    assert shown._work() == (360, 600)
    shown.advance(10)
    done, left = shown._work()
    assert done + left == pytest.approx(960)


def test_a_terminal_has_one_line_for_each_phase(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen = Terminal()
    run(screen, clock, monkeypatch)
    rows = [
        row.split("\r")[-1].rstrip() for row in screen.getvalue().split("\n")
    ]  # what is left to be seen
    assert [row.partition(":")[0] for row in rows] == [
        "\x1b[33ma trial failed\x1b[0m", "search, short", "confirm, long", ""
    ]  # fmt: skip
    between = [
        line for line in screen.getvalue().split("\r") if " left" in line and "\n" not in line
    ]
    assert len(between) > 80 and max(map(len, between)) <= 79


def test_no_color_is_respected(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Terminal()
    run(screen, clock, monkeypatch)
    assert "\x1b" not in screen.getvalue()


def test_what_was_finished_before_is_told_and_does_not_count_as_speed(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    shown = Progress(SEARCHED)
    shown.begin(SEARCHED)
    shown.finish(SEARCHED[0], 0.5)
    clock.now = 60
    shown.advance(2)
    assert (
        "1 of 2 trials, 75% of all in 60 s, about 60 s left; best val/accuracy 50.00 %"
        in log.getvalue()
    )
    shown.finish(SEARCHED[1], math.nan, 0.0)
    shown.end()
    assert (
        log.getvalue()
        .splitlines()[-1]
        .startswith("search, short: 1 trial trained in 60 s, 1 found finished; best")
    )


@pytest.mark.parametrize("stream", ["full", "closed", "none"])
def test_a_standard_error_that_cannot_be_written_ends_nothing(
    stream: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that raised for it would fail the noise type that is in training."""
    closed = io.StringIO()
    closed.close()
    run({"full": Unwritable(), "closed": closed, "none": None}[stream], clock, monkeypatch)


def test_the_exit_code_stays_what_it_is_where_nobody_reads_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stderr", Unwritable())
    monkeypatch.setattr("sys.argv", ["study", "dance"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
