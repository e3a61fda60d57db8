"""What is measured on a population's predictions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.mlp import Weights, forward
from models.noise import Context, Noise
from models.noise.base import cross_entropy
from models.rng import Stream

CHUNK = 2000
"""Images evaluated at a time: bounds memory."""

BINS = 15
"""Of the expected calibration error."""


def float64_on(device: torch.device) -> torch.dtype:
    """float64 where the device has it, for sums over many images; mps has not."""
    return torch.float32 if device.type == "mps" else torch.float64


def zeros(networks: int, device: torch.device) -> Tensor:
    """A sum for each network."""
    return torch.zeros(networks, dtype=float64_on(device), device=device)


def unlabelled(stream: Stream, networks: int) -> Context:
    """Return what a noise type may know of a pass over images that are not trained on: the draws,
    and nothing else."""
    nothing = torch.empty(networks, 0, dtype=torch.int64, device=stream.device)
    return Context(stream, nothing, nothing, examples=0, progress=1.0)


@torch.no_grad()
def predict(
    population: Weights, noise: Noise, seeds: Sequence[int], x: Tensor, stream: Stream | None = None
) -> Tensor:
    """Logits (networks, images, 10) of images x (images, 784), the same for every network.

    Args:
        noise: what acts in the pass; `noise.at_evaluation()` for the deterministic one.
        stream: its draws; by default those named "evaluation", from their start.
    """
    networks = len(seeds)
    context = unlabelled(stream or Stream(seeds, "evaluation", x.device), networks)
    chunks = [
        forward(population, images.expand(networks, -1, -1), noise, context)
        for images in x.split(CHUNK)
    ]
    return torch.cat(chunks, dim=1)


def evaluate(
    population: Weights, noise: Noise, seeds: Sequence[int], x: Tensor, labels: Tensor
) -> dict[str, Tensor]:
    """The scores of the deterministic pass: `score` of images x (images, 784) and their classes
    (images,)."""
    return score(predict(population, noise.at_evaluation(), seeds, x), labels)


def score(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """ "loss", mean cross-entropy in nats, and "accuracy" in [0, 1], each (networks,).

    Args:
        logits: or log-probabilities, (networks, images, classes).
        labels: classes (images,).
    """
    nll, correct = by_image(logits, labels)
    exact = float64_on(logits.device)
    return {"loss": nll.to(exact).mean(dim=1), "accuracy": correct.to(exact).mean(dim=1)}


def by_image(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats and whether the likeliest class is the true one, each (networks,
    images)."""
    expanded = labels.expand(len(logits), -1)
    return cross_entropy(logits, expanded), logits.argmax(dim=2) == expanded


def calibration(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """ "brier" and "ece", each (networks,); arguments as of `score`.

    The Brier score is the squared distance of the probabilities from the one-hot label, 0 to 2
    (Brier 1950). The expected calibration error is the mean of |confidence - accuracy| over 15 bins
    of equal mass (Nguyen & O'Connor 2015); it is biased upwards, the more the fewer the images in a
    bin.
    """
    exact = float64_on(logits.device)
    probabilities = logits.softmax(dim=2).to(exact)
    truth = torch.nn.functional.one_hot(labels, logits.shape[2]).to(exact)
    brier = (probabilities - truth).square().sum(dim=2).mean(dim=1)
    confidence, correct, _ = _sums_by_bin(probabilities, labels)
    ece = (confidence - correct).abs().sum(dim=0) / len(labels)
    return {"brier": brier, "ece": ece}


def reliability(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """ "confidence" and "accuracy", each (networks, BINS): the means in the bins of the expected
    calibration error, the least confident first; arguments as of `score`.

    The confidence is the probability of the likeliest class. A bin of no image has NaN.
    """
    probabilities = logits.softmax(dim=2).to(float64_on(logits.device))
    confidence, correct, images = _sums_by_bin(probabilities, labels)
    return {"confidence": (confidence / images).T, "accuracy": (correct / images).T}


def _sums_by_bin(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sort the images by confidence into BINS of equal mass; sum up their confidences and how many
    are right, each (BINS, networks), and count them, (BINS, 1)."""
    confidence, predicted = probabilities.max(dim=2)
    ordered, places = confidence.sort(dim=1)
    correct = (predicted == labels).to(ordered.dtype).gather(1, places)
    bins = ordered.tensor_split(BINS, dim=1)
    images = torch.tensor([[each.shape[1]] for each in bins], device=ordered.device)
    return (
        torch.stack([each.sum(dim=1) for each in bins]),
        torch.stack([each.sum(dim=1) for each in correct.tensor_split(BINS, dim=1)]),
        images,
    )
