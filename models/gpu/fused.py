"""Tensor operations that a GPU does in one pass over memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")

VARIANTS = 64
"""Compiled forms of a function that dynamo keeps: of precisions, and of arguments that are numbers,
tensors or none. Its own limit, 8, is an error from the ninth on."""


class Fused(Generic[P, R]):
    """A function of tensors, compiled where its tensors lie on a CUDA device.

    Elsewhere, and where nothing can be compiled (without Triton), it is the function itself:
    slower, and the same but for the last digits. No gradient passes through it.

    Attributes:
        function: the function itself.
    """

    compiles: ClassVar[bool] = True

    def __init__(self, function: Callable[P, R]) -> None:
        """Compile nothing yet."""
        self.function, self.name = function, function.__name__
        self._compiled: Callable[..., R] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Apply it."""
        if not (self.compiles and on_gpu(args)):
            return self.function(*args, **kwargs)
        from torch._dynamo.exc import TorchDynamoException  # seconds to import

        if self._compiled is None:
            torch._dynamo.config.recompile_limit = VARIANTS
            self._compiled = torch.compile(self.function, fullgraph=True, dynamic=True)
        # Dynamo looks at the .grad of what asks for one, which warns.
        plain: Any = [arg.detach() if isinstance(arg, Tensor) else arg for arg in args]
        try:
            return self._compiled(*plain, **kwargs)
        except TorchDynamoException as error:  # before anything has run, so nothing is half written
            reason = str(error).partition("\n")[0]
            warnings.warn(f"not compiled, slower: {self.name} ({reason})", stacklevel=2)
            self._compiled = self.function
            return self.function(*plain, **kwargs)


def on_gpu(arguments: Sequence[object]) -> bool:
    """True if some are tensors on a CUDA device."""
    return any(isinstance(argument, Tensor) and argument.is_cuda for argument in arguments)


def fused(function: Callable[P, R]) -> Fused[P, R]:
    """Make a GPU do a function's tensor operations in one pass; it may write into its arguments."""
    return Fused(function)


@contextmanager
def uncompiled() -> Iterator[None]:
    """Have nothing compiled for a while."""
    Fused.compiles = False
    try:
        yield
    finally:
        Fused.compiles = True
