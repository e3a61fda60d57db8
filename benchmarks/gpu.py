"""How fast is a population on a GPU? Seconds per epoch of 60,000 images and network, against peers
and the two limits.

`python -m benchmarks.gpu`, a part of `make bench`, prints a JSON line a row: {"name", "seconds",
"ratio", ...}, where ratio is that row's seconds over those of `population-256` in the same
precision. Without a CUDA device it says so and ends. It takes at most five minutes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec

import click
import torch
from torch import Tensor

from benchmarks import peers
from benchmarks.speed import Row, all_training_images
from models import data
from models.config import Arm
from models.data import Split
from models.gpu.steps import WARM_UP
from models.matmul import PRECISIONS, pin_precision
from models.mlp import SIZES
from models.train import build, fit
from study.presets import LONG

COUNTS = (3, 20, 64, 256)
RATE, BATCH = 0.5, 256
UNTIMED = WARM_UP + 1
PARAMETERS = sum((i + 1) * o for i, o in zip(SIZES, SIZES[1:], strict=False))


def timed(work: Callable[[], object]) -> float:
    """Seconds until the device has done its work."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def population(parts: Split, networks: int, rounds: int) -> list[float]:
    """Seconds of each epoch but the first four, in which kernels are compiled and steps captured.
    Evaluation is left out."""
    recipe = replace(LONG, epochs=rounds + UNTIMED, train_examples=len(parts.train_y))
    arms = [Arm("dropout", RATE, RATE, 1e-4, recipe)] * networks
    seeds = list(range(networks))
    weights, noise = build(arms, seeds, parts)
    epochs = fit(weights, noise, arms, seeds, parts)
    return [timed(lambda: next(epochs)) / networks for _ in range(rounds + UNTIMED)][UNTIMED:]


def products(parts: Split, networks: int) -> float:
    """The matrix products of an epoch and nothing else."""
    dtype, device = parts.train_x.dtype, parts.train_x.device

    def some(*shape: int) -> Tensor:
        return torch.randn(networks, *shape, dtype=dtype, device=device)

    weights = [some(i, o) for i, o in zip(SIZES, SIZES[1:], strict=False)]
    inputs = [some(BATCH, size) for size in SIZES[:3]]
    gradients = [some(BATCH, size) for size in SIZES[1:]]

    def epoch() -> None:
        for _ in range(-(-len(parts.train_y) // BATCH)):
            for layer in range(3):
                torch.bmm(inputs[layer], weights[layer])
                torch.bmm(inputs[layer].mT, gradients[layer])
            for layer in (1, 2):
                torch.bmm(gradients[layer], weights[layer].mT)

    epoch()
    return timed(epoch) / networks


def bytes_of_a_step(dtype: torch.dtype) -> int:
    """What a network's step reads and writes if each pass over a tensor does all that it can.

    Weights, gradients and velocity in the update, rounded weights in three products, images once
    gathered and twice read, bits, pre-activations and activations both ways.
    """
    small = dtype.itemsize
    update = 4 * 4 + 2 * small + (small if small < 4 else 0)
    weights = PARAMETERS * (update + 2 * small)
    images = BATCH * SIZES[0] * 4 * small
    hidden = BATCH * sum(SIZES[1:3]) * (2 * 2 + 9 * small)
    return weights + images + hidden


def copies(parts: Split, networks: int) -> float:
    """A copy of as many bytes as an epoch's steps move."""
    moved = bytes_of_a_step(parts.train_x.dtype) * networks
    source = torch.empty(moved // 2, dtype=torch.uint8, device=parts.train_x.device)
    target = torch.empty_like(source)

    def epoch() -> None:
        for _ in range(-(-len(parts.train_y) // BATCH)):
            target.copy_(source)

    epoch()
    return timed(epoch) / networks


def plain_loop(parts: Split) -> float:
    """A network in plain PyTorch, its images in the device's memory."""
    net = peers.network().to(parts.train_x.device)
    sgd = torch.optim.SGD(net.parameters(), lr=peers.LEARNING_RATE)

    def epoch() -> None:
        order = torch.randperm(len(parts.train_y), device=parts.train_x.device)
        for rows in order.split(BATCH):
            peers.train_step(net, sgd, parts.train_x[rows], parts.train_y[rows])

    epoch()
    return timed(epoch)


def dataloader(parts: Split) -> float:
    """A network in plain PyTorch, its batches from a DataLoader in the host's memory."""
    device = parts.train_x.device
    net = peers.network().to(device)
    sgd = torch.optim.SGD(net.parameters(), lr=peers.LEARNING_RATE)
    examples = torch.utils.data.TensorDataset(parts.train_x.cpu(), parts.train_y.cpu())
    loader = torch.utils.data.DataLoader(examples, BATCH, shuffle=True, pin_memory=True)

    def epoch() -> None:
        for x, y in loader:
            inputs, labels = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
            peers.train_step(net, sgd, inputs, labels)

    return timed(epoch)


def lightning(parts: Split) -> float:
    """Lightning, fed with whole batches of indices into the device's memory."""
    return peers.lightning(parts, 1, accelerator="gpu")[0]


@click.command()
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--folder", default="data", show_default=True, help="Folder that keeps the data set.")
def main(rounds: int, folder: str) -> None:
    """Time populations of 3 to 256 networks on a CUDA device, its limits and other trainers."""
    if not torch.cuda.is_available():
        click.echo("no CUDA device here: nothing is timed on a GPU")
        return
    card = torch.cuda.get_device_name()
    images = all_training_images(data.split(data.load(folder=folder))).to("cuda")
    base: dict[str, float] = {}

    def tell(name: str, seconds: list[float], precision: str) -> None:
        base.setdefault(precision, Row(name, seconds).seconds)
        about = {"precision": precision, "processor": card, "torch": torch.__version__}
        click.echo(Row(name, seconds).to_json(base[precision], **about))

    for precision, dtype in PRECISIONS.items():
        pin_precision(precision)
        parts = images.rounded(dtype)
        for networks in reversed(COUNTS):  # first the one that the others are compared with
            tell(f"population-{networks}", population(parts, networks, rounds), precision)
        for name, limit in {"products": products, "copies": copies}.items():
            tell(name, [limit(parts, COUNTS[-1]) for _ in range(rounds)], precision)
    pin_precision("float32")
    loops = {"plain-loop": plain_loop, "dataloader": dataloader}
    if find_spec("lightning"):
        loops["lightning"] = lightning
    for name, loop in loops.items():
        tell(name, [loop(images) for _ in range(rounds)], "float32")
    peak = torch.cuda.max_memory_allocated() // 2**20
    click.echo(json.dumps({"name": "peak", "megabytes": peak, "processor": card}))


if __name__ == "__main__":
    main()
