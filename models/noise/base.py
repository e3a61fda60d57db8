"""The interface of a noise type: hooks, each the identity (or the plain layer) unless a type
overrides it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from torch import Tensor
from torch.nn import functional

from models.matmul import affine
from models.rng import Stream


@dataclass(frozen=True)
class Rate:
    """What a rate of a noise type means, the values it may take, and the one that is tried
    first."""

    meaning: str
    default: float = 0.2
    low: float = 0.0
    high: float = 0.95


MOST_RATES = 3
"""One of what a composition adds, as on the input, and those of the two hidden layers."""


def per_layer(rate: Rate) -> tuple[Rate, Rate]:
    """The same meaning for both hidden layers."""
    return rate, rate


Progress: TypeAlias = float | Tensor


@dataclass(frozen=True)
class Context:
    """What a noise type may know of the training step it acts in.

    Attributes:
        stream: the networks' noise stream; the only source of randomness.
        labels: classes of the batch's examples, int64 of shape (networks, batch).
        indices: positions of these examples in the training set, int64 of shape (networks, batch).
        examples: size of the training set.
        progress: fraction of the training done, in [0, 1): a number on a CPU, elsewhere a tensor of
            no dimension, which the host must not read.
    """

    stream: Stream
    labels: Tensor
    indices: Tensor
    examples: int
    progress: Progress


@dataclass(frozen=True)
class Evaluated:
    """What a hidden layer passes on at evaluation: factor ReLU(z), times sigmoid(slope z + offset)
    where gated.

    It says in numbers what `Noise.hidden` says in code, so that a network can be served without the
    code.
    """

    factor: float = 1.0
    gate: tuple[float, float] | None = None


class Noise:
    """No noise; the base of every noise type.

    One object serves one population. A type overrides the hook of its site, and nothing else knows
    its name. Population tensors have the shape (networks, batch, units); layers are counted 0 and
    1.
    """

    site: ClassVar[str] = "-"
    """Where it acts: input, weight, pre-activation, activation, or loss; several are joined by a
    comma."""
    rates: ClassVar[tuple[Rate, ...]] = ()
    """What rate 1 and rate 2 mean; a type with one rate has no rate 2, no noise has neither.

    Of three, the first is that of what is added, as on the input, and the others are those of the
    hidden layers.
    """
    keeps_mean: ClassVar[bool] = True
    """Whether what a hook passes on has, over the noise, the mean of what it would be without."""
    dependent: ClassVar[tuple[str, ...]] = ()
    """Over which of "examples" and "units" the noise is not drawn independently; over networks it
    always is."""

    capturable: ClassVar[bool] = False
    """For a type from outside: whether a GPU may record a training step once and replay it. Then
    all that a step changes is written into tensors that stay where they are, nothing is read by the
    host, and no hook counts or branches on its own. The repository's types keep to it."""
    knows_images: ClassVar[bool] = False
    """Whether it uses that an input is a picture, as a shift does: what would work on any input is
    told apart wherever a winner is named."""

    parts: ClassVar[tuple[type[Noise], ...]] = ()
    """The types that it is composed of."""
    multiplier: ClassVar[str] = ""
    """The distribution, where all of the noise is to multiply what its site names by independent
    draws of mean 1 and variance p/(1-p): bernoulli, normal, uniform or lognormal. A served network
    can then repeat it without this code. A class says so for itself: it is not inherited, since a
    hook that is overridden may make something else of it."""

    def __init__(self, rates: Tensor) -> None:
        """`rates` has the shape (networks, 2), one column for each hidden layer; of a type with
        three rates (networks, 3)."""
        self._rates = rates

    def rate_of(self, layer: int) -> Tensor:
        """The networks' rates at a hidden layer, shape (networks, 1, 1): ready to broadcast."""
        return self._rates[:, layer, None, None]

    def finish(self) -> None:
        """Bring what changes over the training to its last value, as for a trained network."""

    def rates_at_the_end(self) -> Tensor:
        """The rates of the training's last step, of the shape of those it was made from."""
        return self._rates

    @property
    def parameters(self) -> Sequence[Tensor]:
        """Tensors learned along with the weights (first axis: networks), never decayed."""
        return ()

    def input(self, x: Tensor, context: Context) -> Tensor:
        """Act on a batch of images, (networks, batch, 784)."""
        return x

    def linear(
        self, layer: int, h: Tensor, weight: Tensor, bias: Tensor, context: Context
    ) -> Tensor:
        """The affine map into a hidden layer: weight (networks, in, out), bias (networks, 1,
        out)."""
        return affine(h, weight, bias)

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        """Turn a hidden layer's pre-activations into what the next layer sees: the ReLU, and noise
        before or after.

        `z` is the hook's to overwrite.
        """
        return z.relu_()

    def loss(self, forward: Callable[[], Tensor], context: Context) -> Tensor:
        """The training loss of each network, shape (networks,); `forward()` is one noisy pass,
        giving logits."""
        return cross_entropy(forward(), context.labels).mean(dim=1)

    def variance(self, layer: int, *inputs: Tensor) -> Tensor | None:
        """Variance, over the noise, of what the hook of the type's site makes of `inputs`; None
        where none is stated.

        The inputs are x for the input, (h, weight) for weights, z for (pre-)activations; `layer` is
        0 for the input.
        """
        return None

    def at_evaluation(self) -> Noise:
        """The noise of an evaluation pass: none, unless the type's own rule says otherwise."""
        return Noise(self._rates)

    def evaluated(self, layer: int) -> Evaluated:
        """Return what `hidden` does at evaluation, for a population of one, in
        numbers."""
        return Evaluated()


class Multiplicative(Noise):
    """Noise that multiplies each activation h by draws of mean 1 and variance v = p / (1 - p)."""

    site = "activation"

    def variance(self, layer: int, *inputs: Tensor) -> Tensor:
        """v h^2."""
        return multiplier_variance(self.rate_of(layer)) * inputs[0].relu().square()


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood in nats, (networks, batch): of logits (networks, batch, classes) and
    labels.

    Classes before examples, as PyTorch takes them too: over a last axis of ten its log-softmax is
    four times slower.
    """
    return functional.cross_entropy(logits.mT, labels, reduction="none")


def multiplier_variance(rate: Tensor) -> Tensor:
    """v = p / (1 - p), the variance of inverted dropout's multiplier at drop rate p: the common
    scale of all rates."""
    return rate / (1 - rate)


def rates_beside(first: Rate, inner: type[Noise]) -> tuple[Rate, ...]:
    """Return the rates of a composition: one, and those of the type that it is composed with.

    Raises:
        ValueError: they are more than a type can have.
    """
    if 1 + len(inner.rates) > MOST_RATES:
        raise ValueError(
            f"{inner.__name__} has {len(inner.rates)} rates, one more would be too many: write a "
            "type that sets some of them itself"
        )
    return (first, *inner.rates)


def rates_within(rates: Tensor) -> Tensor:
    """Return the inner type's part of a composition's rates, (networks, 2), as a view."""
    return rates[:, 1:].expand(-1, 2)
