"""What a training run is asked to do: a recipe, and an arm trained by it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, Literal

import torch
from torch import Tensor

from models.noise import noise_type

Schedule = Literal["constant", "linear", "cosine"]

POINTS = 14
"""Points of a curve at most: an evaluation of 10,000 images costs as much as training on 3,300, so
that 14 take a tenth of the time of 100 epochs of 5,000 images."""


@dataclass(frozen=True)
class Recipe:
    """How every network of a study is trained; SGD on the mean cross-entropy of a batch.

    Attributes:
        schedule: the learning rate stays (`constant`) or falls to 0 by a line (`linear`) or half a
            cosine (`cosine`).
        train_examples: images trained on, the same ones in every study (`Split.subset`); all of a
            smaller data set.
    """

    name: str
    epochs: int
    learning_rate: float = 0.1
    momentum: float = 0.0
    schedule: Schedule = "constant"
    batch_size: int = 256
    train_examples: int = 50_000

    @property
    def evaluated_epochs(self) -> tuple[int, ...]:
        """The epochs after which a curve has a point: all, or POINTS spread evenly up to the
        last."""
        points = min(POINTS, self.epochs)
        return tuple(-(-self.epochs * point // points) for point in range(1, points + 1))

    def learning_rate_at(self, progress: float) -> float:
        """The learning rate when the fraction `progress` in [0, 1) of all steps is done."""
        match self.schedule:
            case "constant":
                return self.learning_rate
            case "linear":
                return self.learning_rate * (1 - progress)
            case "cosine":
                return self.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))

    def arm(
        self, noise: str, rate1: float, rate2: float, weight_decay: float, rate3: float = 0.0
    ) -> Arm:
        """Return an arm trained by this recipe."""
        return Arm(noise, rate1, rate2, weight_decay, self, rate3)

    def with_epochs(self, epochs: int) -> Recipe:
        """Return the same recipe of another length."""
        return replace(self, epochs=epochs)

    def scaled(self, factor: float, name: str) -> Recipe:
        """Return the same recipe at `factor` times its learning rate, under another name."""
        return replace(self, name=name, learning_rate=self.learning_rate * factor)


@dataclass(frozen=True)
class Arm:
    """One full configuration: what is compared.

    Attributes:
        noise: a name that `models.noise.noise_type` knows.
        rate1: noise rate of the first hidden layer (its input weights, for noise on weights); of a
            type with three rates, that of the part that acts before, mostly on the input.
        rate2: noise rate of the second hidden layer; of a type with three rates, of the first.
        weight_decay: L2 coefficient as in torch.optim.SGD; biases are exempt.
        rate3: noise rate of the second hidden layer, of a type with three rates.

    Raises:
        ValueError: an unknown noise type, a rate outside the type's range, or a negative weight
            decay.
    """

    noise: str
    rate1: float
    rate2: float
    weight_decay: float
    recipe: Recipe
    rate3: float = 0.0

    def __post_init__(self) -> None:
        rates = noise_type(self.noise).rates
        for value, rate in zip_longest((self.rate1, self.rate2, self.rate3), rates):
            if rate is None and value:
                raise ValueError(f"{self.noise} has no such rate: {value} must be 0")
            if rate and not rate.low <= value <= rate.high:
                raise ValueError(
                    f"{self.noise} rate {value} is outside {rate.low} to {rate.high} "
                    f"({rate.meaning})"
                )
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight decay {self.weight_decay} is not a number of at least 0")

    @classmethod
    def of(cls, noise: str, rates: Sequence[float], weight_decay: float, recipe: Recipe) -> Arm:
        """Return the arm of a noise type at the rates that the type has."""
        rate1, rate2, rate3 = (*rates, 0.0, 0.0, 0.0)[:3]
        return cls(noise, rate1, rate2, weight_decay, recipe, rate3)

    @classmethod
    def from_row(cls, row: Mapping[str, Any], recipe: Recipe) -> Arm:
        """Return the arm that a row of the run table describes, with noise, rates and weight
        decay.

        Before types had a third rate, their second one was that of both hidden layers.
        """
        rates = [float(row["rate1"]), float(row["rate2"]), float(row.get("rate3", math.nan))]
        if math.isnan(rates[2]):
            rates[2] = rates[1]
        noise = str(row["noise"])
        rates = rates[: len(noise_type(noise).rates)]
        return cls.of(noise, rates, float(row["weight_decay"]), recipe)

    def with_recipe(self, recipe: Recipe) -> Arm:
        """Return the same arm trained by another recipe."""
        return replace(self, recipe=recipe)

    def with_weight_decay(self, weight_decay: float) -> Arm:
        """Return the same arm with another weight decay."""
        return replace(self, weight_decay=weight_decay)

    @property
    def rates(self) -> tuple[float, ...]:
        """The rates that its noise type has."""
        return (self.rate1, self.rate2, self.rate3)[: len(noise_type(self.noise).rates)]

    @property
    def hidden_rates(self) -> tuple[float, float]:
        """The rates of the two hidden layers, of a type that acts in both."""
        if len(self.rates) == 3:
            return self.rate2, self.rate3
        return self.rate1, self.rate2

    @property
    def knows_images(self) -> bool:
        """True if its noise type knows that an input is an image."""
        return noise_type(self.noise).knows_images

    @property
    def name(self) -> str:
        """Unique to the configuration, and readable: `dropout(0.2,0.5) wd=0.0001 decay@10`."""
        values = [f"{rate:g}" for rate in self.rates]
        rates = f"({','.join(values)})" if values else ""
        return (
            f"{self.noise}{rates} wd={self.weight_decay:g} {self.recipe.name}@{self.recipe.epochs}"
        )


def rate_table(
    arms: Sequence[Arm], dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Tensor:
    """Return the rates of arms of one noise type as the type takes them: (networks, 2), or of a
    type with three rates (networks, 3)."""
    columns = max(2, len(arms[0].rates))
    rows = [(arm.rate1, arm.rate2, arm.rate3)[:columns] for arm in arms]
    return torch.tensor(rows, dtype=dtype, device=device)
