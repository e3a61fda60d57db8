"""The benchmark times trainings that train: each contender learns, and the limit multiplies what a
training does."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import noise_types, peers, tracking
from benchmarks.speed import PEERS, Row, all_training_images, table
from models import data
from models.config import Arm
from models.data import Split
from models.train import train_population
from study.presets import BOOK


@pytest.fixture(scope="module")
def few(folder) -> Split:
    return all_training_images(data.split(data.load(folder=str(folder)))).subset(2_560)


@pytest.mark.parametrize("name", [name for name in peers.CONTENDERS if name != "limit"])
def test_each_contender_learns(name: str, few: Split) -> None:
    """Three epochs of ten steps: all of them get about as far."""
    if name in PEERS:
        pytest.importorskip(name, reason="requirements-bench.txt is not installed")
    seconds, loss = peers.CONTENDERS[name](few, 3)
    assert seconds > 0
    assert loss is not None and 1.0 < loss < math.log(10)


def test_the_limit_is_the_products_of_a_training(
    few: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted by PyTorch's own counter, within one per cent: the evaluation of ten images is not
    part of the limit."""
    monkeypatch.setattr(
        "models.matmul.onednn_multiplies_faster", lambda: False
    )  # the counter knows bmm alone
    monkeypatch.setattr(peers, "NETWORKS", 2)
    monkeypatch.setattr(peers, "shares", lambda networks: [range(networks)])
    monkeypatch.setattr(peers, "one_thread_each", here)
    counts = []
    for run in (lambda: peers.limit(few, 1), lambda: train_once(few)):
        with FlopCounterMode(display=False) as counter:
            run()
        counts.append(counter.get_total_flops())
    assert counts[0] == pytest.approx(counts[1], rel=0.01)


class here:  # noqa: N801
    """An executor that runs in this thread, where the counter counts."""

    def __enter__(self) -> here:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def map(self, function, items):
        return [function(item) for item in items]


def train_once(parts: Split) -> None:
    train_population([Arm("dropout", 0.5, 0.5, 0.0, replace(BOOK, epochs=1))], (0, 1), parts)


def test_rows_are_medians_and_ratios() -> None:
    rows = [Row("population", [0.2, 0.1, 0.4]), Row("peer", [0.6, 0.5, 0.7])]
    assert json.loads(rows[1].to_json(rows[0].seconds)) == {
        "name": "peer", "seconds": 0.6, "ratio": 3.0, "low": 0.5, "high": 0.7,
    }  # fmt: skip
    assert "| peer | 0.600 | 0.500 to 0.700 | 3.00 |" in table(rows, rows[0].seconds)


def test_the_stopwatch_gives_nested_time_to_the_inner_item(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 3.0, 7.0, 15.0, 31.0])
    monkeypatch.setattr(tracking.time, "perf_counter", lambda: next(clock))
    watch = tracking.Stopwatch()
    inner = watch.around("inner", lambda: None)
    watch.around("outer", inner)()
    watch.switch(None)
    assert watch.seconds == {"the rest": 1.0 + 16.0, "outer": 2.0 + 8.0, "inner": 4.0}


def test_a_type_is_timed_beside_none(few: Split) -> None:
    """Pairs, of which the first warms up: the ratio is that of pairs, not of medians."""
    clock = iter([(9.0, 9.0), (1.0, 1.5), (2.0, 2.0), (1.0, 4.0)])
    drawn: list[float] = []

    def next_of(place: int) -> float:
        if not drawn:
            drawn.extend(next(clock))
        return drawn.pop(0)

    figures = noise_types.beside_none(lambda: next_of(1), lambda: next_of(0), 3)
    assert figures == {"seconds": 2.0, "ratio": 1.5, "low": 1.0, "high": 4.0}
    assert noise_types.training("shift", few, 2) > 0 and noise_types.evaluation(few, 2) > 0
    assert noise_types.arm_of("shift").rate1 > 0 == noise_types.arm_of("shift").rate2
