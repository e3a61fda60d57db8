"""The only writer to MLflow: study run -> trial runs -> seed runs.

A trial is logged once it is trained, its own run ended last: a trial run that is FINISHED is whole, whatever happened
to the process. The tree is written with MlflowClient alone, so nothing depends on which run is "active".
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from statistics import fmean

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag

from analysis.address import check_address, one_line_errors
from models.train import Trained
from study import provenance, schema
from study.schema import Declaration
from study.trial import Setting, Trial

HEARTBEAT_SECONDS = 15
STALE_SECONDS = 60
"""A coordinator silent for this long is taken for dead."""


class AlreadyRunning(RuntimeError):
    """Another live process coordinates the same study."""


class Tracker:
    """Writes one study. Made by `open_study`."""

    def __init__(self, client: MlflowClient, study_run: Run, declaration: Declaration, setting: Setting) -> None:
        """Holds the open study run."""
        self.client, self.declaration, self.setting = client, declaration, setting
        self.run_id, self.experiment_id = study_run.info.run_id, study_run.info.experiment_id
        self.experiment = client.get_experiment(self.experiment_id).name

    def log_trial(self, trial: Trial, networks: Sequence[Trained]) -> None:
        """One trial run with a seed run for each network; FAILED when a network diverged."""
        start = int(time.time() * 1000) - int(sum(network.seconds for network in networks) * 1000)
        trial_hash = trial.hash(self.setting, self.declaration.data["digest"])
        params = self._params(trial)
        tags = {
            schema.TAG_ID: self.declaration.study_id,
            schema.TAG_PHASE: trial.phase,
            schema.TAG_QUESTION: ",".join(trial.questions),
            schema.TAG_ARM: trial.arm.name,
            schema.TAG_HASH: trial_hash,
            schema.TAG_DATA: self.declaration.data["digest"],
            schema.TAG_CODE: str(schema.CODE_VERSION),
        }
        if trial.number is not None:
            tags[schema.TAG_NUMBER] = str(trial.number)
        which = f"{trial.phase}-{trial_hash[:4]}" if trial.number is None else f"t{trial.number:03d}"
        name = f"{trial.arm.noise}-{which}"
        trial_run = self._create(name, "trial", self.run_id, tags, start)
        for network in networks:
            run = self._create(
                f"{name}-s{network.seed}", "seed", trial_run, {**tags, schema.TAG_SEED: str(network.seed)}, start
            )
            self.client.log_batch(run, _curves(network, start), _as_params({**params, "seed": network.seed}))
            self.client.set_terminated(run, "FINISHED" if network.converged else "FAILED")
        means = {key: fmean(network.scores[key] for network in networks) for key in networks[0].scores}
        seeds = ",".join(str(network.seed) for network in networks)
        self.client.log_batch(trial_run, _as_metrics(means), _as_params({**params, "seeds": seeds}))
        self.client.set_terminated(
            trial_run, "FINISHED" if all(network.converged for network in networks) else "FAILED"
        )

    def log_arms(self, arms: dict[str, dict[str, str]]) -> None:
        """What the declared rules picked; logged before the confirm phase."""
        self.client.log_text(self.run_id, json.dumps(arms, indent=2, sort_keys=True), schema.ARMS_FILE)

    def log_report(self, folder: Path) -> None:
        """The report's files, so that it opens in the MLflow UI."""
        self.client.log_artifacts(self.run_id, str(folder), schema.REPORT_FOLDER)

    def finish(self) -> None:
        """Ends the study run; everything is logged."""
        self.client.set_terminated(self.run_id, "FINISHED")

    def _params(self, trial: Trial) -> dict[str, object]:
        arm, recipe = trial.arm, trial.arm.recipe
        return {
            **{name: getattr(arm, name) for name in ("noise", "rate1", "rate2", "weight_decay")},
            "recipe": recipe.name,
            "epochs": recipe.epochs,
            "learning_rate": recipe.learning_rate,
            "precision": self.setting.precision,
            "device": self.setting.device,
        }

    def _create(self, name: str, kind: str, parent: str, tags: dict[str, str], start: int) -> str:
        tags = {**tags, schema.TAG_KIND: kind, schema.TAG_PARENT: parent}
        return self.client.create_run(self.experiment_id, start, tags, name).info.run_id


