"""Exercise 3: the variance of the activations, with and without the mask."""

from __future__ import annotations

import torch
from torch import Tensor

from models.metrics import float64_on, unlabelled
from models.noise import Noise
from models.noise.base import multiplier_variance
from models.probes.base import Moment
from models.rng import Stream

PROBE, MASKS = 2000, 32
"""Validation images the variance is taken over, and passes through the training network."""


@torch.no_grad()
def variance(moment: Moment) -> dict[str, Tensor]:
    """Variances of each hidden layer's activations over a fixed probe, the mean over units.

    `variance/layer1_clean_at_5` is that of the evaluation pass after 5 epochs. `before` and `after`
    are those of training passes, before the layer's own mask (those upstream act) and after it: the
    sum of a `data` part, the variance over images of the mean over masks, and a `mask` part, the
    mean over images of the variance over masks (the law of total variance). `predicted` is Var(a) +
    p/(1-p) E[a^2] with a the activation before the mask, `excess` is after / predicted - 1, and
    `log_` marks natural logarithms.
    """
    if not moment.marked:
        return {}
    clean = Sums(moment, moment.noise.at_evaluation(), passes=1)
    noisy = Sums(moment, moment.noise, MASKS)
    found: dict[str, Tensor] = {}
    for layer in range(2):
        rates = torch.tensor([arm.hidden_rates[layer] for arm in moment.arms], dtype=noisy.dtype)
        v = multiplier_variance(rates.to(moment.split.validation_x.device))[:, None]
        before, after = noisy.before[layer], noisy.after[layer]
        predicted = (before.total + v * before.second_moment).mean(dim=1)
        values = {
            "clean": clean.before[layer].total.mean(dim=1),
            "before": before.total.mean(dim=1),
            "before_data": before.data.mean(dim=1),
            "before_mask": before.mask.mean(dim=1),
            "after": after.total.mean(dim=1),
            "after_data": after.data.mean(dim=1),
            "after_mask": after.mask.mean(dim=1),
            "predicted": predicted,
        }
        values |= {f"log_{name}": values[name].log() for name in ("clean", "before", "after")}
        values["excess"] = values["after"] / predicted - 1
        found |= {
            f"variance/layer{layer + 1}_{name}_at_{moment.epoch}": value
            for name, value in values.items()
        }
    return found


class Sums:
    """Moments of the activations before and after each layer's mask, over masks and images."""

    def __init__(self, moment: Moment, noise: Noise, passes: int) -> None:
        """Sum over so many passes of the probe through the networks, by a stream of their own."""
        x = moment.split.validation_x[:PROBE]
        self.dtype = float64_on(x.device)
        self.before = [Parts(), Parts()]
        self.after = [Parts(), Parts()]
        context = unlabelled(Stream(moment.seeds, "evaluation", x.device), len(moment.seeds))
        for _ in range(passes):
            h = noise.input(x.expand(len(moment.seeds), -1, -1), context)
            for layer in range(2):
                weight, bias = moment.population.weights[layer], moment.population.biases[layer]
                z = noise.linear(layer, h, weight, bias, context)
                self.before[layer].add(z.relu().to(self.dtype))
                h = noise.hidden(layer, z, context)
                self.after[layer].add(h.to(self.dtype))


class Parts:
    """Variance over images and passes, split in two; each part (networks, units)."""

    def __init__(self) -> None:
        """Start with empty sums."""
        self.passes = 0
        self.mean = self.squares = torch.zeros(())

    def add(self, activations: Tensor) -> None:
        """One more pass (Welford 1962)."""
        self.passes += 1
        if self.passes == 1:
            self.mean, self.squares = activations, torch.zeros_like(activations)
            return
        step = activations - self.mean
        self.mean = self.mean + step / self.passes
        self.squares = self.squares + step * (activations - self.mean)

    @property
    def mask(self) -> Tensor:
        """Mean over images of the variance over passes; 0 for a single one."""
        return self.squares.mean(dim=1) / max(1, self.passes - 1)

    @property
    def data(self) -> Tensor:
        """Variance over images of the mean over all masks: that of the mean over these passes
        exceeds it by mask/n."""
        return self.mean.var(dim=1) - self.mask / self.passes

    @property
    def total(self) -> Tensor:
        """The sum of the parts."""
        return self.data + self.mask

    @property
    def second_moment(self) -> Tensor:
        """Mean of the square over images and passes."""
        return self.mean.square().mean(dim=1) + self.squares.mean(dim=1) / self.passes
