"""The main job, whole: `python -m study` on real data, a real MLflow store, real Optuna."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from analysis import schema
from analysis.formatting import arms_in_words
from analysis.questions.base import DROPOUT_ALONE
from analysis.store import reader
from models.data import Split
from study import search_space
from study.planning.dry_run import planned_trials
from study.presets import PRESETS

ROOT = Path(__file__).parents[2]
SMOKE = PRESETS["smoke"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "study", *arguments]


def environment(store: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "MLFLOW_TRACKING_URI": f"sqlite:///{store / 'mlflow.db'}",
    }


@dataclass(frozen=True)
class Finished:
    """A finished smoke study: where it is, what it printed, what the reader makes of it."""

    store: Path
    stdout: str
    stderr: str
    study: reader.Study


@pytest.fixture(scope="module")
def use_store() -> Callable[[Path], None]:
    return lambda store: mlflow.set_tracking_uri(f"sqlite:///{store / 'mlflow.db'}")


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, folder: Path, use_store: Callable[[Path], None]
) -> Finished:
    store = tmp_path_factory.mktemp("finished")
    done = subprocess.run(
        command("study", "--preset", "smoke", "--data", str(folder.resolve())),
        cwd=store, env=environment(store), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    use_store(store)
    return Finished(store, done.stdout, done.stderr, reader.load())


@pytest.fixture(autouse=True)
def current_store(finished: Finished, use_store: Callable[[Path], None]) -> None:
    use_store(finished.store)


def tree(study: reader.Study) -> dict[str, list]:
    """Every run of the study by its kind."""
    found = mlflow.search_runs(
        experiment_names=[study.experiment], filter_string=study.filter_string, output_format="list"
    )
    assert isinstance(found, list)
    kinds: dict[str, list] = {"study": [], "trial": [], "seed": []}
    for run in found:
        kinds[run.data.tags[schema.TAG_KIND]].append(run)
    return kinds


def test_prints_the_report_last_and_nothing_alarming(finished: Finished) -> None:
    last = finished.stdout.strip().splitlines()[-1]
    page = finished.store / last.split()[1]
    assert last.startswith("report: ") and last.endswith("(runs: python -m study ui)")
    assert page.name == "index.html" and page.is_file()
    assert "Warning" not in finished.stderr and "Traceback" not in finished.stderr


def test_one_row_for_each_seed_run_with_the_columns_of_the_schema(finished: Finished) -> None:
    table = finished.study.table
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == schema.RUN_TABLE
    planned = sum(len(trial.seeds) for trial in planned_trials(SMOKE, SMOKE.noise_types))
    # The search may find one arm twice, and tuned arms may coincide: such a trial is run once.
    assert 0.8 * planned <= len(table) <= planned
    assert not table.duplicated(["phase", "arm", "seed"]).any()
    assert len(tree(finished.study)["seed"]) == len(table)


def test_study_trials_and_seeds_form_a_tree(finished: Finished) -> None:
    kinds = tree(finished.study)
    assert len(kinds["study"]) == 1
    assert {run.data.tags[schema.TAG_DATASET] for some in kinds.values() for run in some} == {
        "fashion-mnist"
    }
    study_run = kinds["study"][0].info.run_id
    trials = {run.info.run_id for run in kinds["trial"]}
    assert {run.data.tags["mlflow.parentRunId"] for run in kinds["trial"]} == {study_run}
    assert {run.data.tags["mlflow.parentRunId"] for run in kinds["seed"]} == trials
    assert {run.info.status for of_kind in kinds.values() for run in of_kind} == {"FINISHED"}


def test_study_run_says_what_it_is(finished: Finished) -> None:
    run = tree(finished.study)["study"][0]
    assert "How to read the runs" in run.data.tags["mlflow.note.content"]
    assert set(run.data.tags) >= {
        schema.TAG_COMMIT,
        schema.TAG_DIRTY,
        schema.TAG_DATA,
        schema.TAG_HEARTBEAT,
    }
    contexts = {tag.value for used in run.inputs.dataset_inputs for tag in used.tags}
    assert contexts == {"train", "validation", "test"}
    assert {used.dataset.digest for used in run.inputs.dataset_inputs} == {
        finished.study.declaration.data["digest"]
    }
    client = MlflowClient()
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files >= {
        schema.DECLARATION_FILE,
        schema.ARMS_FILE,
        schema.VERSIONS_FILE,
        schema.REPORT_FOLDER,
    }
    report = {
        file.path.split("/")[1]
        for file in client.list_artifacts(run.info.run_id, schema.REPORT_FOLDER)
    }
    assert report == set(schema.REPORT_FILES)


def test_curves_have_a_point_for_each_epoch(finished: Finished) -> None:
    client = MlflowClient()
    for run in tree(finished.study)["seed"][:5]:
        for metric in ("train/loss", "val/loss", "val/accuracy"):
            steps = [point.step for point in client.get_metric_history(run.info.run_id, metric)]
            assert steps == list(range(1, SMOKE.recipes[0].epochs + 1))


def test_only_the_confirm_phase_reads_the_test_set(finished: Finished) -> None:
    table = finished.study.table
    assert table["test/accuracy"].notna().eq(table["phase"] == schema.CONFIRM).all()
    seeds = {phase: set(rows["seed"]) for phase, rows in table.groupby("phase")}
    assert seeds == {
        schema.SEARCH: {*SMOKE.search_seeds, *SMOKE.alone_seeds},
        schema.RERANK: set(SMOKE.rerank_seeds),
        schema.EXPLORE: set(SMOKE.robustness_seeds),
        schema.CONFIRM: set(SMOKE.confirm_seeds),
    }
    assert not set.intersection(*seeds.values())


def test_each_search_has_its_own_trials_and_arms_follow_the_rules(finished: Finished) -> None:
    study = finished.study
    recipe = SMOKE.recipes[0].name
    trials = study.table[study.table["phase"] == schema.SEARCH]
    labels = [*SMOKE.noise_types, DROPOUT_ALONE]
    for number, noise, seed in zip(
        trials["trial_number"], trials["noise"], trials["seed"], strict=True
    ):
        search, place = divmod(number, SMOKE.trials_per_type)
        seeds = SMOKE.alone_seeds if labels[search] == DROPOUT_ALONE else SMOKE.search_seeds
        assert noise == search_space.noise_of(labels[search]) and seed == seeds[place]
    arms = study.arms[recipe]
    again = set(study.table.loc[study.table["phase"] == schema.RERANK, "arm"])
    tuned = study.tuned_arms(recipe)
    assert list(tuned) and set(tuned) == set(labels)
    decay = arms["tuned none"].split()[1]
    for noise, arm in tuned.items():
        # Trained again, or no noise's own arm.
        rates = arm.partition(" ")[0].strip(f"{search_space.noise_of(noise)}()").split(",")
        assert arm in again or (set(rates) <= {"0", ""} and (decay in arm or "wd=0 " in arm))
    assert arms["weight decay"] == arms["tuned none"] and arms["both"] == arms["tuned dropout"]
    assert arms["dropout"] == tuned[DROPOUT_ALONE] and " wd=0 " in arms["dropout"]
    confirmed = set(study.table.loc[study.table["phase"] == schema.CONFIRM, "arm"])
    assert confirmed == set(arms.values())


def test_every_confirmed_trial_keeps_what_each_test_image_said(
    finished: Finished, tmp_path: Path
) -> None:
    """The scores of its seed runs can be recomputed from its artifact, and no other trial has
    one."""
    client, table = MlflowClient(), finished.study.table
    for run in tree(finished.study)["trial"]:
        rows = table[table["trial_run_id"] == run.info.run_id].sort_values("seed")
        kept = [file.path for file in client.list_artifacts(run.info.run_id)]
        assert kept == ([schema.IMAGES_FILE] if rows["phase"].iloc[0] == schema.CONFIRM else [])
        if kept:
            images = np.load(
                client.download_artifacts(run.info.run_id, schema.IMAGES_FILE, str(tmp_path))
            )
            correct = np.unpackbits(images["correct"], axis=1, count=images["nll"].shape[1])
            assert correct.mean(axis=1) == pytest.approx(rows["test/accuracy"].to_numpy())
            assert images["nll"].astype(float).mean(axis=1) == pytest.approx(
                rows["test/loss"].to_numpy(), rel=1e-3
            )


def test_trial_metrics_are_the_means_over_its_seeds(finished: Finished) -> None:
    table = finished.study.table
    for run in tree(finished.study)["trial"]:
        rows = table[table["trial_run_id"] == run.info.run_id]
        assert run.data.metrics["val/loss"] == pytest.approx(rows["val/loss"].mean())
        assert run.data.params["seeds"] == ",".join(map(str, rows["seed"]))


def test_the_winner_is_a_registered_model_that_predicts_what_its_run_logged(
    finished: Finished, parts: Split
) -> None:
    """The tuned arm that did best on the re-ranking's validation images; test_champion tells how
    far it travels."""
    experiment = mlflow.get_experiment_by_name(finished.study.experiment)
    assert experiment
    [logged] = MlflowClient().search_logged_models([experiment.experiment_id])
    version = MlflowClient().get_model_version_by_alias("dropout-study-champion", "champion")
    assert version.run_id == logged.source_run_id
    table = finished.study.table
    row = table.set_index("run_id").loc[version.run_id]
    tuned = finished.study.tuned_arms(SMOKE.recipes[0].name)
    candidates = {arm for noise, arm in tuned.items() if noise in SMOKE.noise_types}
    again = table[(table["phase"] == schema.RERANK) & table["arm"].isin(candidates)]
    reranked = again.groupby("arm")["val/accuracy"].mean()
    assert reranked[row["arm"]] == reranked.max()
    assert (row["phase"], row["seed"]) == (schema.CONFIRM, SMOKE.confirm_seeds[0])
    assert (
        f"the winner is {arms_in_words(row['arm'])}, models:/dropout-study-champion@champion"
        in finished.stderr
    )
    report = mlflow.artifacts.load_text(version.tags["study.report"])
    assert (
        report.lower().startswith("<!doctype html>")
        and version.tags[schema.TAG_ID] == finished.study.study_id
    )
    model = mlflow.pyfunc.load_model("models:/dropout-study-champion@champion")
    right = (
        model.predict(parts.test_x.numpy())["probabilities"].argmax(axis=1) == parts.test_y.numpy()
    )
    assert right.mean() == pytest.approx(float(row["test/accuracy"]), abs=1e-4)


SCORES = ["phase", "arm", "seed", "val/loss", "val/accuracy", "test/loss", "test/accuracy"]


def scores(study: reader.Study) -> pd.DataFrame:
    return study.table[SCORES].sort_values(SCORES[:3]).reset_index(drop=True)


def test_killed_and_rerun_goes_on_from_what_is_finished(
    finished: Finished, folder: Path, tmp_path: Path, use_store: Callable[[Path], None]
) -> None:
    """SIGKILL, then SIGINT, then the end: no finished trial is trained again, and the results are
    those of one go."""
    arguments = command("study", "--preset", "smoke", "--data", str(folder.resolve()))
    use_store(tmp_path)
    # Makes the database: two processes that open a fresh one can crash.
    MlflowClient().search_experiments()

    def start() -> subprocess.Popen:
        return subprocess.Popen(
            arguments, cwd=tmp_path, env=environment(tmp_path), stderr=subprocess.PIPE, text=True
        )

    def wait_for_trials(count: int, process: subprocess.Popen) -> None:
        while process.poll() is None:
            time.sleep(0.3)
            try:
                if reader.load().table["trial_hash"].nunique() >= count:
                    return
            except reader.StoreError:  # no study run yet
                continue
        pytest.fail(f"the study ended before it could be killed: {process.communicate()[1]}")

    killed = start()
    wait_for_trials(4, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    before = set(reader.load().table["run_id"])

    interrupted = start()
    wait_for_trials(10, interrupted)
    interrupted.send_signal(signal.SIGINT)
    _, message = interrupted.communicate(timeout=30)
    assert interrupted.returncode == 130
    assert "the same command goes on" in message and "Traceback" not in message

    last = subprocess.run(
        arguments,
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert last.returncode == 0, last.stderr
    study = reader.load()
    assert before <= set(study.table["run_id"])
    pd.testing.assert_frame_equal(scores(study), scores(finished.study))
    kinds = tree(study)
    statuses = sorted(run.info.status for run in kinds["study"])
    assert statuses == ["FINISHED", "KILLED", "KILLED"]
    assert "RUNNING" not in {run.info.status for of_kind in kinds.values() for run in of_kind}
    newest = next(run.info.run_id for run in kinds["study"] if run.info.status == "FINISHED")
    assert {run.data.tags["mlflow.parentRunId"] for run in kinds["trial"]} == {newest}


def test_a_finished_study_run_again_trains_nothing(
    finished: Finished, folder: Path, tmp_path: Path, use_store: Callable[[Path], None]
) -> None:
    for file in finished.store.glob("mlflow.db*"):
        shutil.copy(file, tmp_path)
    use_store(tmp_path)
    done = subprocess.run(
        command("study", "--preset", "smoke", "--data", str(folder.resolve())),
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(
        reader.load().table.drop(columns="trial_run_id"),
        finished.study.table.drop(columns="trial_run_id"),
    )
