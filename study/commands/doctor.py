"""Checks of what a study needs; nothing is changed: no database made, no data fetched, no run."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import click
import torch

from analysis.formatting import one_line
from analysis.store.uri import inspect_store
from models.data import kept
from models.download import FILES, IN_FOLDER, reachable_source, read_own
from study import devices
from study.commands.arguments import data_folder, writable_folder

PYTHON = (3, 11)
REQUIREMENTS = Path(__file__).parents[2] / "requirements.txt"
FOR_DEVELOPERS = "# tests"
"""Begins the part of the requirements that a study does without."""


class Unfit(RuntimeError):
    """A check failed; the message is one line that says what to do."""


def examine(
    dataset: str, folder: str, device: str, scheduler: str | None, output: str
) -> Iterator[tuple[str, bool, str]]:
    """Yield each check's name, whether it passed, and its finding."""
    checks: dict[str, Callable[[], str]] = {
        "python": check_python,
        "packages": check_packages,
        "torch": check_torch,
        "device": lambda: check_device(device, scheduler is not None),
        "data": lambda: check_data(dataset, folder),
        "store": inspect_store,
        "output": lambda: f"{writable_folder(output)} can be written to",
        "cluster": lambda: check_cluster(scheduler),
    }
    for name, check in checks.items():
        try:
            yield name, True, check()
        except click.ClickException as error:
            yield name, False, error.format_message()
        except Exception as error:  # whatever it is, it would stop a study
            yield name, False, one_line(error)


def check_python() -> str:
    """Return the interpreter's version."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < PYTHON:
        oldest = ".".join(map(str, PYTHON))
        raise Unfit(f"Python {version} is older than {oldest}: make .venv with a newer one")
    return version


def check_packages() -> str:
    """Compare the installed packages with requirements.txt."""
    needed = REQUIREMENTS.read_text().partition(FOR_DEVELOPERS)[0]
    wanted = re.findall(r"^([\w.-]+)==(\S+)", needed, re.MULTILINE)
    wrong = []
    for name, version in wanted:
        try:
            installed = metadata.version(name).partition("+")[0]  # after a + stands the build
            if installed != version:
                wrong.append(f"{name} is {installed}, not {version}")
        except metadata.PackageNotFoundError:
            wrong.append(f"{name} {version} is missing")
    if wrong:
        raise Unfit(f"{', '.join(wrong)}: python -m pip install -r {REQUIREMENTS.name}")
    return f"all {len(wanted)} of the versions in {REQUIREMENTS.name}"


def check_torch() -> str:
    """Multiply on the CPU."""
    check_product("cpu")
    return f"{torch.__version__}, {torch.get_num_threads()} threads, multiplies"


def check_product(device: str) -> None:
    """Multiply on a device."""
    ones = torch.ones(64, 64, device=device)
    if (ones @ ones).sum().item() != 64**3:
        raise Unfit(f"a matrix product on {device} is wrong: install torch again")


def check_device(wanted: str, elsewhere: bool) -> str:
    """Return the device that a study would take."""
    device = devices.pick_device(wanted, elsewhere)
    if elsewhere:
        return f"{device}, the workers' own"
    check_product(device)
    name = f" ({torch.cuda.get_device_name(device)})" if device == "cuda" else ""
    return f"{device}{name} multiplies"


def check_data(dataset: str, folder: str) -> str:
    """Check that the data is there and good, or that a source of it answers."""
    if dataset.startswith(IN_FOLDER):
        read_own(Path(dataset.removeprefix(IN_FOLDER)))
        return f"{dataset} is of the right form"
    cache = data_folder(folder) / dataset
    if len(kept(dataset, cache)) == len(FILES):
        return f"{dataset} is in {cache}, whole and good"
    source = reachable_source(dataset, cache)
    return f"{dataset} is not in {cache} yet: the first study takes it from {source}"


def check_cluster(scheduler: str | None) -> str:
    """Check that a scheduler answers and has workers."""
    if scheduler is None:
        return "none asked for: this machine trains"
    from study.executors.dask_cluster import dask_cluster  # takes a second to import

    with dask_cluster(scheduler, lambda images: None, lambda line: None) as cluster:
        threads = cluster.workers
    if not threads:
        raise Unfit(f"{scheduler} has no workers: start some by `dask worker {scheduler}`")
    return f"{scheduler} answers, and has {threads} threads of workers"
