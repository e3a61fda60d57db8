"""The compiled loops say what the tensor operations say, and their draws are NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from models.noise import Context, noise_type
from models.noise.gaussian_weights import NormalAffine
from models.noise.inputs import lengths
from models.noise.masks import least_kept, masked, masked_relu, threshold
from models.noise.random_relu import slopes
from models.noise.shift import FURTHEST, cut_out, moved
from models.noise.swap import swapped
from models.noise.warp import CENTRE, interpolated, warped
from models.rng import LANES, PURPOSES, Purpose, Stream, look_up, normal_quantiles
from models.sgd import Update

PRECISIONS = (torch.float32, torch.bfloat16)
SHAPE = (3, 37, 111)  # no multiple of a block, a vector or a lane
RATES = (0.0, 0.3, 0.95)


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def bits(random: torch.Generator) -> Tensor:
    return torch.randint(-32768, 32768, SHAPE, generator=random).to(torch.int16)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_draws_are_those_of_numpys_generators(purpose: Purpose) -> None:
    """Over several calls, of which the second leaves off in the middle of a round of the lanes."""
    stream = Stream((8, 5, 8), purpose)
    drawn = [stream.bits(2, 4 * LANES), stream.bits(3), stream.bits(4 * LANES)]
    for network, seed in enumerate((8, 5, 8)):
        children = np.random.SeedSequence((seed, PURPOSES.index(purpose))).spawn(LANES)
        rounds = np.stack([np.random.SFC64(child).random_raw(4) for child in children], axis=1)
        numbers = rounds.view(np.int16)
        assert np.array_equal(drawn[0][network], numbers[:2])
        assert np.array_equal(drawn[1][network], numbers[2, :3])
        assert np.array_equal(drawn[2][network], numbers[3])


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_masked_relu_is_the_mask_and_the_relu(dtype: torch.dtype, random: torch.Generator) -> None:
    """Values and gradients, to the bit: in bfloat16 as if worked out in float32 and rounded
    once."""
    z, onwards = (torch.randn(SHAPE, generator=random).to(dtype) for _ in range(2))
    drawn, rate = bits(random), torch.tensor(RATES)[:, None, None]

    ours = z.clone().requires_grad_()
    h = masked_relu(ours * 1, drawn, rate)
    (gradient,) = torch.autograd.grad(h, ours, onwards)
    theirs = z.float().requires_grad_()
    expected = theirs.relu() * threshold(drawn, rate)
    (wanted,) = torch.autograd.grad(expected, theirs, onwards.float())

    assert h.dtype == gradient.dtype == dtype
    assert torch.equal(h, expected.to(dtype)) and torch.equal(gradient, wanted.to(dtype))
    assert 0 < (h[1] == 0).float().mean() < 1  # there was something to drop and something to keep


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_masked_is_the_mask(dtype: torch.dtype, random: torch.Generator) -> None:
    """Values and gradients, to the bit."""
    x, onwards = (torch.randn(SHAPE, generator=random).to(dtype) for _ in range(2))
    drawn, rate = bits(random), torch.tensor(RATES)[:, None, None]
    result = masked(x.requires_grad_(), drawn, rate)
    (gradient,) = torch.autograd.grad(result, x, onwards)
    mask = threshold(drawn, rate)
    assert result.dtype == gradient.dtype == dtype
    assert torch.equal(result, (x.float() * mask).to(dtype))
    assert torch.equal(gradient, (onwards.float() * mask).to(dtype))
    turned = masked(x.mT, drawn.mT, rate)  # which the loop does not take
    torch.testing.assert_close(
        turned.mT, result, rtol=0.02 if dtype == torch.bfloat16 else 0, atol=0
    )


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_slopes_are_those_of_tensors(dtype: torch.dtype, random: torch.Generator) -> None:
    """Numbers and numbers of each network; in another precision than that of z, too."""
    z, drawn = torch.randn(SHAPE, generator=random).to(dtype), bits(random)
    of_network = torch.tensor([0.1, 0.5, 2.0])[:, None, None]
    for above, below in (((1, of_network), (0, 0)), ((1.5, 0), (0.25, -of_network))):
        found = slopes(z, drawn, normal_quantiles, above, below)
        turned = slopes(
            z.mT, drawn.mT, normal_quantiles, above, below
        )  # which the loop does not take
        assert found.dtype == dtype and found.float().std() > 0.1
        torch.testing.assert_close(
            found, turned.mT, rtol=0.01 if dtype == torch.bfloat16 else 1e-6, atol=1e-6
        )
        exact = slopes(z, drawn, normal_quantiles, above, below, torch.float32)
        assert exact.dtype == torch.float32 and torch.equal(exact.to(dtype), found)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_a_shift_is_cutting_out_of_a_frame(dtype: torch.dtype, random: torch.Generator) -> None:
    """Every shift there is, none and the furthest among them."""
    reach = torch.arange(-FURTHEST, FURTHEST + 1)
    down, across = torch.cartesian_prod(reach, reach).unbind(1)
    images = torch.rand(len(down), 28, 28, generator=random).to(dtype)
    assert torch.equal(moved(images, down, across), cut_out(images, down, across))
    assert torch.equal(moved(images, 0 * down, 0 * across), images)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_a_warp_is_interpolation(dtype: torch.dtype, random: torch.Generator) -> None:
    """Small maps, none, and one that moves everything out of sight; to rounding."""
    images = torch.rand(60, 28, 28, generator=random).to(dtype)
    scale = torch.tensor([1.0, 1 / CENTRE, 1 / CENTRE])
    maps = torch.randn(60, 2, 3, generator=random) * scale * torch.linspace(0, 4, 60).view(-1, 1, 1)
    found = warped(images, maps)
    assert torch.equal(found[0], images[0])
    assert found.dtype == dtype
    within = 2e-5 if dtype == torch.float32 else 0.01
    assert torch.allclose(found.float(), interpolated(images, maps).float(), atol=within)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_what_has_diverged_stays_diverged(dtype: torch.dtype) -> None:
    z = torch.tensor([[[torch.nan, torch.inf, -torch.inf, 1.0]]]).to(dtype)
    h = masked_relu(z, torch.full((1, 1, 4), 32767, dtype=torch.int16), torch.full((1, 1, 1), 0.5))
    assert h.isnan().tolist() == [[[True, False, False, False]]]
    assert h[0, 0, 1:].tolist() == [torch.inf, 0, 2]
    weight, rounded = torch.tensor([[torch.nan, torch.inf, 1.0]]), torch.zeros(1, 3, dtype=dtype)
    Update(weight, rounded, None, 0.0)(torch.zeros(1, 3, dtype=dtype), 0.1)
    assert rounded[0, 0].isnan() and rounded[0, 1:].tolist() == [torch.inf, 1]


def test_a_rate_may_change_between_the_two_passes(random: torch.Generator) -> None:
    """As a schedule's does, in place, when a loss passes forward twice."""
    z = torch.ones(1, 2, 8, requires_grad=True)
    rate = torch.full((1, 1, 1), 0.5)
    h = masked_relu(z * 1, torch.full((1, 2, 8), 32767, dtype=torch.int16), rate)
    rate.fill_(0.9)
    assert torch.autograd.grad(h.sum(), z)[0].unique().tolist() == [2.0]