@contextmanager
def open_study(declaration: Declaration, setting: Setting, experiment: str) -> Iterator[Tracker]:
    """The study's run, opened; earlier finished trials of the same study are adopted, half-logged ones KILLED.

    On an exception the study run ends as KILLED (interrupted) or FAILED; a later call goes on from there.

    Raises:
        AlreadyRunning: another live process coordinates the same study.
    """
    client = _connect()
    experiment_id = _experiment(client, experiment)
    run = _adopted_project_run(client)
    if run is not None:
        experiment_id = run.info.experiment_id
    earlier = _runs(client, experiment_id, declaration.study_id)
    _refuse_second_coordinator(earlier, run)
    run = run or client.create_run(experiment_id, run_name=f"study-{declaration.preset}")
    tracker = Tracker(client, run, declaration, setting)
    _describe(tracker)
    with _heartbeat(client, tracker.run_id):
        try:
            _take_over(client, earlier, tracker.run_id)
            yield tracker
        except BaseException as error:
            interrupted = isinstance(error, (KeyboardInterrupt, SystemExit))
            with suppress(Exception):  # the store may be what failed; the first error is the one to tell
                client.set_terminated(tracker.run_id, "KILLED" if interrupted else "FAILED")
            raise


def _connect() -> MlflowClient:
    """A client of the current tracking URI; a default database is made here, before any other process could try."""
    uri = mlflow.get_tracking_uri()
    is_file = uri.startswith("sqlite:///")
    if not is_file:
        check_address()
    with one_line_errors():
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    if is_file:
        with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
            database.execute("PRAGMA journal_mode=WAL")  # readers do not wait for the writer
    return client


def _experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    return found.experiment_id if found else client.create_experiment(name)


def _adopted_project_run(client: MlflowClient) -> Run | None:
    """The run that `mlflow run` made for this process; taken out of the environment, so that nothing inherits it."""
    run_id = os.environ.pop("MLFLOW_RUN_ID", None)
    return client.get_run(run_id) if run_id else None


def _runs(client: MlflowClient, experiment_id: str, study_id: str) -> list[Run]:
    found = mlflow.search_runs(
        [experiment_id], f"tags.`{schema.TAG_ID}` = '{study_id}'", max_results=1_000_000, output_format="list"
    )
    assert isinstance(found, list)
    return found


def _refuse_second_coordinator(earlier: Sequence[Run], own: Run | None) -> None:
    for run in earlier:
        tag = run.data.tags.get(schema.TAG_HEARTBEAT)
        if not tag or run.info.status != "RUNNING" or (own and run.info.run_id == own.info.run_id):
            continue
        beat = json.loads(tag)
        same_host = beat["host"] == socket.gethostname()
        alive = _process_exists(beat["pid"]) if same_host else time.time() - beat["time"] < STALE_SECONDS
        if alive:
            raise AlreadyRunning(
                f"process {beat['pid']} on {beat['host']} is running this study already; stop it, or wait for it"
            )


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid != os.getpid()


def _take_over(client: MlflowClient, earlier: Sequence[Run], study_run: str) -> None:
    """Finished trials move under the new study run; what an earlier process left unfinished is KILLED."""
    kinds = {
        kind: [run for run in earlier if run.data.tags.get(schema.TAG_KIND) == kind]
        for kind in ("study", "trial", "seed")
    }
    half = {run.info.run_id for run in kinds["trial"] if run.info.status == "RUNNING"}
    for run in kinds["trial"]:
        if run.info.run_id in half:
            client.set_terminated(run.info.run_id, "KILLED")
        if run.data.tags.get(schema.TAG_PARENT) != study_run:
            client.set_tag(run.info.run_id, schema.TAG_PARENT, study_run)
    for run in kinds["seed"]:
        if run.info.status == "RUNNING" or run.data.tags.get(schema.TAG_PARENT) in half:
            client.set_terminated(run.info.run_id, "KILLED")
    for run in kinds["study"]:
        if run.info.run_id != study_run and run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "KILLED")


