"""The options of the command line."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import click

from analysis import schema
from analysis.stats.power import MIN_SEEDS
from models.download import DATASETS, IN_FOLDER
from study.commands import param_types
from study.commands.param_types import Parsed, Rate, WordOr
from study.presets import FIRST_SEED, LAST_SEED, MAX_SEEDS, PRESETS

option = partial(click.option, show_default=True)

output_option = option(
    "--output", default="results", type=param_types.folder("a folder"), help="Folder of the report."
)
experiment_option = option(
    "--experiment",
    default=schema.EXPERIMENT,
    type=param_types.text("an experiment's name", param_types.LONGEST_EXPERIMENT),
    help="MLflow experiment; under `mlflow run` that of the project's run.",
)
study_id_option = option(
    "--study-id",
    default="newest",
    type=WordOr("newest", Parsed("id", param_types.study_id)),
    help="Id of the study.",
)
from_option = option(
    "--from",
    "source",
    default="sqlite:///other.db",
    type=Parsed("address", param_types.sqlite_address_or_report),
    help="Tracking store to read, a sqlite file; or the folder of a report, whose search is read. "
    "It stays as it is.",
)
artifacts_option = option(
    "--artifacts",
    default="found",
    type=WordOr("found", param_types.folder("a folder")),
    help="Folder of that store's artifacts, such as mlruns; found looks where the store says, and "
    "beside its file.",
)
dataset_option = option(
    "--dataset",
    default="fashion-mnist",
    type=Parsed("name", param_types.dataset_name),
    help=f"{', '.join(DATASETS)}, or {IN_FOLDER}FOLDER for four IDX files of your own: images of "
    "28 x 28 in ten classes.",
)
data_option = option(
    "--data",
    "folder",
    default="data",
    type=param_types.folder("a folder"),
    help="Folder that keeps the data set.",
)
device_option = option(
    "--device",
    default="auto",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    help="Device to train on; auto takes the first available of cuda, mps and cpu, and on a "
    "cluster the cpu.",
)
scheduler_option = option(
    "--scheduler",
    default="none",
    type=WordOr("none", Parsed("address", param_types.scheduler_address)),
    help="Address of a running Dask scheduler, tcp://host:port, whose workers train.",
)
workers_option = option(
    "--workers",
    default=0,
    type=click.IntRange(0, 1024),
    help="Worker processes to start on this machine; 0 trains in this process, on all cores.",
)

STUDY_OPTIONS = (
    option(
        "--preset", default="quick", type=click.Choice(list(PRESETS)), help="Size of the study."
    ),
    option(
        "--noise",
        default="preset",
        type=param_types.text("noise types joined by commas"),
        help="Noise types, joined by commas: names, module:Class for your own, preset for the "
        "preset's own types, all for every registered type and plug-in. none and dropout are "
        "always included.",
    ),
    option(
        "--questions",
        default="all",
        type=param_types.text("questions joined by commas, or all"),
        help="Questions to answer, joined by commas.",
    ),
    option(
        "--seeds",
        default="preset",
        type=WordOr("preset", click.IntRange(MIN_SEEDS, MAX_SEEDS)),
        help="Number of seeds that answer each question.",
    ),
    option(
        "--first-seed",
        default="preset",
        type=WordOr("preset", click.IntRange(FIRST_SEED, LAST_SEED)),
        help=f"First of these seeds, {FIRST_SEED} or more. A fresh study takes unused ones.",
    ),
    option("--max-rate", default=0.5, type=Rate(0, 0.95), help="Highest noise rate of the search."),
    dataset_option,
    data_option,
    option(
        "--precision",
        default="auto",
        type=click.Choice(["auto", "float32", "tf32", "bfloat16"]),
        help="Precision of the matrix products in training; auto is bfloat16 on a local CPU that "
        "has it, else float32; tf32 is for CUDA devices.",
    ),
    device_option,
    experiment_option,
)


def study_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which study is meant."""
    for add in reversed(STUDY_OPTIONS):
        command = add(command)
    return command
