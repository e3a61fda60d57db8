"""The precision that `auto` means."""

from __future__ import annotations

import pytest
import torch
from distributed import LocalCluster

from benchmarks import precision
from study import devices
from study.executors.dask_cluster import device_of_workers


def test_auto_is_no_device_of_the_coordinator_where_others_train(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A Mac's mps is not what Linux workers have."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert devices.pick_device("auto") in ("cuda", "mps")
    assert devices.pick_device("auto", elsewhere=True) == "cpu"
    assert devices.pick_device("cuda", elsewhere=True) == "cuda"


def test_auto_is_bfloat16_only_if_the_record_says_that_it_leaves_the_answers_alone() -> None:
    assert (not precision.unsettled()) == devices.BFLOAT16_IS_EQUIVALENT


@pytest.mark.parametrize("equivalent", [True, False])
@pytest.mark.parametrize("processor", ["Intel Xeon", "AMD EPYC"])
@pytest.mark.parametrize("capability", ["avx512_bf16", "amx_bf16", "bf16", "avx512_f"])
@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
@pytest.mark.parametrize("elsewhere", [True, False])
def test_auto_is_bfloat16_on_a_cpu_here_where_it_is_fast_and_was_studied(
    equivalent: bool,
    processor: str,
    capability: str,
    device: str,
    elsewhere: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Intel's AVX-512 multiplies bfloat16 no faster than float32; its AMX does."""
    monkeypatch.setattr(devices, "BFLOAT16_IS_EQUIVALENT", equivalent)
    has = {"cpu_name": processor, capability: True}
    monkeypatch.setattr(devices.torch.cpu, "get_capabilities", lambda: has)
    slow = capability == "avx512_f" or (processor, capability) == ("Intel Xeon", "avx512_bf16")
    assert devices.multiplies_bfloat16_fast("cpu") != slow
    studied = equivalent and not slow and capability != "bf16"
    chosen = "bfloat16" if studied and device == "cpu" and not elsewhere else "float32"
    assert devices.pick_precision("auto", device, elsewhere) == chosen
    for asked in ("float32", "bfloat16"):
        assert devices.pick_precision(asked, device, elsewhere) == asked


def test_tf32_is_for_cuda_alone() -> None:
    assert devices.pick_precision("tf32", "cuda") == "tf32"
    for device in ("cpu", "mps"):
        with pytest.raises(ValueError, match="tf32 is a precision of --device cuda"):
            devices.pick_precision("tf32", device)


def test_auto_is_the_device_of_all_workers_of_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real workers of Dask, in threads of this process, of which one at a time has a GPU."""
    place = {"n_workers": 2, "processes": False, "dashboard_address": None}
    with LocalCluster(host="127.0.0.1", protocol="tcp", **place) as cluster:
        address = cluster.scheduler_address
        assert device_of_workers(address) == devices.pick_device("auto")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert device_of_workers(address) == "cuda"
        asked: list[int] = []

        def every_other() -> bool:
            asked.append(1)
            return len(asked) % 2 == 0

        monkeypatch.setattr(torch.cuda, "is_available", every_other)
        assert device_of_workers(address) == "cpu"
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        cluster.scale(0)
        assert device_of_workers(address) == "cpu"
