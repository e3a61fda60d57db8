"""What a study needs, checked one by one without changing anything: no database made, no data fetched, no run."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import click
import torch

from analysis.formatting import one_line
from analysis.store.uri import inspect_store
from models.data import kept
from models.download import FILES, IN_FOLDER, read_own
from models.download_probe import source_at_hand
from study import devices
from study.commands.options import data_folder, writable_folder

PYTHON = (3, 11)
REQUIREMENTS = Path(__file__).parents[2] / "requirements.txt"
NOT_NEEDED = "# tests"
"""Where the list of what only developers need begins."""


class Unwell(RuntimeError):
    """A check failed; the message is one line that says what to do."""


class Finding(NamedTuple):
    """What a check found."""

    check: str
    good: bool
    found: str


def examine(
    dataset: str, folder: str, device: str, scheduler: str | None, output: str
) -> Iterator[Finding]:
    """Checks one after the other; each is told when it is done, and none keeps the next from being made."""
    checks: dict[str, Callable[[], str]] = {
        "python": python,
        "packages": packages,
        "torch": lambda: (
            f"{torch.__version__}, {torch.get_num_threads()} threads, {product('cpu')}"
        ),
        "device": lambda: on_device(device, scheduler is not None),
        "data": lambda: data(dataset, folder),
        "store": inspect_store,
        "output": lambda: f"{writable_folder(output)} can be written to",
        "cluster": lambda: cluster(scheduler),
    }
    for name, check in checks.items():
        try:
            yield Finding(name, True, check())
        except click.ClickException as error:
            yield Finding(name, False, error.format_message())
        except Exception as error:  # whatever it is, it is what stands in a study's way
            yield Finding(name, False, one_line(error))


def python() -> str:
    """The interpreter's version."""
    here, least = ".".join(map(str, sys.version_info[:3])), ".".join(map(str, PYTHON))
    if sys.version_info[:2] < PYTHON:
        raise Unwell(
            f"this is Python {here}, and {least} is the oldest that will do: make .venv with a newer one"
        )
    return here


def packages() -> str:
    """Whether what is installed is what requirements.txt says, but for what only developers need."""
    wanted = re.findall(
        r"^([\w.-]+)==(\S+)", REQUIREMENTS.read_text().partition(NOT_NEEDED)[0], re.MULTILINE
    )
    wrong = []
    for name, version in wanted:
        try:
            # What follows a + says which build it is, such as one for CPUs alone.
            if (found := metadata.version(name)).partition("+")[0] != version:
                wrong.append(f"{name} is {found}, not {version}")
        except metadata.PackageNotFoundError:
            wrong.append(f"{name} {version} is missing")
    if wrong:
        raise Unwell(f"{', '.join(wrong)}: python -m pip install -r {REQUIREMENTS.name}")
    return f"all {len(wanted)} of the versions in {REQUIREMENTS.name}"


def product(device: str) -> str:
    """Multiplies on a device, and says so."""
    ones = torch.ones(64, 64, device=device)
    if (ones @ ones).sum().item() != 64**3:
        raise Unwell(f"a matrix product on {device} comes out wrong: install torch anew")
    return "multiplies"


def on_device(wanted: str, elsewhere: bool) -> str:
    """The device that a study would take, and whether it works."""
    device = devices.pick_device(wanted, elsewhere)
    if elsewhere:
        return f"{device}, the workers' own"
    name = f" ({torch.cuda.get_device_name(device)})" if device == "cuda" else ""
    return f"{device}{name} {product(device)}"


def data(dataset: str, folder: str) -> str:
    """Whether the data is there and good, or can be had."""
    if dataset.startswith(IN_FOLDER):
        read_own(Path(dataset.removeprefix(IN_FOLDER)))
        return f"{dataset} is of the right form"
    cache = data_folder(folder) / dataset
    if len(kept(dataset, cache)) == len(FILES):
        return f"{dataset} is in {cache}, whole and good"
    return f"{dataset} is not in {cache} yet: the first study takes it from {source_at_hand(dataset, cache)}"


def cluster(scheduler: str | None) -> str:
    """Whether a scheduler answers and has workers."""
    if scheduler is None:
        return "none asked for: this machine trains"
    from study.executors.dask_cluster import dask_cluster  # a second to import

    with dask_cluster(scheduler, lambda network_epochs: None, lambda line: None) as there:
        if not (workers := there.workers):
            raise Unwell(
                f"{scheduler} answers, but has no workers: start some by `dask worker {scheduler}`"
            )
    return f"{scheduler} answers, and has {workers} threads of workers"
