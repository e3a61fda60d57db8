"""Training steps that ask the host nothing, so that a GPU replays one for all."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from models.config import Recipe
from models.metrics import float64_on, zeros
from models.rng import Stream

WARM_UP = 3
"""Steps of a size that run as they are before one is captured: libraries set themselves up."""
CALLBACK_STEPS = 20
"""A callback comes after so many steps at most: each waits for the device."""

Step = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Train on a batch, (networks, batch) indices, at a progress and a learning rate, both of no
dimension: each network's mean loss, (networks,)."""


@cache
def side_stream(device: torch.device) -> torch.cuda.Stream:
    """A stream to warm up and capture in: one for all populations, since libraries keep memory for
    each stream that they have seen."""
    return torch.cuda.Stream(device)


class Steps:
    """Steps as a function of what lies in the device's memory, above all of their own number.

    On a CUDA device a step is captured once for each size of a batch (the last of an epoch may be
    smaller) and replayed from then on, with all that Python decided while it was captured. A step
    that cannot be captured, since it asks the host for something, runs as it is, and a warning says
    so.
    """

    def __init__(
        self,
        step: Step,
        stream: Stream,
        recipe: Recipe,
        examples: int,
        networks: int,
        capturable: bool = True,
    ) -> None:
        """Lay out the recipe's whole training on the device of the stream."""
        device = stream.device
        self._step, self._stream, self._capturable = step, stream, capturable
        starts = range(0, examples, recipe.batch_size)
        self._sizes = [min(recipe.batch_size, examples - start) for start in starts]
        total = recipe.epochs * len(starts)
        progress = [number / total for number in range(total)]
        rates = [recipe.learning_rate_at(done) for done in progress]
        self._schedule = torch.tensor([progress, rates], dtype=float64_on(device), device=device)
        self._counters = torch.zeros(2, dtype=torch.int64, device=device)
        self._number, self._place = self._counters  # of the training's step, and the epoch's
        batch = torch.arange(recipe.batch_size)
        self._positions = (torch.tensor(starts)[:, None] + batch).to(device)
        self._order = torch.zeros(networks, examples, dtype=torch.int64, device=device)
        self._loss = zeros(networks, device)
        self._side = side_stream(device) if device.type == "cuda" else None
        self._ran: Counter[int] = Counter()
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    def epoch(self, order: Tensor, on_step: Callable[[float], None] | None) -> Tensor:
        """Train an epoch in an order (networks, examples): the mean loss, (networks,)."""
        self._order.copy_(order)
        self._place.zero_()
        self._loss.zero_()
        waiting = 0
        for place, size in enumerate(self._sizes, start=1):
            self._run(size)
            waiting += size * len(self._order)
            if on_step and (place % CALLBACK_STEPS == 0 or place == len(self._sizes)):
                if self._side:  # else the host would be an epoch ahead of what it tells
                    torch.cuda.synchronize(self._order.device)
                on_step(waiting)
                waiting = 0
        return self._loss / self._order.shape[1]

    def _run(self, size: int) -> None:
        if self._side is None:
            self._one(size)
            return
        if self._capturable and self._ran[size] == WARM_UP:
            self._capture(size, self._side)
        self._ran[size] += 1
        if size in self._graphs:
            self._graphs[size].replay()
            return
        current = torch.cuda.current_stream(self._order.device)
        self._side.wait_stream(current)
        with torch.cuda.stream(self._side):
            if self._capturable and self._ran[size] == WARM_UP:
                self._watched(size)
            else:
                self._one(size)
        current.wait_stream(self._side)

    def _watched(self, size: int) -> None:
        """Run a step; one that waits for the device is not captured, since a capture that fails
        leaves PyTorch in no state to rely on."""
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                self._one(size)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        if any("synchroniz" in str(one.message) for one in caught):
            self._give_up("it waits for the device, as to read a number")

    def _capture(self, size: int, side: torch.cuda.Stream) -> None:
        """Record a step, which does not run it."""
        graph = torch.cuda.CUDAGraph()
        pool = next(iter(self._graphs.values())).pool() if self._graphs else None
        current = torch.cuda.current_stream(self._order.device)
        try:
            with torch.cuda.graph(graph, pool, side, capture_error_mode="thread_local"):
                self._one(size)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            torch.cuda.set_stream(current)
            self._give_up(str(error).partition("\n")[0])
        else:
            self._graphs[size] = graph

    def _give_up(self, reason: str) -> None:
        self._capturable = False
        warnings.warn(f"the training step is not captured, slower: {reason}", stacklevel=2)

    def _one(self, size: int) -> None:
        """The step; all that it reads and writes stays where it is."""
        positions = self._positions.index_select(0, self._place.view(1))[0, :size]
        indices = self._order.index_select(1, positions)
        now = self._schedule.index_select(1, self._number.view(1))
        progress, learning_rate = now[0, 0], now[1, 0]
        self._stream.at(self._number)
        self._loss.add_(self._step(indices, progress, learning_rate), alpha=size)
        self._counters.add_(1)
