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
ANCHORS = (1.0, 0.25)
"""A type's first trials have its default rate, then a quarter of it: each is tried at mild and at faint noise."""
FIRST_LOG10_WEIGHT_DECAY = -5.0


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


def fixed_parameters(noise: str, turn: int, max_rate: float = MAX_RATE) -> dict[str, Any]:
    """What is not left to the sampler in a type's trial number `turn`: the type, and in the first ones the rates."""
    parameters: dict[str, Any] = {"noise": noise}
    if turn == 0:
        parameters[f"{noise}/log10_weight_decay"] = FIRST_LOG10_WEIGHT_DECAY
    if turn < len(ANCHORS) and noise != "none":
        rate = min(round(NOISE[noise].rate.default * ANCHORS[turn], 2), max_rate)
        parameters |= {f"{noise}/rate1": rate, f"{noise}/rate2": rate}
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
