"""Multiplicative log-normal noise on the activations."""

from torch import Tensor

from models.noise.base import Context, Multiplicative, Rate, multiplier_variance, per_layer


class Lognormal(Multiplicative):
    """h exp(s e - s^2 / 2), s^2 = ln(1 + v), e standard normal: a positive multiplier of mean 1 and
    variance v.

    Evaluation is the identity.

    Source: Achille & Soatto 2018, Information Dropout: Learning Optimal Representations Through
    Noisy Computation (there s is computed from the input).
    """

    rates = per_layer(Rate("p, where the multiplier's variance is that of dropout, p/(1-p)"))
    multiplier = "lognormal"

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        squared = multiplier_variance(self.rate_of(layer)).log1p()
        noise = context.stream.normal(*z.shape[1:], dtype=z.dtype)
        return z.relu_() * noise.mul_(squared.sqrt()).sub_(squared / 2).exp_()
