"""Exercise 4: the same weights, evaluated with noise."""

from __future__ import annotations

import math

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from models.metrics import calibration, float64_on, predict, reliability, score
from models.probes.base import Moment
from models.rng import Stream

PASSES = (1, 2, 5, 10, 20, 50, 100, 200)
"""Numbers of noisy passes whose probabilities are averaged (MC dropout: Gal & Ghahramani 2016)."""


def test_time(moment: Moment) -> dict[str, Tensor]:
    """Scores of averaged noisy passes, and of a fitted temperature: `test/loss_mc10`,
    `test/loss_mc10_tempered`.

    `test/loss_tempered` is the deterministic pass with a temperature, fitted on the validation
    images as all are (Guo et al. 2017); `test/temperature` and `test/temperature_mc10` are the
    temperatures. `reliability/confidence_mc200` and `reliability/accuracy_mc200` are the means in
    each bin of the ECE, kept of the deterministic pass, one noisy pass and the most.
    """
    if not moment.last:
        return {}
    split, noise = moment.split, moment.noise
    found: dict[str, Tensor] = {}
    in_bins = ("", *(f"_mc{passes}" for passes in (PASSES[0], PASSES[-1])))

    def add(suffix: str, validation: Tensor, test: Tensor) -> None:
        temperatures = fit_temperatures(validation, split.validation_y)
        tempered = test / temperatures[:, None, None]
        found[f"test/temperature{suffix}"] = temperatures
        for ending, log_p in (("", test), ("_tempered", tempered)):
            scores = score(log_p, split.test_y) | calibration(log_p, split.test_y)
            found.update(
                {f"test/{name}{suffix}{ending}": values for name, values in scores.items()}
            )
            if suffix in in_bins:
                binned = reliability(log_p, split.test_y)
                found.update(
                    {f"reliability/{name}{suffix}{ending}": bins for name, bins in binned.items()}
                )

    parts = (split.validation_x, split.test_x)
    plain = [predict(moment.population, noise.at_evaluation(), moment.seeds, x) for x in parts]
    add("", *plain)
    for name in ("loss", "accuracy", "brier", "ece"):
        del found[f"test/{name}"]  # the training itself logs these
    sums = [torch.zeros_like(logits) for logits in plain]
    streams = [Stream(moment.seeds, "evaluation", x.device) for x in parts]
    for passes in range(1, PASSES[-1] + 1):
        for total, x, stream in zip(sums, parts, streams, strict=True):
            total += predict(moment.population, noise, moment.seeds, x, stream).softmax(dim=2)
        if passes in PASSES:
            add(f"_mc{passes}", *(torch.log(total / passes) for total in sums))
    return found


def fit_temperatures(logits: Tensor, labels: Tensor) -> Tensor:
    """Return for each network the t > 0 at which softmax(logits / t) has the least cross-entropy,
    (networks,).

    One bounded search for each network, on the logarithm of t (Brent).
    """
    exact = logits.to(float64_on(logits.device))
    best = []
    for network in exact:

        def loss(log_t: float, network: Tensor = network) -> float:
            return float(torch.nn.functional.cross_entropy(network / math.exp(log_t), labels))

        found = minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded", options={"xatol": 1e-4})
        best.append(math.exp(found.x))
    return torch.tensor(best, dtype=logits.dtype, device=logits.device)
