"""The search: wide rounds that depend on earlier rounds alone, every type tuned as hard as another,
and a stopped search goes on as if it had not."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import declaration

from analysis import schema
from analysis.questions.base import DROPOUT_ALONE, Tuned
from models.config import Arm, Recipe
from study import search_space
from study.planning.dry_run import DryRun
from study.presets import LONG, PRESETS, SMALL, headline
from study.resumable import NothingToCompare, ResumableStudy
from study.runner import NO_NOISE, run_study, searched_beside
from study.search import Search
from study.trial import Trial

TRIALS = 16
WITHOUT = SMALL.arm("none", 0.0, 0.0, 1e-3)
BESIDE = ("dropout", "shift", "input-dropout+dropout", DROPOUT_ALONE)


def quality(arm: Arm) -> float:
    """A smooth objective with its best at rates (0.3, 0.2), weight decay 1e-3."""
    decay = math.log10(max(arm.weight_decay, 1e-5)) + 3
    return 0.87 - 0.1 * (arm.rate1 - 0.3) ** 2 - 0.1 * (arm.rate2 - 0.2) ** 2 - 0.002 * decay**2


def run(search: Search, noise: float = 0.0, seed: int = 0) -> dict[Arm, list[float]]:
    """The scores of all arms of a search."""
    random = np.random.default_rng(seed)
    scored: dict[Arm, list[float]] = {}
    for arm in search.propose():
        scored.setdefault(arm, []).append(quality(arm) + random.normal(0, noise))
    return scored


@pytest.mark.parametrize("label", BESIDE)
def test_a_type_has_anchors_with_and_without_weight_decay_and_a_sequence(label: str) -> None:
    arms = Search(label, SMALL, TRIALS, 0.5, WITHOUT).propose()
    noise, recipe = search_space.noise_of(label), SMALL
    mild, faint = ([rate] * len(arms[0].rates) for rate in (0.2, 0.05))
    decay = 0.0 if label == DROPOUT_ALONE else WITHOUT.weight_decay
    anchors = [
        Arm.of(noise, mild, decay, recipe),
        Arm.of(noise, mild, round(decay / 10, 9), recipe),
        Arm.of(noise, mild, 0.0, recipe),
        Arm.of(noise, faint, decay, recipe),
    ]
    if label == DROPOUT_ALONE:  # whose first three are one
        del anchors[1:3]
    assert arms[: len(anchors)] == anchors
    assert len(set(arms)) == len(arms) == TRIALS and {arm.noise for arm in arms} == {noise}


@pytest.mark.parametrize("recipe", [SMALL, LONG])
def test_an_anchor_lies_in_the_space_whatever_was_tuned_without_noise(recipe: Recipe) -> None:
    for decay in search_space.decay_grid(25, recipe):
        for arm in search_space.anchors("dropout", recipe.arm("none", 0.0, 0.0, decay), 0.5):
            assert all(0 <= place <= 1 for place in search_space.to_point("dropout", arm, 0.5))


def test_half_of_all_rates_are_low_and_weight_decay_is_sometimes_off() -> None:
    arms = Search("dropout", SMALL, 130, 0.5, WITHOUT).propose()[4:]
    rates = [arm.rate1 for arm in arms] + [arm.rate2 for arm in arms]
    assert 0.45 < sum(rate < 0.125 for rate in rates) / len(rates) < 0.55 and max(rates) > 0.45
    off = sum(arm.weight_decay == 0 for arm in arms)
    assert 8 <= off <= 18
    on = [arm.weight_decay for arm in arms if arm.weight_decay]
    assert 1e-5 <= min(on) < 2e-5 and 5e-3 < max(on) <= 1e-2


def test_dropout_alone_has_no_weight_decay() -> None:
    assert all(
        arm.weight_decay == 0 for arm in run(Search(DROPOUT_ALONE, SMALL, TRIALS, 0.5, WITHOUT))
    )


def test_no_noise_takes_a_grid_from_0() -> None:
    decays = [arm.weight_decay for arm in Search("none", SMALL, TRIALS, 0.5).propose()]
    assert decays[0] == 0 and len(set(decays)) == TRIALS
    steps = np.diff(np.log10(decays[1:]))
    assert steps == pytest.approx(steps[0], abs=0.01)
    assert decays[1] < 2e-5 and 5e-3 < decays[-1] <= 1e-2


@pytest.mark.parametrize("label", BESIDE)
def test_a_point_and_its_arm_are_the_same(label: str) -> None:
    """Each rate has a coordinate of its own; up to the rounding of the arm."""
    for arm in Search(label, SMALL, 40, 0.5, WITHOUT).propose():
        point = search_space.to_point(label, arm, 0.5)
        assert len(point) == len(search_space.coordinates(label))
        assert search_space.to_arm(label, point, SMALL, 0.5) == arm
    names = search_space.coordinates("input-dropout+dropout")
    assert names == ("rate1", "rate2", "rate3", "weight_decay")
    last = search_space.to_arm("input-dropout+dropout", [0.2, 0.4, 1.0, 0.0], SMALL, 0.5)
    assert last.rates == (0.02, 0.08, 0.5)


@pytest.mark.parametrize("label", BESIDE)
def test_proposals_are_the_same_each_time_and_no_other_searchs(label: str) -> None:
    arms = Search(label, SMALL, TRIALS, 0.5, WITHOUT).propose()
    assert Search(label, SMALL, TRIALS, 0.5, WITHOUT).propose() == arms
    assert Search(label, SMALL, 24, 0.5, WITHOUT).propose()[:TRIALS] == arms
    elsewhere = Search(label, LONG, TRIALS, 0.5, WITHOUT.with_recipe(LONG)).propose()
    assert [arm.rate1 for arm in elsewhere[4:]] != [arm.rate1 for arm in arms[4:]]


def test_the_winner_of_many_noisy_networks_is_near_the_best() -> None:
    """Over searches with an SD of 0.3 points a network: the picked arm's true score."""
    losses = []
    for seed in range(12):
        search = Search("dropout", SMALL, TRIALS, 0.5, WITHOUT)
        scored = run(search, 0.003, seed)
        random = np.random.default_rng(100 + seed)
        again = search.shortlist(scored, 3)
        for arm in again:
            scored[arm] += list(quality(arm) + random.normal(0, 0.003, 5))
        winner = search.winner(scored, again)
        assert winner
        losses.append(0.87 - quality(winner[0]))
    assert np.median(losses) < 0.002


