"""The command line: `study`, `plan`, `doctor`, `report` and `export`, the same as the entry points of MLproject."""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import Any, NoReturn

import click

import study as package
from analysis import schema
from analysis.formatting import one_line
from study import signals
from study.commands import console, param_types
from study.commands.options import (
    data_option,
    dataset_option,
    device_option,
    experiment_option,
    output_option,
    resolve,
    scheduler_option,
    study_id_option,
    study_options,
    where_to_train,
    worker_options,
    writable_folder,
)
from study.presets import PRESETS

FAILURE, INCOMPLETE, INTERRUPTED = 1, 3, 130


ENVIRONMENT = """\b
Environment variables:
  MLFLOW_TRACKING_URI     the tracking store  [default: sqlite:///mlflow.db]
  DROPOUT_STUDY_PATIENCE  seconds that a store which is away is waited for  [default: 180]
  OMP_NUM_THREADS         cores to train on  [default: all]
  NO_COLOR                set to anything for a terminal without colours

\b
Exit codes: 0 done, 1 failure, 2 usage, 3 incomplete, 130 interrupted.
"""


def _tell_version(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from study.tracking import provenance

        commit, dirty = provenance.git_state()
        changed = ", with changes" if dirty and commit != "unknown" else ""
        click.echo(
            f"dropout-study, code version {schema.CODE_VERSION}, commit {commit[:12]}{changed}"
        )
        context.exit()


@click.group(epilog=ENVIRONMENT)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_tell_version,
    help="Show it and exit.",
)
def cli() -> None:
    """What does noise in a network do, and can you beat dropout?"""
    try:
        param_types.patience()
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@cli.command(epilog=ENVIRONMENT)
@study_options
@worker_options
@output_option
def study(
    output: str, workers: int, scheduler: str | None, experiment: str, **options: Any
) -> None:
    """Run the study, or go on with it; write the report."""
    from analysis.store.uri import address
    from study.commands.progress import Progress
    from study.declaration import planned_trials
    from study.executors import trainer
    from study.resumable import Session
    from study.runner import run_study
    from study.tracking import model_registry
    from study.tracking.lifecycle import open_study

    folder = writable_folder(output)
    preset, setting, declaration = resolve(**options, elsewhere=where_to_train(workers, scheduler))
    progress = Progress(planned_trials(preset, declaration.noise_types))
    with (
        signals.remembered(),
        trainer(
            setting.device, progress.advance, workers, scheduler or "none", progress.tell
        ) as trains,
        open_study(declaration, setting, experiment) as tracker,
    ):
        console.tell(
            f"study {declaration.study_id}: preset {preset.name}, on {setting.device} in {setting.precision}"
        )
        if tracker.experiment != experiment:
            console.tell(
                f"logged to experiment {tracker.experiment}: name it when you ask for the report"
            )
        session = Session(preset, declaration, tracker, trains, progress)
        marks = [time.monotonic()]
        run_study(session)
        progress.end()
        marks.append(time.monotonic())
        signals.check()
        tracker.tidy_up()
        page = session.report(folder)
        tracker.log_report(folder)
        tracker.finish()
        console.tell(model_registry.register(tracker, session.winner))
    console.tell(
        f"took {time_in_parts(marks[0] - package.STARTED, marks[1] - marks[0], time.monotonic() - marks[1])}"
    )
    if session.failed:
        names = [trial.arm.name for trial in session.failed]
        failed = (
            "1 trial failed and counts"
            if len(names) == 1
            else f"{len(names)} trials failed and count"
        )
        console.tell(f"{failed} for nothing: {', '.join(names)}")
    uri = address()
    click.echo(
        f"report: {page} (runs: {uri if uri.startswith('http') else f'mlflow ui --backend-store-uri {uri}'})"
    )
    if session.incomplete:
        sys.exit(INCOMPLETE)


def time_in_parts(start: float, training: float, report: float) -> str:
    """A study's seconds in words, as `plan` estimates and `study` measures them: part can be compared with part."""
    from analysis.formatting import duration

    parts = f"start {duration(start)}, training and logging {duration(training)}, report {duration(report)}"
    return f"{duration(start + training + report)}: {parts}"


