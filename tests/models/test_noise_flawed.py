"""The masks that the audit runs again are wrong in the way documented; the products all noise is
built on are right."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from models import matmul
from models.config import Arm, Recipe
from models.matmul import NarrowAffine, affine
from models.noise import NOISE, UNSEARCHED, Context, noise_type
from models.noise.flawed import KeptRelu, RandnDropConnect, RandnDropout, randn_mask
from models.rng import Stream
from study.declaration import pick_noise_types
from study.presets import PRESETS

AUDITED = {
    "audited-randn-dropout": RandnDropout,
    "audited-randn-dropconnect": RandnDropConnect,
    "audited-kept-relu": KeptRelu,
}
RATES = (0.0, 0.2, 0.5, 0.8)
every_rate = pytest.mark.parametrize("p", RATES)


def rates(p: float, networks: int = 1) -> Tensor:
    return torch.full((networks, 2), p)


def context(seeds: Sequence[int] = (3,)) -> Context:
    nothing = torch.empty(len(seeds), 0, dtype=torch.int64)
    return Context(Stream(seeds, "noise"), nothing, nothing, examples=0, progress=0.0)


def share(probability: float, draws: int) -> object:
    """What a share of so many draws is, to 5 standard errors."""
    return pytest.approx(probability, abs=5 * (probability * (1 - probability) / draws) ** 0.5)


# The faults


def test_the_numbers_of_the_documentation() -> None:
    """At p = 0.5."""
    assert norm.cdf(0.5) == pytest.approx(0.6915, abs=5e-5)
    assert (1 - norm.cdf(0.5)) / (1 - 0.5) == pytest.approx(0.617, abs=5e-4)


@every_rate
def test_a_randn_mask_drops_phi_of_p_and_scales_the_mean_by_its_complement_over_1_minus_p(
    p: float,
) -> None:
    mask = randn_mask((1000, 400), torch.full((2, 1, 1), p), Stream((1, 2), "noise"))
    dropped = float(norm.cdf(p))
    assert mask.shape == (2, 1000, 400)
    assert (mask == 0).double().mean().item() == share(dropped, mask.numel())
    assert mask.unique().tolist() == pytest.approx([0, 1 / (1 - p)])
    assert mask.double().mean().item() * (1 - p) == share(1 - dropped, mask.numel())


@every_rate
def test_randn_dropout_has_this_fault_on_the_units(p: float) -> None:
    z = torch.tensor([-1.0, 2.0]).repeat(1, 500, 200)
    h = RandnDropout(rates(p)).hidden(1, z.clone(), context())
    assert (h[z < 0] == 0).all()
    assert h[z > 0].unique().tolist() == pytest.approx([0, 2 / (1 - p)])
    assert (h[z > 0] == 0).double().mean().item() == share(float(norm.cdf(p)), h.numel() // 2)


@every_rate
def test_randn_dropconnect_has_the_same_fault_on_the_weights(p: float) -> None:
    """Fed with the unit vectors it shows its weights: each zeroed or scaled, one mask for all
    examples; no bias is."""
    random = torch.Generator().manual_seed(0)
    weight, bias = (
        torch.randn(1, 400, 300, generator=random),
        torch.randn(1, 1, 300, generator=random),
    )
    noise = RandnDropConnect(rates(p))
    masked = noise.linear(0, torch.eye(400)[None], weight, bias, context()) - bias
    kept = masked.abs() > 1e-5
    torch.testing.assert_close(masked[kept], weight[kept] / (1 - p), rtol=1e-3, atol=1e-5)
    assert (~kept).double().mean().item() == pytest.approx(
        norm.cdf(p), abs=5 * (0.25 / weight.numel()) ** 0.5
    )
    twice = noise.linear(0, torch.ones(1, 2, 400), weight, bias, context())
    assert torch.equal(twice[0, 0], twice[0, 1])
    gain = ((masked * weight).sum() / weight.square().sum()).item()
    assert gain == pytest.approx((1 - norm.cdf(p)) / (1 - p), rel=0.03)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 0.8, 0.95])
def test_the_kept_relu_keeps_with_p_and_does_not_rescale(p: float) -> None:
    """In training; and in evaluation it does not scale by p, which un-inverted dropout needs."""
    z = torch.tensor([-1.0, 2.0]).repeat(1, 500, 200)
    noise = KeptRelu(rates(p))
    h = noise.hidden(0, z.clone(), context())
    assert (h[z < 0] == 0).all()
    assert set(h[z > 0].unique().tolist()) <= {0.0, 2.0}
    assert (h[z > 0] == 2).double().mean().item() == share(p, h.numel() // 2)
    assert torch.equal(noise.at_evaluation().hidden(0, z.clone(), context()), z.relu())


@pytest.mark.parametrize("name", AUDITED)
def test_each_layer_and_network_has_its_own_rate(name: str) -> None:
    """A network of rate 0.9 at the layer drops otherwise than one of 0.1; networks of one seed
    share the draws."""
    noise = AUDITED[name](torch.tensor([[0.1, 0.9], [0.9, 0.1]]))
    ones, eye = torch.ones(2, 200, 200), torch.eye(200).expand(2, -1, -1)

    def kept(layer: int) -> Tensor:
        z = noise.linear(layer, eye, ones, torch.zeros(2, 1, 200), context((3, 3)))
        h = noise.hidden(
            layer, ones.clone() if name != "audited-randn-dropconnect" else z, context((3, 3))
        )
        return (h > 0).float().flatten(1).mean(dim=1)

    first, second = kept(0), kept(1)
    assert torch.equal(first, second.flip(0))
    assert (first[0] - first[1]).abs() > 0.2


@pytest.mark.parametrize("name", UNSEARCHED)
def test_none_of_them_is_searched(name: str) -> None:
    """By no list of types, not even by name; an arm can name it."""
    assert name not in NOISE and noise_type(name) not in NOISE.values()
    assert name not in pick_noise_types("all", PRESETS["full"])
    with pytest.raises(ValueError, match="is not searched"):
        pick_noise_types(name, PRESETS["full"])
    assert Arm(name, 0.5, 0.5, 0.0, Recipe("book", 10)).name.startswith(name)


def test_the_audit_names_all_of_them_and_none_promises_to_keep_the_mean() -> None:
    assert {name: noise_type(name) for name in UNSEARCHED if name.startswith("audited-")} == AUDITED
    assert not any(noise.keeps_mean for noise in AUDITED.values())


def test_published_dropconnect_masks_each_example_and_is_matched_by_gaussian_weights() -> None:
    """Examples alike come out different; mean h W + b and variance p/(1-p) h² W² are those of both
    types."""
    p, networks, copies = 0.4, 2, 5000
    random = torch.Generator().manual_seed(0)
    h = torch.randn(networks, 1, 6, generator=random).expand(-1, copies, -1)
    weight, bias = (
        torch.randn(networks, 6, 4, generator=random),
        torch.randn(networks, 1, 4, generator=random),
    )
    mean, variance = (
        (h[:, :1] @ weight + bias)[:, 0],
        p / (1 - p) * (h[:, :1] ** 2 @ weight**2)[:, 0],
    )
    for name in ("dropconnect-example", "gaussian-weights"):
        z = noise_type(name)(rates(p, networks)).linear(0, h, weight, bias, context((3, 4)))
        assert ((z.mean(dim=1) - mean).abs() < 5 * (variance / copies).sqrt()).all()
        torch.testing.assert_close(
            z.var(dim=1), variance, rtol=0.15, atol=0
        )  # 5 standard errors at a kurtosis of 5


# The products


@pytest.fixture(params=["oneDNN", "plain"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either way of multiplying, whatever this machine would take."""
    one_dnn = request.param == "oneDNN"
    if one_dnn and not torch.backends.mkldnn.is_available():
        pytest.skip("this torch is built without oneDNN")
    monkeypatch.setattr(matmul, "onednn_multiplies_faster", lambda: one_dnn)
    return request.param


