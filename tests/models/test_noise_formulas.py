"""What is particular to one noise type: mixtures, schedules, memories, partners, labels, and types
put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from models.mlp import forward, initialise
from models.noise import NOISE, UNSEARCHED, Context, Noise, Rate, noise_type, per_layer, warp
from models.noise.base import cross_entropy
from models.noise.disturb_label import disturbed
from models.noise.dropout import Dropout
from models.noise.fit_gated import FitGated
from models.noise.inputs import InputDropout, InputGaussian, with_input
from models.noise.manifold_mixup import ManifoldMixup
from models.noise.r_drop import ALPHA, RDrop
from models.noise.schedules import SWITCH, curriculum, early, late, scheduled
from models.noise.shift import moved
from models.noise.warp import warped
from models.noise.within_class import WithinClass, energy, next_of_class
from models.rng import Stream

SEEDS = (3, 4, 5)
BATCH = 12


def context(seeds: tuple[int, ...] = SEEDS, batch: int = BATCH, progress: float = 0.5) -> Context:
    """Three classes; examples 0, 2, 4, .. of a set of 100."""
    labels = torch.arange(batch).remainder(3).expand(len(seeds), -1)
    indices = torch.arange(0, 2 * batch, 2).expand(len(seeds), -1)
    return Context(Stream(seeds, "noise"), labels, indices, examples=100, progress=progress)


def rates(*values: float, networks: int = 3) -> Tensor:
    return torch.tensor(values).expand(networks, max(2, len(values)))


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def images(batch: int = BATCH) -> Tensor:
    return torch.rand(len(SEEDS), batch, 784, generator=torch.Generator().manual_seed(0))


# Input


def test_input_dropout_drops_and_scales_pixels_and_leaves_the_images_alone() -> None:
    x = torch.ones(3, 100, 784)
    noisy = InputDropout(rates(0.25)).input(x, context())
    assert noisy.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (noisy == 0).double().mean().item() == pytest.approx(
        0.25, abs=5 * (0.25 * 0.75 / x.numel()) ** 0.5
    )
    assert (x == 1).all()


def test_input_gaussian_scales_with_each_pixels_own_deviation() -> None:
    x = normal(3, 2000, 4) * torch.tensor([0.0, 1.0, 2.0, 4.0])
    noise = InputGaussian(rates(0.5)).input(x, context()) - x
    assert (noise[:, :, 0] == 0).all()
    torch.testing.assert_close(noise.std(dim=1)[:, 1:], x.std(dim=1)[:, 1:], rtol=0.1, atol=0)


class Thorough(Noise):
    """Overrides every hook, and says which was called."""

    site, rates, keeps_mean, dependent = (
        "weight, loss",
        per_layer(Rate("strength")),
        False,
        ("units",),
    )

    def __init__(self, rates: Tensor) -> None:
        super().__init__(rates)
        self.called: list[object] = []
        self.gate = torch.ones(len(rates), requires_grad=True)

    @property
    def parameters(self) -> list[Tensor]:
        return [self.gate]

    def input(self, x: Tensor, context: Context) -> Tensor:
        self.called.append("input")
        return x + 1

    def linear(
        self, layer: int, h: Tensor, weight: Tensor, bias: Tensor, context: Context
    ) -> Tensor:
        self.called.append(("linear", self.rate_of(layer)[0].item()))
        return super().linear(layer, h, weight, bias, context)

    def hidden(self, layer: int, z: Tensor, context: Context) -> Tensor:
        self.called.append(("hidden", self.rate_of(layer)[0].item()))
        return super().hidden(layer, z, context)

    def loss(self, forward: Callable[[], Tensor], context: Context) -> Tensor:
        return super().loss(forward, context) * self.gate + 7

    def at_evaluation(self) -> Noise:
        return Dropout(self._rates)


def test_a_composition_passes_everything_on() -> None:
    """Rate 1 to the input's type, the others to the other; every hook, parameter and evaluation
    rule."""
    both = with_input(InputDropout, Thorough)
    assert (
        both.site == "input, weight, loss" and not both.keeps_mean and both.dependent == ("units",)
    )
    assert both.rates == (InputDropout.rates[0], *Thorough.rates)
    noise, population, now = both(rates(0.25, 0.5, 0.75)), initialise(SEEDS), context()
    inner = noise.inner  # type: ignore[attr-defined]
    losses = noise.loss(partial(forward, population, images(), noise, now), now)
    assert inner.called == [
        "input",
        ("linear", 0.5),
        ("hidden", 0.5),
        ("linear", 0.75),
        ("hidden", 0.75),
    ]
    assert (losses > 7).all() and list(noise.parameters) == [inner.gate]
    assert noise.input(torch.ones(3, 2, 4), now).unique().tolist() == pytest.approx([1, 1 + 4 / 3])
    assert noise.variance(0, images()) is None
    evaluated, x = noise.at_evaluation(), torch.ones(3, 2, 4)
    assert torch.equal(evaluated.input(x, now), x)
    assert evaluated.hidden(0, torch.ones(3, 50, 4), now).unique().tolist() == [0, 2]


COMPOSED = [name for name, kind in {**NOISE, **UNSEARCHED}.items() if len(kind.parts) == 2]


@pytest.mark.parametrize("name", COMPOSED)
def test_each_part_of_a_composition_is_what_it_is_alone(name: str) -> None:
    """At a rate of its own in each of the three layers; and at evaluation."""
    kind = noise_type(name)
    assert len(kind.rates) == 3
    both, outer = kind(rates(0.3, 0.6, 0.2)), kind.parts[0](rates(0.3))
    inner = kind.parts[1](rates(0.6, 0.2))
    x, z, now, again = images(), normal(3, BATCH, 256), context(), context()
    assert torch.equal(both.input(x, now), outer.input(x, again))
    for layer in range(2):
        alone = inner.hidden(layer, z.clone(), again)
        if isinstance(outer, ManifoldMixup):
            alone = outer.mixed(1 + layer, alone)
        assert torch.equal(both.hidden(layer, z.clone(), now), alone)


@pytest.mark.parametrize("name", COMPOSED)
def test_a_composition_is_evaluated_as_its_inner_type(name: str) -> None:
    kind = noise_type(name)
    both, inner = kind(rates(0.3, 0.6, 0.2, networks=1)), kind.parts[1](rates(0.6, 0.2, networks=1))
    for layer in range(2):
        assert both.at_evaluation().evaluated(layer) == inner.at_evaluation().evaluated(layer)


def test_a_composition_with_a_type_of_one_rate_has_two() -> None:
    both = with_input(InputDropout, InputGaussian)
    assert both.rates == (InputDropout.rates[0], *InputGaussian.rates)
    x, now, again = images(), context(), context()
    expected = InputGaussian(rates(0.6)).input(InputDropout(rates(0.3)).input(x, again), again)
    assert torch.equal(both(rates(0.3, 0.6)).input(x, now), expected)
    with pytest.raises(ValueError, match="has 3 rates, one more would be too many"):
        with_input(InputGaussian, NOISE["input-dropout+dropout"])


# Schedules


def test_schedules() -> None:
    moments = torch.tensor([0, SWITCH / 2, SWITCH, 0.5, 1], dtype=torch.float64)
    assert early(moments).tolist() == pytest.approx([1, 0.5, 0, 0, 0])
    assert late(moments).tolist() == [0, 0, 1, 1, 1]
    some = torch.tensor([0, 0.1, 1])
    assert curriculum(some).tolist() == pytest.approx([0, 0.6321, 1], abs=1e-4)


@pytest.mark.parametrize("progress", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("schedule", [early, late, curriculum])
def test_a_scheduled_type_is_the_type_at_the_moments_rate(
    schedule: Callable[[Tensor], Tensor], progress: float
) -> None:
    noise, z = scheduled(schedule, Dropout)(rates(0.4)), normal(3, BATCH, 64)
    noise.hidden(0, z.clone(), context(progress=0.7))  # an earlier step leaves nothing behind
    found = noise.hidden(0, z.clone(), context(progress=progress))
    now = rates(0.4) * schedule(torch.tensor(progress, dtype=torch.float64))
    expected = Dropout(now).hidden(0, z.clone(), context())
    assert torch.equal(found, expected)


def test_quiet_steps_draw_nothing() -> None:
    now = context(progress=0.0)
    NOISE["late-dropout"](rates(0.4)).hidden(0, normal(3, BATCH, 64), now)
    assert torch.equal(now.stream.bits(8), context().stream.bits(8))


def test_a_schedule_passes_everything_on_and_keeps_what_is_learned() -> None:
    """Also through a composition, whose parts hold views of the rates; quiet steps still reach a
    learned parameter."""
    noise, population = (
        scheduled(late, with_input(InputDropout, Thorough))(rates(0.2, 0.5, 0.75)),
        initialise(SEEDS),
    )
    inner = noise.inner.inner  # type: ignore[attr-defined]
    for progress, first, second in ((0.0, 0.0, 0.0), (0.5, 0.5, 0.75)):
        inner.called, now = [], context(progress=progress)
        losses = noise.loss(partial(forward, population, images(), noise, now), now)
        assert inner.called == [
            "input",
            ("linear", first),
            ("hidden", first),
            ("linear", second),
            ("hidden", second),
        ]
        assert torch.autograd.grad(losses.sum(), noise.parameters)[0].abs().min() > 0
    assert noise.at_evaluation().hidden(0, torch.ones(3, 50, 4), now).unique().tolist() == [0, 2]


def test_a_schedules_memory_goes_on_in_quiet_steps() -> None:
    noise, population, now = (
        scheduled(late, FitGated)(rates(0.4)),
        initialise(SEEDS),
        context(progress=0.0),
    )
    noise.loss(partial(forward, population, images(), noise, now), now)
    assert noise.inner.fit.shape == (3, 100)  # type: ignore[attr-defined]


# Manifold mixup


def test_mixup_mixes_labels_as_it_mixes_one_layer() -> None:
    """Over many steps: one layer a step and network, each as often; shares uniform on 0 to s; the
    loss likewise."""
    noise, x, now, steps = ManifoldMixup(rates(0.8)), images(), context(), 900
    z, logits, shares = normal(3, BATCH, 6), normal(3, BATCH, 10), []
    nothing, zero = torch.eye(x.shape[2]).expand(3, -1, -1), torch.zeros(3, 1, x.shape[2])
    for _ in range(steps):
        outputs = [
            noise.linear(0, noise.input(x, now), nothing, zero, now),
            noise.hidden(0, z.clone(), now),
            noise.hidden(1, z.clone(), now),
        ]
        share = noise.shares
        for place, (found, plain) in enumerate(zip(outputs, (x, z.relu(), z.relu()), strict=True)):
            partner = torch.cat([plain[:, -1:], plain[:, :-1]], dim=1)
            weight = share[:, place, None, None]
            torch.testing.assert_close(found, (1 - weight) * plain + weight * partner)
        shares.append(share)
        labels = torch.nn.functional.one_hot(now.labels, 10).float()
        weight = share.sum(dim=1)[:, None, None]
        targets = (1 - weight) * labels + weight * labels[:, torch.arange(-1, BATCH - 1)]
        expected = -(targets * logits.log_softmax(2)).sum(2).mean(1)
        torch.testing.assert_close(noise.loss(lambda: logits, now), expected)
    drawn = torch.stack(shares)
    assert ((drawn > 0).sum(dim=2) == 1).all()
    often = (drawn > 0).float().mean(dim=(0, 1))
    assert torch.allclose(often, torch.full((3,), 1 / 3), atol=5 * (2 / 9 / (3 * steps)) ** 0.5)
    total = drawn.sum(dim=2)
    assert total.max() < 0.8 and total.max() > 0.78
    assert total.mean().item() == pytest.approx(0.4, abs=5 * 0.8 * (1 / 12 / total.numel()) ** 0.5)
    assert not torch.equal(total[:, 0], total[:, 1])


# Fit-gated


def loss_of(noise: Noise, probability: float, now: Context) -> Tensor:
    """The loss of logits that give the true class this probability."""
    logits = (
        torch.full((3, BATCH, 10), (1 - probability) / 9)
        .scatter(2, now.labels[:, :, None], probability)
        .log()
    )
    return noise.loss(lambda: logits, now)


def test_fit_is_a_running_average_remembered_by_index() -> None:
    noise, now = FitGated(rates(0.4)), context()
    assert loss_of(noise, 0.9, now).tolist() == pytest.approx(
        [-(torch.tensor(0.9).log().item())] * 3
    )
    torch.testing.assert_close(noise.fit_of(now), torch.full((3, BATCH, 1), 0.5))
    others = replace(now, indices=now.indices + 1)
    torch.testing.assert_close(noise.fit_of(others), torch.full((3, BATCH, 1), 0.1))
    loss_of(noise, 0.9, now)
    torch.testing.assert_close(noise.fit_of(now), torch.full((3, BATCH, 1), 0.7))
    reversed_ = replace(now, indices=now.indices.flip(1))
    loss_of(noise, 0.3, replace(now, indices=now.indices[:, :1].expand(-1, BATCH)))
    fit = noise.fit_of(reversed_)[:, :, 0]
    torch.testing.assert_close(
        fit, torch.cat([torch.full((3, BATCH - 1), 0.7), torch.full((3, 1), 0.5)], dim=1)
    )


def test_gated_noise_grows_with_fit() -> None:
    """Its multiplier has the variance of the rate p a."""
    noise, now, ones = FitGated(rates(0.6)), context(), torch.ones(3, BATCH, 20000)
    for _ in range(3):
        fit = noise.fit_of(now)
        variance = 0.6 * fit / (1 - 0.6 * fit)
        found = noise.hidden(0, ones.clone(), now).var(dim=2, keepdim=True)
        torch.testing.assert_close(
            found, variance.expand_as(found), rtol=5 * (2 / 20000) ** 0.5, atol=0
        )
        loss_of(noise, 0.95, now)
    unknown = replace(now, labels=now.labels[:, :0], indices=now.indices[:, :0], examples=0)
    torch.testing.assert_close(noise.fit_of(unknown), noise.fit.mean(dim=1)[:, None, None])


# Within-class


def test_partners_share_the_class_and_form_one_random_circle() -> None:
    """Every example is somebody's partner, nobody its own unless alone; all others of a class as
    often."""
    labels, stream, batch = (
        torch.tensor([[0, 1, 0, 2, 1, 0, 0, 1]]).expand(3, -1),
        Stream(SEEDS, "noise"),
        8,
    )
    pairs = torch.zeros(batch, batch)
    for _ in range(1000):
        partners = next_of_class(labels, stream)
        assert torch.equal(labels.gather(1, partners), labels)
        assert torch.equal(partners.sort(dim=1).values, torch.arange(batch).expand(3, -1))
        alone = partners == torch.arange(batch)
        assert torch.equal(alone, labels == 2)
        pairs.index_put_(
            (torch.arange(batch).repeat(3), partners.flatten()), torch.tensor(1.0), accumulate=True
        )
    for own in (0, 1):
        members = (labels[0] == own).nonzero()[:, 0]
        among = pairs[members][:, members] / 3000
        expected = (1 - torch.eye(len(members))) / (len(members) - 1)
        assert torch.allclose(among, expected, atol=5 * 0.5 / 3000**0.5)


def test_within_class_noise_is_a_difference_of_mates_with_energy_v() -> None:
    batch, draws, p = 30, 1500, 0.4
    noise, z, now = WithinClass(rates(p)), normal(3, batch, 16) + 1, context(batch=30)
    h = z.relu()
    drawn = torch.stack([noise.hidden(0, z.clone(), now) - h for _ in range(draws)])
    ratio = drawn.square().sum(dim=3).mean(dim=2) / energy(h).flatten()
    assert ratio.mean().item() == pytest.approx(
        p / (1 - p), abs=5 * (ratio.std() / ratio.numel() ** 0.5).item()
    )
    h[:, now.labels[0] == 0, :8], h[:, now.labels[0] != 0, 8:] = (
        0,
        0,
    )  # class 0 and the others share no unit
    apart = noise.hidden(0, h.clone(), now) - h
    assert (apart[h == 0] == 0).sum() > 0.4 * h.numel()
    assert (apart[:, now.labels[0] == 0, :8] == 0).all() and (
        apart[:, now.labels[0] != 0, 8:] == 0
    ).all()
    assert (apart[:, now.labels[0] == 0, 8:] != 0).any()


def test_without_mates_or_labels_there_is_no_within_class_noise() -> None:
    noise, z = WithinClass(rates(0.4)), normal(3, 3, 16)
    now = context(batch=3)
    for each in (now, replace(now, labels=now.labels[:, :0])):
        assert torch.equal(noise.hidden(0, z.clone(), each), z.relu())


# Loss


def test_r_drop_is_two_passes_and_their_divergences() -> None:
    first, second, now = normal(3, BATCH, 10), normal(3, BATCH, 10).flip(0), context()
    passes = iter((first, second))
    found = RDrop(rates(0.5)).loss(lambda: next(passes), now)
    p, q = first.softmax(2), second.softmax(2)
    kl = ((p * (p / q).log()).sum(2) + (q * (q / p).log()).sum(2)) / 2
    own = (cross_entropy(first, now.labels) + cross_entropy(second, now.labels)) / 2
    torch.testing.assert_close(found, (own + ALPHA / 2 * kl).mean(1))


def test_r_drops_passes_have_masks_of_their_own() -> None:
    noise, population, now, passes = RDrop(rates(0.5)), initialise(SEEDS), context(), list[Tensor]()

    def one_pass() -> Tensor:
        passes.append(forward(population, images(), noise, now))
        return passes[-1]

    noise.loss(one_pass, now)
    assert len(passes) == 2 and not torch.equal(*passes)
    assert torch.equal(passes[0], forward(population, images(), Dropout(rates(0.5)), context()))


def test_labels_are_disturbed_as_often_as_said_and_evenly() -> None:
    """A tenth of the new labels is the old one."""
    n, p = 100_000, 0.3
    labels = torch.full((2, n), 4)
    found = disturbed(labels, torch.tensor([[0.0], [p]]), 10, Stream((1, 2), "noise"))
    assert torch.equal(found[0], labels[0])
    shares = torch.bincount(found[1], minlength=10) / n
    expected = torch.full((10,), p / 10)
    expected[4] += 1 - p
    assert torch.allclose(
        shares, expected, atol=5 * (expected * (1 - expected) / n).max().item() ** 0.5
    )


def test_disturbed_labels_are_those_of_the_loss() -> None:
    noise, logits, now = NOISE["disturb-label"](rates(0.5)), normal(3, BATCH, 10), context()
    labels = disturbed(now.labels, torch.full((3, 1), 0.5), 10, context().stream)
    assert not torch.equal(labels, now.labels)
    torch.testing.assert_close(
        noise.loss(lambda: logits, now), cross_entropy(logits, labels).mean(1)
    )


def test_a_quiet_schedule_leaves_no_old_mixture_behind() -> None:
    """After the switch the loss is the plain one, though shares were drawn before it."""
    population, x = initialise(SEEDS), images()
    kind = scheduled(early, ManifoldMixup)
    noise, plain = kind(torch.full((len(SEEDS), 2), 0.5)), Noise(torch.zeros(len(SEEDS), 2))

    def losses(of: Noise, progress: float) -> Tensor:
        now = context(progress=progress)
        return of.loss(partial(forward, population, x, of, now), now)

    assert not torch.equal(losses(noise, 0.0), losses(plain, 0.0))
    assert torch.equal(losses(noise, 0.9), losses(plain, 0.9))


def test_a_type_without_a_rate_is_no_input_noise() -> None:
    with pytest.raises(ValueError, match="no rate"):
        with_input(Noise, ManifoldMixup)


# Swaps and warps


def test_a_swapped_pixel_is_the_images_before_in_the_batch() -> None:
    """In the share p of pixels, and drawn independently."""
    x = torch.rand(3, BATCH, 784)
    found = NOISE["swap"](rates(0.3)).input(x, context())
    other = found == x.roll(1, dims=1)
    assert torch.equal(found, torch.where(other, x.roll(1, dims=1), x))
    share = other.double().mean()
    assert share == pytest.approx(0.3, abs=5 * (0.21 / other.numel()) ** 0.5)


def test_a_swapped_pixel_is_of_an_image_of_the_class() -> None:
    labels = torch.tensor([0, 0, 1, 1, 1, 2, 3, 3]).expand(3, -1)
    x = torch.rand(3, 8, 784)
    now = Context(Stream(SEEDS, "noise"), labels, labels, 8, 0.5)
    found = NOISE["class-swap"](rates(0.4)).input(x, now)
    for network in range(3):
        for image in range(8):
            mates = [k for k in range(8) if labels[0, k] == labels[0, image] and k != image]
            moved = found[network, image] != x[network, image]
            assert moved.double().mean() == pytest.approx(0.4 if mates else 0, abs=0.1)
            sources = [(found[network, image] == x[network, k])[moved].all() for k in mates]
            assert any(sources) or not mates


def test_a_constant_map_is_a_shift_and_a_turn_keeps_the_centre() -> None:
    images = torch.rand(2, 28, 28)
    shift = torch.tensor([[[2.0, 0, 0], [-1, 0, 0]]] * 2)
    down, across = torch.tensor([2, 2]), torch.tensor([-1, -1])
    assert torch.allclose(warped(images, shift), moved(images, down, across))
    ramp = torch.arange(28.0).expand(2, 28, 28) / 28
    stretch = torch.tensor([[[0.0, 0, 0], [0, 0, 0.1]]] * 2)
    place = torch.arange(28.0)
    wanted = (place + 0.1 * (place - 13.5)) / 28
    assert torch.allclose(warped(ramp, stretch)[0, 0, 2:26], wanted[2:26], atol=1e-6)


def test_a_warp_moves_the_centre_by_v_and_the_edge_by_twice_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Tensor] = []

    def caught(images: Tensor, maps: Tensor) -> Tensor:
        seen.append(maps)
        return images

    monkeypatch.setattr(warp, "warped", caught)
    x = torch.rand(3, 4000, 784)
    NOISE["warp"](rates(0.2)).input(x, context())
    constant, by_row, by_column = seen[0].unbind(dim=2)
    edge = constant + 13.5 * by_row
    for found, wanted in ((constant, 0.25), (edge, 0.5), (constant + 13.5 * by_column, 0.5)):
        assert found.var() == pytest.approx(wanted, rel=0.06)
