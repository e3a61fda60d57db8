"""Exercise 6: the inference that DropConnect's authors propose."""

from __future__ import annotations

import torch
from torch import Tensor

from models.matmul import affine
from models.metrics import CHUNK, calibration, score
from models.noise.base import multiplier_variance
from models.probes.base import Moment
from models.rng import Stream

SAMPLES = 100


@torch.no_grad()
def moment_matched(moment: Moment) -> dict[str, Tensor]:
    """Test scores where hidden layers pass on means over Gaussian draws: `test/accuracy_moment`.

    A pre-activation under random masks is nearly normal with mean h W + b and variance p/(1-p) h^2
    W^2; it is drawn 100 times, and the mean of its ReLU goes on. Source: Wan et al. 2013, section
    3.2, here with inverted scaling.
    """
    if not moment.last:
        return {}
    population, split = moment.population, moment.split
    networks, device = len(moment.seeds), split.test_x.device
    stream = Stream(moment.seeds, "evaluation", device)
    rates = torch.tensor(
        [arm.hidden_rates for arm in moment.arms], dtype=split.test_x.dtype, device=device
    )
    v = multiplier_variance(rates)[:, :, None, None]
    chunks = []
    for x in split.test_x.split(CHUNK // 4):
        h = x.expand(networks, -1, -1)
        for layer in range(2):
            weight, bias = population.weights[layer], population.biases[layer]
            mean = affine(h, weight, bias)
            sd = (v[:, layer] * affine(h.square(), weight.square())).sqrt()
            h = torch.zeros_like(mean)
            for _ in range(SAMPLES):
                draw = stream.normal(*mean.shape[1:], dtype=mean.dtype)
                h += draw.mul_(sd).add_(mean).relu_()
            h /= SAMPLES
        chunks.append(affine(h, population.weights[2], population.biases[2]))
    logits = torch.cat(chunks, dim=1)
    scores = score(logits, split.test_y) | calibration(logits, split.test_y)
    return {f"test/{name}_moment": values for name, values in scores.items()}
