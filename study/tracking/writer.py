"""Writes runs: study run -> trial runs -> seed runs. The study run is opened in `lifecycle`.

A trial is logged once it is trained, its own run ended last: a trial run that is FINISHED is whole,
whatever happened to the process. Runs are named to MlflowClient by their ids, so nothing depends on
which run is "active".
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import fmean

import numpy as np
import tenacity
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_USER

from analysis import schema
from analysis.schema import Declaration
from analysis.store.uri import local_path
from models.download import IN_FOLDER
from models.train import Trained
from study.tracking import model, provenance, ui_views
from study.tracking.cleanup import discard, discard_half_logged, ending_well
from study.tracking.retry import AlreadyRunning, is_permanent, patient
from study.trial import Setting, Trial

TAKEN_OVER = "another process goes on with this study; this one ends"

shared = tenacity.Retrying(
    retry=tenacity.retry_if_exception_type(MlflowException),
    stop=tenacity.stop_after_attempt(3),
    reraise=True,
)
"""Writes what studies of one experiment share: when two do so at one moment, MLflow fails to make
it twice."""


class Tracker:
    """Write one study. Made by `open_study`."""

    def __init__(
        self, client: MlflowClient, study_run: Run, declaration: Declaration, setting: Setting
    ) -> None:
        """Hold the open study run."""
        self.client, self.declaration, self.setting = client, declaration, setting
        self.run_id, self.experiment_id = study_run.info.run_id, study_run.info.experiment_id
        self.experiment = client.get_experiment(self.experiment_id).name
        source, _, _ = study_run.data.tags.get("mlflow.source.name", "").partition("#")
        self.is_fetched = source != "" and provenance.is_fetched(source)
        """True if `mlflow run` fetched the project from elsewhere into a temporary folder."""
        self.taken_over = False
        """Whether another process goes on with this study; set by whoever finds out."""
        self._open_trial = ""
        """The run of the trial that is being logged, or whose logging broke off."""
        commit, dirty = provenance.git_state()
        self._origin = {
            schema.TAG_COMMIT: commit,
            schema.TAG_DIRTY: str(dirty).lower(),
            schema.TAG_DATASET: declaration.data["name"],
            schema.TAG_DATA: declaration.data["digest"],
            schema.TAG_CONTENT: declaration.data["content"],
            schema.TAG_CODE: str(schema.CODE_VERSION),
        }

    def describe_study(self) -> None:
        """Log what a study run carries before its first trial."""
        declaration = self.declaration
        tags = {
            schema.TAG_ID: declaration.study_id,
            schema.TAG_KIND: "study",
            schema.TAG_PRESET: declaration.preset,
            **self._origin,
            "mlflow.source.git.commit": self._origin[schema.TAG_COMMIT],
            "mlflow.runName": f"study-{declaration.preset}",
            "mlflow.note.content": ui_views.note(declaration, self.experiment_id, self.run_id),
        }
        self.client.log_text(self.run_id, declaration.to_json(), schema.DECLARATION_FILE)
        have = self.client.get_experiment(self.experiment_id).tags
        for name, value in ui_views.experiment_tags(declaration, self.experiment_id, have).items():
            shared(self.client.set_experiment_tag, self.experiment_id, name, value)
        versions = json.dumps(self._versions(), indent=2)
        self.client.log_text(self.run_id, versions, schema.VERSIONS_FILE)
        # The tags come last: who finds the run by them finds it whole.
        self.client.log_batch(self.run_id, tags=[RunTag(*tag) for tag in tags.items()])
        data = [_dataset(declaration, part) for part in ("train", "validation", "test")]
        shared(self.client.log_inputs, self.run_id, data)

    def _versions(self) -> dict[str, dict[str, str]]:
        return provenance.versions(self.setting.device)

    @patient
    def log_trial(
        self, trial: Trial, networks: Sequence[Trained], with_model: bool = False
    ) -> None:
        """One trial run with a seed run for each network; FAILED when a network diverged.

        Args:
            with_model: whether to log the first seed's network as an MLflow model, too.

        Raises:
            AlreadyRunning: another process has taken the study over.
            CutShort: the store stayed away.
        """
        with self._at_most_once():
            self._log_trial(trial, networks, with_model)

    @contextmanager
    def _at_most_once(self) -> Iterator[None]:
        """Discard what the attempt before this one has left of the same trial."""
        self._refuse_if_taken_over()
        if self._open_trial:
            discard(self.client, self.experiment_id, self.declaration.study_id, self._open_trial)
            self._open_trial = ""
        yield
        self._open_trial = ""

    def _log_trial(self, trial: Trial, networks: Sequence[Trained], with_model: bool) -> None:
        start = int(time.time() * 1000) - int(sum(network.seconds for network in networks) * 1000)
        tags, params = self._tags(trial), self._params(trial)
        if networks[0].error:
            tags["mlflow.note.content"] = networks[0].error
        short = f"{trial.phase}-{tags[schema.TAG_HASH][:4]}"
        if trial.number is not None:
            short = f"t{trial.number:03d}"
        name = f"{trial.arm.noise}-{short}"
        self._open_trial = trial_run = self._create(name, "trial", self.run_id, tags, start)
        with ending_well(self.client, trial_run):
            for network in networks:
                seed_tags = {**tags, schema.TAG_SEED: str(network.seed)}
                run = self._create(f"{name}-s{network.seed}", "seed", trial_run, seed_tags, start)
                with ending_well(self.client, run):
                    self.client.log_batch(
                        run, _curves(network, start), _as_params({**params, "seed": network.seed})
                    )
                    if with_model and network is networks[0] and network.converged:
                        self._log_model(run, network)
                    self.client.set_terminated(run, _status([network]))
            names = networks[0].scores
            means = {name: fmean(one.scores[name] for one in networks) for name in names}
            seeds = ",".join(str(network.seed) for network in networks)
            counted = {**params, "seeds": seeds, "networks": len(networks)}
            self.client.log_batch(trial_run, _as_metrics(means), _as_params(counted))
            if networks[0].images:
                self._log_images(trial_run, networks)
            self._end_trial(trial_run, _status(networks))

    def _end_trial(self, trial_run: str, status: str, end: int | None = None) -> None:
        # By another process; the seed runs that it ended are missing from this trial.
        if self.client.get_run(trial_run).info.status != "RUNNING":
            raise AlreadyRunning(TAKEN_OVER)
        self.client.set_terminated(trial_run, status, end)

    def _log_images(self, trial_run: str, networks: Sequence[Trained]) -> None:
        nll = np.stack([network.images["nll"] for network in networks])
        correct = np.packbits(np.stack([network.images["correct"] for network in networks]), axis=1)
        with tempfile.TemporaryDirectory() as folder:
            np.savez_compressed(Path(folder) / schema.IMAGES_FILE, nll=nll, correct=correct)
            self._log_image_file(trial_run, Path(folder) / schema.IMAGES_FILE)

    def _log_image_file(self, trial_run: str, file: Path) -> None:
        self.client.log_artifact(trial_run, str(file))
        _onto_the_disk(self.client.get_run(trial_run).info.artifact_uri)

    def _log_model(self, run: str, network: Trained) -> None:
        """Keep a network as a model; old servers and some proxies have none."""
        try:
            model.log_model(run, network, self.setting)
        except MlflowException as error:
            if not is_permanent(error):
                raise

    @patient
    def log_arms(self, arms: dict[str, dict[str, str]]) -> None:
        """Log what the declared rules picked, before the confirm phase."""
        text = json.dumps(arms, indent=2, sort_keys=True)
        self.client.log_text(self.run_id, text, schema.ARMS_FILE)

    @patient
    def log_report(self, folder: Path) -> None:
        """The report's files, so that it opens in the MLflow UI."""
        for name in schema.REPORT_FILES:
            self.client.log_artifact(self.run_id, str(folder / name), schema.REPORT_FOLDER)

    @patient
    def tidy_up(self) -> None:
        """End runs that the store never said it had made, once all trials are logged."""
        self._refuse_if_taken_over()
        discard_half_logged(
            self.client, self.experiment_id, self.declaration.study_id, ("RUNNING",)
        )

    def _refuse_if_taken_over(self) -> None:
        """Ask the store, too: after a sleep the heartbeat has not looked yet."""
        if self.taken_over or self.client.get_run(self.run_id).info.status == "KILLED":
            raise AlreadyRunning(TAKEN_OVER)

    @patient
    def finish(self) -> None:
        """End the study run as FINISHED."""
        self.client.set_terminated(self.run_id, "FINISHED")

    def _tags(self, trial: Trial) -> dict[str, str]:
        tags = {
            schema.TAG_ID: self.declaration.study_id,
            schema.TAG_PHASE: trial.phase,
            schema.TAG_QUESTION: ",".join(trial.questions),
            schema.TAG_ARM: trial.arm.name,
            schema.TAG_HASH: trial.hash(self.setting, self.declaration.data["digest"]),
            **self._origin,
        }
        return tags if trial.number is None else {**tags, schema.TAG_NUMBER: str(trial.number)}

    def _params(self, trial: Trial) -> dict[str, object]:
        arm, recipe = trial.arm, trial.arm.recipe
        return {
            "noise": arm.noise,
            "rate1": arm.rate1,
            "rate2": arm.rate2,
            **({"rate3": arm.rate3} if len(arm.rates) == len(schema.RATES) else {}),
            "weight_decay": arm.weight_decay,
            "recipe": recipe.name,
            "epochs": recipe.epochs,
            "learning_rate": recipe.learning_rate,
            "train_examples": min(recipe.train_examples, self.declaration.data["train"]),
            "precision": self.setting.precision,
            "device": self.setting.device,
        }

    def _create(self, name: str, kind: str, parent: str, tags: dict[str, str], start: int) -> str:
        tags = {
            **tags,
            schema.TAG_KIND: kind,
            schema.TAG_PARENT: parent,
            MLFLOW_USER: provenance.user(),
        }
        return self.client.create_run(self.experiment_id, start, tags, name).info.run_id


