"""What a training step does on a GPU, seen without one: on the meta device, whose tensors have no
numbers, nothing can be read by the host, and every operation is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from noise_setup import without_numbers
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models.config import Arm, Recipe
from models.gpu.fused import Fused
from models.gpu.steps import CALLBACK_STEPS, Steps
from models.noise import NOISE, UNSEARCHED, Context, Noise, noise_type
from models.rng import Stream
from models.train import build, fit
from study.presets import LONG

EXAMPLES = 600
RECIPE = replace(LONG, epochs=2, train_examples=EXAMPLES)
LAUNCHES = 40


class Operations(TorchDispatchMode):
    """What runs within it.

    Attributes:
        launched: names of operations that take the device a kernel or more.
        of_host: names of those that read or make a tensor in the host's memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launched: list[str] = []
        self.of_host: list[str] = []
        self.within: list[str] = []
        self.counts = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if any(tensor.device.type == "cpu" for tensor in (*tensors, *made)):
            self.of_host.append(str(func))
        no_kernel = func.is_view or "view" in str(func) or "empty" in str(func)
        if not self.within and tensors and not no_kernel:
            self.launched.append(str(func))
        return result


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> Iterator[Operations]:
    """A fused function counts once, as where it is compiled."""
    seen = Operations()

    def call(self: Fused, *args: Any, **kwargs: Any) -> Any:
        seen.within.append(self.name)
        result = self.function(*args, **kwargs)
        if len(seen.within) == 1 and seen.counts:
            seen.launched.append(self.name)
        seen.within.pop()
        return result

    monkeypatch.setattr(Fused, "__call__", call)
    yield seen


def arms_of(name: str, recipe: Recipe) -> list[Arm]:
    rates = [0.1] * len(noise_type(name).rates)
    return [Arm.of(name, rates, decay, recipe) for decay in (0.0, 1e-3)]


def one_step(operations: Operations, name: str, seeds: tuple[int, ...] = (1, 2)) -> None:
    """Count the second step of a training, when all that is made once has been."""
    arms = arms_of(name, RECIPE) * (len(seeds) // 2)
    split = without_numbers(torch.bfloat16)
    population, noise = build(arms, seeds, split)
    run, ran = Steps._one, 0

    def counted(self: Steps, size: int) -> None:
        nonlocal ran
        ran += 1
        if ran != 2:
            run(self, size)
            return
        with operations:
            operations.counts = True
            run(self, size)
        operations.counts = False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Steps, "_one", counted)
        for _ in fit(population, noise, arms, seeds, split):
            pass
    assert ran == 2 * 3  # of 256, 256 and 88 images


@pytest.mark.parametrize("name", [*NOISE, *UNSEARCHED])
def test_a_step_asks_the_host_nothing(name: str, operations: Operations) -> None:
    """A number that is read would raise; a tensor that comes from the host is seen here."""
    one_step(operations, name)
    assert operations.launched
    assert operations.of_host == []


def test_a_step_that_asks_is_seen(operations: Operations, monkeypatch: pytest.MonkeyPatch) -> None:
    class Asks(Noise):
        def input(self, x: Tensor, context: Context) -> Tensor:
            return x * torch.tensor(0.5).to(x.device)

    class Reads(Noise):
        def input(self, x: Tensor, context: Context) -> Tensor:
            return x * float(self.rate_of(0).sum())

    monkeypatch.setitem(NOISE, "asks", Asks)
    one_step(operations, "asks")
    assert operations.of_host
    monkeypatch.setitem(NOISE, "reads", Reads)
    with pytest.raises(RuntimeError, match="item"):
        one_step(operations, "reads")


def test_a_step_launches_few_kernels_whatever_the_number_of_seeds(operations: Operations) -> None:
    one_step(operations, "dropout")
    few = [*operations.launched]
    assert len(few) <= LAUNCHES, few
    operations.launched.clear()
    one_step(operations, "dropout", tuple(range(64)))
    assert operations.launched == few


def counting(steps: list[tuple], losses: Tensor) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    def step(indices: Tensor, progress: Tensor, learning_rate: Tensor) -> Tensor:
        steps.append((indices.clone(), float(progress), float(learning_rate)))
        return losses

    return step


def test_each_epoch_takes_its_order_batch_by_batch_along_the_schedule() -> None:
    seen: list[tuple] = []
    recipe = replace(RECIPE, batch_size=4, epochs=3)
    stream = Stream((1, 2), "noise", counted=True)
    steps = Steps(counting(seen, torch.tensor([1.0, 2.0])), stream, recipe, 10, 2)
    for epoch in range(3):
        order = torch.stack([torch.randperm(10), torch.randperm(10)])
        loss = steps.epoch(order, None)
        assert loss.tolist() == [1, 2]
        batches = [indices for indices, *_ in seen[3 * epoch :]]
        assert [batch.shape[1] for batch in batches] == [4, 4, 2]
        assert torch.equal(torch.cat(batches, dim=1), order)
    done = [number / 9 for number in range(9)]
    assert [progress for _, progress, _ in seen] == pytest.approx(done)
    assert [rate for *_, rate in seen] == pytest.approx([recipe.learning_rate_at(p) for p in done])


def test_a_callback_comes_every_few_steps_and_may_stop() -> None:
    told: list[float] = []
    recipe = replace(RECIPE, batch_size=2)
    stream = Stream((1, 2), "noise", counted=True)
    step = counting([], torch.zeros(2))
    order = torch.arange(90).expand(2, -1)
    Steps(step, stream, recipe, 90, 2).epoch(order, told.append)
    assert told == [2 * 2 * CALLBACK_STEPS, 2 * 2 * CALLBACK_STEPS, 2 * 2 * 5]

    class Stop(Exception):
        pass

    def stop(images: float) -> None:
        raise Stop

    with pytest.raises(Stop):
        Steps(step, stream, recipe, 90, 2).epoch(order, stop)
