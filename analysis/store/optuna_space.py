"""The declared search space in Optuna's terms: distributions and parameters of a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from analysis.schema import RATES


def distributions(
    space: Mapping[str, Any], noise: str, noise_types: Sequence[str], recipe: str, max_rate: float
) -> dict[str, BaseDistribution]:
    """Return the distributions of a trial of one noise type.

    Args:
        space: as declared, `Declaration.search_space`.
        noise_types: the choices of the categorical parameter `noise`.
        max_rate: cuts the bounds of the rates.
    """
    space_of_type: dict[str, BaseDistribution] = {"noise": CategoricalDistribution(noise_types)}
    for name, (low, high) in zip(RATES, space["bounds"][noise], strict=False):
        space_of_type[name] = FloatDistribution(low, min(high, max_rate))
    _, highest = space["weight_decay"][recipe]
    return space_of_type | {"weight_decay": FloatDistribution(0.0, highest)}


def parameters(
    space: Mapping[str, Any], noise: str, rates: Sequence[float], weight_decay: float
) -> dict[str, Any]:
    """Return the parameters of an arm: its type's rates, and its weight decay."""
    of_type = dict(zip(RATES[: len(space["bounds"][noise])], rates, strict=False))
    return {"noise": noise, "weight_decay": weight_decay, **of_type}
