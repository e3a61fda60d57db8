"""A fused function is compiled on a GPU; that it can be, and says the same, is seen here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from noise_setup import without_numbers
from torch._dynamo.exc import TorchDynamoException

from models import sgd
from models.config import Arm
from models.gpu import fused
from models.noise import masks, noise_type, random_relu
from models.rng import normal_quantiles
from models.train import build, fit
from study.presets import LONG


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


BITS = torch.randint(-32768, 32768, (2, 5, 7), generator=torch.Generator().manual_seed(2))
RATE = torch.tensor([0.0, 0.3])[:, None, None]
Z = drawn(2, 5, 7)
ROWS, DECAY = drawn(2, 35), torch.tensor([[0.0], [1e-3]])
CASES: dict[str, tuple[fused.Fused, tuple]] = {
    "times_mask": (masks.times_mask, (Z, BITS.to(torch.int16), RATE)),
    "mask_relu_in_place": (masks.mask_relu_in_place, (Z, BITS.to(torch.int16), RATE)),
    "masked_relu_gradient": (masks.masked_relu_gradient, (Z, Z.roll(1), RATE)),
    "slopes_by_tensors": (
        random_relu.slopes_by_tensors,
        (
            Z,
            BITS.to(torch.int16),
            normal_quantiles(torch.float32, torch.device("cpu")),
            1,
            RATE,
            0.0,
            0.0,
        ),
    ),
    "update": (
        sgd.update,
        (ROWS, ROWS.bfloat16(), ROWS.roll(1), ROWS.roll(2), DECAY, 0.9, 0.1),
    ),
    "update, plain": (sgd.update, (ROWS, None, ROWS.roll(1), None, None, 0.0, torch.tensor(0.1))),
}


def copied(arguments: tuple) -> list[Any]:
    return [a.clone() if isinstance(a, torch.Tensor) else a for a in arguments]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_is_one_piece_and_says_the_same_compiled(name: str, dtype: torch.dtype) -> None:
    """Results, and what is written into the arguments; by the compiler but for the last step, which
    needs a GPU."""
    function, arguments = CASES[name]
    given = [
        a.to(dtype) if isinstance(a, torch.Tensor) and a.is_floating_point() and a.dim() == 3 else a
        for a in arguments
    ]
    if name.startswith("update"):
        given[0] = arguments[0]
    compiled = torch.compile(function.function, backend="aot_eager", fullgraph=True)
    ours, theirs = copied(tuple(given)), copied(tuple(given))
    found, expected = compiled(*ours), function.function(*theirs)
    for a, b in zip([found, *ours], [expected, *theirs], strict=True):
        assert (a is None and b is None) or torch.equal(torch.as_tensor(a), torch.as_tensor(b))


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tensors count as a GPU's."""
    monkeypatch.setattr(fused, "on_gpu", lambda arguments: True)


Compiler = Callable[[Callable], Callable]


def compiling(monkeypatch: pytest.MonkeyPatch, compiler: Compiler) -> None:
    monkeypatch.setattr(fused.torch, "compile", lambda function, **_: compiler(function))


def raising(error: Exception) -> Compiler:
    def compiler(function: Callable) -> Callable:
        def fail(*arguments: object) -> None:
            raise error

        return fail

    return compiler


@pytest.mark.usefixtures("on_gpu")
def test_without_a_compiler_the_function_runs_as_it_is_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = TorchDynamoException("Cannot find a working triton installation\nmore lines")
    compiling(monkeypatch, raising(missing))
    two = fused.fused(lambda x: 2)
    with fused.uncompiled():
        assert two(Z) == 2  # as memory is measured, before anything else
    with pytest.warns(UserWarning, match=r"not compiled, slower: .*working triton installation\)$"):
        assert two(Z) == 2
    assert two(Z) == 2  # and is told once


@pytest.mark.usefixtures("on_gpu")
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError()])
def test_what_fails_on_the_device_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It may have written into its arguments."""
    compiling(monkeypatch, raising(error))
    with pytest.raises(type(error)):
        fused.fused(lambda x: 2)(Z)


def test_only_a_gpu_has_it_compiled_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def compiler(function: Callable) -> Callable:
        compiled.append(function)
        return lambda x: 3

    compiling(monkeypatch, compiler)
    two = fused.fused(lambda x: 2)
    assert two(Z) == 2
    monkeypatch.setattr(fused, "on_gpu", lambda arguments: True)
    assert [two(Z), two(Z)] == [3, 3]
    assert len(compiled) == 1


@pytest.mark.usefixtures("on_gpu")
def test_no_study_has_more_variants_than_dynamo_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Populations of several sizes and types in both precisions, by the real front of the compiler:
    one variant too many would be an error, and so would a warning."""
    front = partial(torch.compile, backend="eager", fullgraph=True, dynamic=True)
    compiling(monkeypatch, front)
    for dtype in (torch.float32, torch.bfloat16):
        for networks in (3, 20, 1):
            for name in ("none", "dropout", "gaussian", "dropconnect", "shakeout", "concrete"):
                rates = [0.2] * len(noise_type(name).rates)
                recipe = replace(LONG, epochs=1, train_examples=600)
                arms = [Arm.of(name, rates, 1e-4, recipe)] * networks
                split = without_numbers(dtype)
                population, noise = build(arms, range(networks), split)
                for _ in fit(population, noise, arms, range(networks), split):
                    pass
