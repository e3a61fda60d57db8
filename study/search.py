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
        trials = {
            number: _ask(study, number, noise, noise_types, max_rate)
            for number, noise in numbers.items()
            if number not in told
        }
        arms = {n: told[n] if n in told else space.to_arm(trials[n].params, recipe) for n in numbers}
        for number, value in score(arms).items():
            state = TrialState.FAIL if math.isnan(value) else TrialState.COMPLETE
            values = None if math.isnan(value) else [value]
            if number in trials:
                study.tell(trials[number], values, state)
            else:
                parameters = space.to_parameters(arms[number])
                distributions = space.distributions(numbers[number], noise_types, max_rate)
                study.add_trial(
                    create_trial(state=state, params=parameters, distributions=distributions, values=values)
                )


def _ask(study: optuna.Study, number: int, noise: str, noise_types: tuple[str, ...], max_rate: float) -> optuna.Trial:
    """A trial of the given type: its default at first, then TPE on that type's own trials."""
    # A seed for each trial: a resumed study would otherwise repeat the draws of its start-up trials.
    seed = int(np.random.SeedSequence((STUDY_SEED, number)).generate_state(1)[0])
    study.sampler = TPESampler(multivariate=False, n_startup_trials=2 * len(noise_types), seed=seed)
    # What is enqueued is fixed, the rest is sampled: so the types take turns.
    study.enqueue_trial(space.default_parameters(noise, max_rate) if number < len(noise_types) else {"noise": noise})
    return study.ask(space.distributions(noise, noise_types, max_rate))
