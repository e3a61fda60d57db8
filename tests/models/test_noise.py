"""What single noise types and the draws must do; and the interface carries the whole catalogue."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from noise_setup import context, make
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional

from models.config import Arm, Recipe
from models.data import Split
from models.mlp import SIZES
from models.noise import NOISE, Context, Noise, Rate, per_layer
from models.noise.concrete import TEMPERATURE, UNITS
from models.noise.masks import inverted_mask
from models.rng import Stream, normal_quantiles
from models.train import train_population


def test_slope_below_zero_has_the_variance_promised() -> None:
    z, p = torch.full((1, 500, 400), -2.0), 0.3
    noisy = make("randomised-slope", p, networks=1).hidden(0, z.clone(), context((3,)))
    assert noisy.var().item() == pytest.approx(4 * p / (1 - p), rel=0.02)
    assert torch.equal(make("randomised-slope", p, networks=1).hidden(0, -z, context((3,))), -z)


def hidden(name: str, p: float, z: Tensor) -> Tensor:
    """The second layer's, of one network."""
    return make(name, p, networks=1).hidden(1, z.clone(), context((3,), z.shape[1]))


def test_stratified_masks_drop_the_share_promised() -> None:
    """Each unit in floor(pB) or one more of the examples, p of each on average, for any size of a
    batch."""
    for batch, p in [
        (256, 0.5),
        (256, 0.3),
        (80, 0.1),
        (232, 0.37),
        (7, 0.95),
        (1, 0.2),
        (2000, 0.123),
    ]:
        dropped = (hidden("stratified", p, torch.ones(1, batch, 5000)) == 0).sum(1).flatten()
        assert dropped.min() >= int(p * batch) and dropped.max() <= int(p * batch) + 1
        error = 5 * ((p * batch % 1) * (1 - p * batch % 1) / len(dropped)) ** 0.5
        assert dropped.double().mean().item() == pytest.approx(
            p * batch, abs=error + batch * 2**-16
        )


def test_shakeout_is_the_two_cases_of_the_paper() -> None:
    """Each weight is -c sgn w where its input is dropped, else (w + c p sgn w) / (1 - p)."""
    p, c = 0.25, 0.25 / 6**0.5
    weight, bias = (
        torch.randn(1, 6, 5, generator=torch.Generator().manual_seed(0)),
        torch.zeros(1, 1, 5),
    )
    units = torch.eye(6).repeat(1, 50, 1)  # one input at a time
    rows = (
        make("shakeout", p, networks=1)
        .linear(1, units, weight, bias, context((3,), 300))
        .view(50, 6, 5)
    )
    dropped, kept = -c * weight.sign(), (weight + c * p * weight.sign()) / (1 - p)
    is_dropped, is_kept = ((rows - case).abs().amax(2) < 1e-6 for case in (dropped, kept))
    assert (is_dropped ^ is_kept).all() and 0.15 < is_dropped.double().mean() < 0.35


def test_standout_is_evaluated_at_its_mean() -> None:
    """Half of the units of pre-activation 0 would go at p = 1/2; evaluation multiplies by what is
    kept on average."""
    z = torch.linspace(-2, 3, 6).expand(1, 20000, 6)
    noise = make("standout", 0.4, networks=1)
    outputs = noise.hidden(1, z.clone(), context((3,), 20000))
    expected = noise.at_evaluation().hidden(1, z.clone(), context((3,), 20000))[0, 0]
    assert ((outputs.mean(1)[0] - expected).abs() <= 5 * outputs.std(1)[0] / 20000**0.5).all()
    torch.testing.assert_close(
        expected, z[0, 0].relu() * (z[0, 0] + torch.tensor(1.5).log()).sigmoid()
    )


def test_concrete_knows_the_network_and_silent_layers_stay_silent() -> None:
    """Its rate is learned where it is not 0."""
    assert SIZES[1:3] == (UNITS, UNITS)
    noise = make("concrete", 0.0, 0.3, networks=2)
    now = context((3, 3))

    def logits() -> Tensor:
        return noise.hidden(1, torch.ones(2, 8, 10), now)

    losses = noise.loss(logits, now)
    (gradient,) = torch.autograd.grad(losses.sum(), list(noise.parameters))
    assert gradient[0].eq(0).all() and gradient[1].ne(0).all()
    entropy = -2 * (0.3 * np.log(0.3) + 0.7 * np.log(0.7)) * UNITS / now.examples
    alone = functional.cross_entropy(
        noise.hidden(1, torch.ones(2, 8, 10), context((3, 3)))[1], now.labels[1]
    )
    assert losses[1].item() == pytest.approx(alone.item() - entropy, rel=1e-5)


