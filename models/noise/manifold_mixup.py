"""Mixtures of two examples, in a layer picked at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from models.noise.base import (
    Context,
    Evaluated,
    Noise,
    Rate,
    cross_entropy,
    rates_beside,
    rates_within,
)


def before(rows: Tensor) -> Tensor:
    """Return each example's partner: the one before it in the batch, whose order is random."""
    return rows.roll(1, dims=1)


class Mixed(torch.autograd.Function):
    """(1 - share) h_i + share h_{i-1}, each network by its own share: h (networks, batch, units)
    and share (networks,), which is constant to the gradient."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, share: Tensor) -> Tensor:
        """Mix a copy: the ReLU's gradient reads its own result."""
        ctx.save_for_backward(share)
        return mix(h.clone(), share, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """The gradient goes the other way round the batch."""
        return mix(gradient.clone(), ctx.saved_tensors[0], -1), None


def mix(h: Tensor, share: Tensor, step: int) -> Tensor:
    """Mix rows with those `step` before them, in place; on a CPU only where there is a share."""
    if h.device.type == "cpu":
        for rows, one in zip(h, share.tolist(), strict=True):
            if one:
                rows.lerp_(rows.roll(step, dims=0), one)
        return h
    return h.lerp_(h.roll(step, dims=1), share[:, None, None])


class ManifoldMixup(Noise):
    """h_i <- lam h_i + (1 - lam) h_{i-1} in the input, the first or the second hidden layer, picked
    anew each step.

    The loss mixes likewise: lam CE(y_i) + (1 - lam) CE(y_{i-1}). 1 - lam is uniform on 0 to s, one
    number a step and network. A mixture of a pair is the same from either end, so s = 0.5 stands
    for lam uniform on 0 to 1, Beta(1, 1), and more than that for a partner that outweighs the
    example. One pass; evaluation is the plain network.

    Source: Verma et al. 2019, Manifold Mixup: Better Representations by Interpolating Hidden States
    (there lam Beta, and a drawn permutation).
    """

    site = "input, activation, loss"
    rates: ClassVar[tuple[Rate, ...]] = (
        Rate("s, where the partner's share is uniform on 0 to s", default=0.5),
    )
    keeps_mean = False
    dependent: ClassVar[tuple[str, ...]] = ("examples", "units")

    def __init__(self, rates: Tensor) -> None:
        """Start without shares."""
        super().__init__(rates)
        self.shares = rates.new_zeros(len(rates), 3)

    def input(self, x: Tensor, context: Context) -> Tensor:
        layer, share = context.stream.uniform(2, dtype=self._rates.dtype).add(1).unbind(dim=1)
        picked = functional.one_hot(layer.mul(1.5).long(), 3)
        self.shares = (picked * (self._rates[:, 0] * share / 2)[:, None]).to(x.dtype)
        return x

    def linear(
        self, layer: int, h: Tensor, weight: Tensor, bias: Tensor, context: Context
    ) -> Tensor:
        """Images are mixed here: a layer makes of a mixture the mixture of what it makes of both,
        and that is narrower."""
        z = super().linear(layer, h, weight, bias, context)
        return self.mixed(0, z) if layer == 0 else z

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        return self.mixed(1 + layer, z.relu_())

    def mixed(self, place: int, h: Tensor) -> Tensor:
        """h mixed where this is the network's place."""
        result: Tensor = Mixed.apply(h, self.shares[:, place].to(h.dtype))
        return result

    def loss(self, forward: Callable[[], Tensor], context: Context) -> Tensor:
        logits = forward()
        own = cross_entropy(logits, context.labels)
        partners = cross_entropy(logits, before(context.labels))
        return own.lerp(partners, self.shares.sum(dim=1, keepdim=True).to(own.dtype)).mean(dim=1)


def with_mixup(inner: type[Noise]) -> type[Noise]:
    """Manifold mixup of what `inner` passes on: rate 1 is mixup's, the others are the inner type's.

    Raises:
        ValueError: `inner` acts on the images or has a loss of its own, both of which mixup has, or
            has too many rates.
    """
    if inner.input is not Noise.input or inner.loss is not Noise.loss:
        raise ValueError(f"{inner.__name__} acts on the images or has a loss of its own")

    class WithMixup(ManifoldMixup):
        site = ", ".join(dict.fromkeys([*ManifoldMixup.site.split(", "), *inner.site.split(", ")]))
        rates = rates_beside(ManifoldMixup.rates[0], inner)
        keeps_mean = False
        dependent = tuple(sorted({*ManifoldMixup.dependent, *inner.dependent}))
        parts = (ManifoldMixup, inner)

        def __init__(self, rates: Tensor) -> None:
            super().__init__(rates)
            self.inner = inner(rates_within(rates))

        @property
        def parameters(self) -> Sequence[Tensor]:
            return self.inner.parameters

        def finish(self) -> None:
            self.inner.finish()

        def linear(
            self, layer: int, h: Tensor, weight: Tensor, bias: Tensor, context: Context
        ) -> Tensor:
            z = self.inner.linear(layer, h, weight, bias, context)
            return self.mixed(0, z) if layer == 0 else z

        def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
            return self.mixed(1 + layer, self.inner.hidden(layer, z, context))

        def at_evaluation(self) -> Noise:
            return self.inner.at_evaluation()

        def evaluated(self, layer: int) -> Evaluated:
            return self.inner.evaluated(layer)

    WithMixup.__name__ = f"MixupWith{inner.__name__}"
    WithMixup.__doc__ = f"Mixed: {ManifoldMixup.__doc__}\n\nOf: {inner.__doc__}"
    return WithMixup
