"""Rates that change over training, for any noise type."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from models.noise.base import Context, Noise, Progress

SWITCH = 50 / 300
"""Fraction of the training at which early noise has ended and late noise begins: 50 of 300 epochs
in Liu et al."""
GAMMA = 10.0
"""How fast a curriculum rises: 10 over the whole training, the choice of Morerio et al."""


def early(progress: Tensor) -> Tensor:
    """From 1 to 0 in a line until the switch, then 0.

    Source: Liu et al. 2023, Dropout Reduces Underfitting.
    """
    return (1 - progress / SWITCH).clamp(min=0)


def late(progress: Tensor) -> Tensor:
    """0 until the switch, then 1.

    Source: Liu et al. 2023, Dropout Reduces Underfitting.
    """
    return (progress >= SWITCH).to(progress.dtype)


def curriculum(progress: Tensor) -> Tensor:
    """1 - exp(-gamma t), t the fraction of the training done: from 0 to (nearly) 1.

    Source: Morerio et al. 2017, Curriculum Dropout.
    """
    return 1 - (-GAMMA * progress).exp()


class Scheduled(Noise):
    """A noise type whose rates are multiplied at each step by a function of the progress.

    The variance changes with the step, so none is stated. Evaluation is the type's own, at the last
    step's rates.
    """

    def __init__(
        self, rates: Tensor, schedule: Callable[[Tensor], Tensor], inner: type[Noise]
    ) -> None:
        """`inner` must read its rates in every hook, as `rate_of` does: they change in place."""
        super().__init__(rates)
        self.schedule = schedule
        self.context: Context | None = None
        self.now = rates.clone()
        self.inner, self.quiet = inner(self.now), Noise(rates)
        self.may_rest = inner.loss is Noise.loss and not self.inner.parameters
        self.resting = False

    def acting(self, context: Context) -> Noise:
        """The inner type at the step's rates; on a CPU no noise and no draws where all are 0.

        But for a type with a loss of its own, which may need what its other hooks left, or with
        something to learn. On other devices the host does not know the rates.
        """
        if context is not self.context:  # once a step: its graph may hold on to the rates
            self.context = context
            share = self.now_at(context.progress)
            self.resting = self.may_rest and share.device.type == "cpu" and not share
        return self.quiet if self.resting else self.inner

    def now_at(self, progress: Progress) -> Tensor:
        """Set the rates; return what they were multiplied by."""
        if not isinstance(progress, Tensor):
            progress = torch.tensor(progress, dtype=torch.float64)
        share = self.schedule(progress)
        torch.mul(self._rates, share, out=self.now)
        return share

    def finish(self) -> None:
        self.now_at(1.0)
        self.inner.finish()

    def rates_at_the_end(self) -> Tensor:
        self.finish()
        return self.inner.rates_at_the_end()

    @property
    def parameters(self) -> Sequence[Tensor]:
        return self.inner.parameters

    def input(self, x: Tensor, context: Context) -> Tensor:
        return self.acting(context).input(x, context)

    def linear(
        self, layer: int, h: Tensor, weight: Tensor, bias: Tensor, context: Context
    ) -> Tensor:
        return self.acting(context).linear(layer, h, weight, bias, context)

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        return self.acting(context).hidden(layer, z, context)

    def loss(self, forward: Callable[[], Tensor], context: Context) -> Tensor:
        self.acting(context)
        return self.inner.loss(forward, context)

    def at_evaluation(self) -> Noise:
        """The inner type's."""
        return self.inner.at_evaluation()


def scheduled(schedule: Callable[[Tensor], Tensor], inner: type[Noise]) -> type[Noise]:
    """`inner` with its rates multiplied by `schedule(progress)`, tensors of no dimension."""

    class ScheduledType(Scheduled):
        site, rates = inner.site, inner.rates
        keeps_mean, dependent = inner.keeps_mean, inner.dependent
        parts, multiplier = (inner,), inner.multiplier
        knows_images = inner.knows_images

        def __init__(self, rates: Tensor) -> None:
            super().__init__(rates, schedule, inner)

    ScheduledType.__name__ = f"{schedule.__name__.capitalize()}{inner.__name__}"
    ScheduledType.__doc__ = (
        f"Its rates are multiplied by: {schedule.__doc__}\n\nThe noise: {inner.__doc__}"
    )
    return ScheduledType