def _onto_the_disk(artifact_uri: str) -> None:
    """Have a file survive a power cut, as a database does; on a server that is its own affair."""
    folder = local_path(artifact_uri)
    for path in (folder / schema.IMAGES_FILE, folder) if folder else ():
        with suppress(OSError):  # not every system opens a folder
            opened = os.open(path, os.O_RDONLY)
            try:
                os.fsync(opened)
            finally:
                os.close(opened)


def _status(networks: Sequence[Trained]) -> str:
    return "FINISHED" if all(network.converged for network in networks) else "FAILED"


def _dataset(declaration: Declaration, part: str) -> DatasetInput:
    """A data set under our own digest: MLflow's would cover the first 10,000 elements only."""
    data, name = declaration.data, declaration.data["name"]
    kind, source = "http", {"url": f"https://pytorch.org/vision/stable/datasets.html#{name}"}
    if name.startswith(IN_FOLDER):
        kind, source = "local", {"uri": name.removeprefix(IN_FOLDER)}
    title = f"{name} {part} ({data[part]} images)"
    dataset = Dataset(title, data["digest"], kind, json.dumps(source))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", part)])


def _curves(network: Trained, start: int) -> list[Metric]:
    """Return the metrics of each point of the curves, step = epochs done; then what is measured now
    and then, and in bins, step = bin, and once."""
    epochs = network.points[-1]
    metrics: list[Metric] = []
    for name, curve in network.curves.items():
        for step, value in zip(network.points, curve, strict=True):
            time_of = start + int(1000 * network.seconds * step / epochs)
            metrics.append(Metric(name, value, time_of, step))
    for epoch, name, value in network.measured:
        metrics += _as_metrics({name: value}, epoch)
    known = {metric.key for metric in metrics}
    once = {name: value for name, value in network.scores.items() if name not in known}
    for name, values in network.binned.items():
        for step, value in enumerate(values, start=1):
            metrics += _as_metrics({name: value}, step)
    return metrics + _as_metrics({**once, "seconds": network.seconds}, epochs)


def _as_metrics(values: dict[str, float], step: int = 0) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(name, value, now, step) for name, value in values.items()]


def _as_params(values: dict[str, object]) -> list[Param]:
    return [Param(name, str(value)) for name, value in values.items()]