ONES, BELOW = torch.ones(1, 200, 100), torch.full((1, 200, 100), -2.0)
SLOPE = (3 * 0.3 / 0.7) ** 0.5


def alike(ours: Tensor, theirs: Tensor) -> bool:
    """By the two-sample test of Kolmogorov and Smirnov; rounded, since our rates are of 16 bits."""
    samples = (sample.flatten().round(decimals=3).numpy() for sample in (ours, theirs))
    return stats.ks_2samp(*samples).pvalue > 1e-3


@pytest.mark.parametrize(
    ("name", "z", "module"),
    [
        ("dropout", ONES, nn.Dropout(0.3)),
        ("stratified", ONES, nn.Dropout(0.3)),
        ("batch-mask", ONES.view(1, 1, -1), nn.Dropout1d(0.3)),
        ("randomised-slope", BELOW, nn.RReLU(-SLOPE, SLOPE)),
    ],
)
def test_same_distribution_as_pytorch(name: str, z: Tensor, module: nn.Module) -> None:
    """And PyTorch's alpha dropout is told from each: the comparison can fail."""
    torch.manual_seed(0)
    ours = hidden(name, 0.3, z)
    assert alike(ours, module.train()(z.flatten()[:, None]))
    assert not alike(ours, nn.AlphaDropout(0.3).train()(z))


def test_same_distribution_as_pytorchs_relaxed_mask() -> None:
    torch.manual_seed(0)
    relaxed = torch.distributions.RelaxedBernoulli(torch.tensor(TEMPERATURE), torch.tensor(0.7))
    ours = hidden("concrete", 0.3, ONES).detach()
    assert alike(ours, relaxed.sample(ONES.shape) / 0.7)
    assert not alike(ours, relaxed.sample(ONES.shape))


def test_same_distribution_as_scipys_log_normal() -> None:
    s = np.log1p(0.3 / 0.7) ** 0.5
    ours = hidden("lognormal", 0.3, ONES).flatten().numpy()
    assert stats.kstest(ours, stats.lognorm(s, scale=np.exp(-(s**2) / 2)).cdf).pvalue > 1e-3
    assert stats.kstest(ours, stats.lognorm(s).cdf).pvalue < 1e-9


def test_same_distribution_as_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    theirs = keras.layers.GaussianDropout(0.3, seed=0)(ONES, training=True)
    ours = hidden("gaussian", 0.3, ONES)
    assert alike(ours, theirs.detach().cpu())
    assert not alike(ours, hidden("dropout", 0.3, ONES))


def test_drop_rate_is_exact_to_16_bits() -> None:
    """Fed with each 16-bit number once, the mask drops exactly round(p 2^16) of them and keeps the
    mean at 1."""

    class EachOnce(Stream):
        def bits(self, *shape: int) -> Tensor:
            return torch.arange(-32768, 32768).to(torch.int16).view(1, *shape)

    for p in (0.0, 0.1, 0.5, 0.8, 0.95):
        mask = inverted_mask(
            (256, 256), torch.full((1, 1, 1), p, dtype=torch.float64), EachOnce((0,), "noise")
        )
        assert (mask == 0).sum() == round(p * 65536)
        assert mask.mean().item() == pytest.approx(1, abs=1e-12)


def test_uniform_draws_have_mean_0_and_variance_a_third() -> None:
    draws = Stream((1, 2), "noise").uniform(1000, 1000, dtype=torch.float64)
    assert draws.abs().max() < 1
    assert draws.mean().item() == pytest.approx(0, abs=5 * (1 / 3 / draws.numel()) ** 0.5)
    assert draws.var().item() == pytest.approx(1 / 3, rel=0.005)


def test_normal_draws_are_the_quantiles_of_a_normal() -> None:
    """Every 16-bit number gives one quantile: mean 0, variance 1, the kurtosis of a normal, and the
    right order."""
    quantiles = normal_quantiles(torch.float64, torch.device("cpu"))
    assert (quantiles.diff() > 0).all() and torch.equal(quantiles, -quantiles.flip(0))
    assert quantiles.mean().item() == pytest.approx(0, abs=1e-12)
    assert quantiles.square().mean().item() == pytest.approx(1, abs=1e-12)
    assert quantiles.pow(4).mean().item() == pytest.approx(3, abs=0.01)
    draws = Stream((1, 2), "noise").normal(1000, 1000, dtype=torch.float64)
    assert stats.kstest(draws.flatten()[::10].numpy(), "norm").pvalue > 1e-4


