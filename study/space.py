"""The search space: what Optuna may propose for each noise type."""

from __future__ import annotations

import math
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from models.config import Arm, Recipe
from models.noise import NOISE

MAX_RATE = 0.8
RATE_STEP = 0.01
LOG10_WEIGHT_DECAY = (-6.0, -2.0)
WEIGHT_DECAY_STEP = 0.05
"""On a grid, as the rates are, so that an arm read back from the store is exactly the one proposed.

The lower end is inert at every recipe's horizon: weight decay acts over 1/(learning rate x weight decay) steps.
"""
DEFAULT_RATE = 0.2
DEFAULT_LOG10_WEIGHT_DECAY = -5.0


def distributions(noise: str, noise_types: tuple[str, ...], max_rate: float = MAX_RATE) -> dict[str, BaseDistribution]:
    """Optuna's distributions for a trial of one noise type.

    The parameters carry the type's name: each type is tuned on its own trials alone, none on what suited another.
    Training without noise has no rates. Rate 0 lies inside every space.
    """
    space: dict[str, BaseDistribution] = {"noise": CategoricalDistribution(noise_types)}
    if noise != "none":
        rate = NOISE[noise].rate
        for name in ("rate1", "rate2"):
            space[f"{noise}/{name}"] = FloatDistribution(rate.low, min(rate.high, max_rate), step=RATE_STEP)
    space[f"{noise}/log10_weight_decay"] = FloatDistribution(*LOG10_WEIGHT_DECAY, step=WEIGHT_DECAY_STEP)
    return space


def default_parameters(noise: str, max_rate: float = MAX_RATE) -> dict[str, Any]:
    """Every type's first trial: the same mild setting for all."""
    parameters: dict[str, Any] = {"noise": noise, f"{noise}/log10_weight_decay": DEFAULT_LOG10_WEIGHT_DECAY}
    if noise != "none":
        parameters |= {f"{noise}/{name}": min(DEFAULT_RATE, max_rate) for name in ("rate1", "rate2")}
    return parameters


def to_arm(parameters: dict[str, Any], recipe: Recipe) -> Arm:
    """The arm of a trial's parameters, rounded to what its name shows."""
    noise = parameters["noise"]
    rate1, rate2 = (round(parameters.get(f"{noise}/{name}", 0.0), 2) for name in ("rate1", "rate2"))
    weight_decay = float(f"{10 ** parameters[f'{noise}/log10_weight_decay']:.3g}")
    return Arm(noise, rate1, rate2, weight_decay, recipe)


def to_parameters(arm: Arm) -> dict[str, Any]:
    """The inverse of `to_arm`."""
    parameters: dict[str, Any] = {"noise": arm.noise}
    parameters[f"{arm.noise}/log10_weight_decay"] = (
        round(math.log10(arm.weight_decay) / WEIGHT_DECAY_STEP) * WEIGHT_DECAY_STEP
    )
    if arm.noise != "none":
        parameters |= {f"{arm.noise}/rate1": arm.rate1, f"{arm.noise}/rate2": arm.rate2}
    return parameters