def operands(
    networks: int = 3, batch: int = 50, fan_in: int = 784, fan_out: int = 256
) -> list[Tensor]:
    """h, W and b that ask for a gradient, and a gradient of the result."""
    random = torch.Generator().manual_seed(0)
    shapes = ((networks, batch, fan_in), (networks, fan_in, fan_out), (networks, 1, fan_out))
    tensors = [torch.randn(shape, generator=random).requires_grad_() for shape in shapes]
    return [*tensors, torch.randn(networks, batch, fan_out, generator=random)]


def turned(tensor: Tensor) -> Tensor:
    """The same values, stored transposed."""
    return tensor.detach().mT.contiguous().mT.requires_grad_()


def to_rounding(found: Tensor, exact: Tensor) -> None:
    """Float32 sums of up to 784 products; errors are judged by the largest entry, since terms may
    cancel."""
    assert found.dtype == torch.float32 and found.shape == exact.shape
    assert (found - exact).abs().max() < 2e-6 * exact.abs().max()


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("transposed", [False, True])
def test_affine_agrees_with_baddbmm_and_so_do_its_gradients(
    path: str, with_bias: bool, transposed: bool
) -> None:
    """To rounding: with torch's own in float64, no worse than its own in float32."""
    h, weight, bias, gradient = operands()
    if transposed:
        h, weight, gradient = turned(h), turned(weight), turned(gradient).detach()
        assert not (h.is_contiguous() or weight.is_contiguous() or gradient.is_contiguous())
    inputs = [h, weight, bias] if with_bias else [h, weight]
    exact_inputs = [tensor.detach().double().requires_grad_() for tensor in inputs]

    def reference(tensors: Sequence[Tensor]) -> Tensor:
        return torch.baddbmm(tensors[2], *tensors[:2]) if with_bias else torch.bmm(*tensors)

    found, plain, exact = affine(*inputs), reference(inputs), reference(exact_inputs)
    to_rounding(found, exact)
    torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-4)
    assert (type(found.grad_fn).__name__ == "OneDnnAffineBackward") == (path == "oneDNN")
    gradients = torch.autograd.grad(found, inputs, gradient)
    for one, other in zip(
        gradients, torch.autograd.grad(exact, exact_inputs, gradient.double()), strict=True
    ):
        to_rounding(one, other)


