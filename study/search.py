"""The search: Optuna proposes, one study for all noise types, the types taking turns."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from models.config import Arm, Recipe
from study import search_space

STUDY_SEED = 56

Score = Callable[[dict[int, Arm]], dict[int, float]]
"""Trains the arms of some trial numbers; returns each trial's objective, NaN for one that
failed."""


def search(
    recipe: Recipe,
    noise_types: tuple[str, ...],
    rounds: int,
    max_rate: float,
    told: dict[int, Arm],
    score: Score,
) -> None:
    """Run `rounds` trials of every noise type; in a round each type is asked once.

    Args:
        max_rate: highest rate proposed; on the grid of `space`.
        told: trial number -> arm, of the finished trials of an earlier process; they are not
            proposed again. A proposal depends only on the trials of earlier rounds, so a resumed
            search goes on as if never stopped.
        score: trains what is not trained yet and tells the objective, which is maximised.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", study_name=f"search under {recipe.name}")
    for turns in asked_together(rounds):
        asked: dict[int, optuna.Trial] = {}
        for number, (turn, noise) in enumerate(
            product(turns, noise_types), start=turns[0] * len(noise_types)
        ):
            distributions = search_space.distributions(noise, noise_types, max_rate)
            arm = told.get(number) or search_space.to_arm(
                _propose(study, number, turn, noise, distributions, max_rate), recipe
            )
            # Of the arm, not as proposed: Optuna's 0.07000000000000001 would be 0.07 in a search
            # that is resumed.
            study.enqueue_trial(search_space.to_parameters(arm))
            asked[number] = study.ask(distributions)
        for number, value in score(
            {n: search_space.to_arm(trial.params, recipe) for n, trial in asked.items()}
        ).items():
            failed = math.isnan(value)
            study.tell(
                asked[number],
                None if failed else value,
                TrialState.FAIL if failed else TrialState.COMPLETE,
            )


def asked_together(rounds: int) -> list[range]:
    """The rounds, by those whose trials are asked for at once, so that a type's are trained as one
    population.

    They are the anchors', which learn from no score; TPE would propose with fewer to learn from.
    """
    anchors = min(rounds, len(search_space.ANCHORS))
    return [range(anchors), *(range(turn, turn + 1) for turn in range(anchors, rounds))]


def _propose(
    study: optuna.Study,
    number: int,
    turn: int,
    noise: str,
    distributions: dict[str, optuna.distributions.BaseDistribution],
    max_rate: float,
) -> dict[str, Any]:
    """The parameters of a type's next trial: an anchor at first, then TPE.

    TPE sees the trials of that type alone. Among all, it would count the best tenth as good, leave
    a weaker type without a single good trial, and so tune only the front-runner.
    """
    # A seed for each trial: a resumed study would otherwise repeat the draws of its start-up
    # trials.
    seed = int(np.random.SeedSequence((STUDY_SEED, number)).generate_state(1)[0])
    view = optuna.create_study(
        direction="maximize",
        sampler=TPESampler(n_startup_trials=len(search_space.ANCHORS), seed=seed),
    )
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    view.add_trials([trial for trial in finished if trial.params["noise"] == noise])
    view.enqueue_trial(search_space.fixed_parameters(noise, turn, max_rate))
    return view.ask(distributions).params
