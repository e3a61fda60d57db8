"""The command line, with an entry point in MLproject for each command."""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import click

from analysis import schema
from analysis.formatting import (
    arms_in_words,
    duration,
    one_line,
    plural,
    recipes_in_words,
    redacted,
)
from study import signals
from study.commands import console, options, param_types
from study.commands.arguments import resolve, trains_elsewhere, writable_folder
from study.presets import PRESETS

FAILURE, INCOMPLETE, INTERRUPTED = 1, 3, 130
KEEPERS = (["study"], ["merge"])
"""Commands that keep what they have done when they are interrupted."""

ENVIRONMENT = """\b
Environment variables:
  MLFLOW_TRACKING_URI     the tracking store  [default: sqlite:///mlflow.db]
  DROPOUT_STUDY_PATIENCE  seconds to wait for a store that does not answer  [default: 180]
  OMP_NUM_THREADS         cores to train on  [default: all]
  NO_COLOR                set to anything for a terminal without colours

\b
Exit codes: 0 done, 1 failure, 2 usage, 3 incomplete, 130 interrupted.
"""


def show_version(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    """Print the version and exit."""
    if wanted and not context.resilient_parsing:
        from study.tracking import provenance

        commit, dirty = provenance.git_state()
        changes = ", with changes" if dirty and commit != "unknown" else ""
        version = f"code version {schema.CODE_VERSION}, commit {commit[:12]}{changes}"
        click.echo(f"dropout-study, {version}")
        if complaint := provenance.git_complaint():
            console.tell(complaint)
        context.exit()


@click.group(epilog=ENVIRONMENT)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=show_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """What does noise in a network do, and can you beat dropout?"""
    from study.tracking.retry import patience

    try:
        patience()
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@cli.command(epilog=ENVIRONMENT)
@options.study_options
@options.workers_option
@options.scheduler_option
@options.output_option
@click.pass_context
def study(
    context: click.Context,
    output: str,
    workers: int,
    scheduler: str | None,
    experiment: str,
    **asked: Any,
) -> None:
    """Run a study, or resume it, and write its report."""
    from analysis.report.folder import figure_names, refuse_foreign_files
    from analysis.store.uri import address
    from study.commands.progress import Progress
    from study.executors import open_executor
    from study.planning.dry_run import planned_trials
    from study.resumable import ResumableStudy
    from study.runner import run_study
    from study.tracking import model_registry
    from study.tracking.lifecycle import PROJECT, open_study
    from study.tracking.ui_views import tree_address

    folder = writable_folder(output)
    elsewhere = trains_elsewhere(workers, scheduler)
    if scheduler is not None and asked["device"] == "auto":
        from study.executors.dask_cluster import device_of_workers

        asked["device"] = device_of_workers(scheduler)
    preset, setting, declaration = resolve(**asked, elsewhere=elsewhere)
    refuse_foreign_files(folder, figure_names(declaration))
    progress = Progress(planned_trials(preset, declaration.noise_types))
    with (
        signals.remembered(),
        open_executor(
            setting.device, progress.advance, workers, scheduler or "none", progress.tell
        ) as executor,
        open_study(declaration, setting, experiment) as tracker,
    ):
        console.tell(
            f"study {declaration.study_id}: preset {preset.name}, on {setting.device} in "
            f"{setting.precision}"
        )
        if tracker.experiment != experiment:
            console.tell(
                f"logged to experiment {tracker.experiment}: name it when you ask for the report"
            )
        running = ResumableStudy(preset, declaration, tracker, executor, progress)
        opened = time.monotonic()
        run_study(running)
        progress.end()
        trained = time.monotonic()
        signals.check()
        tracker.tidy_up()
        page = running.report(folder)
        tracker.log_report(folder)
        tracker.finish()
        console.tell(model_registry.register(tracker, running.winner))
    parts = (opened - context.obj, trained - opened, time.monotonic() - trained)
    console.tell(f"took {time_in_parts(*parts)}")
    if running.failed:
        names = "; ".join(arms_in_words(trial.arm.name) for trial in running.failed)
        were = "was" if len(running.failed) == 1 else "were"
        console.tell(f"{plural(len(running.failed), 'trial')} failed and {were} excluded: {names}")
    uri = address()
    serve = "make ui" if Path.cwd() == PROJECT else "python -m study ui"
    runs = tree_address(uri, tracker.experiment_id) if uri.startswith("http") else serve
    click.echo(f"report: {page.resolve()} (runs: {runs})")
    if tracker.is_fetched:
        console.tell(
            "this is a temporary copy of the project; get the report by `mlflow artifacts "
            f"download --run-id {tracker.run_id} --artifact-path {schema.REPORT_FOLDER} "
            "--dst-path results`"
        )
    if running.incomplete:
        sys.exit(INCOMPLETE)


def time_in_parts(start: float, training: float, report: float) -> str:
    """Tell a study's seconds by part, as `plan` estimates and `study` measures them."""
    return (
        f"{duration(start + training + report)}: start {duration(start)}, "
        f"training and logging {duration(training)}, report {duration(report)}"
    )


@cli.command()
@options.dataset_option
@options.data_option
@options.device_option
@options.scheduler_option
@options.output_option
def doctor(**asked: Any) -> None:
    """Check what a study needs, and say what to do where something fails; change nothing."""
    from study.commands.doctor import examine

    healthy = True
    for check, good, finding in examine(**asked):
        colour = "green" if good else "red"
        word = console.paint("ok  " if good else "FAIL", colour, sys.stdout)
        click.echo(f"{word}  {check:<9} {finding}")
        healthy &= good
    if not healthy:
        sys.exit(FAILURE)


@cli.command()
@options.study_options
@options.output_option
@click.pass_context
def plan(context: click.Context, output: str, experiment: str, **asked: Any) -> None:
    """Say what a study would run, how long it takes, and what it could detect; run nothing."""
    import study.resumable  # noqa: F401  # imports what a study does: its start is timed here
    from study.planning import cost, detectable
    from study.planning.dry_run import planned_stages
    from study.planning.timing import CannotTime, probe

    writable_folder(output)
    preset, setting, declaration = resolve(**asked)
    start = time.monotonic() - context.obj
    click.echo(
        f"study {declaration.study_id}: preset {preset.name}, on {setting.device} in "
        f"{setting.precision}, {declaration.data['name']}"
    )
    stages = planned_stages(preset, declaration.noise_types)
    try:
        costs = probe(stages, setting)
    except CannotTime as error:
        raise click.ClickException(str(error)) from error
    for line in cost.describe(preset, declaration, stages, costs):
        click.echo(line)
    training, report = cost.seconds(stages, declaration, costs)
    click.echo(f"time: about {time_in_parts(start + cost.OPENING, training, report)}")
    effects = detectable.describe(declaration.questions, recipes_in_words(declaration))
    for line in (*cost.caveats(stages, costs), "", *effects):
        click.echo(line)


@cli.command()
@options.study_id_option
@options.option(
    "--preset",
    default="any",
    type=click.Choice(["any", *PRESETS]),
    help="Preset of the study.",
)
@options.experiment_option
@options.output_option
def report(study_id: str | None, preset: str, experiment: str, output: str) -> None:
    """Write the report of a study from the tracking store alone."""
    from analysis.report import writer
    from analysis.store import reader

    folder = writable_folder(output)
    wanted = None if preset == "any" else preset
    page = writer.write(reader.load(study_id, experiment, preset=wanted, images=True), folder)
    click.echo(f"report: {page.resolve()}")


@cli.command()
@options.option(
    "--port", default=5000, type=click.IntRange(1, 65535), help="Port of the UI's server."
)
def ui(port: int) -> None:
    """Serve the MLflow UI of the tracking store, and print the address of the newest study."""
    from analysis.store import whereabouts
    from analysis.store.uri import check_address, one_line_errors, settle_address, sqlite_file
    from study.tracking import ui_views

    experiment_id = ""
    with one_line_errors():
        uri = settle_address()
        file = sqlite_file(uri)
        if file is None or file.exists():  # else the server makes it
            check_address()
            experiment_id = whereabouts.newest_study()
    is_server = uri.startswith("http")
    server = redacted(uri) if is_server else f"http://127.0.0.1:{port}"
    where = ui_views.tree_address(server, experiment_id) if experiment_id else server
    click.echo(f"{'the newest study' if experiment_id else 'no study yet (make study)'}: {where}")
    sys.stdout.flush()
    if not is_server:
        # One process: of several, the server ends those that are slow to answer, which on a
        # machine with a study on it are all. Its job runners serve tools for language models.
        os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
        os.environ["MLFLOW_BACKEND_STORE_URI"] = uri  # may hold a password: not an argument
        serve = ["mlflow", "ui", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        os.execv(sys.executable, [sys.executable, "-m", *serve])


@cli.command(epilog=ENVIRONMENT)
@options.from_option
@options.artifacts_option
@options.study_id_option
@options.experiment_option
def merge(source: str, artifacts: str | None, study_id: str | None, experiment: str) -> None:
    """Bring a study's finished trials here from another store, or from a published report those
    that tuned its arms; nothing is trained again."""
    from analysis.store import other_store
    from study.commands.progress import Copying
    from study.tracking.merge import merge, published

    if artifacts and not source.startswith("sqlite:///"):
        raise click.UsageError("--artifacts is for a store: a report's folder brings none")
    opened = (
        other_store.opened(source, study_id, experiment, artifacts)
        if source.startswith("sqlite:///")
        else nullcontext(published(Path(source), study_id))
    )
    with signals.remembered(), opened as other:
        brought, skipped = merge(other, experiment, Copying().tell)
    click.echo(
        f"merged study {other.study.study_id}: {plural(brought, 'trial')} brought, {skipped} "
        "skipped, which were here"
    )


@cli.command()
@options.option(
    "--optuna",
    "storage",
    default="sqlite:///search.db",
    type=param_types.text("a database's address"),
    help="Database to write to.",
)
@options.study_id_option
@options.experiment_option
def export(storage: str, study_id: str | None, experiment: str) -> None:
    """Write a study's search into a storage that Optuna's own tools open."""
    from analysis.store import optuna_export, reader

    loaded = reader.load(study_id, experiment)
    for name, trials in optuna_export.export(loaded, storage).items():
        click.echo(f"{trials} trials: {name}")
    click.echo(f"exported: {redacted(storage)} (optuna-dashboard opens it)")


def set_defaults() -> None:
    """Quieten libraries, whose usual lines are no progress, and let MLflow retry few times."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # MLflow prints the address of a run as it was given, with its password.
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    # A study waits by itself for a store that is away; one that never answers is found out first.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    # Its tracebacks are told in a line.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def expected_errors() -> tuple[type[Exception], ...]:
    """Return the failures whose message is for the user; any other is a bug with a traceback."""
    from analysis.report.folder import ForeignFiles
    from analysis.store.uri import STORE_ERRORS
    from models.data import DataError
    from study.executors import ClusterError
    from study.resumable import NothingToCompare
    from study.tracking.retry import AlreadyRunning, CutShort

    own = (DataError, ForeignFiles, AlreadyRunning, ClusterError, CutShort, NothingToCompare)
    return (*own, *STORE_ERRORS, OSError)


def main() -> NoReturn:
    """Run the command line; an expected failure is one line on standard error and an exit code."""
    started = time.monotonic()
    signals.heed()
    set_defaults()
    code = 0
    try:
        cli.main(standalone_mode=False, obj=started)
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
        kept = f"; {signals.KEPT}" if sys.argv[1:2] in KEEPERS else ""  # others keep nothing
        console.tell(f"\ninterrupted{kept}")
    except expected_errors() as error:
        from study.tracking.retry import CutShort

        code = INCOMPLETE if isinstance(error, CutShort) else FAILURE
        console.tell(f"error: {one_line(error)}")
    sys.exit(code)
