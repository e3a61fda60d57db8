"""The contenders of the speed benchmark: each trains 784-256-256-10 with dropout 0.5 by SGD on
batches of 256.

A contender takes the data and a number of epochs, and returns (seconds for one network, its
training loss or None). The peers have all cores (PyTorch's own threads) and the settings that serve
them best; the population has a network share for each core, as a study trains.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from llvmlite.binding import get_host_cpu_name
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, TensorDataset
from torchvision.transforms import ToTensor

from models.config import Arm
from models.data import Split
from models.matmul import affine
from models.mlp import SIZES
from models.train import CPU_POPULATION, train_population
from study.presets import BOOK

NETWORKS, BATCH, RATE, LEARNING_RATE = 10, 256, 0.5, 0.1
CORES = torch.get_num_threads()


def processor() -> str:
    """This machine's, as its figures name it: its family, and what it is to a compiler."""
    family = torch.cpu.get_capabilities().get("cpu_name", "unnamed processor")
    return f"{family} ({get_host_cpu_name()})"


def network() -> nn.Sequential:
    """The network in plain PyTorch."""
    layers: list[nn.Module] = []
    for i, o in zip(SIZES[:2], SIZES[1:3], strict=True):
        layers += [nn.Linear(i, o), nn.ReLU(), nn.Dropout(RATE)]
    return nn.Sequential(*layers, nn.Linear(*SIZES[2:]))


@contextmanager
def one_thread_each() -> Iterator[ThreadPoolExecutor]:
    """A worker for each core, with one-thread products, as `study.executors` has it."""
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(CORES) as pool:
            yield pool
    finally:
        torch.set_num_threads(CORES)


def shares(networks: int) -> list[range]:
    """The networks' seeds, dealt out to the cores."""
    cuts = [networks * core // CORES for core in range(CORES + 1)]
    return [range(a, b) for a, b in zip(cuts, cuts[1:], strict=False) if a < b]


def population(parts: Split, epochs: int, networks: int = NETWORKS) -> tuple[float, float | None]:
    """This project, so many seeds of one arm."""
    arm = Arm("dropout", RATE, RATE, 0.0, replace(BOOK, epochs=epochs))
    start = time.perf_counter()
    with one_thread_each() as pool:
        trained = [
            one
            for some in pool.map(lambda s: train_population([arm], s, parts), shares(networks))
            for one in some
        ]
    return (time.perf_counter() - start) / networks, trained[0].scores["train/loss"]


def limit(parts: Split, epochs: int) -> tuple[float, float | None]:
    """The matrix products of that training alone: same library, precision, batches and threads, and
    nothing else."""
    dtype = parts.train_x.dtype

    def products(seeds: range) -> None:
        count = min(len(seeds), CPU_POPULATION)
        weights = [
            torch.randn(count, i, o, dtype=dtype) for i, o in zip(SIZES, SIZES[1:], strict=False)
        ]
        outputs = [torch.randn(count, BATCH, o, dtype=dtype) for o in SIZES[1:]]
        inputs = [torch.randn(count, BATCH, SIZES[0], dtype=dtype), *outputs[:-1]]
        steps = round(epochs * len(parts.train_y) / BATCH * len(seeds) / count)
        for _ in range(steps):
            for h, w in zip(inputs[:2], weights[:2], strict=True):
                affine(h, w)
            torch.bmm(weights[2].mT, inputs[2].mT)  # the narrow layer the way that is faster
            torch.bmm(outputs[2].mT, inputs[2])
            torch.bmm(outputs[2], weights[2].mT)
            affine(inputs[1].mT, outputs[1])
            affine(outputs[1], weights[1].mT)
            affine(inputs[0].mT, outputs[0])

    start = time.perf_counter()
    with one_thread_each() as pool:
        list(pool.map(products, shares(NETWORKS)))
    return (time.perf_counter() - start) / NETWORKS, None


def train_step(net: nn.Module, sgd: torch.optim.Optimizer, x: Tensor, y: Tensor) -> Tensor:
    """One step of a plain loop."""
    sgd.zero_grad()
    loss = nn.functional.cross_entropy(net(x), y)
    loss.backward()
    sgd.step()
    return loss.detach()


def in_memory(parts: Split, epochs: int) -> tuple[float, float | None]:
    """A plain loop over tensors in memory."""
    net = network()
    sgd = torch.optim.SGD(net.parameters(), lr=LEARNING_RATE)
    start = time.perf_counter()
    for _ in range(epochs):
        batches = torch.randperm(len(parts.train_y)).split(BATCH)
        losses = [
            train_step(net, sgd, parts.train_x[rows], parts.train_y[rows]) for rows in batches
        ]
    return time.perf_counter() - start, float(torch.stack(losses).mean())


class Pictures(Dataset[tuple[Tensor, int]]):
    """Example by example what torchvision.datasets.FashionMNIST(transform=ToTensor()) hands out."""

    def __init__(self, parts: Split) -> None:
        """The pixels as bytes again, as the published files hold them."""
        self.pictures = (parts.train_x * 255).round().to(torch.uint8).view(-1, 28, 28)
        self.labels, self.transform = parts.train_y, ToTensor()

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """A picture, (1, 28, 28), and its class."""
        return self.transform(Image.fromarray(self.pictures[index].numpy())), int(
            self.labels[index]
        )

    def __len__(self) -> int:
        """Examples in an epoch."""
        return len(self.labels)


def dataloader(parts: Split, epochs: int) -> tuple[float, float | None]:
    """A plain loop over a DataLoader of pictures, as PyTorch's own tutorials write it: no workers,
    ToTensor."""
    return loop_over(DataLoader(Pictures(parts), BATCH, shuffle=True), epochs)


def dataloader_tensors(parts: Split, epochs: int) -> tuple[float, float | None]:
    """A plain loop over a DataLoader whose examples are tensors already; workers make it slower
    here."""
    return loop_over(
        DataLoader(TensorDataset(parts.train_x, parts.train_y), BATCH, shuffle=True), epochs
    )


def loop_over(loader: DataLoader[Any], epochs: int) -> tuple[float, float | None]:
    """Trains a network on what the loader gives."""
    net = network()
    sgd = torch.optim.SGD(net.parameters(), lr=LEARNING_RATE)
    start = time.perf_counter()
    for _ in range(epochs):
        losses = [train_step(net, sgd, x.flatten(1), y) for x, y in loader]
    return time.perf_counter() - start, float(torch.stack(losses).mean())


def lightning(parts: Split, epochs: int, accelerator: str = "cpu") -> tuple[float, float | None]:
    """Lightning without logger, bars and checkpoints, fed with whole batches of indices."""
    import lightning as pl

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.losses = network(), [torch.zeros(())]

        def training_step(self, batch: list[Tensor]) -> Tensor:
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.losses.append(loss.detach())
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=LEARNING_RATE)

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    dataset = TensorDataset(parts.train_x, parts.train_y)
    loader = DataLoader(
        dataset,
        sampler=BatchSampler(RandomSampler(dataset), BATCH, drop_last=False),
        batch_size=None,
    )
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # such as that the loader has no workers: they are slower here
        trainer = pl.Trainer(
            max_epochs=epochs, accelerator=accelerator, devices=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )  # fmt: skip
        module = Module()
        start = time.perf_counter()
        trainer.fit(module, loader)
    return time.perf_counter() - start, float(torch.stack(module.losses[-50:]).mean())