def test_streams_of_a_seed_are_independent_of_company_and_of_each_other() -> None:
    alone, among = Stream((7,), "noise").normal(50), Stream((9, 7, 7), "noise").normal(50)
    assert torch.equal(alone[0], among[1]) and torch.equal(among[1], among[2])
    assert not torch.equal(alone[0], among[0])
    assert not torch.equal(Stream((7,), "noise").bits(50), Stream((7,), "order").bits(50))


def test_training_knows_no_noise_type_by_name() -> None:
    """Neither a name of the registry nor a class stands in the code that trains; an arm's name may
    leave rates out."""
    classes = {noise.__name__ for noise in NOISE.values()} - {"Noise"}
    for file in ("train.py", "mlp.py", "metrics.py", "rng.py"):
        tree = ast.parse((Path(__file__).parents[2] / "models" / file).read_text())
        words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        words |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not words & (set(NOISE) | classes), file


class EveryHook(Noise):
    """What the later rows of the catalogue need, at once: input noise, a mix of examples and labels
    at a layer, a learned parameter with its own loss term, two passes, memory for each example, and
    a schedule."""

    rates = per_layer(Rate("strength"))

    def __init__(self, rates: Tensor) -> None:
        super().__init__(rates)
        self.gate = torch.zeros(len(rates), 1, 1, requires_grad=True)
        self.fit: Tensor | None = None
        self.progress: list[float] = []

    @property
    def parameters(self) -> list[Tensor]:
        return [self.gate]

    def input(self, x: Tensor, context: Context) -> Tensor:
        return x + self.rate_of(0) * context.stream.normal(*x.shape[1:])

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        h = z.relu() * (1 + self.gate)
        return h.lerp(h[:, self.order], self.share) if layer == self.layer else h

    def loss(self, forward: Callable[[], Tensor], context: Context) -> Tensor:
        networks, batch = context.labels.shape
        draw = context.stream.uniform()
        assert draw.shape == (networks,)
        self.layer, self.share = int(draw[0] > 0), float(draw[0].abs()) / 2
        self.order = torch.arange(batch).flip(0)
        first, second = forward(), forward()
        targets = functional.one_hot(context.labels, 10).float()
        targets = targets.lerp(targets[:, self.order], self.share)
        p, q = first.log_softmax(2), second.log_softmax(2)
        if self.fit is None:
            self.fit = torch.zeros(networks, context.examples)
        self.fit.scatter_(1, context.indices, (p.detach().exp() * targets).sum(2))
        self.progress.append(float(context.progress))
        consistency = functional.kl_div(p, q, log_target=True, reduction="none").sum(2)
        return (-(p * targets).sum(2) + consistency).mean(1) + 0.01 * self.gate.flatten() ** 2


def test_the_interface_carries_the_catalogue(monkeypatch: pytest.MonkeyPatch, small: Split) -> None:
    """A type that uses every hook trains, learns its parameter, and sees every example; the trainer
    is untouched."""
    made: list[EveryHook] = []

    class Remembered(EveryHook):
        def __init__(self, rates: Tensor) -> None:
            super().__init__(rates)
            made.append(self)

    monkeypatch.setitem(NOISE, "every-hook", Remembered)
    arm = Arm("every-hook", 0.1, 0.1, 1e-4, Recipe("decay", 2, schedule="linear"))
    together = train_population([arm], (1, 2), small)
    alone = train_population([arm], (2,), small)
    assert together[0].curves["train/loss"][1] < together[0].curves["train/loss"][0]
    assert made[0].gate.abs().min() > 0
    assert made[0].fit is not None and (made[0].fit > 0).all()
    assert made[0].progress == [step / 8 for step in range(8)]
    assert not torch.equal(
        together[1].weights.weights[0], alone[0].weights.weights[0]
    )  # layer drawn by network 0


@pytest.mark.parametrize(
    "bad",
    [{"noise": "droput"}, {"rate1": 1.5}, {"rate2": -0.1}, {"rate3": 0.1}, {"weight_decay": -1.0}],
)
def test_bad_arms_are_refused(bad: dict) -> None:
    arm = Arm("dropout", 0.5, 0.5, 0.0, Recipe("book", 10))
    with pytest.raises(ValueError, match=r"did you mean dropout|outside|no such rate|not a number"):
        replace(arm, **bad)