def test_the_networks_hooks_run_the_loop(random: torch.Generator) -> None:
    """What is compared above is what dropout runs in training."""
    noise = noise_type("dropout")(torch.tensor([[0.3, 0.6]] * 2))
    nothing = torch.zeros(2, 16, dtype=torch.int64)
    context = Context(Stream((1, 2), "noise"), nothing, nothing, 0, 0.0)
    h = noise.hidden(1, torch.randn(2, 16, 256, generator=random).requires_grad_() * 1, context)
    assert h.grad_fn is not None and h.grad_fn.name() == "MaskedReluBackward"


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decays", [None, (0.0, 0.01, 0.1)])
def test_an_update_in_one_pass_is_that_of_tensors(
    dtype: torch.dtype, momentum: float, decays: tuple[float, ...] | None, random: torch.Generator
) -> None:
    """Three steps, to the last places of float32; the copy is the weights', rounded to nearest."""
    start, gradients = (torch.randn(3, *SHAPE, generator=random) for _ in range(2))
    decay = None if decays is None else torch.tensor(decays)
    updates = [
        Update(
            start[0].clone(),
            None if dtype == torch.float32 else start[0].to(dtype),
            decay,
            momentum,
        )
        for _ in range(2)
    ]
    for gradient in gradients.to(dtype):
        updates[0].in_one_pass(gradient, 0.1)
        updates[1].by_tensors(gradient, 0.1)
    assert not torch.equal(updates[0].weight, start[0])
    torch.testing.assert_close(updates[0].weight, updates[1].weight, rtol=1e-6, atol=1e-6)
    if dtype != torch.float32:
        assert updates[0].rounded is not None and torch.equal(
            updates[0].rounded, updates[0].weight.to(dtype)
        )