def test_the_shortlist_lies_apart_and_leaves_out_what_diverged() -> None:
    search = Search("dropout", SMALL, TRIALS, 0.5, WITHOUT)
    scored = run(search)
    best = max(scored, key=quality)
    scored[best] = [math.nan]
    chosen = search.shortlist(scored, 3)
    points = [search_space.to_point("dropout", arm, 0.5) for arm in chosen]
    assert len(chosen) == 3 and best not in chosen
    assert min(math.dist(a, b) for a in points for b in points if a is not b) >= 0.1


def test_no_noises_own_arm_wins_where_all_noise_does_harm() -> None:
    """It is a candidate of every type, though trained but once."""
    own = search_space.at_rate_0("dropout", WITHOUT)
    search = Search("dropout", SMALL, TRIALS, 0.5, WITHOUT, {own: [0.87] * 4})
    scored = {arm: [0.87 - 0.05 * (arm.rate1 + arm.rate2)] for arm in run(search)}
    again = search.shortlist(scored, 3)
    winner = search.winner(scored, again)
    assert winner and winner[0] == own and own not in again
    everything_diverged = {arm: [math.nan] for arm in scored}
    assert search.winner(everything_diverged, []) is None


def test_max_rate_bounds_the_search() -> None:
    arms = run(Search("dropout", SMALL, TRIALS, 0.1, WITHOUT))
    assert max(max(arm.rate1, arm.rate2) for arm in arms) <= 0.1


@pytest.mark.parametrize(
    ("asked", "got"), [(0.8, 0.8), (0.159, 0.159), (0.1599, 0.159), (0.0, 0.0), (0.95, 0.95)]
)
def test_the_highest_rate_is_taken_down_to_the_grid(asked: float, got: float) -> None:
    assert search_space.on_grid(asked) == got


class Resumed(ResumableStudy):
    """A study whose store is a table; what it would train is scored by `quality`."""

    def __init__(self, table: pd.DataFrame, diverges: str = "") -> None:
        self._table, self._diverges = table, diverges
        self.trained: list[Trial] = []
        preset = replace(
            PRESETS["quick"], trials_per_type=6, rerank_seeds=(100, 101), questions=headline(SMALL)
        )
        types = ("none", "dropout", "shift")
        declared = replace(declaration(), noise_types=types, max_rate=0.5, objective="val/accuracy")
        setting = SimpleNamespace(device_type="cpu", precision="float32")
        tracker: Any = SimpleNamespace(setting=setting)
        nothing: Any = None
        super().__init__(preset, declared, tracker, nothing, nothing)

    def read(self, images: bool = False) -> Any:
        return SimpleNamespace(table=self._table, diverged=set())

    def run(self, trials: Any, winner: Arm | None = None) -> None:
        for trial in trials:
            if self._hash(trial) in self._scores:
                continue
            self.trained.append(trial)
            random = np.random.default_rng(trial.seeds)
            bad = trial.arm.noise == self._diverges
            self._scores[self._hash(trial)] = [
                math.nan if bad else quality(trial.arm) + random.normal(0, 0.002)
                for _ in trial.seeds
            ]

    def tune(self) -> dict[str, Arm]:
        for labels in (NO_NOISE, searched_beside(self.preset, self.noise_types, SMALL)):
            self.search(SMALL, labels)
            arms = self.shortlist(SMALL, labels)
            self.run([Trial(arm, (100, 101), schema.RERANK) for arm in dict.fromkeys(arms)])
        return self.tuned_arms(SMALL)

    def rows(self, count: int) -> pd.DataFrame:
        """The run table after so many trials."""
        records = [
            {"trial_hash": self._hash(trial), "seed": seed, "val/accuracy": score}
            for trial in self.trained[:count]
            for seed, score in zip(trial.seeds, self._scores[self._hash(trial)], strict=True)
        ]
        return pd.DataFrame(records, columns=["trial_hash", "seed", "val/accuracy"])


