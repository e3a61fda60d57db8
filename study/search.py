"""The search: Optuna proposes, one study for all noise types, the types taking turns."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from models.config import Arm, Recipe
from study import space

STUDY_SEED = 56

Score = Callable[[dict[int, Arm]], dict[int, float]]
"""Trains the arms of some trial numbers; returns each trial's objective, NaN for one that failed."""


def search(
    recipe: Recipe, noise_types: tuple[str, ...], rounds: int, max_rate: float, told: dict[int, Arm], score: Score
) -> None:
    """Runs `rounds` trials of every noise type; in a round each type is asked once.

    Args:
        told: trial number -> arm, of the finished trials of an earlier process; they are not asked again. What Optuna
            proposes depends only on the trials of earlier rounds, so a resumed search goes on as if never stopped.
        score: trains what is not trained yet and tells the objective, which is maximised.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", study_name=f"search under {recipe.name}")
    for turn in range(rounds):
        numbers = dict(enumerate(noise_types, start=turn * len(noise_types)))
        asked = {n: _ask(study, n, turn, noise, noise_types, max_rate) for n, noise in numbers.items() if n not in told}
        arms = {n: told[n] if n in told else space.to_arm(asked[n].params, recipe) for n in numbers}
        for number, value in score(arms).items():
            state = TrialState.FAIL if math.isnan(value) else TrialState.COMPLETE
            values = None if math.isnan(value) else [value]
            if number in asked:
                study.tell(asked[number], values, state)
            else:
                params = space.to_parameters(arms[number])
                distributions = space.distributions(numbers[number], noise_types, max_rate)
                study.add_trial(create_trial(state=state, params=params, distributions=distributions, values=values))


def _ask(
    study: optuna.Study, number: int, turn: int, noise: str, noise_types: tuple[str, ...], max_rate: float
) -> optuna.Trial:
    """A trial of the given type: an anchor at first, then TPE on that type's own trials."""
    # A seed for each trial: a resumed study would otherwise repeat the draws of its start-up trials.
    seed = int(np.random.SeedSequence((STUDY_SEED, number)).generate_state(1)[0])
    start_up = len(space.ANCHORS) * len(noise_types)
    study.sampler = TPESampler(multivariate=False, n_startup_trials=start_up, seed=seed)
    # What is enqueued is fixed, the rest is sampled: so the types take turns.
    study.enqueue_trial(space.fixed_parameters(noise, turn, max_rate))
    return study.ask(space.distributions(noise, noise_types, max_rate))
