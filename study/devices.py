"""The device and the precision that a study trains in."""

from __future__ import annotations

import torch

from models.matmul import is_intel


def pick_device(wanted: str, elsewhere: bool = False) -> str:
    """Return the wanted device, or for "auto" the first of cuda, mps and cpu that is there.

    Args:
        elsewhere: training happens on other machines, whose devices cannot be seen from here: auto
            is the cpu, which they all have.

    Raises:
        ValueError: the wanted device is not there.
    """
    available = [
        name
        for name, has in (("cuda", torch.cuda), ("mps", torch.backends.mps))
        if has.is_available()
    ]
    if wanted == "auto" and elsewhere:
        return "cpu"
    if wanted == "auto":
        return next(iter(available), "cpu")
    if wanted not in (*available, "cpu") and not elsewhere:
        raise ValueError(f"device {wanted} is not available here: choose auto or cpu")
    return wanted


BFLOAT16_IS_EQUIVALENT = True
"""Whether all that docs/precision.md asks is answered with yes; tests/study/test_devices.py holds
the two together."""


def pick_precision(wanted: str, device: str, elsewhere: bool = False) -> str:
    """Return `wanted`, or for "auto" bfloat16 where that is fast and was found to be equivalent.

    This is on AMD's CPUs with AVX-512's instructions for it, where that was studied, and on Intel's
    with AMX, for which that study is taken over; without AMX, Intel's bfloat16 is the slower
    (docs/speed.md). Else float32: on a GPU and on ARM, where it is fast but was not studied, and on
    other machines, which cannot be seen from here.

    Raises:
        ValueError: the device has no products of the wanted precision.
    """
    if wanted == "tf32" and device != "cuda":
        raise ValueError("tf32 is a precision of --device cuda: choose auto or float32")
    if wanted != "auto":
        return wanted
    shown = (
        BFLOAT16_IS_EQUIVALENT
        and device == "cpu"
        and not elsewhere
        and not bfloat16_instructions().isdisjoint({"avx512_bf16", "amx_bf16"})
    )
    return "bfloat16" if shown else "float32"


def multiplies_bfloat16_fast(device: str) -> bool:
    """Return True if bfloat16 products are faster here than float32's, not many times slower."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device == "cpu" and bool(bfloat16_instructions())


def bfloat16_instructions() -> set[str]:
    """Return this processor's instructions that multiply bfloat16 fast, by PyTorch's names: of
    AVX-512 but for Intel's, of AMX, and ARM's."""
    has = torch.cpu.get_capabilities()
    fast = ("amx_bf16", "bf16") if is_intel() else ("avx512_bf16", "amx_bf16", "bf16")
    return {name for name in fast if has.get(name)}
