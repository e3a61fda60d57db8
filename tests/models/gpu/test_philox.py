"""Draws by counter: known answers, and what a stream promises of any generator."""

from __future__ import annotations

import pytest
import torch

from models.gpu import philox
from models.rng import Stream


def words(text: str) -> list[torch.Tensor]:
    return [torch.tensor(int(word, 16)) for word in text.split()]


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        (
            "00000000 00000000 00000000 00000000",
            "00000000 00000000",
            "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
        ),
        (
            "ffffffff ffffffff ffffffff ffffffff",
            "ffffffff ffffffff",
            "408f276d 41c83b0e a20bc7c6 6d5451fd",
        ),
        (
            "243f6a88 85a308d3 13198a2e 03707344",
            "a4093822 299f31d0",
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_known_answers_of_random123(counter: str, key: str, answer: str) -> None:
    """Its kat_vectors, philox4x32 of 10 rounds."""
    x0, x1, x2, x3 = words(counter)
    k0, k1 = words(key)
    drawn = philox.philox4x32((x0, x1, x2, x3), (k0, k1))
    assert [f"{int(word):08x}" for word in drawn] == answer.split()


def counted(*seeds: int, step: int = 0) -> Stream:
    stream = Stream(seeds, "noise", counted=True)
    stream.at(torch.tensor(step))
    return stream


def test_bits_are_the_words_in_order() -> None:
    """The low half of a word comes first, a block's four words follow each other, and what is left
    over of the last block is not drawn again."""
    stream = counted(5, step=3)
    source = stream._draws
    assert isinstance(source, philox.Counted)
    key = int(source.keys[0])
    for site, entries in ((1, 13), (2, 8)):
        drawn = stream.bits(entries)[0].tolist()
        expected = []
        for block in range(-(-entries // 8)):
            counter = [torch.tensor(number) for number in (block, 3, site, 0)]
            halves = [torch.tensor(half) for half in (key & 2**32 - 1, key >> 32 & 2**32 - 1)]
            for word in philox.philox4x32(tuple(counter), tuple(halves)):  # type: ignore[arg-type]
                expected += [int(word) & 0xFFFF, int(word) >> 16]
        signed = [number - 65536 if number >= 32768 else number for number in expected]
        assert drawn == signed[:entries]


def test_a_draw_depends_on_seed_purpose_step_and_site_alone() -> None:
    alone, among = counted(7), counted(9, 7, 7)
    for _ in range(2):
        own, all_of_them = alone.bits(5, 20), among.bits(5, 20)
        assert torch.equal(all_of_them[1], own[0])
        assert torch.equal(all_of_them[2], own[0])
        assert not torch.equal(all_of_them[0], own[0])
    assert torch.equal(counted(7, step=2).bits(50), counted(7, step=2).bits(50))
    draws = [counted(7), counted(7, step=1), counted(7, step=2**32), counted(8)]
    other = Stream((7,), "order", counted=True)
    found = {tuple(stream.bits(50)[0].tolist()) for stream in [*draws, other]}
    assert len(found) == 5
    stream = counted(7)
    assert not torch.equal(stream.bits(50), stream.bits(50))


def test_bits_are_uniform_and_independent() -> None:
    """By the mean, the variance and each bit's share, within five standard errors."""
    n = 400_000
    drawn = counted(1, 2).bits(n)
    numbers = drawn.double()
    assert (numbers.mean(dim=1) + 0.5).abs().max() < 5 * 65536 / 12**0.5 / n**0.5
    assert (numbers.var(dim=1) / (65536**2 / 12) - 1).abs().max() < 5 * 0.9 / n**0.5
    for bit in range(16):
        share = (drawn.int() >> bit & 1).double().mean(dim=1)
        assert (share - 0.5).abs().max() < 5 * 0.5 / n**0.5
    pairs = [numbers, numbers.roll(1, dims=1), numbers.roll(8, dims=1), numbers.flip(0)]
    correlations = [torch.corrcoef(torch.stack([numbers[0], pair[0]]))[0, 1] for pair in pairs]
    assert torch.tensor(correlations[1:]).abs().max() < 5 / n**0.5


def test_an_order_is_a_permutation_and_another_each_time() -> None:
    stream = Stream((3, 4), "order", counted=True)
    first, second = stream.permutation(1000), stream.permutation(1000)
    for order in (first, second):
        assert torch.equal(order.sort(dim=1).values, torch.arange(1000).expand(2, -1))
    assert (first == second).double().mean() < 0.01
    assert torch.equal(Stream((4,), "order", counted=True).permutation(1000)[0], first[1])


@pytest.mark.parametrize("backend", ["aot_eager"])
def test_compiled_as_one_piece_it_draws_the_same(backend: str) -> None:
    """A GPU draws by the compiled function; that it is one piece is seen here."""
    function = philox.bits.function
    arguments = (
        torch.tensor([5, -7]),
        torch.tensor(3),
        torch.tensor(1),
        torch.arange(10),
    )
    compiled = torch.compile(function, backend=backend, fullgraph=True)
    assert torch.equal(compiled(*arguments), function(*arguments))
