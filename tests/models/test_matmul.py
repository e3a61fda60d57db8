"""A name of a precision means the same products, whatever flags were set before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from models.matmul import PRECISIONS, pin_precision

CUDA = torch.backends.cuda.matmul


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = CUDA.fp32_precision, CUDA.allow_bf16_reduced_precision_reduction
    yield
    CUDA.fp32_precision, CUDA.allow_bf16_reduced_precision_reduction = before


@pytest.mark.parametrize("name", PRECISIONS)
def test_flags_from_outside_do_not_count(name: str) -> None:
    for outside in ("tf32", "ieee"):
        CUDA.fp32_precision = outside
        CUDA.allow_bf16_reduced_precision_reduction = True
        pin_precision(name)
        assert CUDA.fp32_precision == ("tf32" if name == "tf32" else "ieee")
        assert not CUDA.allow_bf16_reduced_precision_reduction
