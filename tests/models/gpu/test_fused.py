"""A fused function is compiled on a GPU; that it can be, and says the same, is seen here."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models import sgd
from models.gpu import fused
from models.noise import masks, random_relu
from models.rng import normal_quantiles


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


BITS = torch.randint(-32768, 32768, (2, 5, 7), generator=torch.Generator().manual_seed(2))
RATE = torch.tensor([0.0, 0.3])[:, None, None]
Z = drawn(2, 5, 7)
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
        (Z, Z.bfloat16(), drawn(2, 5, 7), drawn(2, 5, 7), torch.tensor([0.0, 1e-3]), 0.9, 0.1),
    ),
    "update, plain": (sgd.update, (Z, None, drawn(2, 5, 7), None, None, 0.0, torch.tensor(0.1))),
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


def on_cuda() -> Any:
    """A stand-in for a tensor on a GPU."""
    tensor = torch.Tensor._make_subclass(OnCuda, torch.zeros(2))
    return tensor


class OnCuda(torch.Tensor):
    is_cuda = True


def test_without_a_compiler_the_function_runs_as_it_is_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def compiles(function: Any, fullgraph: bool) -> Any:
        def fail(*args: Any) -> None:
            raise RuntimeError("Cannot find a working triton installation\nmore lines")

        return fail

    monkeypatch.setattr(fused.torch, "compile", compiles)
    two = fused.fused(lambda x: 2)
    with pytest.warns(UserWarning, match=r"not compiled, slower: .*working triton installation\)$"):
        assert two(on_cuda()) == 2
    assert two(on_cuda()) == 2  # and is told once


def test_short_memory_is_no_compilers_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(fused.torch, "compile", lambda function, fullgraph: fail)
    with pytest.raises(torch.OutOfMemoryError):
        fused.fused(lambda x: 2)(on_cuda())


def test_a_compiled_function_serves_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    compilations = []

    def compiles(function: Any, fullgraph: bool) -> Any:
        compilations.append(function)
        return lambda x: 3

    monkeypatch.setattr(fused.torch, "compile", compiles)
    two = fused.fused(lambda x: 2)
    assert [two(torch.zeros(1)), two(on_cuda()), two(on_cuda())] == [2, 3, 3]
    assert len(compilations) == 1
