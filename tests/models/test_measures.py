"""The measures of models/measures, and the scores they are made of, against independent
calculations."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss
from torch import Tensor
from torch.nn import functional

from analysis.schema import RELIABILITY
from analysis.store import curves
from models.config import Arm, Recipe
from models.data import Split
from models.metrics import BINS, calibration, evaluate, predict, reliability, score, unlabelled
from models.mlp import Weights
from models.noise import noise_type
from models.probes import MARKS, MEASURES, Moment
from models.probes.mc_dropout import fit_temperatures
from models.rng import Stream
from models.train import build, fit, train_population

PARTS = ("before", "after")


def moment(
    noise: str,
    rate1: float,
    rate2: float,
    split: Split,
    seeds: Sequence[int] = (1, 2),
    epochs: int = 10,
) -> Moment:
    """The end of so many epochs of four steps; of none, as if one were over."""
    recipe = Recipe("book", max(1, epochs))
    input_rate = [0.2] * (len(noise_type(noise).rates) - 2)
    arms = [Arm.of(noise, [*input_rate, rate1, rate2], 0.0, recipe)] * len(seeds)
    population, types = build(arms, seeds, split)
    for _ in fit(population, types, arms, seeds, split) if epochs else ():
        pass
    return Moment(population, types, arms, seeds, split, recipe.epochs)


def module_of(measure: str) -> ModuleType:
    """The file of a measure: in the package its name is that of the function."""
    return importlib.import_module(f"models.probes.{measure}")


def layers(population: Weights, x: Tensor) -> list[Tensor]:
    """Both hidden layers' activations and the logits, without noise, in float64: (networks, images,
    units)."""
    h, found = x.double(), []
    for weight, bias in zip(population.weights, population.biases, strict=True):
        z = h @ weight.detach().double() + bias.detach().double()
        h = z.relu()
        found.append(h)
    return [*found[:2], z]


# Scores


@pytest.fixture
def scored() -> tuple[Tensor, Tensor]:
    """Logits (2 networks, 1,500 images, 10 classes), the second network's too large by half, and
    labels."""
    random = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(2, 1500, 10, generator=random)
    labels = torch.multinomial(logits[0].softmax(1), 1, generator=random)[:, 0]
    logits[1] = 1.5 * logits[0]
    return logits, labels


def test_loss_and_accuracy_are_those_of_torch_in_float64_and_of_sklearn(
    scored: tuple[Tensor, Tensor],
) -> None:
    logits, labels = scored
    found = score(logits, labels)
    for i, network in enumerate(logits.double()):
        assert found["loss"][i].item() == pytest.approx(
            functional.cross_entropy(network, labels).item(), rel=1e-6
        )
        assert found["loss"][i].item() == pytest.approx(
            log_loss(labels, network.softmax(1).numpy()), rel=1e-6
        )
        assert found["accuracy"][i].item() == accuracy_score(labels, network.argmax(1))
    assert found["loss"].dtype == found["accuracy"].dtype == torch.float64


def test_loss_stands_large_logits() -> None:
    """Where exp overflows and a probability underflows."""
    logits, labels = torch.tensor([[[500.0, -500.0], [0.0, 300.0]]]), torch.tensor([1, 1])
    assert score(logits, labels)["loss"].item() == pytest.approx(500)


def test_brier_score_is_sklearns(scored: tuple[Tensor, Tensor]) -> None:
    logits, labels = scored
    for network, found in zip(logits, calibration(logits, labels)["brier"], strict=True):
        probabilities = network.double().softmax(1).numpy()
        assert found.item() == pytest.approx(
            brier_score_loss(labels, probabilities, scale_by_half=False), rel=1e-6
        )


def test_calibration_error_is_that_of_sklearns_curve(scored: tuple[Tensor, Tensor]) -> None:
    """Of 15 bins that hold 100 images each; and an overconfident network has more of it."""
    logits, labels = scored
    found = calibration(logits, labels)["ece"]
    for network, ece in zip(logits, found, strict=True):
        confidence, predicted = network.double().softmax(1).max(1)
        accuracies, confidences = calibration_curve(
            predicted == labels, confidence, n_bins=BINS, strategy="quantile"
        )
        assert len(accuracies) == BINS
        assert ece.item() == pytest.approx(np.abs(accuracies - confidences).mean(), rel=1e-5)
    assert found[1] > 2 * found[0]


def test_bins_are_those_of_sklearns_curve(scored: tuple[Tensor, Tensor]) -> None:
    logits, labels = scored
    found = reliability(logits, labels)
    for i, network in enumerate(logits):
        confidence, predicted = network.double().softmax(1).max(1)
        accuracies, confidences = calibration_curve(
            predicted == labels, confidence, n_bins=BINS, strategy="quantile"
        )
        assert found["accuracy"][i].tolist() == pytest.approx(accuracies)
        assert found["confidence"][i].tolist() == pytest.approx(confidences)


@pytest.mark.parametrize("images", [1500, 1499, 16])
def test_the_calibration_error_is_the_mean_distance_in_the_bins(
    scored: tuple[Tensor, Tensor], images: int
) -> None:
    """Weighted by their images, of which the first bins have one more where they do not come out
    even."""
    logits, labels = scored[0][:, :images], scored[1][:images]
    found = reliability(logits, labels)
    sizes = torch.tensor([len(part) for part in torch.arange(images).tensor_split(BINS)])
    distance = (found["confidence"] - found["accuracy"]).abs()
    expected = (distance * sizes).sum(dim=1) / images
    torch.testing.assert_close(calibration(logits, labels)["ece"], expected)
    assert ((found["accuracy"] * sizes).sum(dim=1) / images).tolist() == pytest.approx(
        score(logits, labels)["accuracy"].tolist()
    )
    assert (found["confidence"].diff(dim=1) >= 0).all()


def test_a_calibrated_network_lies_on_the_diagonal_and_an_overconfident_one_below() -> None:
    """Labels drawn from softmax(logits): to 4 standard errors, in every bin. Twice the logits are
    too sure in every bin, half of them too modest."""
    random = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(60_000, 10, generator=random)
    labels = torch.multinomial(logits.softmax(1), 1, generator=random)[:, 0]
    found = reliability(torch.stack([logits, 2 * logits, logits / 2]), labels)
    gap = found["accuracy"] - found["confidence"]
    p = found["confidence"][0]
    assert (gap[0].abs() < 4 * (p * (1 - p) / (60_000 / BINS)).sqrt()).all()
    assert (gap[1] < -0.004).all() and gap[1].min() < -0.1
    assert (gap[2] > 0.05).all()


def test_bins_without_an_image_have_no_mean() -> None:
    found = reliability(torch.zeros(1, 3, 10), torch.zeros(3, dtype=torch.int64))
    assert found["accuracy"].isfinite().sum() == found["confidence"].isfinite().sum() == 3


def test_scores_of_a_case_done_by_hand() -> None:
    """Always 0.9 for the first of two classes, right for 3 of 5 images: ECE 0.3, in whichever bins
    they fall."""
    logits = torch.tensor([0.9, 0.1]).log().expand(1, 1500, -1)
    labels = torch.tensor([0, 0, 0, 1, 1]).repeat(300)
    found = score(logits, labels) | calibration(logits, labels)
    assert found["accuracy"].item() == 0.6
    assert found["loss"].item() == pytest.approx(-0.6 * np.log(0.9) - 0.4 * np.log(0.1), rel=1e-6)
    assert found["brier"].item() == pytest.approx(0.6 * 2 * 0.1**2 + 0.4 * 2 * 0.9**2, rel=1e-6)
    assert found["ece"].item() == pytest.approx(0.3, rel=1e-6)


def test_a_prediction_is_the_plain_networks(small: Split) -> None:
    now = moment("dropout", 0.5, 0.5, small)
    logits = predict(now.population, now.noise.at_evaluation(), now.seeds, small.test_x)
    torch.testing.assert_close(
        logits.double(), layers(now.population, small.test_x)[2], rtol=1e-4, atol=1e-5
    )


# Variance


@pytest.mark.parametrize("epochs", [0, 10])
def test_clean_variance_is_that_of_the_plain_network(epochs: int, small: Split) -> None:
    now = moment("dropout", 0.5, 0.2, small, epochs=epochs)
    found = MEASURES["variance"](now)
    for layer, activations in enumerate(layers(now.population, small.validation_x)[:2], start=1):
        expected = activations.var(dim=1).mean(dim=1)
        torch.testing.assert_close(
            found[f"variance/layer{layer}_clean_at_{now.epoch}"], expected, rtol=1e-5, atol=0
        )
        log = found[f"variance/layer{layer}_log_clean_at_{now.epoch}"]
        torch.testing.assert_close(log, expected.log(), rtol=1e-4, atol=0)


def passes(now: Moment, count: int) -> dict[str, list[Tensor]]:
    """Activations before and after each layer's mask, (passes, networks, images, units), by the
    measure's own draws."""
    stream, x = Stream(now.seeds, "evaluation"), now.split.validation_x
    context = unlabelled(stream, len(now.seeds))
    kept: dict[str, list[list[Tensor]]] = {part: [[], []] for part in PARTS}
    for _ in range(count):
        h = x.expand(len(now.seeds), -1, -1)
        for layer in range(2):
            z = h @ now.population.weights[layer].detach() + now.population.biases[layer].detach()
            kept["before"][layer].append(z.relu())
            h = now.noise.hidden(layer, z.clone(), context)
            kept["after"][layer].append(h)
    return {
        part: [torch.stack(one).double() for one in of_layers] for part, of_layers in kept.items()
    }


