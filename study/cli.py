"""The command line: `study`, `plan`, `report` and `export`, the same as the entry points of MLproject."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn

import click

from study import interrupts
from study.options import (
    experiment_option,
    output_option,
    resolve,
    study_options,
    where_to_train,
    worker_options,
    writable_folder,
)
from study.presets import PRESETS

FAILURE, INCOMPLETE, INTERRUPTED = 1, 3, 130


@click.group()
def cli() -> None:
    """What does noise in a network do, and can you beat dropout?"""


@cli.command()
@study_options
@worker_options
@output_option
def study(output: str, workers: int, scheduler: str, **options: Any) -> None:
    """Run the study, or go on with it; write the report."""
    from analysis import report
    from analysis.address import address
    from study import registry
    from study.coordination import open_study
    from study.declare import planned_trials
    from study.executors import trainer
    from study.progress import Progress
    from study.runner import run_study
    from study.session import Session

    folder = writable_folder(output)
    preset, setting, declaration = resolve(**options, elsewhere=where_to_train(workers, scheduler))
    progress = Progress(sum(trial.network_epochs for trial in planned_trials(preset, declaration.noise_types)))
    with (
        interrupts.remembered(),
        trainer(setting.device, progress.advance, workers, scheduler, progress.tell) as trains,
        open_study(declaration, setting, options["experiment"]) as tracker,
    ):
        click.echo(f"study {declaration.study_id}: preset {preset.name}, on {setting.device}", err=True)
        if tracker.experiment != options["experiment"]:
            click.echo(f"logged to experiment {tracker.experiment}: name it when you ask for the report", err=True)
        session = Session(preset, declaration, tracker, trains, progress)
        run_study(session)
        progress.end()
        interrupts.check()
        page = report.write(session.read(images=True), folder)
        tracker.log_report(folder)
        tracker.finish()
        click.echo(registry.register(tracker, session.winner), err=True)
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


@cli.command()
@click.option("--optuna", "storage", default="sqlite:///search.db", show_default=True, help="Database to write to.")
@click.option("--study-id", default="newest", show_default=True, help="Which study, by its id.")
@experiment_option
def export(storage: str, study_id: str, experiment: str) -> None:
    """Write the search of a study into a storage that Optuna's own tools open, such as optuna-dashboard."""
    from analysis import optuna_export, runs

    found = runs.load(None if study_id == "newest" else study_id, experiment)
    for name, trials in optuna_export.export(found, storage).items():
        click.echo(f"{trials} trials: {name}")
    click.echo(f"exported: {optuna_export.shown(storage)} (optuna-dashboard opens it)")


def quiet_libraries() -> None:
    """Standard error is for progress and what goes wrong, not for what libraries do as usual."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


def expected_errors() -> tuple[type[Exception], ...]:
    """Failures whose message is meant for the user; anything else is a bug and shows its traceback."""
    from mlflow.exceptions import MlflowException

    from analysis.address import StoreError
    from models.data import DataError
    from study.executors import ClusterError
    from study.faults import AlreadyRunning, CutShort
    from study.runner import NothingToCompare

    return StoreError, DataError, AlreadyRunning, ClusterError, CutShort, NothingToCompare, MlflowException, OSError


def main() -> NoReturn:
    """Runs the command line; every expected failure is one line on standard error and an exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    quiet_libraries()
    # A store that is away for a moment is waited for; one that does not answer is found out before anything starts.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
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
        code = INCOMPLETE if type(error).__name__ == "CutShort" else FAILURE
        click.echo(f"error: {(str(error).splitlines() or [type(error).__name__])[0]}", err=True)
    sys.exit(code)
