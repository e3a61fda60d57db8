"""A stage's batches, cut for the workers there are: nothing is lost, nothing idles, no bit moves."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Executor, Future
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.schema import CONFIRM, SEARCH
from models.config import Recipe
from models.data import Split
from models.train import Trained, train_networks
from study import worker
from study.executors.base import TrialExecutor
from study.executors.pieces import cut, makespan
from study.planning.dry_run import planned_stages, stand_in
from study.presets import PRESETS
from study.trial import Setting, Trial, batches

BRIEF = Recipe("brief", epochs=2, train_examples=600)
SETTING = Setting("", "", "cpu")


def trials(count: int, seeds: int, recipe: Recipe = BRIEF, noise: str = "dropout") -> list[Trial]:
    return [Trial(stand_in(noise, recipe, i), tuple(range(seeds)), SEARCH) for i in range(count)]


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 30)), min_size=1, max_size=4),
    st.integers(1, 70),
)
def test_every_network_is_in_one_piece(counts: list[tuple[int, int]], workers: int) -> None:
    """With its trial's place; pieces' trials have equally many seeds, and a batch's pieces follow
    each other."""
    stage = [trial for count, seeds in counts for trial in trials(count, seeds)]
    grouped = list(batches(stage, 8))
    whole = [trial for batch in grouped for trial in batch]
    pieces = cut(grouped, workers)
    found = Counter(
        (place, seed)
        for piece in pieces
        for place, trial in zip(piece.places, piece.trials, strict=True)
        for seed in trial.seeds
    )
    assert found == Counter((i, seed) for i, trial in enumerate(whole) for seed in trial.seeds)
    for piece in pieces:
        assert len({len(trial.seeds) for trial in piece.trials}) == 1
        for place, trial in zip(piece.places, piece.trials, strict=True):
            assert trial.arm == whole[place].arm
    batch_of = [i for i, batch in enumerate(grouped) for _ in batch]
    order = [batch_of[piece.places[0]] for piece in pieces]
    assert len(list(groupby(order))) == len(grouped)


def test_one_worker_trains_whole_batches() -> None:
    stage = list(batches([*trials(3, 3), *trials(2, 20)], 8))
    assert [piece.trials for piece in sorted(cut(stage, 1), key=lambda one: one.places)] == stage


def test_two_workers_share_three_batches_evenly() -> None:
    """And nothing is cut that fits as it is."""
    assert len(cut(batches(trials(2, 8), 8), 2)) == 2
    pieces = cut(batches(trials(3, 8), 8), 2)
    assert sorted(len(trial.seeds) for piece in pieces for trial in piece.trials) == [4] * 6


def test_the_longest_is_trained_first() -> None:
    long = Recipe("long", epochs=80)
    pieces = cut(batches([*trials(4, 8), *trials(1, 8, long)], 8), 2)
    assert pieces[0].trials[0].arm.recipe == long


@pytest.mark.parametrize(("preset", "gain"), [("full", 90), ("contest", 90), ("quick", 25)])
def test_a_study_gains_from_many_workers(preset: str, gain: int) -> None:
    """By stage arithmetic at 256 of them, as docs/teams.md has it."""
    stages = planned_stages(PRESETS[preset], PRESETS[preset].noise_types)

    def seconds(workers: int) -> float:
        pieces = (cut(batches(stage, 8), workers) for stage in stages)
        return sum(makespan([piece.cost for piece in stage], workers) for stage in pieces)

    assert seconds(1) / seconds(256) > gain


class Twelve(TrialExecutor):
    """Twelve workers in one; `broken` fails what has that seed."""

    broken: int | None = None

    @property
    def workers(self) -> int:
        return 12

    def submit(self, batch: list[Trial], setting: Setting, keep_weights: bool) -> Future:
        future: Future[list[list[Trained]]] = Future()
        if any(self.broken in trial.seeds for trial in batch):
            future.set_result(worker.failed_batch(batch, "four workers died of it"))
        else:
            future.set_result(worker.train_batch(batch, setting, keep_weights))
        return future


@pytest.fixture
def twelve(small: Split, monkeypatch: pytest.MonkeyPatch) -> Twelve:
    monkeypatch.setattr(worker, "load_split", lambda setting: small)
    return Twelve(Executor(), lambda images: None)


def test_a_trial_in_pieces_is_the_trial(twelve: Twelve, small: Split) -> None:
    """The networks of its seeds, in their order, and bit for bit."""
    stage = [Trial(stand_in("dropout", BRIEF), (5, 3, 9, 4, 8), CONFIRM)]
    [(whole, [networks])] = twelve.train([stage], SETTING)
    assert whole == stage and [network.seed for network in networks] == [5, 3, 9, 4, 8]
    arm = stage[0].arm
    together = train_networks([(arm, seed) for seed in (5, 3, 9, 4, 8)], small, test=True)
    for one, other in zip(networks, together, strict=True):
        assert one.scores == other.scores
        assert np.array_equal(one.images["nll"], other.images["nll"])


def test_a_trial_of_which_a_piece_failed_has_failed(twelve: Twelve) -> None:
    twelve.broken = 2
    stage = [*trials(1, 4), *trials(1, 2, noise="gaussian")]
    results = {
        trial.arm.noise: networks
        for whole, all_networks in twelve.train(batches(stage, 8), SETTING)
        for trial, networks in zip(whole, all_networks, strict=True)
    }
    assert [network.error for network in results["dropout"]] == ["four workers died of it"] * 4
    assert [network.error for network in results["gaussian"]] == ["", ""]
