"""One network out of a population, as what needs no code of this project: plain PyTorch, or
numbers."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from models.config import Arm, rate_table
from models.mlp import Weights
from models.noise import Noise, noise_type


def to_module(weights: Weights) -> nn.Sequential:
    """A population of one as nn.Linear and nn.ReLU, without noise: images (n, 784) in, logits (n,
    10) out."""
    layers: list[nn.Module] = []
    for weight, bias in zip(weights.weights, weights.biases, strict=True):
        linear = nn.Linear(weight.shape[1], weight.shape[2])
        with torch.no_grad():
            linear.weight.copy_(weight[0].T)
            linear.bias.copy_(bias[0, 0])
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


def to_numbers(weights: Weights, arm: Arm) -> dict[str, np.ndarray]:
    """Return all that an evaluation, and where `repeatable` a noisy pass, of a population of one
    needs; float32.

    `weight0`, `bias0` and so on, (in, out) and (out,), for each affine map; for the two hidden
    layers, each (2,), `factor`, `slope` and `offset` of `models.noise.base.Evaluated` (slope 0 and
    offset infinity where there is no gate), and `rate`, at which the noise ended; of a type with
    three rates `rate` is (3,).
    """
    noise = _noise(arm)
    evaluated = [noise.at_evaluation().evaluated(layer) for layer in range(2)]
    gates = [rule.gate or (0.0, math.inf) for rule in evaluated]
    numbers: dict[str, np.ndarray | list[float]] = {
        "factor": [rule.factor for rule in evaluated],
        "slope": [slope for slope, _ in gates],
        "offset": [offset for _, offset in gates],
        "rate": noise.rates_at_the_end()[0].numpy(),
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


def _noise(arm: Arm) -> Noise:
    noise = noise_type(arm.noise)(rate_table([arm]))
    noise.finish()
    return noise
