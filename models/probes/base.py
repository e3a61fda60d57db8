"""What can be measured on a population beside its curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from models.config import Arm
from models.data import Split
from models.mlp import Weights
from models.noise import Noise

MARKS = (1, 2, 5, 10, 20, 50, 100)
"""Epochs at which what evolves is measured: a run keeps it under its own name, such as
test/accuracy_at_20."""


@dataclass(frozen=True)
class Moment:
    """A population at the end of an epoch.

    Attributes:
        population: the networks' weights.
        noise: their noise, as in training.
        arms, seeds: of each network.
        split: its test images are empty unless the phase may read them.
        epoch: epochs done.
    """

    population: Weights
    noise: Noise
    arms: Sequence[Arm]
    seeds: Sequence[int]
    split: Split
    epoch: int

    @property
    def last(self) -> bool:
        """True after the last epoch."""
        return self.epoch == self.arms[0].recipe.epochs

    @property
    def marked(self) -> bool:
        """True at the marked epochs and the last."""
        return self.epoch in MARKS or self.last


Measure = Callable[[Moment], dict[str, Tensor]]
"""Called after every epoch; gives metric name -> one value for each network, (networks,), or one in
each of its bins, (networks, bins), or nothing."""
