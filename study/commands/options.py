"""The options of the command line, and what they mean."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analysis import schema
from models.download import DATASETS, IN_FOLDER
from study.commands import console, param_types
from study.presets import FIRST_SEED, LAST_SEED, MAX_SEEDS, MIN_SEEDS, PRESETS, Preset, chosen

if TYPE_CHECKING:  # MLflow and Optuna take seconds to import: a command does so when it needs them
    from analysis.schema import Declaration
    from study.trial import Setting


class CommandError(click.ClickException):
    """What the user is told in one line; exit code 1."""


output_option = click.option(
    "--output",
    default="results",
    show_default=True,
    type=param_types.text("a folder"),
    help="Folder for the report.",
)
experiment_option = click.option(
    "--experiment",
    default=schema.EXPERIMENT,
    show_default=True,
    type=param_types.text("an experiment's name", param_types.LONGEST_EXPERIMENT),
    help="MLflow experiment; under `mlflow run` that of the project's run.",
)
study_id_option = click.option(
    "--study-id",
    default="newest",
    show_default=True,
    type=param_types.Value("id", param_types.study_id, "newest"),
    help="Which study, by its id.",
)


def dataset_name(value: str) -> str:
    """A data set by its name, or "path:" and a folder.

    Raises:
        ValueError: neither.
    """
    if value in DATASETS:
        return value
    folder = value.removeprefix(IN_FOLDER)
    if folder != value:
        param_types.plain_text(folder, f"{IN_FOLDER} and a folder")
        return value
    raise ValueError(f"one of {', '.join(DATASETS)}, or {IN_FOLDER}FOLDER")


dataset_option = click.option(
    "--dataset",
    default="fashion-mnist",
    show_default=True,
    type=param_types.Value("name", dataset_name),
    help=f"{', '.join(DATASETS)}, or {IN_FOLDER}FOLDER for four IDX files of your own, 28 x 28 in ten classes.",
)
data_option = click.option(
    "--data",
    "folder",
    default="data",
    show_default=True,
    type=param_types.text("a folder"),
    help="Folder that keeps the data set.",
)
device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    help="What trains; auto takes the first that is there of cuda, mps and cpu.",
)
scheduler_option = click.option(
    "--scheduler",
    default="none",
    show_default=True,
    type=param_types.Value("address", param_types.scheduler_address, "none"),
    help="Address of a running Dask scheduler, tcp://host:port, whose workers train.",
)


def study_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which study is meant."""
    for option in (
        experiment_option,
        device_option,
        click.option(
            "--precision",
            default="auto",
            show_default=True,
            type=click.Choice(["auto", "float32", "bfloat16"]),
            help="Of the matrix products in training; auto is bfloat16 on a CPU here that has it, else float32.",
        ),
        data_option,
        dataset_option,
        click.option(
            "--max-rate",
            default=0.8,
            show_default=True,
            type=param_types.number(0, 0.95),
            help="The search's highest noise rate.",
        ),
        click.option(
            "--first-seed",
            default="preset",
            show_default=True,
            type=param_types.whole(FIRST_SEED, LAST_SEED, "preset"),
            help=f"First of these seeds, {FIRST_SEED} or more; a fresh study takes one that none has used.",
        ),
        click.option(
            "--seeds",
            default="preset",
            show_default=True,
            type=param_types.whole(MIN_SEEDS, MAX_SEEDS, "preset"),
            help="How many seeds answer each question.",
        ),
        click.option(
            "--questions",
            default="all",
            show_default=True,
            type=param_types.text("questions joined by commas, or all"),
            help="Questions to ask, joined by commas.",
        ),
        click.option(
            "--noise",
            default="preset",
            show_default=True,
            type=param_types.text("noise types joined by commas"),
            help="Noise types, joined by commas: names, module:Class for your own, preset for the preset's own types, "
            "all for every registered one and every plug-in; none and dropout are always in.",
        ),
        click.option(
            "--preset",
            default="quick",
            show_default=True,
            type=click.Choice(list(PRESETS)),
            help="How much to run.",
        ),
    ):
        command = option(command)
    return command


def worker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where to train; the numbers depend on them only in what `--precision auto` means."""
    command = scheduler_option(command)
    return click.option(
        "--workers",
        default=0,
        show_default=True,
        type=param_types.whole(0, 1024),
        help="Worker processes to start on this machine; 0 trains in this one, on all its cores.",
    )(command)


def where_to_train(workers: int, scheduler: str | None) -> bool:
    """Whether the options mean that other machines train.

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
    """The preset, setting and declaration that the options mean.

    Args:
        elsewhere: whether training happens on other machines.

    Raises:
        click.UsageError: an option that cannot be checked alone.
        CommandError: the data folder is none.
        DataError: the data set cannot be had.
    """
    from study import devices
    from study.declaration import declare, pick_noise_types
    from study.search_space import on_grid
    from study.trial import Setting
    from study.worker import load_split

    try:
        wanted = chosen(preset, questions, seeds, first_seed)
        noise_types, device = (
            pick_noise_types(noise, wanted),
            devices.pick_device(device, elsewhere),
        )
        wanted = wanted.searching(noise_types)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    precision = devices.pick_precision(precision, device, elsewhere)
    data_folder(folder)
    if precision == "bfloat16" and not elsewhere and not devices.multiplies_bfloat16_fast(device):
        console.tell(
            "this device has no bfloat16 products of its own: float32 will be many times faster"
        )
    setting = Setting(dataset, folder, wanted.train_examples, device, precision)
    here = load_split(replace(setting, device="cpu") if elsewhere else setting)
    setting = replace(setting, digest=here.digest)
    return wanted, setting, declare(wanted, noise_types, on_grid(max_rate), here, setting)


def data_folder(name: str) -> Path:
    """The folder that keeps the data set, or is to keep it; one that cannot be written to will do.

    Raises:
        CommandError: it is a file, lies below one, or cannot be read.
    """
    folder = Path(name)
    try:
        os.scandir(_nearest(folder)).close()
        return folder
    except OSError as error:
        raise CommandError(
            f"cannot use the data folder {param_types.cut(name)}: {error.strerror}; choose another by --data"
        ) from error


def writable_folder(name: str) -> Path:
    """The output folder; asked before anything is trained, made when the report is written.

    Raises:
        CommandError: it cannot be written to.
    """
    folder = Path(name)
    try:
        with tempfile.TemporaryFile(dir=_nearest(folder)):
            return folder
    except OSError as error:
        raise CommandError(
            f"cannot write to the output folder {param_types.cut(name)}: {error.strerror}; choose another by --output"
        ) from error


def _nearest(folder: Path) -> Path:
    """The folder, or what there is of the way to it; OSError where no folder could ever be."""
    for place in (folder, *folder.parents):
        try:
            place.lstat()
        except FileNotFoundError:
            continue
        return place
    raise FileNotFoundError(2, "No such file or directory")
