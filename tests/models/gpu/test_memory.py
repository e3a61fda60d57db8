"""What one more network takes is measured, whatever its noise and measures."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from models import train
from models.config import Arm
from models.data import Split
from models.gpu.memory import LiveBytes, bytes_of_one_more
from models.train import network_bytes, population_size
from study.presets import BOOK

ARM = Arm("dropout", 0.3, 0.3, 0.0, replace(BOOK, batch_size=32))
WEIGHTS = 4 * (784 * 256 + 256 + 256 * 256 + 256 + 256 * 10 + 10)


def test_views_count_once_and_what_is_gone_no_more() -> None:
    with LiveBytes() as live:
        kept = torch.zeros(1000)
        assert kept.view(10, 100).sum() == 0
        for _ in range(3):
            torch.zeros(2000)
    assert 4 * 3000 <= live.peak < 4 * 3100


def test_the_slope_is_of_one_network() -> None:
    assert bytes_of_one_more(lambda networks: torch.zeros(500 + 1000 * networks)) == 4000


def test_a_network_takes_its_weights_and_gradients_at_least(small: Split) -> None:
    """With few images to evaluate: 500 would decide the peak of a few networks, though each network
    more adds less to them than to a step. A mask of all weights for each image takes many times as
    much."""
    held_out = ("validation_x", "validation_y", "test_x", "test_y")
    few = replace(small, **{name: getattr(small, name)[:10] for name in held_out})
    plain = network_bytes(ARM, few)
    assert 2 * WEIGHTS < plain < 16e6
    assert network_bytes(replace(ARM, noise="dropconnect-example"), few) > 4 * plain


def test_a_gpu_is_filled_by_half_of_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu = cast(Split, SimpleNamespace(train_x=SimpleNamespace(device=torch.device("cuda"))))
    card = SimpleNamespace(total_memory=8e9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    for taken, networks in ((89_000_000, 44), (349_000_000, 11), (5_000_000, 256)):
        monkeypatch.setattr(train, "network_bytes", lambda *_, taken=taken: taken)
        assert population_size(ARM, on_gpu) == networks
