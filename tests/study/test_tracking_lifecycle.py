"""What may go wrong between a study and its store, one step at a time: nothing counts that is not
whole."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import synthetic
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND

from analysis import schema
from analysis.schema import Declaration
from analysis.store import reader
from analysis.store.uri import StoreError
from models.config import Arm
from models.mlp import Weights
from models.train import Trained, not_trained
from study.presets import PRESETS
from study.tracking import lifecycle, model, model_registry, provenance, retry
from study.tracking.lifecycle import open_study
from study.tracking.retry import AlreadyRunning
from study.tracking.writer import Tracker
from study.trial import Setting, Trial

SMOKE, SEEDS = PRESETS["smoke"], (1000, 1001)
ARM = Arm("dropout", 0.3, 0.5, 1e-5, SMOKE.recipes[0])
TRIAL = Trial(ARM, SEEDS, schema.CONFIRM, ("beat-dropout",))


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = mlflow.get_tracking_uri()
    monkeypatch.chdir(tmp_path)  # where MLflow puts the artifacts of a sqlite store
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    yield
    mlflow.set_tracking_uri(before)


def trained(seed: int) -> Trained:
    """A network's results: numbers of the right kind."""
    curves = {
        name: [0.5] * ARM.recipe.epochs for name in ("train/loss", "val/loss", "val/accuracy")
    }
    test = {f"test/{name}": 0.5 for name in ("loss", "accuracy", "brier", "ece")}
    images = {"nll": np.full(20, 0.7, np.float16), "correct": np.arange(20) < 10}
    return Trained(ARM, seed, curves, test, Weights((), ()), 1.0, images=images)


NETWORKS = [trained(seed) for seed in SEEDS]


def running() -> list[Run]:
    client = MlflowClient()
    experiments = [one.experiment_id for one in client.search_experiments()]
    return list(client.search_runs(experiments, "attributes.status = 'RUNNING'"))


class Unreliable:
    """A client whose n-th change of the store fails, before it is made or after."""

    CHANGES = ("create_run", "log_batch", "set_terminated", "log_artifact")

    def __init__(self, client: MlflowClient, fails_at: int, done: bool) -> None:
        self._client, self.left, self._done = client, fails_at, done

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name not in self.CHANGES:
            return method

        def called(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left == 0 and self._done:
                method(*args, **kwargs)
            if self.left == 0:
                raise MlflowException("the connection broke off")
            return method(*args, **kwargs)

        return called


@pytest.mark.parametrize("done", [False, True], ids=["not done", "done, but not told so"])
@pytest.mark.parametrize("fails_at", range(1, 11))
def test_a_store_that_fails_at_any_step_gets_the_trial_once(
    declared: Declaration,
    setting: Setting,
    monkeypatch: pytest.MonkeyPatch,
    fails_at: int,
    done: bool,
) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.01)
    with open_study(declared, setting, schema.EXPERIMENT) as tracker:
        unreliable = Unreliable(tracker.client, fails_at, done)
        tracker.client = unreliable  # type: ignore[assignment]
        tracker.log_trial(TRIAL, NETWORKS)
        assert unreliable.left < 0, "it never failed"
        tracker.tidy_up()
        assert [run.info.run_id for run in running()] == [tracker.run_id]
        tracker.finish()
    study = reader.load(images=True)
    assert sorted(study.table["seed"]) == sorted(SEEDS)
    assert study.images[ARM.name].nll.shape == (2, 20)
    whole = [
        run
        for run in MlflowClient().search_runs([tracker.experiment_id])
        if run.info.status == "FINISHED"
    ]
    assert len(whole) == 1 + 1 + len(SEEDS), (
        "the study, one trial and its seeds; what broke off is KILLED, all of it"
    )


def test_a_process_that_dies_while_it_opens_a_study_leaves_nothing_running(
    declared: Declaration, setting: Setting
) -> None:
    class Died(BaseException):
        pass

    def dies(*_: object) -> None:
        raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tracker, "describe_study", dies)
        patch.setattr(
            MlflowClient, "set_terminated", lambda *_, **__: None
        )  # a killed process ends no run
        with pytest.raises(Died), open_study(declared, setting, schema.EXPERIMENT):
            pass
    (left,) = running()
    with open_study(declared, setting, schema.EXPERIMENT) as tracker:
        assert MlflowClient().get_run(left.info.run_id).info.status == "KILLED"
        tracker.finish()
    assert not running()


