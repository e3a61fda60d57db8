"""The command line: `study`, `plan` and `report`, the same three as the entry points of MLproject."""

from __future__ import annotations

import math
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from models.sources import DATASETS
from study import interrupts, schema
from study.presets import FIRST_SEED, PRESETS, Preset, chosen

if TYPE_CHECKING:  # MLflow and Optuna take seconds to import: a command does so when it needs them
    from study.schema import Declaration
    from study.trial import Setting

FAILURE, INCOMPLETE, INTERRUPTED = 1, 3, 130


class CommandError(click.ClickException):
    """What the user is told in one line; exit code 1."""


output_option = click.option("--output", default="results", show_default=True, help="Folder for the report.")
experiment_option = click.option(
    "--experiment",
    default=schema.EXPERIMENT,
    show_default=True,
    help="MLflow experiment; under `mlflow run` that of the project's run.",
)


def study_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which study is meant."""
    for option in (
        experiment_option,
        click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda", "mps"])),
        click.option(
            "--precision",
            default="auto",
            show_default=True,
            type=click.Choice(["auto", "float32", "bfloat16"]),
            help="Of the matrix products in training.",
        ),
        click.option("--data", "folder", default="data", show_default=True, help="Folder that keeps the data set."),
        click.option("--dataset", default="fashion-mnist", show_default=True, type=click.Choice(list(DATASETS))),
        click.option(
            "--max-rate",
            default=0.8,
            show_default=True,
            type=click.FloatRange(0, 0.95),
            help="The search's highest noise rate.",
        ),
        click.option(
            "--first-seed",
            default="preset",
            show_default=True,
            help=f"First of these seeds, {FIRST_SEED} or more; a fresh study takes one that none has used.",
        ),
        click.option("--seeds", default="preset", show_default=True, help="How many seeds answer each question."),
        click.option("--questions", default="all", show_default=True, help="Questions to ask, joined by commas."),
        click.option(
            "--noise",
            default="preset",
            show_default=True,
            help="Noise types, joined by commas: names, module:Class for your own, preset for the preset's own types, "
            "all for every registered one and every plug-in; none and dropout are always in.",
        ),
        click.option(
            "--preset", default="quick", show_default=True, type=click.Choice(list(PRESETS)), help="How much to run."
        ),
    ):
        command = option(command)
    return command


@click.group()
def cli() -> None:
    """What does noise in a network do, and can you beat dropout?"""


@cli.command()
@study_options
@output_option
def study(output: str, **options: Any) -> None:
    """Run the study, or go on with it; write the report."""
    from analysis import report, runs
    from analysis.address import address
    from study import executors
    from study.coordination import open_study
    from study.declare import planned_trials
    from study.progress import Progress
    from study.runner import run_study
    from study.session import Session

    folder = writable_folder(output)
    preset, setting, declaration = resolve(**options)
    progress = Progress(sum(trial.network_epochs for trial in planned_trials(preset, declaration.noise_types)))
    with (
        interrupts.remembered(),
        executors.local(setting.device, progress.advance) as trainer,
        open_study(declaration, setting, options["experiment"]) as tracker,
    ):
        click.echo(f"study {declaration.study_id}: preset {preset.name}, on {setting.device}", err=True)
        if tracker.experiment != options["experiment"]:
            click.echo(f"logged to experiment {tracker.experiment}: name it when you ask for the report", err=True)
        session = Session(preset, declaration, tracker, trainer, progress)
        run_study(session)
        progress.end()
        interrupts.check()
        page = report.write(runs.load(declaration.study_id, tracker.experiment, images=True), folder)
        tracker.log_report(folder)
        tracker.finish()
    if session.failed:
        names = [trial.arm.name for trial in session.failed]
        click.echo(f"{len(names)} trials failed and count for nothing: {', '.join(names)}", err=True)
    uri = address()
    click.echo(f"report: {page} (runs: {uri if uri.startswith('http') else f'mlflow ui --backend-store-uri {uri}'})")
    if session.incomplete:
        sys.exit(INCOMPLETE)


@cli.command()
@study_options
@output_option
def plan(output: str, **options: Any) -> None:
    """Say what a study would run, how long, and what it could detect; run nothing."""
    from study import plan
    from study.declare import planned_trials

    writable_folder(output)
    preset, setting, declaration = resolve(**options)
    trials = planned_trials(preset, declaration.noise_types)
    click.echo(f"study {declaration.study_id}: preset {preset.name}, on {setting.device}")
    click.echo(plan.describe(preset, trials, plan.seconds_per_network_epoch(preset, setting)))


@cli.command()
@click.option("--study-id", default="newest", show_default=True, help="Which study, by its id.")
@click.option(
    "--preset", default="any", show_default=True, type=click.Choice(["any", *PRESETS]), help="Of this preset."
)
@experiment_option
@output_option
def report(study_id: str, preset: str, experiment: str, output: str) -> None:
    """Write the report of a study from the tracking store alone."""
    from analysis import report, runs

    folder = writable_folder(output)
    which = None if study_id == "newest" else study_id
    found = runs.load(which, experiment, preset=None if preset == "any" else preset, images=True)
    page = report.write(found, folder)
    click.echo(f"report: {page}")


def resolve(
    preset: str,
    noise: str,
    questions: str,
    seeds: str,
    first_seed: str,
    max_rate: float,
    dataset: str,
    folder: str,
    device: str,
    precision: str,
    experiment: str,
) -> tuple[Preset, Setting, Declaration]:
    """The preset, setting and declaration that the options mean.

    Raises:
        click.UsageError: an option that no type of click's could check.
        DataError: the data set cannot be had.
    """
    from study import executors
    from study.declare import declare, pick_noise_types
    from study.space import on_grid
    from study.trial import Setting

    if math.isnan(max_rate):
        raise click.UsageError("the highest rate must be a number from 0 to 0.95, not nan")
    try:
        wanted = chosen(preset, questions, seeds, first_seed)
        noise_types, device = pick_noise_types(noise, wanted), executors.pick_device(device)
        wanted = wanted.searching(noise_types)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    precision = executors.pick_precision(precision)
    if precision == "bfloat16" and not executors.multiplies_bfloat16_fast(device):
        click.echo("this device has no bfloat16 products of its own: float32 will be many times faster", err=True)
    setting = Setting(dataset, folder, wanted.train_examples, device, precision)
    return wanted, setting, declare(wanted, noise_types, on_grid(max_rate), executors.load_split(setting), setting)


def writable_folder(name: str) -> Path:
    """The output folder, made if need be; asked before anything is trained.

    Raises:
        CommandError: it cannot be written to.
    """
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise CommandError(
            f"cannot write to the output folder {name}: {error.strerror}; choose another by --output"
        ) from error


def quiet_libraries() -> None:
    """Standard error is for progress and what goes wrong, not for what libraries do as usual."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


def expected_errors() -> tuple[type[Exception], ...]:
    """Failures whose message is meant for the user; anything else is a bug and shows its traceback."""
    from mlflow.exceptions import MlflowException

    from analysis.address import StoreError
    from models.data import DataError
    from study.coordination import AlreadyRunning
    from study.runner import NothingToCompare

    return StoreError, DataError, AlreadyRunning, NothingToCompare, MlflowException, OSError


def main() -> NoReturn:
    """Runs the command line; every expected failure is one line on standard error and an exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    quiet_libraries()
    # A store that is away for a moment is waited for; one that does not answer is found out before anything starts.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")
    try:
        cli.main(standalone_mode=False)
        code = 0
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        code = error.exit_code
        click.echo(error.format_message(), err=True)
    except click.ClickException as error:
        code = error.exit_code
        click.echo(f"error: {error.format_message()}", err=True)
    except (KeyboardInterrupt, click.Abort):
        code = INTERRUPTED
        click.echo("\ninterrupted; finished trials are kept: the same command goes on from them", err=True)
    except expected_errors() as error:
        code = FAILURE
        click.echo(f"error: {(str(error).splitlines() or [type(error).__name__])[0]}", err=True)
    sys.exit(code)
