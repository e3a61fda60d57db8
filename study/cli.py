"""The command line: `study`, `plan`, `doctor`, `report` and `export`, the same as the entry points of MLproject."""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import Any, NoReturn

import click

import study as package
from analysis.wording import one_line
from study import interrupts, schema, terminal, values
from study.options import (
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
        from study import provenance

        commit, dirty = provenance.git_state()
        changed = ", with changes" if dirty and commit != "unknown" else ""
        click.echo(f"dropout-study, code version {schema.CODE_VERSION}, commit {commit[:12]}{changed}")
        context.exit()


@click.group(epilog=ENVIRONMENT)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_tell_version, help="Show it and exit."
)
def cli() -> None:
    """What does noise in a network do, and can you beat dropout?"""
    try:
        values.patience()
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@cli.command(epilog=ENVIRONMENT)
@study_options
@worker_options
@output_option
def study(output: str, workers: int, scheduler: str | None, experiment: str, **options: Any) -> None:
    """Run the study, or go on with it; write the report."""
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
    progress = Progress(planned_trials(preset, declaration.noise_types))
    with (
        interrupts.remembered(),
        trainer(setting.device, progress.advance, workers, scheduler or "none", progress.tell) as trains,
        open_study(declaration, setting, experiment) as tracker,
    ):
        terminal.tell(f"study {declaration.study_id}: preset {preset.name}, on {setting.device} in {setting.precision}")
        if tracker.experiment != experiment:
            terminal.tell(f"logged to experiment {tracker.experiment}: name it when you ask for the report")
        session = Session(preset, declaration, tracker, trains, progress)
        marks = [time.monotonic()]
        run_study(session)
        progress.end()
        marks.append(time.monotonic())
        interrupts.check()
        tracker.tidy_up()
        page = session.report(folder)
        tracker.log_report(folder)
        tracker.finish()
        terminal.tell(registry.register(tracker, session.winner))
    terminal.tell(f"took {time_in_parts(marks[0] - package.STARTED, marks[1] - marks[0], time.monotonic() - marks[1])}")
    if session.failed:
        names = [trial.arm.name for trial in session.failed]
        failed = "1 trial failed and counts" if len(names) == 1 else f"{len(names)} trials failed and count"
        terminal.tell(f"{failed} for nothing: {', '.join(names)}")
    uri = address()
    click.echo(f"report: {page} (runs: {uri if uri.startswith('http') else f'mlflow ui --backend-store-uri {uri}'})")
    if session.incomplete:
        sys.exit(INCOMPLETE)


def time_in_parts(start: float, training: float, report: float) -> str:
    """A study's seconds in words, as `plan` estimates and `study` measures them: part can be compared with part."""
    from analysis.wording import duration

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
    from study.doctor import examine

    well = True
    for check, good, found in examine(**options):
        word = terminal.paint("ok  ", "green", sys.stdout) if good else terminal.paint("FAIL", "red", sys.stdout)
        click.echo(f"{word}  {check:<9} {found}")
        well &= good
    if not well:
        sys.exit(FAILURE)


@cli.command()
@study_options
@output_option
def plan(output: str, experiment: str, **options: Any) -> None:
    """Say what a study would run, how long, and what it could detect; run nothing."""
    import study.session  # noqa: F401  # with what a study imports: its start is timed here
    from analysis import report  # noqa: F401
    from study import plan, power
    from study.declare import planned_stages
    from study.probe import probe

    writable_folder(output)
    preset, setting, declaration = resolve(**options)
    start = time.monotonic() - package.STARTED
    trains = f"on {setting.device} in {setting.precision}, {declaration.data['name']}"
    click.echo(f"study {declaration.study_id}: preset {preset.name}, {trains}")
    stages = planned_stages(preset, declaration.noise_types)
    costs = probe(stages, setting)
    for line in plan.describe(preset, declaration, stages, costs):
        click.echo(line)
    click.echo(f"time: about {time_in_parts(start + plan.OPENING, *plan.seconds(stages, declaration, costs))}")
    for line in (*plan.caveats(stages, costs), "", *power.describe(declaration.questions)):
        click.echo(line)


@cli.command()
@study_id_option
@click.option(
    "--preset", default="any", show_default=True, type=click.Choice(["any", *PRESETS]), help="Of this preset."
)
@experiment_option
@output_option
def report(study_id: str | None, preset: str, experiment: str, output: str) -> None:
    """Write the report of a study from the tracking store alone."""
    from analysis import report, runs

    folder = writable_folder(output)
    found = runs.load(study_id, experiment, preset=None if preset == "any" else preset, images=True)
    page = report.write(found, folder)
    click.echo(f"report: {page}")


@cli.command()
@click.option(
    "--optuna",
    "storage",
    default="sqlite:///search.db",
    show_default=True,
    type=values.text("a database's address"),
    help="Database to write to.",
)
@study_id_option
@experiment_option
def export(storage: str, study_id: str | None, experiment: str) -> None:
    """Write the search of a study into a storage that Optuna's own tools open, such as optuna-dashboard."""
    from analysis import optuna_export, runs

    found = runs.load(study_id, experiment)
    for name, trials in optuna_export.export(found, storage).items():
        click.echo(f"{trials} trials: {name}")
    click.echo(f"exported: {optuna_export.shown(storage)} (optuna-dashboard opens it)")


def quiet_libraries() -> None:
    """Standard error is for progress and what goes wrong, not for what libraries do as usual."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # its tracebacks of what we tell in a line


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
    interrupts.heed()
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
        terminal.tell(error.format_message())
    except click.ClickException as error:
        code = error.exit_code
        terminal.tell(f"error: {' '.join(error.format_message().split())}")
    except (KeyboardInterrupt, click.Abort):
        code = INTERRUPTED
        kept = f"; {interrupts.KEPT}" if sys.argv[1:2] == ["study"] else ""  # the other commands keep nothing
        terminal.tell(f"\ninterrupted{kept}")
    except expected_errors() as error:
        from study.faults import CutShort

        code = INCOMPLETE if isinstance(error, CutShort) else FAILURE
        terminal.tell(f"error: {one_line(error)}")
    sys.exit(code)
