"""Dropout that drops each unit in a fixed number of a batch's examples."""

from functools import cache
from math import gcd

import torch
from torch import Tensor

from models.noise.base import Context, Multiplicative, Rate, per_layer
from models.noise.masks import masked_relu
from models.rng import Stream


class Stratified(Multiplicative):
    """h m / (1 - p), where unit j is dropped in floor(p B + u_j) of the B examples, u_j uniform: p
    of each, to 2^-16.

    Unit j puts example b at the place a_j b / B + o_j of a circle of length 1 and drops it if that
    is below p. The step a_j, of those coprime to B, and the start o_j are drawn anew. The start
    alone makes each unit's probability p, and makes the units of one example independent. A unit's
    examples are not: B - 1 of them tell of the last one. Nor are pairs of examples over all units:
    two that are B/2 apart in a batch of even B are half a circle apart or nearly so for each unit,
    so at p = 1/2 one is dropped where the other is kept. (B = 256, p = 1/2: the masks of two
    examples correlate by 0.09 r.m.s. over 256 units, dropout's by 0.06.) The order of a training
    batch is random, so they are other examples each time. It takes as long as dropout; ranking
    draws over the batch took six times as long. Evaluation is the identity.

    An own candidate: the marginals of Srivastava et al. 2014, Dropout; the placing is systematic
    sampling, Madow & Madow 1944, On the Theory of Systematic Sampling.
    """

    rates = per_layer(Rate("probability p of dropping a unit, in a fixed share of the batch"))
    dependent = ("examples",)

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        places = places_on_circle(z.shape[1], z.shape[2], context.stream)
        return masked_relu(z, places, self.rate_of(layer))


def places_on_circle(batch: int, units: int, stream: Stream) -> Tensor:
    """Places on a circle of length 2^16, for each unit: int16 (networks, batch, units)."""
    drawn = stream.bits(2, 1, units)
    start, choice = drawn[:, 0], drawn[:, 1].to(torch.int64) + 32768
    steps = coprime_steps(batch, stream.device)
    step = steps[choice * len(steps) >> 16]
    examples = torch.arange(batch, dtype=torch.int32, device=stream.device)[:, None]
    # In 32 bits, where going round the circle is overflow.
    turned = (examples * step).bitwise_right_shift_(16)
    return turned.to(torch.int16).add_(start)


@cache
def coprime_steps(batch: int, device: torch.device) -> Tensor:
    """a / B of a circle of length 2^32, a in 1 .. B coprime to B: each visits all B places."""
    steps = [round(a * 2**32 / batch) for a in range(1, batch + 1) if gcd(a, batch) == 1]
    return torch.tensor(steps, dtype=torch.int64).to(device, torch.int32)