@pytest.mark.parametrize("name", ["log_inputs", "set_experiment_tag"])
def test_studies_that_write_the_same_at_the_same_moment(
    declared: Declaration, setting: Setting, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The store, asked by both whether a thing is there, lets the one make it and fails the
    other."""
    write, asked = getattr(MlflowClient, name), []

    def beaten(client: MlflowClient, *rest: Any) -> None:
        asked.append(rest)
        if len(asked) == 1:
            raise MlflowException("UNIQUE constraint failed")
        write(client, *rest)

    monkeypatch.setattr(MlflowClient, name, beaten)
    with open_study(declared, setting, schema.EXPERIMENT) as tracker:
        tracker.finish()
    assert asked[0] == asked[1]
    inputs = MlflowClient().get_run(tracker.run_id).inputs
    assert inputs and len(inputs.dataset_inputs) == 3


def test_who_was_taken_over_amid_a_trial_does_not_finish_it(
    declared: Declaration, setting: Setting
) -> None:
    """A process that was asleep: the other has ended the trial and those of its seed runs that were
    there."""
    with (
        pytest.raises(AlreadyRunning, match="goes on with this study"),
        open_study(declared, setting, schema.EXPERIMENT) as tracker,
    ):
        log_images = tracker._log_images

        def meanwhile(trial_run: str, networks: Any) -> None:
            log_images(trial_run, networks)
            lifecycle.discard_half_logged(tracker.client, tracker.experiment_id, declared.study_id)

        tracker._log_images = meanwhile  # type: ignore[method-assign]
        tracker.log_trial(TRIAL, NETWORKS)
    with open_study(declared, setting, schema.EXPERIMENT) as tracker:
        tracker.log_trial(TRIAL, NETWORKS)
        tracker.finish()
    assert sorted(reader.load().table["seed"]) == sorted(SEEDS)
    assert not running()


def test_a_trial_that_lost_a_seed_run_counts_for_nothing() -> None:
    writer = synthetic.Writer(synthetic.declaration())
    arm = synthetic.Arm("dropout", 0.1, 0.5, 1e-4)
    writer.trial(arm, (1, 2, 3), schema.SEARCH, number=0)
    writer.trial(synthetic.Arm("none", 0.0, 0.0, 1e-4), (1, 2, 3), schema.SEARCH, number=1)
    table = reader.load().table
    lost = table.loc[table["noise"] == "dropout", "run_id"].iloc[1]
    MlflowClient().delete_run(lost)
    assert set(reader.load().table["noise"]) == {"none"}
    writer.trial(arm, (1, 2, 3), schema.SEARCH, number=0)  # trained anew
    assert sorted(reader.load().table["noise"]) == ["dropout"] * 3 + ["none"] * 3


def test_a_later_run_that_was_stopped_early_does_not_hide_the_answers(
    declared: Declaration, setting: Setting
) -> None:
    arms = {ARM.recipe.name: {"tuned dropout": ARM.name}}
    with open_study(declared, setting, schema.EXPERIMENT) as first:
        first.log_trial(TRIAL, NETWORKS)
        first.log_arms(arms)
        first.finish()
    with pytest.raises(KeyboardInterrupt), open_study(declared, setting, schema.EXPERIMENT):
        raise KeyboardInterrupt
    study = reader.load()
    assert study.arms == arms and study.run_id == first.run_id
    assert sorted(study.table["seed"]) == sorted(SEEDS)


def test_damaged_scores_of_images_are_no_reason_to_wait(
    declared: Declaration, setting: Setting, tmp_path: Path
) -> None:
    with open_study(declared, setting, schema.EXPERIMENT) as tracker:
        tracker.log_trial(TRIAL, NETWORKS)
        tracker.finish()
    (file,) = tmp_path.rglob(schema.IMAGES_FILE)
    file.write_bytes(b"")
    with pytest.raises(
        reader.StoreError,
        match=r"is damaged; delete that run \(mlflow runs delete --run-id \w{32}\)",
    ):
        reader.load(images=True)
    try:
        reader.load(images=True)
    except reader.StoreError as error:
        assert retry.is_permanent(error)


def project_run(source: str, status: str = "RUNNING", entry_point: str = "study") -> str:
    """A run as `mlflow run` makes it."""
    client = MlflowClient()
    tags = {"mlflow.source.name": source, "mlflow.project.entryPoint": entry_point}
    if not entry_point:
        del tags["mlflow.project.entryPoint"]
    run = client.create_run("0", tags=tags)
    if status != "RUNNING":
        client.set_terminated(run.info.run_id, status)
    return str(run.info.run_id)


@pytest.mark.parametrize(
    ("source", "fetched"),
    [
        (str(lifecycle.PROJECT), False),
        (lifecycle.PROJECT.as_uri(), False),
        (f"{lifecycle.PROJECT.parent}#{lifecycle.PROJECT.name}", False),
        ("https://example.org/study.git#", True),
        ("ssh://git@example.org/study.git", True),
        ("git@example.org:me/study.git#part", True),
        ("study.zip", True),
    ],
)
def test_the_run_of_mlflow_run_is_adopted(
    declared: Declaration,
    setting: Setting,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    source: str,
    fetched: bool,
) -> None:
    if source == "study.zip":
        (tmp_path / source).touch()
        source = str(tmp_path / source)
    run_id = project_run(source)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    with open_study(declared, setting, schema.EXPERIMENT) as tracker:
        assert tracker.run_id == run_id
        assert tracker.is_fetched == fetched
        tracker.finish()


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (lambda: project_run(str(lifecycle.PROJECT), "FINISHED"), "is a run that has ended"),
        (lambda: project_run(str(lifecycle.PROJECT), "KILLED"), "is a run that has ended"),
        (lambda: project_run(".", entry_point=""), "is no run that `mlflow run` made"),
        (lambda: project_run("/"), "is no run that `mlflow run` made for this project"),
        (lambda: "0" * 32, "is no run of this tracking store"),
    ],
)
def test_another_run_left_in_the_environment_is_named_and_left_alone(
    declared: Declaration, setting: Setting, monkeypatch: pytest.MonkeyPatch, run: Any, told: str
) -> None:
    run_id = run()
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    client = MlflowClient()
    before = None if run_id.startswith("000") else client.get_run(run_id).to_dictionary()
    study = open_study(declared, setting, schema.EXPERIMENT)
    with pytest.raises(StoreError, match="MLFLOW_RUN_ID is set to .* which " + told), study:
        pass
    if before:
        assert client.get_run(run_id).to_dictionary() == before


def test_every_run_names_its_user(declared: Declaration, setting: Setting) -> None:
    with open_study(declared, setting, schema.EXPERIMENT) as tracker:
        tracker.log_trial(TRIAL, NETWORKS)
        tracker.finish()
    runs = MlflowClient().search_runs([tracker.experiment_id])
    assert len(runs) == 2 + len(SEEDS)
    assert {run.info.user_id for run in runs} == {provenance.user()}


def test_a_diverged_trial_is_known_as_one_and_a_broken_one_is_not(
    declared: Declaration, setting: Setting
) -> None:
    curves = {name: [math.nan] for name in ("train/loss", "val/loss", "val/accuracy")}
    diverged = [replace(network, curves=curves) for network in NETWORKS]
    broken = [not_trained(ARM, seed, "out of memory") for seed in SEEDS]
    other = replace(TRIAL, arm=replace(ARM, rate1=0.1))
    with open_study(declared, setting, schema.EXPERIMENT) as tracker:
        tracker.log_trial(TRIAL, diverged)
        tracker.log_trial(other, broken)
        tracker.finish()
    digest = declared.data["digest"]
    assert reader.load().diverged == {TRIAL.hash(setting, digest)}


def test_a_third_rate_is_logged_where_the_type_has_it(
    declared: Declaration, setting: Setting
) -> None:
    composed = Arm.of("shift+dropout", (0.4, 0.1, 0.2), 1e-5, SMOKE.recipes[0])
    with open_study(declared, setting, schema.EXPERIMENT) as tracker:
        tracker.log_trial(TRIAL, NETWORKS)
        tracker.log_trial(
            replace(TRIAL, arm=composed), [replace(network, arm=composed) for network in NETWORKS]
        )
        tracker.finish()
    table = reader.load().table
    rates = {arm: rows[list(schema.RATES)].iloc[0].tolist() for arm, rows in table.groupby("arm")}
    assert rates[composed.name] == [0.4, 0.1, 0.2]
    assert rates[ARM.name][:2] == [0.3, 0.5] and math.isnan(rates[ARM.name][2])


def test_a_server_without_models_keeps_the_trial(
    declared: Declaration, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise MlflowException("no such endpoint", error_code=ENDPOINT_NOT_FOUND)

    monkeypatch.setattr(model, "log_model", refuse)
    with open_study(declared, setting, schema.EXPERIMENT) as tracker:
        tracker.log_trial(TRIAL, NETWORKS, with_model=True)
        tracker.finish()
    assert sorted(reader.load().table["seed"]) == sorted(SEEDS)
    assert "could not be kept as a model" in model_registry.register(tracker, ARM)


def test_a_study_does_not_write_where_the_artifacts_were(
    declared: Declaration, setting: Setting, tmp_path: Path
) -> None:
    with open_study(declared, setting, schema.EXPERIMENT) as tracker:
        tracker.finish()
    (tmp_path / "mlruns").rename(tmp_path / "elsewhere")
    study = open_study(declared, setting, schema.EXPERIMENT)
    with pytest.raises(StoreError, match="is not there. Put it back"), study:
        pass
    assert not (tmp_path / "mlruns").exists()


OPEN = """
import sys, mlflow
from study.tracking import lifecycle
mlflow.set_tracking_uri(sys.argv[1])
input()
lifecycle._connect().search_experiments()
print("opened")
"""


def test_first_studies_that_start_at_the_same_moment_all_open(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'new.db'}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(lifecycle.PROJECT)},
        )
        for _ in range(4)
    ]  # fmt: skip
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        stdout, stderr = process.communicate(timeout=120)
        assert stdout.strip() == "opened", stderr
