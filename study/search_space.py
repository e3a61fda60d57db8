"""The search space: what Optuna may propose for each noise type."""

from __future__ import annotations

import math
from typing import Any

from optuna.distributions import BaseDistribution

from analysis.store import optuna_space
from models.config import Arm, Recipe
from models.noise import Rate, noise_type, noise_version

MAX_RATE = 0.8
RATE_STEP = 0.01
LOG10_WEIGHT_DECAY = (-6.0, -2.0)
WEIGHT_DECAY_STEP = 0.05
"""On a grid, as the rates are, so that an arm read back from the store is exactly the one proposed.

The lower end is inert at every recipe's horizon: weight decay acts over 1/(learning rate x weight
decay) steps.
"""
ANCHORS = (1.0, 0.25)
"""A type's first trials have its default rate, then a quarter of it: each is tried at mild and at
faint noise."""
FIRST_LOG10_WEIGHT_DECAY = -5.0


def on_grid(max_rate: float) -> float:
    """The highest rate of the grid that is not above `max_rate`."""
    return round(math.floor(max_rate / RATE_STEP + 1e-9) * RATE_STEP, 2)


def distributions(
    noise: str, noise_types: tuple[str, ...], max_rate: float
) -> dict[str, BaseDistribution]:
    """Return Optuna's distributions for a trial of one noise type; rate 0 lies in every space."""
    return optuna_space.distributions(declared((noise,)), noise, noise_types, max_rate)


def fixed_parameters(noise: str, turn: int, max_rate: float) -> dict[str, Any]:
    """Return what is not left to the sampler in a type's trial number `turn`: the type, and in the
    first ones the rates."""
    parameters: dict[str, Any] = {"noise": noise}
    if turn == 0:
        parameters["log10_weight_decay"] = FIRST_LOG10_WEIGHT_DECAY
    if turn < len(ANCHORS):
        for name, rate in rates_of(noise).items():
            parameters[name] = min(on_grid(rate.default * ANCHORS[turn]), max_rate)
    return parameters


def rates_of(noise: str) -> dict[str, Rate]:
    """The rates that a noise type has, by the name of their parameter."""
    return dict(zip(("rate1", "rate2"), noise_type(noise).rates, strict=False))


def declared(noise_types: tuple[str, ...]) -> dict[str, Any]:
    """The space as a study declares it; its highest rate, declared beside it, may cut a type's
    bounds."""
    defaults = {noise: [rate.default for rate in rates_of(noise).values()] for noise in noise_types}
    versions = {noise: version for noise in noise_types if (version := noise_version(noise))}
    return {
        **({"noise_versions": versions} if versions else {}),
        "bounds": {
            noise: [[rate.low, rate.high] for rate in rates_of(noise).values()]
            for noise in noise_types
        },
        "rate_step": RATE_STEP,
        "log10_weight_decay": LOG10_WEIGHT_DECAY,
        "log10_weight_decay_step": WEIGHT_DECAY_STEP,
        "first_rates": {
            noise: [[rate * anchor for rate in rates] for anchor in ANCHORS]
            for noise, rates in defaults.items()
        },
        "first_log10_weight_decay": FIRST_LOG10_WEIGHT_DECAY,
    }


def to_arm(parameters: dict[str, Any], recipe: Recipe) -> Arm:
    """The arm of a trial's parameters, rounded to what its name shows."""
    rate1, rate2 = (round(parameters.get(name, 0.0), 2) for name in ("rate1", "rate2"))
    weight_decay = float(f"{10 ** parameters['log10_weight_decay']:.3g}")
    return Arm(parameters["noise"], rate1, rate2, weight_decay, recipe)


def to_parameters(arm: Arm) -> dict[str, Any]:
    """Return the parameters of an arm, the inverse of `to_arm`."""
    space = declared((arm.noise,))
    return optuna_space.parameters(space, arm.noise, (arm.rate1, arm.rate2), arm.weight_decay)
