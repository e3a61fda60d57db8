"""The search of one recipe: no noise first, then every type around its weight decay.

The round is four anchors and a scrambled Sobol sequence: no trial waits for another, so a device
is filled, and a search that is resumed proposes what an uninterrupted one would have. What single
networks score is smoothed by a Gaussian process, whose posterior mean picks: how well is measured
by benchmarks/search_quality.py, in docs/search.md.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import QMCSampler
from optuna.trial import create_trial

from analysis.schema import digest
from analysis.stats.selection import posterior_means
from models.config import Arm, Recipe
from study import search_space

STUDY_SEED = 56
CHANCE = 0.1
"""What a network that diverged counts as: the accuracy of a guess."""
APART = 0.1
"""Least distance of two arms that are trained again, in the unit cube."""

Scored = Mapping[Arm, Sequence[float]]
"""Arm -> the objective of each of its networks; NaN for one that diverged."""


@dataclass(frozen=True)
class Search:
    """What is searched: a noise type or DROPOUT_ALONE, under a recipe.

    Attributes:
        trials: how many.
        without_noise: the arm tuned without noise; none while that is what is tuned.
        seed: of the sequence; a study has one, simulations have many.
        known: no noise's own arm, as the arm at rate 0 that it is, and its scores: it is a
            candidate of every search, and not trained again.
    """

    label: str
    recipe: Recipe
    trials: int
    max_rate: float
    without_noise: Arm | None = None
    known: Scored = field(default_factory=dict)
    seed: int = STUDY_SEED

    def propose(self) -> list[Arm]:
        """Return the arms to be tried."""
        if self.without_noise is None:
            grid = search_space.decay_grid(self.trials, self.recipe)
            return [self.recipe.arm("none", 0.0, 0.0, decay) for decay in grid]
        anchors = search_space.anchors(self.label, self.without_noise, self.max_rate)
        anchors = anchors[: self.trials]
        return [*anchors, *self._sequence(self.trials - len(anchors))]

    def shortlist(self, scored: Scored, count: int) -> list[Arm]:
        """Return the best few by the posterior mean, apart from each other."""
        chosen: list[Arm] = []
        for arm in self._ranked(scored, list(scored)):
            place = self._point(arm)
            if all(math.dist(place, self._point(other)) >= APART for other in chosen):
                chosen.append(arm)
        return chosen[:count]

    def winner(self, scored: Scored, again: Sequence[Arm]) -> tuple[Arm, float] | None:
        """Return the best of no noise's own arm and those trained again, with its mean, if any."""
        if not any(map(_finite, scored.values())):
            return None
        ranked = self._ranked(scored, [*again, *self.known])
        return (ranked[0], self.means(scored)[ranked[0]]) if ranked else None

    def means(self, scored: Scored) -> dict[Arm, float]:
        """Return the posterior mean of each arm, over all networks of the search."""
        every = self._every(scored)
        points: list[list[float]] = []
        told: list[float] = []
        for arm, scores in every.items():
            points += [self._point(arm)] * len(scores)
            told += map(_told, scores)
        means = posterior_means(points, told, [self._point(arm) for arm in every])
        return dict(zip(every, means, strict=True))

    def _ranked(self, scored: Scored, arms: Sequence[Arm]) -> list[Arm]:
        """Return the arms, best posterior mean first, without those that diverged."""
        every = self._every(scored)
        left = [arm for arm in arms if _finite(every[arm])]
        means = self.means(scored) if left else {}
        return sorted(left, key=lambda arm: (-means[arm], arm.name))

    def _every(self, scored: Scored) -> Scored:
        """Return the scores with those of no noise's own arm, which a proposal may be, too."""
        every = dict(scored)
        for arm, scores in self.known.items():
            every[arm] = [*scores, *scored.get(arm, ())]
        return every

    def _point(self, arm: Arm) -> list[float]:
        return search_space.to_point(self.label, arm, self.max_rate)

    def _sequence(self, count: int) -> list[Arm]:
        """Return arms spread evenly over the unit cube, by a sequence of this search's own."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        names = search_space.coordinates(self.label)
        cube: dict[str, BaseDistribution] = {name: FloatDistribution(0.0, 1.0) for name in names}
        seed = int(digest([self.seed, self.recipe.name, self.label]), 16) % 2**32
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            sampler = QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        # The sampler learns the space from a finished trial, and looks at nothing else of it.
        centre = dict.fromkeys(names, 0.5)
        study.add_trial(create_trial(params=centre, distributions=cube, value=0.0))
        arms = []
        for _ in range(count):
            point = [study.ask(cube).params[name] for name in names]
            arms.append(search_space.to_arm(self.label, point, self.recipe, self.max_rate))
        return arms


def _told(score: float) -> float:
    return score if math.isfinite(score) else CHANCE


def _finite(scores: Sequence[float]) -> bool:
    return all(map(math.isfinite, scores))
