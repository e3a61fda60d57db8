"""What only a CUDA device can show. `make test-gpu` runs these; elsewhere they are skipped.

A warning is an error in tests: a step that is not captured, or an operation that is not compiled,
fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from analysis.stats import paired
from models.config import Arm
from models.data import Split
from models.gpu import steps
from models.mlp import Weights
from models.noise import NOISE, noise_type
from models.train import build, fit, network_bytes, train_population
from study.presets import LONG, SMALL

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]

ROOT = Path(__file__).parents[1]
SEEDS = (1, 2, 3)
ONE_EPOCH = replace(LONG, epochs=1, train_examples=5_000)
FIVE_EPOCHS = replace(LONG, epochs=5, train_examples=1_000)  # of batches of 256 and 232


def arm_of(name: str, recipe: object) -> Arm:
    rates = [0.2] * len(noise_type(name).rates)
    return Arm.of(name, rates, 1e-4, recipe)  # type: ignore[arg-type]


def trained(arm: Arm, seeds: Sequence[int], split: Split) -> tuple[Weights, torch.Tensor]:
    """The weights after a training by counter, and each epoch's losses."""
    population, noise = build([arm] * len(seeds), seeds, split)
    losses = list(fit(population, noise, [arm] * len(seeds), seeds, split, counted=True))
    return population, torch.stack(losses).cpu()


@pytest.mark.parametrize("name", NOISE)
def test_a_gpu_trains_the_same_networks_as_a_cpu(name: str, parts: Split) -> None:
    """In float32 over an epoch of 20 steps: same weights, order and draws, so only rounding is
    left."""
    some = parts.subset(5_000)
    arm = arm_of(name, ONE_EPOCH)
    _, here = trained(arm, SEEDS, some)
    _, there = trained(arm, SEEDS, some.to("cuda"))
    assert there.tolist() == [pytest.approx(losses, rel=2e-3) for losses in here.tolist()]


@pytest.mark.parametrize("name", NOISE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_captured_step_is_the_step(
    name: str, dtype: torch.dtype, parts: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, and so is a repetition."""
    some = parts.subset(1_000).rounded(dtype).to("cuda")
    arm = arm_of(name, FIVE_EPOCHS)
    captured, again = (trained(arm, SEEDS, some) for _ in range(2))
    monkeypatch.setattr(steps, "WARM_UP", 10**9)
    uncaptured = trained(arm, SEEDS, some)
    for weights, losses in (again, uncaptured):
        assert torch.equal(losses, captured[1])
        for a, b in zip(weights.tensors, captured[0].tensors, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["none", "dropout", "gaussian", "dropconnect", "input-dropout"])
def test_scores_are_a_cpus(name: str, parts: Split) -> None:
    """Equivalent over 20 seeds within the study's own margin, 0.2 points, other draws on either
    side."""
    arm = arm_of(name, replace(SMALL, epochs=30))
    seeds = range(20)
    sides = [train_population([arm], seeds, split) for split in (parts, parts.to("cuda"))]
    accuracies = [[network.scores["val/accuracy"] for network in side] for side in sides]
    differences = torch.tensor(accuracies[1]) - torch.tensor(accuracies[0])
    assert paired.tost(differences.numpy(), 0.002) <= 0.05


@pytest.mark.parametrize("name", ["none", "dropout", "gaussian-weights", "input-dropout+dropout"])
def test_memory_stays_within_the_estimate(name: str, parts: Split) -> None:
    """The slope over networks of what the allocator has reserved, captured steps included; twice
    the estimate is what half of the memory leaves."""
    on_gpu = parts.subset(5_000).to("cuda")
    arm = arm_of(name, replace(ONE_EPOCH, epochs=2))
    held = []
    for networks in (16, 64):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        train_population([arm], range(networks), on_gpu)
        held.append(torch.cuda.max_memory_reserved())
    assert (held[1] - held[0]) / 48 <= 2 * network_bytes(arm, on_gpu)


def test_a_study_runs_there(folder: Path, tmp_path: Path) -> None:
    """`smoke` through the command line, in each precision; a second run trains nothing."""
    for precision in ("float32", "tf32", "bfloat16"):
        store = f"sqlite:///{tmp_path / precision}.db"
        command = [sys.executable, "-m", "study", "study", "--preset", "smoke"]
        command += ["--device", "cuda", "--precision", precision, "--data", str(folder)]
        command += ["--output", str(tmp_path / precision)]
        for _ in range(2):
            ended = subprocess.run(
                command,
                cwd=ROOT,
                env={**os.environ, "MLFLOW_TRACKING_URI": store},
                capture_output=True,
                text=True,
                check=False,
            )
            assert ended.returncode == 0, ended.stderr
        assert json.loads((tmp_path / precision / "answers.json").read_text())
