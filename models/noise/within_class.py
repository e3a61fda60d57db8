"""Noise along the differences between examples of one class."""

from __future__ import annotations

import torch
from torch import Tensor

from models.noise.base import Context, Noise, Rate, multiplier_variance, per_layer
from models.rng import Stream


def next_of_class(labels: Tensor, stream: Stream) -> Tensor:
    """Return for each example another of its class, indices of shape (networks, batch).

    Each class is one random circle. An example alone in its class is its own partner. One sort by
    class and a random number does it for all.
    """
    networks, batch = labels.shape
    ordered, order = (labels * 65536 + stream.bits(batch)).sort(dim=1, stable=True)
    classes = labels.gather(1, order)
    start = torch.searchsorted(classes, classes)
    end = torch.searchsorted(classes, classes, right=True)
    place = torch.arange(batch, device=labels.device)
    following = start + (place + 1 - start).remainder(end - start)
    return torch.empty_like(order).scatter_(1, order, order.gather(1, following))


def rows(h: Tensor, indices: Tensor) -> Tensor:
    """Return each network's examples `indices` (networks, batch) of h (networks, batch, units)."""
    networks, batch, _ = h.shape
    offsets = torch.arange(0, networks * batch, batch, device=h.device)[:, None]
    return h.flatten(0, 1).index_select(0, (indices + offsets).flatten()).view_as(h)


def energy(h: Tensor) -> Tensor:
    """The mean over the batch of the squared length, (networks, 1, 1), in float32 at least."""
    length = torch.linalg.vector_norm(h, dim=2, dtype=torch.promote_types(h.dtype, torch.float32))
    return length.square().mean(dim=1)[:, None, None]


class WithinClass(Noise):
    """h_i + s e_i (h_j - h_k), j and k random examples of the batch of i's class, e_i one standard
    normal number.

    j and k are detached, and all three differ where the class has three examples in the batch; an
    example alone in its class has no noise. s is such that the expected squared length of the
    noise, averaged over the batch, is v times that of h. Evaluation is the plain network; so is a
    pass without labels.

    Source: none known during training. Kumar et al. 2019, A Closer Look At Feature Space Data
    Augmentation For Few-Shot Intent Classification, add the whole difference of two examples to the
    features of a trained encoder.
    """

    site = "activation"
    rates = per_layer(Rate("p, where the noise has p/(1-p) of the batch's mean squared activation"))
    dependent = ("examples", "units")

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        h = z.relu_()
        if not context.labels.numel():
            return h
        partners = next_of_class(context.labels, context.stream)
        e = context.stream.normal(h.shape[1], 1)
        ahead = rows(h.detach(), partners)
        difference = ahead.sub_(rows(ahead, partners))
        v = multiplier_variance(self.rate_of(layer))
        variance = v * energy(h.detach()) / energy(difference)
        return difference.mul_(torch.where(variance < torch.inf, variance, 0).sqrt() * e).add_(h)