def _describe(tracker: Tracker) -> None:
    """What a study run carries before its first trial."""
    declaration, client, run_id = tracker.declaration, tracker.client, tracker.run_id
    commit, dirty = provenance.git_state()
    tags = {
        schema.TAG_ID: declaration.study_id,
        schema.TAG_KIND: "study",
        schema.TAG_COMMIT: commit,
        schema.TAG_DIRTY: str(dirty).lower(),
        schema.TAG_DATA: declaration.data["digest"],
        schema.TAG_CODE: str(schema.CODE_VERSION),
        "mlflow.note.content": _note(declaration),
    }
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    client.log_text(run_id, declaration.to_json(), schema.DECLARATION_FILE)
    client.log_text(run_id, json.dumps(provenance.versions(tracker.setting.device), indent=2), schema.VERSIONS_FILE)
    client.log_inputs(run_id, [_dataset(declaration, part) for part in ("train", "validation", "test")])


def _dataset(declaration: Declaration, part: str) -> DatasetInput:
    """A data set under the project's own digest: MLflow's would cover the first 10,000 elements only."""
    data = declaration.data
    source = json.dumps({"url": f"https://pytorch.org/vision/stable/datasets.html#{data['name']}"})
    dataset = Dataset(f"{data['name']} {part} ({data[part]} images)", data["digest"], "http", source)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", part)])


def _note(declaration: Declaration) -> str:
    questions = "\n".join(f"- **{question.name}**: {question.title}" for question in declaration.questions)
    recipes = ", ".join(f"{name} ({recipe['epochs']} epochs)" for name, recipe in declaration.recipes.items())
    return (
        f"A study of noise in a 784-256-256-10 ReLU network on {declaration.data['name']}; preset "
        f"`{declaration.preset}`, recipes {recipes}.\n\n{questions}\n\n"
        "**How to read it.** Each child is a trial (one arm on a block of seeds), each grandchild one seed's network. "
        "Phase `search` tunes on validation images, `rerank` checks the best on new seeds, `confirm` compares the "
        "declared arms on fresh seeds and reads the test images. Trial metrics are means over seeds. The answers are "
        f"in the artifact `{schema.REPORT_FOLDER}/index.html`. All runs of the study: "
        f"`tags.{schema.TAG_ID} = '{declaration.study_id}'`."
    )


@contextmanager
def _heartbeat(client: MlflowClient, run_id: str) -> Iterator[None]:
    """Tells other processes, from a thread, that this one is alive."""
    ended = threading.Event()

    def beat() -> None:
        while True:
            value = {"host": socket.gethostname(), "pid": os.getpid(), "time": int(time.time())}
            with suppress(Exception):  # a store that is away for a moment is no reason to end a study
                client.set_tag(run_id, schema.TAG_HEARTBEAT, json.dumps(value))
            if ended.wait(HEARTBEAT_SECONDS):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _curves(network: Trained, start: int) -> list[Metric]:
    """Each epoch's metrics, step = epochs done; then what is measured once."""
    epochs = len(network.curves["val/accuracy"])
    curves = [
        Metric(name, value, start + int(1000 * network.seconds * step / epochs), step)
        for name, curve in network.curves.items()
        for step, value in enumerate(curve, start=1)
    ]
    once = {name: value for name, value in network.scores.items() if name not in network.curves}
    once["seconds"] = network.seconds
    return curves + _as_metrics(once, epochs)


def _as_metrics(values: dict[str, float], step: int = 0) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(name, value, now, step) for name, value in values.items()]


def _as_params(values: dict[str, object]) -> list[Param]:
    return [Param(name, str(value)) for name, value in values.items()]
