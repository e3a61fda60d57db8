"""How fast is population training? Seconds per epoch of 60,000 images and network, against peers and the limit.

`make bench` runs all contenders in one process tree, alternating, and prints a table and one JSON line a row:
{"name", "seconds", "ratio"}, the ratio being that row's seconds over the population's. Peers that are not installed
(requirements-bench.txt) are left out. All train 784-256-256-10 with dropout 0.5 by SGD on batches of 256, float32.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from models.config import Arm
from models.data import Split, load, split
from models.mlp import SIZES
from models.train import train_population
from study.recipes import BOOK

ROUNDS, NETWORKS, BATCH = 3, 10, 256
CORES = os.cpu_count() or 1
ARM = Arm("dropout", 0.5, 0.5, 0.0, replace(BOOK, epochs=1))


def network() -> nn.Sequential:
    """The same network in plain PyTorch."""
    layers: list[nn.Module] = []
    for i, o in zip(SIZES[:2], SIZES[1:3], strict=True):
        layers += [nn.Linear(i, o), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Linear(*SIZES[2:]))


def on_every_core(work: Callable[[int], object]) -> None:
    """Runs work(share of the networks) in a thread for each core, as a study does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with ThreadPoolExecutor(CORES) as pool:
        shares = [NETWORKS // CORES + (core < NETWORKS % CORES) for core in range(CORES)]
        list(pool.map(work, [share for share in shares if share]))
    torch.set_num_threads(threads)


def population(parts: Split) -> float:
    """This project."""
    start = time.perf_counter()
    on_every_core(lambda share: train_population([ARM], range(share), parts))
    return (time.perf_counter() - start) / NETWORKS


def limit(parts: Split) -> float:
    """The matrix products of training alone, batched and spread over the cores as the population's are."""

    def products(share: int) -> None:
        x = torch.randn(share, BATCH, SIZES[0])
        weights = [torch.randn(share, i, o) for i, o in zip(SIZES, SIZES[1:], strict=False)]
        outputs = [torch.randn(share, BATCH, o) for o in SIZES[1:]]
        inputs = [x, *outputs[:-1]]
        for _ in range(len(parts.train_y) // BATCH):
            for layer, (h, w, g) in enumerate(zip(inputs, weights, outputs, strict=True)):
                torch.bmm(h, w)
                torch.bmm(h.transpose(1, 2), g)
                if layer:
                    torch.bmm(g, w.transpose(1, 2))

    start = time.perf_counter()
    on_every_core(products)
    return (time.perf_counter() - start) / NETWORKS


def train_step(net: nn.Module, sgd: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """One step of a plain loop."""
    sgd.zero_grad()
    nn.functional.cross_entropy(net(x), y).backward()
    sgd.step()


def in_memory(parts: Split) -> float:
    """A plain loop over tensors in memory."""
    net = network()
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    start = time.perf_counter()
    for rows in torch.randperm(len(parts.train_y)).split(BATCH):
        train_step(net, sgd, parts.train_x[rows], parts.train_y[rows])
    return time.perf_counter() - start


def dataloader(parts: Split) -> float:
    """A plain loop over a DataLoader."""
    net = network()
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(parts.train_x, parts.train_y), BATCH, shuffle=True)
    start = time.perf_counter()
    for x, y in loader:
        train_step(net, sgd, x, y)
    return time.perf_counter() - start


def lightning(parts: Split) -> float:
    """Lightning, its logging off, fed with whole batches of indices."""
    import lightning as pl

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def training_step(self, batch: list[Tensor]) -> Tensor:
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    dataset = TensorDataset(parts.train_x, parts.train_y)
    batches = BatchSampler(RandomSampler(dataset), BATCH, drop_last=False)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", **quiet)
    start = time.perf_counter()
    trainer.fit(Module(), DataLoader(dataset, sampler=batches, batch_size=None))
    return time.perf_counter() - start


def keras(parts: Split) -> float:
    """Keras on its torch backend."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    layers = [keras.layers.Dense(256, "relu"), keras.layers.Dropout(0.5)] * 2
    net = keras.Sequential(
        [keras.Input((SIZES[0],)), *map(keras.layers.deserialize, map(keras.layers.serialize, layers))]
    )
    net.add(keras.layers.Dense(10))
    net.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    start = time.perf_counter()
    net.fit(parts.train_x.numpy(), parts.train_y.numpy(), batch_size=BATCH, epochs=1, verbose=0)
    return time.perf_counter() - start


def skorch(parts: Split) -> float:
    """skorch, its printing and validation off."""
    from skorch import NeuralNetClassifier

    net = NeuralNetClassifier(
        network(), criterion=nn.CrossEntropyLoss, lr=0.1, batch_size=BATCH, max_epochs=1, train_split=None,
        callbacks="disable", iterator_train__shuffle=True, verbose=0,
    )  # fmt: skip
    start = time.perf_counter()
    net.fit(parts.train_x, parts.train_y)
    return time.perf_counter() - start


CONTENDERS: dict[str, Callable[[Split], float]] = {
    "population": population,
    "in-memory": in_memory,
    "dataloader": dataloader,
    "lightning": lightning,
    "keras": keras,
    "skorch": skorch,
    "limit": limit,
}


def all_training_images(parts: Split) -> Split:
    """The published training set, 60,000 images, with next to nothing to validate: only training is timed."""
    x, y = torch.cat([parts.train_x, parts.validation_x]), torch.cat([parts.train_y, parts.validation_y])
    return replace(parts, train_x=x, train_y=y, validation_x=x[:10], validation_y=y[:10])


def main() -> None:
    """Warms every contender up on a part of the data, then times all of them, alternating."""
    parts = all_training_images(split(load()))
    present = {
        name: run for name, run in CONTENDERS.items() if name not in ("lightning", "keras", "skorch") or find_spec(name)
    }
    for run in present.values():
        run(parts.subset(5_000))
    seconds: dict[str, list[float]] = {name: [] for name in present}
    for round_ in range(ROUNDS):
        for name, run in present.items():
            seconds[name].append(run(parts))
            print(f"round {round_ + 1}, {name}: {seconds[name][-1]:.3f} s", file=sys.stderr)
    base = statistics.median(seconds["population"])
    print(f"| {'contender':<10} | seconds per epoch and network | times the population |\n| --- | --: | --: |")
    for name, values in seconds.items():
        print(f"| {name:<10} | {statistics.median(values):.3f} | {statistics.median(values) / base:.2f} |")
    for name, values in seconds.items():
        median = statistics.median(values)
        print(json.dumps({"name": name, "seconds": round(median, 4), "ratio": round(median / base, 4)}))


if __name__ == "__main__":
    main()
