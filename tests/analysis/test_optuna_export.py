"""The search, exported: what Optuna reads is what the tracking store has, and its dashboard opens
it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pandas as pd
import pytest
import synthetic
from optuna.distributions import FloatDistribution
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import OperationalError

from analysis import schema
from analysis.store import optuna_export, reader
from models.config import Arm, Recipe
from study import search_space
from study.commands.cli import main

TYPES = (*synthetic.NOISE_TYPES, "shift+dropout")
RECIPE = Recipe(synthetic.RECIPE, 4, 0.1, 0.0, "linear")
MAX_RATE = 0.6


def proposed(number: int) -> Arm:
    """The arm of a trial, on the search's grid."""
    noise = TYPES[number % len(TYPES)]
    point = [0.1 * (number + 1)] * len(search_space.coordinates(noise))
    return search_space.to_arm(noise, point, RECIPE, MAX_RATE)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[reader.Study]:
    """Eight search trials, of which the second failed, the third was killed and trained anew."""
    before = mlflow.get_tracking_uri()
    synthetic.use_store(tmp_path_factory.mktemp("store"))
    declared = json.loads(json.dumps(search_space.declared(TYPES, [RECIPE])))
    declaration = replace(
        synthetic.declaration(), noise_types=TYPES, search_space=declared, max_rate=MAX_RATE
    )
    writer = synthetic.Writer(declaration)
    for number in range(8):
        arm = proposed(number)
        rate3 = arm.rate3 if len(arm.rates) == 3 else None
        row = synthetic.Arm(arm.noise, arm.rate1, arm.rate2, arm.weight_decay, rate3=rate3)
        if number == 2:
            writer.trial(row, (1, 2, 3), schema.SEARCH, number=number, status="KILLED")
        status = "FAILED" if number == 1 else "FINISHED"
        writer.trial(row, (1, 2, 3), schema.SEARCH, number=number, status=status)
    writer.end()
    yield reader.load()
    mlflow.set_tracking_uri(before)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'search.db'}"


def test_exported_trials_are_those_of_the_store(study: reader.Study, url: str) -> None:
    [(name, count)] = optuna_export.export(study, url).items()
    assert name == f"quick study {study.study_id}, search under decay" and count == 8
    found = optuna.load_study(study_name=name, storage=url)
    assert found.direction == optuna.study.StudyDirection.MAXIMIZE
    assert (
        found.user_attrs["study_id"] == study.study_id
        and found.user_attrs["objective"] == "val/accuracy"
    )
    assert [trial.user_attrs["trial_number"] for trial in found.trials] == list(range(8))
    for trial in found.trials:
        number, noise = trial.user_attrs["trial_number"], trial.params["noise"]
        arm = proposed(number)
        rates = dict(zip(schema.RATES, arm.rates, strict=False))
        assert trial.params == {"noise": noise, "weight_decay": arm.weight_decay, **rates}
        assert trial.distributions.keys() == trial.params.keys()
        assert trial.distributions["weight_decay"] == FloatDistribution(0.0, 1e-2)
        for rate in rates:
            assert trial.distributions[rate] == FloatDistribution(0.0, MAX_RATE)
        if number == 1:
            assert trial.state == TrialState.FAIL and trial.values is None
            assert [trial.user_attrs["trial_run"]] == [
                one.run_id for one in study.failed if one.status == "FAILED"
            ]
            continue
        rows = study.table.loc[
            study.table["trial_run_id"] == trial.user_attrs["trial_run"]
        ].set_index("seed")
        assert trial.state == TrialState.COMPLETE
        assert trial.user_attrs["arm"] == rows["arm"].iloc[0]
        assert trial.value == pytest.approx(rows["val/accuracy"].mean())
        assert trial.user_attrs["seed_values"] == {
            str(seed): value for seed, value in rows["val/accuracy"].items()
        }
        assert trial.user_attrs["seed_runs"] == {
            str(seed): run for seed, run in rows["run_id"].items()
        }


def test_a_study_that_is_there_stays_as_it_is(study: reader.Study, url: str) -> None:
    [name] = optuna_export.export(study, url)
    with pytest.raises(optuna_export.ExportError, match="has a study .* already"):
        optuna_export.export(study, url)
    assert len(optuna.load_study(study_name=name, storage=url).trials) == 8
    other = replace(study, declaration=replace(study.declaration, preset="full"))
    assert len(optuna_export.export(other, url)) == 1 and len(optuna.get_all_study_names(url)) == 2


