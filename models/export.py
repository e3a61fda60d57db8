"""One network out of a population, as plain PyTorch."""

from __future__ import annotations

import torch
from torch import nn

from models.mlp import Weights


def to_module(weights: Weights) -> nn.Sequential:
    """The evaluation network of a population of one, of nn.Linear and nn.ReLU: images (n, 784) in, logits (n, 10) out.

    It needs torch and nothing of this project, so it loads anywhere.
    """
    layers: list[nn.Module] = []
    for weight, bias in zip(weights.weights, weights.biases, strict=True):
        linear = nn.Linear(weight.shape[1], weight.shape[2])
        with torch.no_grad():
            linear.weight.copy_(weight[0].T)
            linear.bias.copy_(bias[0, 0])
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()
