"""Wrong labels, now and then."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from models.noise.base import Context, Noise, Rate, cross_entropy
from models.rng import Stream


def disturbed(labels: Tensor, rate: Tensor, classes: int, stream: Stream) -> Tensor:
    """Draw labels (networks, batch) anew with probability `rate` (networks, 1), classes alike."""
    chance, new = stream.uniform(2, labels.shape[1]).add_(1).div_(2).unbind(dim=1)
    return torch.where(chance < rate, (new * classes).long(), labels)


class DisturbLabel(Noise):
    """CE(y~), where y~ is with probability p a class drawn uniformly (the true one included), else
    the label y.

    Drawn anew at each step and example. Evaluation is the plain network.

    Source: Xie et al. 2016, DisturbLabel: Regularizing CNN on the Loss Layer.
    """

    site = "loss"
    rates = (Rate("probability p of drawing an example's label anew", default=0.05),)
    keeps_mean = False

    def loss(self, forward: Callable[[], Tensor], context: Context) -> Tensor:
        logits = forward()
        labels = disturbed(context.labels, self._rates[:, :1], logits.shape[2], context.stream)
        return cross_entropy(logits, labels).mean(dim=1)