def test_data_and_mask_parts_are_those_of_the_law_of_total_variance(small: Split) -> None:
    """Each part by its definition; together the variance over all images and masks, but for ddof 1
    over the images."""
    now = moment("dropout", 0.5, 0.2, replace(small, validation_x=small.validation_x[:200]))
    masks, images = module_of("variance").MASKS, 200
    found = MEASURES["variance"](now)
    for part, of_layers in passes(now, masks).items():
        for layer, a in enumerate(of_layers, start=1):
            data, mask, total = (
                found[f"variance/layer{layer}_{part}{kind}_at_{now.epoch}"]
                for kind in ("_data", "_mask", "")
            )
            within = a.var(dim=0).mean(dim=(1, 2))
            between = a.mean(dim=0).var(dim=1).mean(dim=1)
            torch.testing.assert_close(mask, within, rtol=1e-5, atol=1e-12)
            torch.testing.assert_close(data, between - within / masks, rtol=1e-5, atol=1e-12)
            pooled = a.var(dim=(0, 2), correction=0).mean(dim=1)
            torch.testing.assert_close(total, pooled + between / images, rtol=1e-5, atol=0)
            if (part, layer) == ("before", 1):
                assert mask.abs().max() == 0  # nothing random upstream
            else:
                assert (mask > 0.05 * data).all()