@pytest.mark.parametrize(
    ("bits_shape", "rate_shape"),
    [(SHAPE, (3, 1, SHAPE[2])), (SHAPE, (1, 1, 1)), ((3, 1, SHAPE[2]), (3, 1, 1))],
)
def test_other_shapes_are_broadcast(
    bits_shape: tuple[int, ...], rate_shape: tuple[int, ...], random: torch.Generator
) -> None:
    """As a type from outside may have them: a rate for each unit, one for all networks, one mask
    for the batch."""
    z, rate = torch.randn(SHAPE, generator=random), torch.full(rate_shape, 0.5)
    drawn = bits(random)[:, : bits_shape[1]]
    assert torch.equal(masked_relu(z.clone(), drawn, rate), z.relu() * threshold(drawn, rate))


def test_second_derivatives_are_those_of_tensors(random: torch.Generator) -> None:
    """As a loss with a gradient penalty has them."""
    z, drawn = torch.randn(SHAPE, generator=random).requires_grad_(), bits(random)
    rate = torch.tensor(RATES)[:, None, None]

    def penalty(h: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad((h**3).sum(), z, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), z)[0]

    ours, theirs = (
        penalty(masked_relu(z * 1, drawn, rate)),
        penalty(z.relu() * threshold(drawn, rate)),
    )
    assert ours.abs().max() > 0
    torch.testing.assert_close(ours, theirs)


def test_a_graph_kept_across_an_update_is_refused() -> None:
    weight = torch.ones(1, 4, requires_grad=True)
    loss = (weight * weight).sum()
    Update(weight, None, None, 0.0)(torch.ones(1, 4), 0.1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(loss, weight)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_a_swap_chooses_between_two_images(dtype: torch.dtype, random: torch.Generator) -> None:
    """Partners seen backwards, too, as those before in the batch are."""
    x, partners = (torch.randn(SHAPE, generator=random).to(dtype) for _ in range(2))
    rate, drawn = torch.tensor(RATES).view(3, 1, 1), bits(random)
    for other in (partners, partners.mT.contiguous().mT):
        found = swapped(x, other, drawn, rate)
        assert torch.equal(found, torch.where(drawn < least_kept(rate), other, x))
        assert torch.equal(found[0], x[0]) and not torch.equal(found[1], x[1])


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_lengths_are_pytorchs_norms(dtype: torch.dtype, random: torch.Generator) -> None:
    x = torch.randn(SHAPE, generator=random).to(dtype)
    norms = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.float32)
    assert torch.allclose(lengths(x, torch.float32), norms, rtol=1e-6)
    assert torch.allclose(lengths(x.double(), torch.float64).float(), norms, rtol=1e-6)


@pytest.mark.parametrize("dtype", (*PRECISIONS, torch.float64))
def test_looking_up_is_indexing(dtype: torch.dtype, random: torch.Generator) -> None:
    table, drawn = torch.randn(65536, generator=random).to(dtype), bits(random)
    assert torch.equal(look_up(table, drawn), table[drawn.to(torch.int64) + 32768])
    assert torch.equal(look_up(table, drawn.mT), table[drawn.mT.to(torch.int64) + 32768])


def test_what_asks_for_a_gradient_gets_it(random: torch.Generator) -> None:
    """As learned noise of a type from outside does: of shifted images, of the noise on weights; and
    learned slopes are constant, on every device."""
    images = torch.rand(3, 28, 28, generator=random).requires_grad_()
    down, across = torch.tensor([1, 0, -2]), torch.tensor([0, 3, 1])
    (to_images,) = torch.autograd.grad(moved(images, down, across).sum(), images)
    assert torch.equal(to_images.sum(dim=(1, 2)), torch.tensor([28.0 * 27, 28 * 25, 27 * 26]))

    h, weight, e = (torch.randn(2, 4, 4, generator=random, dtype=torch.float64) for _ in range(3))
    inputs = [t.requires_grad_() for t in (h, weight, torch.zeros(2, 1, 4).double(), e)]
    assert torch.autograd.gradcheck(NormalAffine.apply, inputs)

    z, learned = torch.randn(SHAPE, generator=random), torch.ones(3, 1, 1, requires_grad=True)
    for one in (z, z.double()):
        found = slopes(one, bits(random), normal_quantiles, (1, learned), (0, 0))
        assert not found.requires_grad
