"""The search space: each noise type's rates and the weight decay, as a unit cube that the samplers
see.

A rate rises with the square of its coordinate from its lowest value to its highest: of one that
begins at 0, half of all that are drawn are below a quarter of the highest. Weight decay is 0 on the
lowest part of its coordinate, above it log-uniform where it acts: over 1/(learning rate x weight
decay) steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from analysis.questions.base import DROPOUT_ALONE
from analysis.schema import IMAGE_TYPES, RATES
from models.config import Arm, Recipe
from models.noise import Rate, knowing_images, noise_type, noise_version

MAX_RATE = 0.5
RATE_STEP = 0.001
WEIGHT_DECAY = {"small": (1e-5, 1e-2), "long": (1e-5, 2e-3)}
"""Recipe -> where weight decay acts."""
OTHERWISE = "small"
OFF = 0.1
"""Part of its coordinate on which weight decay is 0."""
ANCHORS = ((1.0, 1.0), (1.0, 0.1), (1.0, 0.0), (0.25, 1.0))
"""A type's first trials, as shares of its default rates and of the weight decay tuned without
noise: mild noise with that and, since noise regularises too, with less and without; faint noise
with it."""


def on_grid(max_rate: float) -> float:
    """The highest rate of the grid that is not above `max_rate`."""
    return round(math.floor(max_rate / RATE_STEP + 1e-9) * RATE_STEP, 3)


def noise_of(label: str) -> str:
    """Return the noise type of what is searched: a noise type, or DROPOUT_ALONE."""
    return "dropout" if label == DROPOUT_ALONE else label


def rates_of(noise: str) -> dict[str, Rate]:
    """The rates that a noise type has, by the name of their parameter."""
    return dict(zip(RATES, noise_type(noise).rates, strict=False))


def coordinates(label: str) -> tuple[str, ...]:
    """The names of a search's coordinates, each from 0 to 1."""
    decay = () if label == DROPOUT_ALONE else ("weight_decay",)
    return (*rates_of(noise_of(label)), *decay)


def to_arm(label: str, point: Sequence[float], recipe: Recipe, max_rate: float) -> Arm:
    """The arm at a point of the unit cube, rounded to what its name shows."""
    at = dict(zip(coordinates(label), point, strict=True))
    noise = noise_of(label)
    rates = []
    for name, rate in rates_of(noise).items():
        highest = min(rate.high, max_rate)
        value = round(rate.low + (highest - rate.low) * at[name] ** 2, 3)
        rates.append(min(max(value, rate.low), highest))
    decay = _decay_at(at["weight_decay"], recipe) if "weight_decay" in at else 0.0
    return Arm.of(noise, rates, decay, recipe)


def to_point(label: str, arm: Arm, max_rate: float) -> list[float]:
    """Return the point of an arm, the inverse of `to_arm` up to its rounding."""
    point = []
    for value, rate in zip(arm.rates, noise_type(arm.noise).rates, strict=True):
        width = min(rate.high, max_rate) - rate.low
        point.append(math.sqrt((value - rate.low) / width) if width else 0.0)
    if label != DROPOUT_ALONE:
        point.append(_place_of(arm.weight_decay, arm.recipe))
    return point


def decay_range(recipe: Recipe) -> tuple[float, float]:
    """Lowest and highest weight decay searched under a recipe, beside 0."""
    return WEIGHT_DECAY.get(recipe.name, WEIGHT_DECAY[OTHERWISE])


def decay_grid(count: int, recipe: Recipe) -> list[float]:
    """Return 0 and so many weight decays less one on a log grid, rounded to what an arm's name
    shows."""
    width = 1 - OFF
    places = [OFF + width * (place + 0.5) / (count - 1) for place in range(count - 1)]
    return [0.0, *(_decay_at(place, recipe) for place in places)]


def anchors(label: str, without_noise: Arm, max_rate: float) -> list[Arm]:
    """Return a type's first trials; two that are the same only once."""
    arms = []
    for share, of_decay in ANCHORS:
        rates = []
        for rate in rates_of(noise_of(label)).values():
            rates.append(on_grid(min(rate.default * share, rate.high, max_rate)))
        decay = float(f"{of_decay * without_noise.weight_decay:.3g}")
        if decay < decay_range(without_noise.recipe)[0]:
            decay = 0.0  # a weight decay below the range would act as none
        arms.append(_arm(label, rates, decay, without_noise.recipe))
    return list(dict.fromkeys(arms))


def at_rate_0(label: str, without_noise: Arm) -> Arm:
    """Return no noise's own arm, as an arm of what is searched."""
    return _arm(label, [], without_noise.weight_decay, without_noise.recipe)


def _arm(label: str, rates: Sequence[float], decay: float, recipe: Recipe) -> Arm:
    return Arm.of(noise_of(label), rates, 0.0 if label == DROPOUT_ALONE else decay, recipe)


def declared(noise_types: Sequence[str], recipes: Sequence[Recipe]) -> dict[str, Any]:
    """The space as a study declares it; its highest rate, declared beside it, may cut a type's
    bounds."""
    versions = {noise: version for noise in noise_types if (version := noise_version(noise))}
    # What older studies did not declare is left out where it was the same: their ids stay.
    told = sorted(knowing_images(noise_types) - IMAGE_TYPES)
    goes_on = {"finalists": "half of each class"} if len(recipes) > 1 else {}
    return {
        **goes_on,
        **({"noise_versions": versions} if versions else {}),
        **({"image_types": told} if told else {}),
        "bounds": {
            noise: [[rate.low, rate.high] for rate in rates_of(noise).values()]
            for noise in noise_types
        },
        "defaults": {
            noise: [rate.default for rate in rates_of(noise).values()] for noise in noise_types
        },
        "rate_step": RATE_STEP,
        "rates": "highest times the square of a uniform number",
        "weight_decay": {recipe.name: decay_range(recipe) for recipe in recipes},
        "weight_decay_off": OFF,
        "anchors": ANCHORS,
    }


def _decay_at(place: float, recipe: Recipe) -> float:
    if place < OFF:
        return 0.0
    low, high = decay_range(recipe)
    exponent = math.log10(low) + math.log10(high / low) * (place - OFF) / (1 - OFF)
    return float(f"{10**exponent:.3g}")


def _place_of(decay: float, recipe: Recipe) -> float:
    if not decay:
        return OFF / 2
    low, high = decay_range(recipe)
    return OFF + (1 - OFF) * math.log10(decay / low) / math.log10(high / low)
