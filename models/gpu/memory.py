"""How much memory one more network of a population takes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakIdKeyDictionary

from models.gpu.fused import uncompiled


class LiveBytes(TorchDispatchMode):
    """Count the bytes of the tensors made within it, on any device.

    What a library works in beside its tensors is not counted, nor what an allocator loses.

    Attributes:
        peak: the most that were alive at once.
    """

    def __init__(self) -> None:
        """Nothing is alive."""
        super().__init__()
        self.peak = self._now = 0
        self._seen = WeakIdKeyDictionary()

    def __torch_dispatch__(
        self, func: Callable, types: Any, args: Sequence = (), kwargs: dict | None = None
    ) -> Any:
        """Run an operation and count what it has made."""
        result = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._count, result)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage not in self._seen:
            self._seen[storage] = True
            self._now += storage.nbytes()
            self.peak = max(self.peak, self._now)
            weakref.finalize(storage, self._free, storage.nbytes())

    def _free(self, size: int) -> None:
        self._now -= size


def bytes_of_one_more(work: Callable[[int], object]) -> int:
    """The slope of the peak over networks, from `work` done by two and by four of them.

    Nothing is compiled for it: what is fused is counted unfused. The pools of captured steps and
    what an epoch holds of all examples come on top, for which half of a GPU's memory is left.
    """
    peaks = []
    for networks in (2, 4):
        with uncompiled(), LiveBytes() as live:
            work(networks)
        peaks.append(live.peak)
    return (peaks[1] - peaks[0]) // 2