@pytest.mark.parametrize(
    ("noise", "epochs"), [("dropout", 0), ("dropout", 10), ("input-dropout+dropout", 10)]
)
def test_the_mask_adds_p_over_1_minus_p_of_the_mean_square(
    noise: str, epochs: int, small: Split
) -> None:
    """Var(a) + p/(1-p) E[a²] holds to the Monte-Carlo error; with Var(a) in place of E[a²] it would
    be far off."""
    now = moment(noise, 0.5, 0.3, small, seeds=range(8), epochs=epochs)
    found = MEASURES["variance"](now)
    for layer, p in ((1, 0.5), (2, 0.3)):
        before, after, predicted, excess = (
            found[f"variance/layer{layer}_{kind}_at_{now.epoch}"]
            for kind in ("before", "after", "predicted", "excess")
        )
        error = excess.std() / len(excess) ** 0.5
        assert error < 0.002 and excess.mean().abs() < 5 * error
        assert excess.abs().max() < 0.01
        torch.testing.assert_close(excess, after / predicted - 1)
        without_the_mean = before / (1 - p)
        assert (after > 1.2 * without_the_mean).all()


def test_the_data_part_is_free_of_the_masks_share(
    small: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """32 masks say what 400 do; uncorrected, their between-part is too large by a thirty-second of
    the mask part."""
    now = moment(
        "dropout", 0.6, 0.6, replace(small, validation_x=small.validation_x[:200]), seeds=range(4)
    )
    few = MEASURES["variance"](now)
    monkeypatch.setattr(module_of("variance"), "MASKS", 400)
    many = MEASURES["variance"](now)
    for name in ("layer1_after", "layer2_before", "layer2_after"):
        data, mask, truth = (
            few[f"variance/{name}_data_at_10"],
            few[f"variance/{name}_mask_at_10"],
            many[f"variance/{name}_data_at_10"],
        )
        bias = mask.mean() / 32
        assert (data - truth).mean().abs() < bias / 3


def test_without_noise_all_variances_are_the_clean_one(small: Split) -> None:
    now = moment("none", 0.0, 0.0, small)
    found = MEASURES["variance"](now)
    for layer in (1, 2):
        clean = found[f"variance/layer{layer}_clean_at_10"]
        for kind in ("before", "after", "before_data", "after_data", "predicted"):
            torch.testing.assert_close(
                found[f"variance/layer{layer}_{kind}_at_10"], clean, rtol=1e-12, atol=0
            )
        for kind in ("before_mask", "after_mask"):
            assert found[f"variance/layer{layer}_{kind}_at_10"].abs().max() == 0


# Test time


@pytest.fixture
def few_passes(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(module_of("mc_dropout"), "PASSES", (1, 8))
    return 8


def noisy_passes(now: Moment, x: Tensor, count: int) -> Tensor:
    """Probabilities of single passes by the measure's own draws, float64: (passes, networks,
    images, classes)."""
    stream = Stream(now.seeds, "evaluation")
    single = [predict(now.population, now.noise, now.seeds, x, stream) for _ in range(count)]
    return torch.stack(single).double().softmax(3)


def nll(probabilities: Tensor, labels: Tensor) -> Tensor:
    """(..., images, classes) -> (...,)."""
    index = labels.view(-1, 1).expand(*probabilities.shape[:-1], 1)
    return -probabilities.gather(-1, index).log().mean(dim=(-2, -1))


def test_mean_of_passes_is_of_probabilities_and_beats_the_mean_single_pass(
    small: Split, few_passes: int
) -> None:
    """In NLL, by Jensen's inequality, for every network."""
    now = moment("dropout", 0.5, 0.5, small, seeds=(1, 2, 3))
    found = MEASURES["test-time"](now)
    single = noisy_passes(now, small.test_x, few_passes)
    mean = single.mean(dim=0)
    torch.testing.assert_close(
        found["test/loss_mc1"], nll(single[0], small.test_y), rtol=1e-4, atol=0
    )
    torch.testing.assert_close(found["test/loss_mc8"], nll(mean, small.test_y), rtol=1e-4, atol=0)
    assert (found["test/loss_mc8"] < nll(single, small.test_y).mean(dim=0)).all()
    right = (mean.argmax(2) == small.test_y).double().mean(dim=1)
    torch.testing.assert_close(found["test/accuracy_mc8"], right, rtol=0, atol=1 / 500)
    assert (single[0] != single[1]).any()


def test_tempered_scores_are_those_of_logits_over_a_temperature_fitted_on_validation(
    small: Split, few_passes: int
) -> None:
    """Deterministic and averaged; the temperature never raises the validation NLL."""
    now = moment("dropout", 0.5, 0.5, small)
    found = MEASURES["test-time"](now)
    plain = [layers(now.population, x)[2] for x in (small.validation_x, small.test_x)]
    mean = [
        noisy_passes(now, x, few_passes).mean(dim=0).log()
        for x in (small.validation_x, small.test_x)
    ]
    for suffix, (validation, test) in (("", plain), ("_mc8", mean)):
        t = found[f"test/temperature{suffix}"].double()[:, None, None]
        losses = nll((validation / t).softmax(2), small.validation_y)
        for factor in (1 / t, 0.8, 0.97, 1.03, 1.25):
            assert (
                losses <= nll((validation / t / factor).softmax(2), small.validation_y) + 1e-7
            ).all()
        assert (t < 0.97).all()  # so that tempering does something here
        expected = score(test / t, small.test_y) | calibration(test / t, small.test_y)
        for name, values in expected.items():
            torch.testing.assert_close(
                found[f"test/{name}{suffix}_tempered"], values, rtol=1e-3, atol=1e-3
            )
    torch.testing.assert_close(
        found["test/accuracy_tempered"], score(plain[1], small.test_y)["accuracy"]
    )


def test_a_planted_temperature_is_found() -> None:
    """Labels drawn from softmax(logits / t); each network has its own t."""
    random = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(20_000, 10, generator=random)
    labels = torch.multinomial((logits / 2).softmax(1), 1, generator=random)[:, 0]
    found = fit_temperatures(torch.stack([logits, logits / 2, logits / 8]), labels)
    assert found.tolist() == pytest.approx([2, 1, 0.25], rel=0.03)


def test_test_time_leaves_the_deterministic_scores_to_the_training(
    small: Split, few_passes: int
) -> None:
    found = MEASURES["test-time"](moment("dropout", 0.5, 0.5, small))
    assert not {"test/loss", "test/accuracy", "test/brier", "test/ece"} & set(found)
    scores = [name for name in found if name.startswith("test/")]
    assert (
        len(scores) == 2 * 3 * 4 - 4 + 3
    )  # loss, accuracy, Brier, ECE; plain and tempered; and the temperatures


def test_each_way_kept_in_bins_has_its_own_calibration_error(small: Split, few_passes: int) -> None:
    """The deterministic pass, one noisy pass and the most, each with and without a temperature."""
    now = moment("dropout", 0.5, 0.5, small, seeds=(1, 2, 3))
    found = MEASURES["test-time"](now)
    logits = predict(now.population, now.noise.at_evaluation(), now.seeds, small.test_x)
    found["test/ece"] = calibration(logits, small.test_y)["ece"]
    ways = [suffix + ending for suffix in ("", "_mc1", "_mc8") for ending in ("", "_tempered")]
    kept = {name for name in found if name.startswith(RELIABILITY)}
    assert kept == {f"reliability/{score}{way}" for way in ways for score in curves.IN_BINS}
    sizes = torch.tensor([len(part) for part in small.test_y.tensor_split(BINS)])
    for way in ways:
        gap = found[f"reliability/confidence{way}"] - found[f"reliability/accuracy{way}"]
        assert gap.shape == (3, BINS)
        expected = (gap.abs() * sizes).sum(dim=1) / len(small.test_y)
        torch.testing.assert_close(found[f"test/ece{way}"], expected)


def test_what_is_kept_in_bins_is_no_score_of_a_run(small: Split, few_passes: int) -> None:
    arm = Arm("dropout", 0.5, 0.5, 0.0, Recipe("book", 1))
    one, other = train_population([arm], [1, 2], small, test=True, measures=["test-time"])
    assert not [name for name in one.scores if name.startswith(RELIABILITY)]
    name = f"{RELIABILITY}confidence_mc8"
    assert len(one.binned[name]) == BINS and one.binned[name] != other.binned[name]


# Raw pixels


def test_raw_pixels_are_images_times_255(small: Split) -> None:
    now = moment("dropout", 0.5, 0.5, small)
    found = MEASURES["raw-pixels"](now)
    raw = layers(now.population, (small.validation_x * 255).round())[2]
    expected = score(raw, small.validation_y)
    torch.testing.assert_close(
        found["val/accuracy_raw"], expected["accuracy"], rtol=0, atol=1 / 500
    )
    torch.testing.assert_close(found["val/loss_raw"], expected["loss"], rtol=1e-4, atol=0)
    plain = evaluate(now.population, now.noise, now.seeds, small.validation_x, small.validation_y)
    assert (found["val/loss_raw"] > 2 * plain["loss"]).all()


# Moment-matched inference


def test_moment_matched_at_rate_0_is_the_plain_pass(small: Split) -> None:
    now = moment("dropconnect", 0.0, 0.0, small)
    found = MEASURES["moment-matched"](now)
    logits = layers(now.population, small.test_x)[2]
    for name, values in (score(logits, small.test_y) | calibration(logits, small.test_y)).items():
        torch.testing.assert_close(found[f"test/{name}_moment"], values, rtol=1e-4, atol=1e-5)


def test_moment_matched_passes_on_the_mean_of_a_rectified_normal(small: Split) -> None:
    """Its 100 draws agree with the closed form m Phi(m/s) + s phi(m/s), layer by layer, at rates
    that differ."""
    now = moment("dropconnect", 0.5, 0.2, small)
    found = MEASURES["moment-matched"](now)
    h, normal = small.test_x.double(), torch.distributions.Normal(0.0, 1.0)
    for layer, p in enumerate((0.5, 0.2)):
        weight, bias = (
            part[layer].detach().double()
            for part in (now.population.weights, now.population.biases)
        )
        m, s = h @ weight + bias, (p / (1 - p) * (h**2 @ weight**2)).sqrt()
        h = m * normal.cdf(m / s) + s * normal.log_prob(m / s).exp()
    logits = (
        h @ now.population.weights[2].detach().double() + now.population.biases[2].detach().double()
    )
    expected = score(logits, small.test_y) | calibration(logits, small.test_y)
    plain = evaluate(now.population, now.noise, now.seeds, small.test_x, small.test_y)
    for name, tolerance in {"loss": 0.002, "brier": 0.001, "accuracy": 0.01, "ece": 0.02}.items():
        torch.testing.assert_close(
            found[f"test/{name}_moment"], expected[name], rtol=0, atol=tolerance
        )
    assert ((expected["loss"] - plain["loss"]).abs() > 0.01).all()  # five times the tolerance


def test_moment_matched_is_nearer_than_mean_weights_to_the_mean_over_masks(small: Split) -> None:
    """The softmax averaged over 1,500 masks of the weights, which both approximate."""
    tiny = replace(small, test_x=small.test_x[:50], test_y=small.test_y[:50])
    now = replace(moment("dropconnect", 0.5, 0.5, small, epochs=20), split=tiny)
    exact = nll(noisy_passes(now, tiny.test_x, 1500).mean(dim=0), tiny.test_y)
    plain = evaluate(now.population, now.noise, now.seeds, tiny.test_x, tiny.test_y)["loss"]
    error = (MEASURES["moment-matched"](now)["test/loss_moment"] - exact).abs()
    assert (error < (plain - exact).abs() / 2).all()


# When and under which names


def test_horizons_are_the_scores_had_training_stopped_there(small: Split) -> None:
    """At a constant rate: those of a training of so many epochs; named by the epoch, and nothing
    between."""
    arm = Arm("dropout", 0.5, 0.5, 0.0, Recipe("constant", 6))
    (trained,) = train_population([arm], [1], small, test=True, measures=["horizons"])
    assert [epoch for epoch, _, _ in trained.measured] == [1, 1, 2, 2, 5, 5]
    for epochs in (1, 2, 5):
        shorter = replace(arm, recipe=Recipe("constant", epochs))
        (stopped,) = train_population([shorter], [1], small, test=True)
        for name in ("test/loss", "test/accuracy"):
            assert trained.scores[f"{name}_at_{epochs}"] == stopped.test[name]
    now = moment("dropout", 0.5, 0.5, small, epochs=2)
    expected = evaluate(now.population, now.noise, now.seeds, small.test_x, small.test_y)
    for name, values in MEASURES["horizons"](now).items():
        assert torch.equal(values, expected[name.removeprefix("test/").removesuffix("_at_2")])


@pytest.mark.parametrize("name", MEASURES)
def test_measures_are_taken_when_they_should_and_for_each_network(
    name: str, small: Split, few_passes: int
) -> None:
    """What evolves at the marked epochs and at the end, under that epoch's name; everything else at
    the end alone."""
    tiny = replace(small, test_x=small.test_x[:20], test_y=small.test_y[:20])
    end = replace(moment("dropout", 0.5, 0.5, small, epochs=3), split=tiny)
    long = replace(end, arms=[replace(end.arms[0], recipe=Recipe("book", 30))] * 2)
    assert 3 not in MARKS and MEASURES[name](long) == {}
    marked, last = MEASURES[name](replace(long, epoch=2)), MEASURES[name](end)
    assert bool(marked) == (name in ("horizons", "variance"))
    assert bool(last) == (name != "horizons")
    for epoch, found in ((2, marked), (3, last)):
        for key, values in found.items():
            shape = (2, BINS) if key.startswith(RELIABILITY) else (2,)
            assert values.shape == shape and values.isfinite().all()
        assert name not in ("horizons", "variance") or all(
            key.endswith(f"_at_{epoch}") for key in found
        )
