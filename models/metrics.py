"""What is measured on a trained population."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.mlp import Weights, forward
from models.noise import Context, Noise
from models.noise.base import cross_entropy
from models.streams import Stream

CHUNK = 2000
"""Images evaluated at a time: bounds memory, and keeps each network's sums in one order whatever its company."""


def zeros(networks: int, device: torch.device) -> Tensor:
    """A sum for each network, in float64 where the device has it (mps has not)."""
    return torch.zeros(networks, dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)


@torch.no_grad()
def evaluate(
    population: Weights, noise: Noise, seeds: Sequence[int], x: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy in nats and accuracy in [0, 1] of every network, each of shape (networks,).

    Args:
        x: images (examples, 784), the same for every network.
        labels: their classes (examples,).

    The noise is that of evaluation: none for almost every type.
    """
    networks = len(seeds)
    loss = zeros(networks, x.device)
    correct = torch.zeros_like(loss)
    unknown = labels.new_empty(networks, 0)  # a noise type has no business with the labels here
    context = Context(Stream(seeds, "evaluation", x.device), unknown, unknown, examples=0, progress=1.0)
    for images, classes in zip(x.split(CHUNK), labels.split(CHUNK), strict=True):
        logits = forward(population, images.expand(networks, -1, -1), noise.at_evaluation(), context)
        classes = classes.expand(networks, -1)
        loss += cross_entropy(logits, classes).to(loss.dtype).sum(dim=1)
        correct += (logits.argmax(dim=2) == classes).sum(dim=1)
    return loss / len(labels), correct / len(labels)
