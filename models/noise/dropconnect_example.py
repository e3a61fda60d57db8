"""DropConnect as it was published: a mask of the weights for every example."""

import torch
from torch import Tensor

from models.noise.base import Context, Rate, per_layer
from models.noise.dropconnect import DropConnect
from models.noise.masks import inverted_mask

EXAMPLES = 16
"""Examples at a time: bounds the memory of their masks."""


class DropConnectExample(DropConnect):
    """h_i (W * M_i) / (1 - p), M_i Bernoulli(1 - p) for each example i and weight.

    Its masks are as many as a batch has examples, and it cannot use a matrix product for the batch:
    some hundred times the cost of one mask a step. The search leaves it alone.

    Source: Wan et al. 2013, Regularization of Neural Networks using DropConnect.
    """

    rates = per_layer(Rate("probability p of dropping a weight, for each example"))
    dependent = ()
    multiplier = ""  # a served model draws the weights' mask once a call

    def linear(
        self, layer: int, h: Tensor, weight: Tensor, bias: Tensor, context: Context
    ) -> Tensor:
        rate, outputs = self.rate_of(layer), []
        for examples in h.split(EXAMPLES, dim=1):
            count, (networks, fan_in, fan_out) = examples.shape[1], weight.shape
            mask = inverted_mask((count * fan_in, fan_out), rate, context.stream).view(
                networks, count, fan_in, fan_out
            )
            masked = (weight[:, None] * mask).to(h.dtype)
            outputs.append(torch.matmul(examples[:, :, None, :], masked).squeeze(2))
        return torch.cat(outputs, dim=1) + bias.to(h.dtype)