def keras(parts: Split, epochs: int) -> tuple[float, float | None]:
    """Keras on its torch backend, with tensors in memory."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    net = keras.Sequential(
        [
            keras.Input((SIZES[0],)),
            keras.layers.Dense(SIZES[1], "relu"),
            keras.layers.Dropout(RATE),
            keras.layers.Dense(SIZES[2], "relu"),
            keras.layers.Dropout(RATE),
            keras.layers.Dense(SIZES[3]),
        ]
    )
    net.compile(
        keras.optimizers.SGD(LEARNING_RATE),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    x, y = parts.train_x.numpy(), parts.train_y.numpy()
    start = time.perf_counter()
    history = net.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0)
    return time.perf_counter() - start, history.history["loss"][-1]


def skorch(parts: Split, epochs: int) -> tuple[float, float | None]:
    """skorch without printing and validation."""
    from skorch import NeuralNetClassifier
    from skorch.callbacks import EpochScoring  # noqa: F401  the import is not what is timed

    net = NeuralNetClassifier(
        network(), criterion=nn.CrossEntropyLoss, lr=LEARNING_RATE, batch_size=BATCH, max_epochs=epochs,
        train_split=None, callbacks="disable", iterator_train__shuffle=True, verbose=0,
    )  # fmt: skip
    start = time.perf_counter()
    net.fit(parts.train_x, parts.train_y)
    return time.perf_counter() - start, float(np.mean(net.history[-1, "batches", :, "train_loss"]))


Contender = Callable[[Split, int], tuple[float, float | None]]

CONTENDERS: dict[str, Contender] = {
    "population": population,
    "in-memory": in_memory,
    "dataloader": dataloader,
    "dataloader-tensors": dataloader_tensors,
    "lightning": lightning,
    "keras": keras,
    "skorch": skorch,
    "limit": limit,
}
