"""Noise that grows with how well an example is fitted."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from models.noise.base import Context, Noise, Rate, cross_entropy, multiplier_variance, per_layer

CHANCE = 0.1
"""The fit of an example not seen yet: the probability of its class before anything is learned, for
ten classes."""
NEWEST = 0.5
"""Weight of the newest probability in an example's running average; it is renewed once an epoch."""


class FitGated(Noise):
    """h_i (1 + sqrt(v_i) e), e standard normal, v_i = p a_i / (1 - p a_i): Gaussian noise of the
    rate p a_i.

    a_i is the running average of the probability that the noisy network gave to the class of
    example i: a_i <- (a_i + p_y) / 2 whenever it is seen, from 1/10. So an example not fitted yet
    is learned almost without noise. An image from outside the training set has the mean fit of the
    set. Evaluation is the plain network.

    Source: none known. Fan et al. 2021, Contextual Dropout, learn an example's rate from its
    features; Lin et al. 2017, Focal Loss for Dense Object Detection, turn down the loss of examples
    already fitted.
    """

    site = "activation"
    rates = per_layer(
        Rate("p, where the multiplier of a wholly fitted example has the variance p/(1-p)")
    )

    def __init__(self, rates: Tensor) -> None:
        """Start without a memory."""
        super().__init__(rates)
        self.fit = rates.new_full((len(rates), 1), CHANCE)

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        noise = context.stream.normal(*z.shape[1:], dtype=z.dtype)
        gated = self.rate_of(layer) * self.fit_of(context)
        return z.relu_() * noise.mul_(multiplier_variance(gated).sqrt()).add_(1)

    def fit_of(self, context: Context) -> Tensor:
        """The running averages of the batch's examples: (networks, batch, 1), or (networks, 1, 1)
        of unknown ones."""
        if self.fit.shape[1] == context.examples:
            return self.fit.gather(1, context.indices)[:, :, None]
        return self.fit.mean(dim=1)[:, None, None]

    def loss(self, forward: Callable[[], Tensor], context: Context) -> Tensor:
        losses = cross_entropy(forward(), context.labels)
        if self.fit.shape[1] != context.examples:
            self.fit = self.fit.expand(-1, context.examples).clone()
        renewed = self.fit.gather(1, context.indices).lerp(losses.detach().neg().exp(), NEWEST)
        self.fit.scatter_(1, context.indices, renewed)
        return losses.mean(dim=1)