def test_an_export_that_breaks_off_leaves_nothing(
    study: reader.Study, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna.Study, "add_trials", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        optuna_export.export(study, url)
    assert optuna.get_all_study_names(url) == []


@pytest.fixture
def twice(study: reader.Study) -> reader.Study:
    """The same search under two recipes."""
    declared = study.declaration
    recipes = {"later": declared.recipes[synthetic.RECIPE], **declared.recipes}
    rows = study.table.assign(recipe="later", trial_hash=study.table["trial_hash"] + "later")
    space = declared.search_space | {"weight_decay": dict.fromkeys(recipes, (1e-5, 1e-2))}
    both = replace(
        declared,
        recipes=recipes,
        tuned_recipes=(synthetic.RECIPE, "later"),
        search_space=space,
    )
    return replace(study, declaration=both, table=pd.concat([study.table, rows], ignore_index=True))


@pytest.mark.parametrize(
    "error",
    [
        StorageInternalError("of a commit\n"),
        OperationalError("insert", {}, Exception("disk is full")),
    ],
)
def test_a_storage_that_fails_at_the_second_recipe_is_told_and_keeps_nothing(
    twice: reader.Study, url: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    add, calls = optuna.Study.add_trials, count()

    def fails(made: optuna.Study, trials: list[FrozenTrial]) -> None:
        if next(calls):
            raise error
        add(made, trials)

    with (
        monkeypatch.context() as patch,
        pytest.raises(optuna_export.ExportError, match="cannot be written: ") as told,
    ):
        patch.setattr(optuna.Study, "add_trials", fails)
        optuna_export.export(twice, url)
    assert len(str(told.value).splitlines()) == 1
    assert optuna.get_all_study_names(url) == []
    assert len(optuna_export.export(twice, url)) == 2


def test_what_a_killed_export_left_is_replaced(
    study: reader.Study, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = optuna.Study.add_trials
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(optuna, "delete_study", lambda **named: None)  # as after kill -9
        patch.setattr(
            optuna.Study, "add_trials", lambda made, trials: [add(made, trials[:3]), 1 / 0]
        )
        optuna_export.export(study, url)
    [name] = optuna.get_all_study_names(url)
    assert len(optuna.load_study(study_name=name, storage=url).trials) == 3
    assert optuna_export.export(study, url) == {name: 8}
    assert len(optuna.load_study(study_name=name, storage=url).trials) == 8


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["study", "export", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_command(
    study: reader.Study,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "--optuna", url) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"8 trials: quick study {study.study_id}, search under decay",
        f"exported: {url} (optuna-dashboard opens it)",
    ]
    assert said.err == ""


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("search.db", "search.db cannot be opened as an Optuna storage"),
        ("sqlite:///no/such/folder/search.db", "cannot be opened as an Optuna storage"),
        ("sqlite://", "would keep nothing"),
        ("größe 📁", "cannot be opened as an Optuna storage"),
        ("$(touch x); `touch x`", "cannot be opened as an Optuna storage"),
        ("sqlite:///.", "cannot be opened as an Optuna storage"),
        ("sqlite:////dev/null/search.db", "cannot be opened as an Optuna storage"),
        ("postgresql://127.0.0.1:1/none", "cannot be opened as an Optuna storage"),
        ("x" * 4096, "cannot be opened as an Optuna storage"),
        ("nosuch://user:secret@host/db", "nosuch://host/db cannot be opened"),
        ("nosuch://host/db?password=secret", "nosuch://host/db?password=*** cannot be opened"),
        ("THE STORE", "holds the tables of another program"),
    ],
)
def test_an_address_that_is_no_place_for_it(
    study: reader.Study,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    address: str,
    expected: str,
) -> None:
    place = mlflow.get_tracking_uri() if address == "THE STORE" else address
    assert run(monkeypatch, "--optuna", place) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and expected in line and "secret" not in line


def test_a_study_without_a_search(study: reader.Study, url: str) -> None:
    with pytest.raises(optuna_export.ExportError, match="no search trial yet"):
        optuna_export.export(replace(study, table=study.table.iloc[:0], failed=()), url)
    with pytest.raises(optuna_export.ExportError, match="lacks 'bounds' of its search space"):
        optuna_export.export(
            replace(study, declaration=replace(study.declaration, search_space={})), url
        )


@pytest.mark.slow
def test_the_dashboard_opens_it(study: reader.Study, url: str) -> None:
    [name] = optuna_export.export(study, url)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).parent / "optuna-dashboard"
    server = subprocess.Popen(
        [program, url, "--host", "127.0.0.1", "--port", str(port), "--server", "wsgiref"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    plainly = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(path: str) -> dict[str, Any]:
        until = time.monotonic() + 300
        while True:
            try:
                with plainly.open(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
                    found: dict[str, Any] = json.loads(answer.read())
                    return found
            except OSError:
                assert time.monotonic() < until and server.poll() is None
                time.sleep(0.5)

    try:
        [summary] = get("/api/studies")["study_summaries"]
        assert summary["study_name"] == name
        trials = get(f"/api/studies/{summary['study_id']}?after=0")["trials"]
        expected = [[trial.value] if trial.value is not None else None for trial in optuna.load_study(
            study_name=name, storage=url).trials]  # fmt: skip
        assert [trial.get("values") for trial in trials] == expected
        assert [trial["state"] for trial in trials] == ["Complete", "Fail", *["Complete"] * 6]
    finally:
        server.terminate()
        server.wait(timeout=30)