EMPTY = pd.DataFrame(columns=["trial_hash", "seed", "val/accuracy"])


@pytest.mark.parametrize("finished", [1, 6, 9, 20, 30])
def test_a_resumed_search_proposes_what_it_would_have(finished: int) -> None:
    whole = Resumed(EMPTY)
    tuned = whole.tune()
    assert list(tuned) and set(tuned) == {"none", "dropout", "shift", DROPOUT_ALONE}
    resumed = Resumed(whole.rows(finished).sample(frac=1, random_state=1))
    assert resumed.tune() == tuned
    assert resumed.trained == whole.trained[finished:]


def test_every_search_has_as_many_networks_and_a_seed_for_each_trial() -> None:
    whole = Resumed(EMPTY)
    whole.tune()
    searched = [trial for trial in whole.trained if trial.phase == schema.SEARCH]
    assert len(searched) == 4 * 6 and {len(trial.seeds) for trial in searched} == {1}
    numbers = sorted(trial.number or 0 for trial in searched)
    assert numbers == list(range(24))
    for trial in searched:
        search, place = divmod(trial.number or 0, 6)
        alone = search == 3  # has seeds of its own: no trial is one of dropout's, too
        assert trial.seeds[0] == place + 50 * alone


def test_a_type_that_diverges_is_left_out_and_a_reference_ends_the_study() -> None:
    assert set(Resumed(EMPTY, diverges="shift").tune()) == {
        "none",
        "dropout",
        "shift",
        DROPOUT_ALONE,
    } - {"shift"}
    for reference in ("none", "dropout"):
        with pytest.raises(NothingToCompare, match=f"every trial of {reference} diverged"):
            Resumed(EMPTY, diverges=reference).tune()


def test_a_trial_that_was_not_trained_says_nothing_of_its_arm() -> None:
    """Out of memory is not chance accuracy: a process that resumes would train it."""
    study = Resumed(EMPTY)
    study.search(SMALL, NO_NOISE)
    _, trials = study._searches[SMALL, "none"]
    lost = trials[0]
    study._scores[study._hash(lost)] = [math.nan]
    assert math.isnan(study._scored(trials)[lost.arm][0])  # diverged
    study._not_trained.add(study._hash(lost))
    assert set(study._scored(trials)) == {trial.arm for trial in trials} - {lost.arm}
    assert lost.arm not in study.shortlist(SMALL, NO_NOISE)


class Diverging(DryRun):
    """A dry run in which every trial of some searches diverges under a later recipe."""

    def __init__(self, *lost: str) -> None:
        super().__init__(PRESETS["full"], ("none", "dropout", "shift", "gaussian"))
        self.lost, self.names = lost, dict[str, dict[str, str]]()

    def tuned_arms(self, recipe: Recipe) -> Tuned:
        tuned = super().tuned_arms(recipe)
        lost = self.lost if recipe == LONG else ()
        return {label: arm for label, arm in tuned.items() if label not in lost}

    def tried(self, recipe: Recipe) -> Tuned:
        return super().tuned_arms(recipe)

    def log_arms(self, names: dict[str, dict[str, str]]) -> None:
        self.names = names


@pytest.mark.parametrize("lost", [(), ("shift",), ("shift", DROPOUT_ALONE)])
def test_a_type_that_diverges_under_a_later_recipe_keeps_a_name_there(
    lost: tuple[str, ...],
) -> None:
    """So that the report can tell it, which has no runs, from one that was not picked."""
    study = Diverging(*lost)
    run_study(study)
    assert set(study.names["long"]) >= {f"tuned {noise}" for noise in study.noise_types}
    confirmed = {trial.arm.name for trial in study.stages[-1]}
    untested = {label for label, arm in study.names["long"].items() if arm not in confirmed}
    # Of no question's, dropout alone is confirmed as additivity's arm "dropout".
    assert untested == {f"tuned {label}" for label in lost}
    assert ("dropout" in study.names["long"]) == (DROPOUT_ALONE not in lost)