@cli.command()
@dataset_option
@data_option
@device_option
@scheduler_option
@output_option
def doctor(**options: Any) -> None:
    """Check what a study needs, and say what to do where something fails; change nothing."""
    from study.commands.doctor import examine

    well = True
    for check, good, found in examine(**options):
        word = (
            console.paint("ok  ", "green", sys.stdout)
            if good
            else console.paint("FAIL", "red", sys.stdout)
        )
        click.echo(f"{word}  {check:<9} {found}")
        well &= good
    if not well:
        sys.exit(FAILURE)


@cli.command()
@study_options
@output_option
def plan(output: str, experiment: str, **options: Any) -> None:
    """Say what a study would run, how long, and what it could detect; run nothing."""
    import study.resumable  # noqa: F401  # with what a study imports: its start is timed here
    from analysis.report import writer as report  # noqa: F401
    from study.declaration import planned_stages
    from study.planning import cost as plan
    from study.planning import detectable
    from study.planning.timing import probe

    writable_folder(output)
    preset, setting, declaration = resolve(**options)
    start = time.monotonic() - package.STARTED
    trains = f"on {setting.device} in {setting.precision}, {declaration.data['name']}"
    click.echo(f"study {declaration.study_id}: preset {preset.name}, {trains}")
    stages = planned_stages(preset, declaration.noise_types)
    costs = probe(stages, setting)
    for line in plan.describe(preset, declaration, stages, costs):
        click.echo(line)
    click.echo(
        f"time: about {time_in_parts(start + plan.OPENING, *plan.seconds(stages, declaration, costs))}"
    )
    for line in (*plan.caveats(stages, costs), "", *detectable.describe(declaration.questions)):
        click.echo(line)


@cli.command()
@study_id_option
@click.option(
    "--preset",
    default="any",
    show_default=True,
    type=click.Choice(["any", *PRESETS]),
    help="Of this preset.",
)
@experiment_option
@output_option
def report(study_id: str | None, preset: str, experiment: str, output: str) -> None:
    """Write the report of a study from the tracking store alone."""
    from analysis.report import writer as report
    from analysis.store import reader

    folder = writable_folder(output)
    found = reader.load(
        study_id, experiment, preset=None if preset == "any" else preset, images=True
    )
    page = report.write(found, folder)
    click.echo(f"report: {page}")


@cli.command()
@click.option(
    "--optuna",
    "storage",
    default="sqlite:///search.db",
    show_default=True,
    type=param_types.text("a database's address"),
    help="Database to write to.",
)
@study_id_option
@experiment_option
def export(storage: str, study_id: str | None, experiment: str) -> None:
    """Write the search of a study into a storage that Optuna's own tools open, such as optuna-dashboard."""
    from analysis.store import optuna_export, reader

    found = reader.load(study_id, experiment)
    for name, trials in optuna_export.export(found, storage).items():
        click.echo(f"{trials} trials: {name}")
    click.echo(f"exported: {optuna_export.shown(storage)} (optuna-dashboard opens it)")


def quiet_libraries() -> None:
    """Standard error is for progress and what goes wrong, not for what libraries do as usual."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("mlflow.store.db.utils").setLevel(
        logging.CRITICAL
    )  # its tracebacks of what we tell in a line


def expected_errors() -> tuple[type[Exception], ...]:
    """Failures whose message is meant for the user; anything else is a bug and shows its traceback."""
    from mlflow.exceptions import MlflowException

    from analysis.store.uri import StoreError
    from models.data import DataError
    from study.executors import ClusterError
    from study.runner import NothingToCompare
    from study.tracking.retry import AlreadyRunning, CutShort

    return (
        StoreError,
        DataError,
        AlreadyRunning,
        ClusterError,
        CutShort,
        NothingToCompare,
        MlflowException,
        OSError,
    )


def main() -> NoReturn:
    """Runs the command line; every expected failure is one line on standard error and an exit code."""
    signals.heed()
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
        console.tell(error.format_message())
    except click.ClickException as error:
        code = error.exit_code
        console.tell(f"error: {' '.join(error.format_message().split())}")
    except (KeyboardInterrupt, click.Abort):
        code = INTERRUPTED
        kept = (
            f"; {signals.KEPT}" if sys.argv[1:2] == ["study"] else ""
        )  # the other commands keep nothing
        console.tell(f"\ninterrupted{kept}")
    except expected_errors() as error:
        from study.tracking.retry import CutShort

        code = INCOMPLETE if isinstance(error, CutShort) else FAILURE
        console.tell(f"error: {one_line(error)}")
    sys.exit(code)
