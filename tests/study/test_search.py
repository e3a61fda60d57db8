"""The search: the types take turns, each is tuned on its own trials, and a stopped search goes on
as if it had not."""

from __future__ import annotations

import math
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import optuna
import pandas as pd
import pytest
from synthetic import declaration

from models.config import Arm
from models.noise import NOISE
from study import search_space
from study.presets import DECAY
from study.resumable import ResumableStudy
from study.search import search

TYPES = ("none", "dropout", "gaussian")


def quality(arm: Arm) -> float:
    """A smooth objective with its best at rates (0.1, 0.4), weight decay 1e-4."""
    return (
        1
        - (arm.rate1 - 0.1) ** 2
        - (arm.rate2 - 0.4) ** 2
        - 0.01 * (math.log10(arm.weight_decay) + 4) ** 2
    )


def run(
    rounds: int,
    told: dict[int, Arm] | None = None,
    max_rate: float = 0.8,
    sizes: list[int] | None = None,
) -> dict[int, Arm]:
    """All arms of a search by trial number; `sizes` takes how many were asked for at a time."""
    arms: dict[int, Arm] = {}

    def score(asked: dict[int, Arm]) -> dict[int, float]:
        arms.update(asked)
        if sizes is not None:
            sizes.append(len(asked))
        return {number: quality(arm) for number, arm in asked.items()}

    search(DECAY, TYPES, rounds, max_rate, told or {}, score)
    return arms


def test_types_take_turns_from_common_anchors() -> None:
    arms = run(5)
    assert [arm.noise for _, arm in sorted(arms.items())] == list(TYPES) * 5
    assert {(arms[n].rate1, arms[n].rate2, arms[n].weight_decay) for n in (1, 2)} == {
        (0.2, 0.2, 1e-5)
    }
    assert {(arms[n].rate1, arms[n].rate2) for n in (4, 5)} == {(0.05, 0.05)}


@pytest.mark.parametrize("rounds", [1, 2, 3, 10])
def test_what_is_asked_together_is_what_is_asked_round_by_round(
    rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    together: list[int] = []
    arms = run(rounds, sizes=together)
    first = min(rounds, len(search_space.ANCHORS))
    assert together == [len(TYPES) * first] + [len(TYPES)] * (rounds - first)
    apart: list[int] = []
    monkeypatch.setattr(
        "study.search.asked_together", lambda rounds: [range(i, i + 1) for i in range(rounds)]
    )
    assert run(rounds, sizes=apart) == arms
    assert apart == [len(TYPES)] * rounds


@pytest.mark.parametrize("finished", [1, 4, 11, 20])
def test_a_resumed_search_proposes_what_it_would_have(finished: int) -> None:
    whole = run(10)
    assert run(10, told={n: arm for n, arm in whole.items() if n < finished}) == whole


def test_a_resumed_search_sees_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What TPE learns from is what the store keeps, whether it was proposed just now or by an
    earlier process."""
    seen: list[dict[str, object]] = []
    tell = optuna.Study.tell

    def telling(study: optuna.Study, trial: optuna.Trial, *outcome: Any) -> object:
        seen.append(trial.params)
        return tell(study, trial, *outcome)

    monkeypatch.setattr(optuna.Study, "tell", telling)
    whole = run(10)
    once = seen.copy()
    seen.clear()
    assert run(10, told=whole) == whole
    assert seen == once


def test_an_adopted_score_is_that_of_a_fresh_trial_to_the_last_bit() -> None:
    """The store's rows may come in another order, and pandas adds up otherwise than `fmean`."""
    scores = [0.8137, 0.8582, 0.8867]
    table = pd.DataFrame(
        {"trial_hash": ["a"] * 3 + ["b"] * 3, "val/accuracy": [*scores, *scores[::-1]]}
    )

    class Resumed(ResumableStudy):
        def read(self, images: bool = False) -> Any:
            return SimpleNamespace(table=table, diverged=set())

    nothing: Any = None
    session = Resumed(nothing, declaration(), nothing, nothing, nothing)
    assert session._scores == {"a": fmean(scores), "b": fmean(scores)}


def test_tpe_finds_better_arms_than_it_started_with() -> None:
    arms = run(40)
    first = max(quality(arms[n]) for n in range(0, 30) if arms[n].noise == "dropout")
    last = [quality(arms[n]) for n in range(60, 120) if arms[n].noise == "dropout"]
    assert max(last) > first
    assert (
        sum(last) / len(last)
        > sum(quality(arms[n]) for n in range(6, 36) if arms[n].noise == "dropout") / 10
    )


def test_a_weak_type_is_tuned_as_hard_as_a_strong_one() -> None:
    """Scores far below another type's do not keep a type from its own best: each is tuned on its
    own trials."""

    def best_error(handicap: float) -> float:
        errors: list[float] = []

        def score(asked: dict[int, Arm]) -> dict[int, float]:
            errors.extend(1 - quality(arm) for arm in asked.values() if arm.noise == "dropout")
            return {
                n: quality(arm) - handicap * (arm.noise == "dropout") for n, arm in asked.items()
            }

        search(DECAY, TYPES, 25, 0.8, {}, score)
        return min(errors)

    assert best_error(handicap=10) == best_error(handicap=0) < 0.02


@pytest.mark.parametrize(
    ("asked", "got"), [(0.8, 0.8), (0.159, 0.15), (0.29, 0.29), (0.0, 0.0), (0.95, 0.95)]
)
def test_the_highest_rate_is_taken_down_to_the_grid(asked: float, got: float) -> None:
    assert search_space.on_grid(asked) == got


def test_a_failed_trial_is_never_told_as_a_score() -> None:
    """Where every trial of a type fails, the search still ends, and the others are tuned."""
    asked: list[Arm] = []

    def score(arms: dict[int, Arm]) -> dict[int, float]:
        asked.extend(arms.values())
        return {n: math.nan if arm.noise == "gaussian" else quality(arm) for n, arm in arms.items()}

    search(DECAY, TYPES, 6, 0.8, {}, score)
    assert len(asked) == 18


@pytest.mark.parametrize("noise", NOISE)
def test_arms_survive_the_way_through_the_store(noise: str) -> None:
    """From Optuna's parameters to an arm and back: nothing is lost, at any point of the grid."""
    names = tuple(NOISE)
    grid = search_space.distributions(noise, names, 0.8)
    steps = round(
        (search_space.LOG10_WEIGHT_DECAY[1] - search_space.LOG10_WEIGHT_DECAY[0])
        / search_space.WEIGHT_DECAY_STEP
    )
    for i in range(steps + 1):
        parameters = {
            "noise": noise,
            "log10_weight_decay": search_space.LOG10_WEIGHT_DECAY[0] + i * 0.05,
        }
        rates = {"rate1": (i % 81) / 100, "rate2": 0.8 - (i % 81) / 100}
        parameters |= {name: rate for name, rate in rates.items() if name in grid}
        arm = search_space.to_arm(parameters, DECAY)
        back = search_space.to_parameters(arm)
        assert search_space.to_arm(back, DECAY) == arm
        assert set(back) == set(grid)
        for name, distribution in grid.items():
            assert distribution._contains(distribution.to_internal_repr(back[name]))


def test_max_rate_bounds_the_search() -> None:
    assert max(arm.rate1 for arm in run(10, max_rate=0.1).values()) <= 0.1
