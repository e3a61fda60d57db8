"""Random bits by counter: a draw is a function of its key and its place, and of nothing before it.

On a GPU one call serves all networks, where PyTorch's generators take one each, and a captured step
draws anew at each replay, since the counter is a number in the device's memory. The integers are
the same on every device. A CPU draws five times as fast by `models.rng.Lanes`
(docs/decisions/0020-draws-by-counter-on-a-gpu.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.gpu.fused import fused

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
MASK = 0xFFFFFFFF

Words = tuple[Tensor, Tensor, Tensor, Tensor]


def philox4x32(counter: Words, key: tuple[Tensor, Tensor]) -> Words:
    """Return four words of 32 random bits for each counter, in int64 tensors, which broadcast.

    A product that overflows int64 keeps its lower 64 bits, and these are all of it.

    Source: Salmon et al. 2011, Parallel Random Numbers: As Easy as 1, 2, 3: Philox4x32-10.
    """
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        first, second = x0 * MULTIPLIERS[0], x2 * MULTIPLIERS[1]
        x0, x2 = (second >> 32 & MASK) ^ x1 ^ k0, (first >> 32 & MASK) ^ x3 ^ k1
        x1, x3 = second & MASK, first & MASK
        k0, k1 = k0 + WEYL[0] & MASK, k1 + WEYL[1] & MASK
    return x0, x1, x2, x3


@fused
def bits(keys: Tensor, step: Tensor, site: Tensor, blocks: Tensor) -> Tensor:
    """Uniform integers of 16 bits: int16 of shape (networks, 8 * blocks).

    Args:
        keys: 64 random bits of each network, int64 (networks,).
        step: of the training, int64 of no dimension.
        site: which draw of the step it is, likewise.
        blocks: 0 .. blocks - 1, int64 (blocks,).
    """
    key = (keys & MASK)[:, None], (keys >> 32 & MASK)[:, None]
    words = philox4x32((blocks, step & MASK, site, step >> 32), key)
    drawn = torch.stack([word.to(torch.int32) for word in words], dim=2)
    return drawn.view(torch.int16).flatten(1)


class Counted:
    """The draws of a population, from the key of each network.

    Attributes:
        step: the training's, int64 of no dimension on the device; the owner counts it up.
    """

    def __init__(self, keys: Sequence[int], device: torch.device) -> None:
        """Start at step 0, with one key of 64 bits for each network."""
        signed = [key - 2**64 if key >= 2**63 else key for key in keys]
        self.keys = torch.tensor(signed, dtype=torch.int64, device=device)
        self.step = torch.zeros((), dtype=torch.int64, device=device)
        self._site = 0
        self._sites = [torch.zeros_like(self.step)]
        self._blocks: dict[int, Tensor] = {}

    def at(self, step: Tensor) -> None:
        """Go to the first draw of a step."""
        self.step, self._site = step, 0

    def bits(self, entries: int) -> Tensor:
        """The next draw of the step: int16 (networks, entries)."""
        drawn = bits(self.keys, self.step, self._next_site(), self._range(-(-entries // 8)))
        return drawn[:, :entries]

    def permutation(self, n: int) -> Tensor:
        """The next draw of the step as an order of 0 .. n-1: int64 (networks, n).

        Sorted by 64 random bits: two of 50,000 are alike once in ten billion draws.
        """
        return self.bits(4 * n).view(torch.int64).argsort(dim=1, stable=True)

    def _next_site(self) -> Tensor:
        """Kept on the device: a number from the host is no part of a captured step."""
        self._site += 1
        if self._site == len(self._sites):
            self._sites.append(torch.full_like(self.step, self._site))
        return self._sites[self._site]

    def _range(self, blocks: int) -> Tensor:
        if blocks not in self._blocks:
            self._blocks[blocks] = torch.arange(blocks, device=self.keys.device)
        return self._blocks[blocks]
