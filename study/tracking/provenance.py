"""Where a result comes from: the code's commit, the packages, the machine."""

from __future__ import annotations

import getpass
import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

import torch

from analysis.store.uri import local_path

SSH_ADDRESS = re.compile(r"[^/]+@[^/]+:")
"""Begins an address such as git@host:path, which has no scheme."""
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
    """Return the commit of the code, and whether the tree differs from it.

    ("unknown", True) outside git, and where the files lie in a repository that does not track them,
    such as a home folder's. MLflow logs a dirty tree under a clean commit, so this is asked for
    separately.
    """
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        commit = _git("rev-parse", "HEAD")
        return commit, bool(_git("status", "--porcelain"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True


def git_complaint() -> str:
    """Return git's word where it refuses a repository that belongs to somebody else; else empty."""
    try:
        _git("rev-parse", "HEAD")
    except subprocess.CalledProcessError as error:
        if "dubious ownership" in error.stderr:
            return str(error.stderr.splitlines()[0])
    except OSError:
        pass
    return ""


def is_fetched(source: str) -> bool:
    """Return True if `mlflow run` takes a project's source into a temporary folder: a zip or git.

    Args:
        source: as MLflow names it, without the "#" and folder below it.
    """
    folder = local_path(source)
    return folder is None or folder.is_file() or SSH_ADDRESS.match(source) is not None


def user() -> str:
    """Return the name of who runs this; "unknown" in a container that has no such user."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


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
        ["git", *arguments],
        cwd=folder,
        env={**os.environ, "LC_ALL": "C"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
