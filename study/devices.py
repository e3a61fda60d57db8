"""The device and the precision that a study trains in."""

from __future__ import annotations

import torch


def pick_device(wanted: str, elsewhere: bool = False) -> str:
    """`wanted`, or for "auto" the first of cuda, mps and cpu that is there.

    Args:
        elsewhere: whether training happens on other machines, whose devices cannot be seen from here.

    Raises:
        ValueError: the wanted device is not there.
    """
    available = [name for name, has in (("cuda", torch.cuda), ("mps", torch.backends.mps)) if has.is_available()]
    if wanted == "auto":
        return next(iter(available), "cpu")
    if wanted not in (*available, "cpu") and not elsewhere:
        raise ValueError(f"device {wanted} is not available here: choose auto or cpu")
    return wanted


BFLOAT16_IS_EQUIVALENT = True
"""Whether all that docs/precision.md asks is answered with yes; tests/test_devices.py holds the two together."""


def pick_precision(wanted: str, device: str, elsewhere: bool = False) -> str:
    """`wanted`, or for "auto" bfloat16 on a CPU that multiplies it fast, once each arm's scores are known to stay.

    Else float32: so on a GPU, where equivalence was not studied, and on other machines, which cannot be seen from here.
    """
    if wanted != "auto":
        return wanted
    fast = device == "cpu" and not elsewhere and multiplies_bfloat16_fast(device)
    return "bfloat16" if BFLOAT16_IS_EQUIVALENT and fast else "float32"


def multiplies_bfloat16_fast(device: str) -> bool:
    """Whether the hardware has bfloat16 products; without, they are many times slower than float32's."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    has = torch.cpu.get_capabilities()
    return device == "cpu" and bool(has.get("avx512_bf16") or has.get("amx_bf16") or has.get("bf16"))
