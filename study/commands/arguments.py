"""What the options mean: the study asked for, and folders that can be used."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from analysis.formatting import shortened
from study.commands import console
from study.presets import Preset, chosen

if TYPE_CHECKING:  # torch and Optuna take seconds to import: a command does so when it needs them
    from analysis.schema import Declaration
    from study.trial import Setting


class CommandError(click.ClickException):
    """A failure that is told in one line; exit code 1."""


def trains_elsewhere(workers: int, scheduler: str | None) -> bool:
    """Return True if other machines train.

    Raises:
        click.UsageError: both options at once.
    """
    if workers and scheduler:
        raise click.UsageError(
            "--workers starts processes here, --scheduler takes those of a cluster: give one"
        )
    return scheduler is not None


def resolve(
    preset: str,
    noise: str,
    questions: str,
    seeds: int | None,
    first_seed: int | None,
    max_rate: float,
    dataset: str,
    folder: str,
    device: str,
    precision: str,
    elsewhere: bool = False,
) -> tuple[Preset, Setting, Declaration]:
    """Return the preset, setting and declaration that the options mean.

    Args:
        elsewhere: training happens on other machines.

    Raises:
        click.UsageError: an option that cannot be checked alone.
        CommandError: the data folder cannot be used.
        DataError: the data set cannot be had.
    """
    from study import devices
    from study.declaration import declare, pick_noise_types
    from study.search_space import on_grid
    from study.trial import Setting
    from study.worker import load_split

    try:
        wanted = chosen(preset, questions, seeds, first_seed)
        noise_types = pick_noise_types(noise, wanted)
        device = devices.pick_device(device, elsewhere)
        precision = devices.pick_precision(precision, device, elsewhere)
        wanted = wanted.searching(noise_types)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    data_folder(folder)
    if precision == "bfloat16" and not elsewhere and not devices.multiplies_bfloat16_fast(device):
        console.tell("bfloat16 is slower than float32 on this device: use --precision float32")
    setting = Setting(dataset, folder, device, precision)
    split = load_split(replace(setting, device="cpu") if elsewhere else setting)
    setting = replace(setting, digest=split.digest)
    wanted = wanted.on_images(len(split.train_y))
    return wanted, setting, declare(wanted, noise_types, on_grid(max_rate), split, setting)


def data_folder(name: str) -> Path:
    """Return the folder of the data set; it need not exist, nor be writable.

    Raises:
        CommandError: it is a file, lies below one, or cannot be read.
    """
    folder = Path(name)
    try:
        os.scandir(_nearest(folder)).close()
        return folder
    except OSError as error:
        raise CommandError(
            f"cannot use the data folder {shortened(name)}: {error.strerror}; choose another by "
            "--data"
        ) from error


def writable_folder(name: str) -> Path:
    """Return the output folder; it is made when the report is written.

    Raises:
        CommandError: it cannot be written to, or holds files of somebody else under the report's
            names.
    """
    from analysis.report.folder import ForeignFiles, refuse_foreign_files

    folder = Path(name)
    try:
        refuse_foreign_files(folder)
        with tempfile.TemporaryFile(dir=_nearest(folder)):
            return folder
    except ForeignFiles as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(
            f"cannot write to the output folder {shortened(name)}: {error.strerror}; choose "
            "another by --output"
        ) from error


def _nearest(folder: Path) -> Path:
    """Return the folder, or its nearest ancestor that exists; OSError where none could."""
    for place in (folder, *folder.parents):
        try:
            place.lstat()
        except FileNotFoundError:
            continue
        return place
    raise FileNotFoundError(2, "No such file or directory")
