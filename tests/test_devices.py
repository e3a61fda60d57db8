"""The precision that `auto` means."""

from __future__ import annotations

import pytest

from benchmarks import precision
from study import devices


def test_auto_is_bfloat16_only_if_the_record_says_that_it_leaves_the_answers_alone() -> None:
    assert (not precision.unsettled()) == devices.BFLOAT16_IS_EQUIVALENT


@pytest.mark.parametrize("equivalent", [True, False])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
@pytest.mark.parametrize("elsewhere", [True, False])
def test_auto_is_bfloat16_on_a_cpu_here_that_multiplies_it_fast(
    equivalent: bool, fast: bool, device: str, elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "BFLOAT16_IS_EQUIVALENT", equivalent)
    monkeypatch.setattr(devices, "multiplies_bfloat16_fast", lambda device: fast)
    chosen = "bfloat16" if equivalent and fast and device == "cpu" and not elsewhere else "float32"
    assert devices.pick_precision("auto", device, elsewhere) == chosen
    for asked in ("float32", "bfloat16"):
        assert devices.pick_precision(asked, device, elsewhere) == asked
