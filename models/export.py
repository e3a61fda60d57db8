"""One network out of a population, in numbers that need no code of this project."""

from __future__ import annotations

import math

import numpy as np

from models.config import Arm, rate_table
from models.mlp import Weights
from models.noise import noise_type


def to_numbers(weights: Weights, arm: Arm) -> dict[str, np.ndarray]:
    """Return all that an evaluation, and where `repeatable` a noisy pass, of a population of one
    needs; float32.

    `weight0`, `bias0` and so on, (in, out) and (out,), for each affine map; for the two hidden
    layers, each (2,), `factor`, `slope` and `offset` of `models.noise.base.Evaluated` (slope 0 and
    offset infinity where there is no gate), and `rate`, at which the noise ended.
    """
    noise = noise_type(arm.noise)(rate_table([arm]))
    noise.finish()
    evaluated = [noise.at_evaluation().evaluated(layer) for layer in range(2)]
    gates = [rule.gate or (0.0, math.inf) for rule in evaluated]
    numbers: dict[str, np.ndarray | list[float]] = {
        "factor": [rule.factor for rule in evaluated],
        "slope": [slope for slope, _ in gates],
        "offset": [offset for _, offset in gates],
        "rate": noise.rates_at_the_end()[0, -2:].numpy(),
    }
    for layer, (weight, bias) in enumerate(zip(weights.weights, weights.biases, strict=True)):
        numbers |= {f"weight{layer}": weight[0].numpy(), f"bias{layer}": bias[0, 0].numpy()}
    return {name: np.asarray(values, dtype=np.float32) for name, values in numbers.items()}


def repeatable(arm: Arm) -> str | None:
    """Return `Noise.multiplier` where a served network can repeat the arm's noise by it, else None.

    "none" for an arm that has no noise, whose passes are all alike.
    """
    kind = noise_type(arm.noise)
    return (vars(kind).get("multiplier") or None) if kind.rates else "none"
