"""What a batch and a worker do where something is wrong: the failure is told in a line, and nothing else is lost."""

from __future__ import annotations

import pytest
import torch

from models.config import Arm, Recipe
from models.train import Trained
from study import schema, work
from study.trial import Setting, Trial

RECIPE = Recipe("short", epochs=1)
TRIAL = Trial(Arm("dropout", 0.2, 0.2, 0.0, RECIPE), (1, 2), schema.SEARCH)
SETTING = Setting("fashion-mnist", "nowhere", 600, "cpu")


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[list[Trained]]:
    """A batch that is trained where training raises this."""

    def fails(*arguments: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(work, "load_split", lambda setting: None)
    monkeypatch.setattr(work, "train_population", fails)
    return work.train_batch([TRIAL], SETTING)


def error_of_torch() -> Exception:
    """What this machine's torch raises for what no machine has."""
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        torch.empty(10**15)
    return raised.value


@pytest.mark.parametrize(
    "error",
    [
        error_of_torch(),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4000 bytes."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("std::bad_alloc"),
    ],
    ids=["here", "python", "windows", "linux", "c++"],
)
def test_a_registered_type_that_runs_out_of_memory_fails_alone(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    [networks] = failing(monkeypatch, error)
    assert {network.error for network in networks} == {"out of memory while dropout was trained"}


def test_what_is_a_bug_of_ours_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        failing(monkeypatch, RuntimeError("shapes do not match"))
