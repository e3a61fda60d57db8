"""Where a result comes from: the code's commit, the packages, the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

PACKAGES = (
    "torch",
    "torchvision",
    "numba",
    "optuna",
    "mlflow",
    "numpy",
    "pandas",
    "scipy",
    "statsmodels",
    "seaborn",
)


def git_state() -> tuple[str, bool]:
    """The commit of the checked-out code, and whether the tree differs from it; ("unknown", True)
    outside git.

    MLflow logs a dirty tree under a clean commit, so this is asked for separately.
    """
    try:
        commit = _git("rev-parse", "HEAD")
        return commit, bool(_git("status", "--porcelain"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True


def versions(device: str) -> dict[str, dict[str, str]]:
    """Versions of the packages that shape a result, and the machine it was made on."""
    machine = {
        "python": platform.python_version(),
        "system": platform.system(),
        "architecture": platform.machine(),
        "cores": str(os.cpu_count()),
        "device": device,
        "vector instructions": torch.backends.cpu.get_cpu_capability(),
    }
    if device.startswith("cuda"):
        machine["gpu"] = torch.cuda.get_device_name(device)
    return {"packages": {name: metadata.version(name) for name in PACKAGES}, "machine": machine}


def _git(*arguments: str) -> str:
    folder = Path(__file__).parent
    return subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()
