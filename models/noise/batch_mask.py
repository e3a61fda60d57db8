"""Dropout with one mask a step, shared by the examples of the batch."""

from torch import Tensor

from models.noise.base import Context, Multiplicative, Rate, per_layer
from models.noise.masks import inverted_mask


class BatchMask(Multiplicative):
    """h m / (1 - p), m Bernoulli(1 - p) for each unit, one draw for the whole batch. Evaluation is
    the identity.

    Source: Graham et al. 2015, Efficient batchwise dropout training using submatrices.
    """

    rates = per_layer(Rate("probability p of dropping a unit for the whole batch"))
    dependent = ("examples",)

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        return z.mul_(inverted_mask((1, z.shape[2]), self.rate_of(layer), context.stream)).relu_()