def test_affine_takes_images_that_all_networks_share_and_a_gradient_of_ones(path: str) -> None:
    """Both are stored once and read with stride 0; the images ask for no gradient."""
    h, weight, bias, _ = operands()
    images = h.detach()[0].expand(3, -1, -1)
    found = affine(images, weight, bias)
    to_rounding(found, torch.baddbmm(bias.double(), images.double(), weight.double()))
    to_weight, to_bias = torch.autograd.grad(found.sum(), [weight, bias])
    to_rounding(to_weight, images.double().sum(dim=1)[:, :, None].expand_as(weight))
    assert torch.equal(to_bias, torch.full_like(bias, 50))


def test_affine_rounds_the_weights_to_the_precision_of_h() -> None:
    h, weight, bias, _ = operands()
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.bfloat16, 0.02)):
        found, exact = (
            affine(h.to(dtype), weight, bias),
            torch.baddbmm(bias.double(), h.double(), weight.double()),
        )
        assert found.dtype == dtype
        assert (found.double() - exact).abs().max() < tolerance * exact.abs().max()


@pytest.mark.parametrize(
    "shape", [(256, 784, 256), (232, 256, 256), (80, 784, 256), (500, 256, 10)]
)
def test_a_networks_products_do_not_depend_on_its_company(
    path: str, shape: tuple[int, int, int]
) -> None:
    """Bit for bit, forward and backward: among eight, in any place, as alone."""
    together = operands(8, *shape)
    results = [affine(*together[:3])]
    results += torch.autograd.grad(results[0], together[:3], together[3])
    for i in (0, 3, 7):
        alone = [tensor.detach()[i : i + 1].clone().requires_grad_() for tensor in together]
        result = affine(*alone[:3])
        for mine, among in zip(
            (result, *torch.autograd.grad(result, alone[:3], alone[3])), results, strict=True
        ):
            assert torch.equal(mine[0], among[i])


def test_narrow_affine_is_baddbmm_and_needs_no_company_either() -> None:
    together = operands(8, 232, 256, 10)
    inputs, gradient = together[:3], together[3]
    exact_inputs = [tensor.detach().double().requires_grad_() for tensor in inputs]
    found, exact = NarrowAffine.apply(*inputs), torch.baddbmm(exact_inputs[2], *exact_inputs[:2])
    to_rounding(found, exact)
    gradients = torch.autograd.grad(found, inputs, gradient)
    for one, other in zip(
        gradients, torch.autograd.grad(exact, exact_inputs, gradient.double()), strict=True
    ):
        to_rounding(one, other)
    alone = [tensor.detach()[3:4].clone().requires_grad_() for tensor in together]
    result = NarrowAffine.apply(*alone[:3])
    assert torch.equal(result[0], found[3])
    for mine, among in zip(
        torch.autograd.grad(result, alone[:3], alone[3]), gradients, strict=True
    ):
        assert torch.equal(mine[0], among[3])
