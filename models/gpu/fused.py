"""Tensor operations that a GPU does in one pass over memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


class Fused(Generic[P, R]):
    """A function of tensors, compiled where its tensors lie on a CUDA device.

    Elsewhere, and where nothing can be compiled (without Triton), it is the function itself:
    slower, and the same but for the last digits.

    Attributes:
        function: the function itself.
    """

    def __init__(self, function: Callable[P, R]) -> None:
        """Compile nothing yet."""
        self.function, self.name = function, function.__name__
        self._compiled: Callable[P, R] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Apply it."""
        if not any(isinstance(arg, torch.Tensor) and arg.is_cuda for arg in args):
            return self.function(*args, **kwargs)
        if self._compiled is None:
            return self._first(*args, **kwargs)
        return self._compiled(*args, **kwargs)

    def _first(self, *args: P.args, **kwargs: P.kwargs) -> R:
        compiled = torch.compile(self.function, fullgraph=True)
        try:
            result = compiled(*args, **kwargs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a compiler may raise: it is not needed for the result
            reason = str(error).partition("\n")[0]
            warnings.warn(f"not compiled, slower: {self.name} ({reason})", stacklevel=3)
            self._compiled = self.function
            return self.function(*args, **kwargs)
        self._compiled = compiled
        return result


def fused(function: Callable[P, R]) -> Fused[P, R]:
    """Make a GPU do a function's tensor operations in one pass; it may write into its arguments."""
    return Fused(function)
