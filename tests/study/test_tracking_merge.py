"""Two stores put together are one: the same numbers, each trial once, whatever happens meanwhile."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from command_line import Call, one_line
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from analysis import schema
from analysis.schema import Declaration
from analysis.store import other_store, reader, saved_report
from analysis.store.uri import StoreError
from models.metrics import BINS
from models.probes import mc_dropout
from study import signals, worker
from study.presets import PRESETS
from study.tracking import lifecycle, merge
from study.tracking.lease import Heartbeat
from study.tracking.lifecycle import open_study
from study.tracking.retry import AlreadyRunning
from study.trial import Setting, Trial

SMOKE = PRESETS["smoke"]
RECIPE = SMOKE.recipes[0]
NONE, DROPOUT = RECIPE.arm("none", 0.0, 0.0, 1e-4), RECIPE.arm("dropout", 0.2, 0.5, 0.0)
DIVERGES = replace(DROPOUT, recipe=replace(RECIPE, name="wild", learning_rate=1e30))
FIRST = [
    Trial(NONE, (0,), schema.SEARCH, number=0),
    Trial(NONE, (1000, 1001), schema.CONFIRM, ("beat-dropout",)),
    Trial(DROPOUT, (1000, 1001), schema.CONFIRM, ("beat-dropout",), measures=("test-time",)),
]
SECOND = [
    FIRST[0],  # in both
    Trial(DROPOUT, (1,), schema.SEARCH, number=1),
    Trial(NONE, (1002, 1003), schema.CONFIRM, ("beat-dropout",)),
    Trial(DROPOUT, (1002, 1003), schema.CONFIRM, ("beat-dropout",), measures=("test-time",)),
    Trial(DIVERGES, (5,), schema.RERANK),
]
ARMS = {RECIPE.name: {"tuned none": NONE.name, "tuned dropout": DROPOUT.name}}


@pytest.fixture(autouse=True)
def here() -> Iterator[None]:
    before = mlflow.get_tracking_uri()
    yield
    mlflow.set_tracking_uri(before)


def address(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def train(
    folder: Path,
    trials: Sequence[Trial],
    declared: Declaration,
    setting: Setting,
    arms: dict[str, dict[str, str]] | None,
) -> Path:
    """A store in which these trials were trained; its tables are copied, which is faster."""
    folder.mkdir()
    shutil.copy(folder.parent / "mlflow.db", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(mc_dropout, "PASSES", (1, 2))
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(address(folder))
        with open_study(declared, setting, schema.EXPERIMENT) as tracker:
            for trial in trials:
                (networks,) = worker.train_batch([trial], setting)
                tracker.log_trial(trial, networks)
            if arms:
                tracker.log_arms(arms)
            tracker.finish()
        mlflow.set_tracking_uri(before)
    return folder


@pytest.fixture(scope="module")
def stores(
    tmp_path_factory: pytest.TempPathFactory, declared: Declaration, setting: Setting
) -> Path:
    """Folders of an empty store, of two halves of a study, and of one that is undivided."""
    folder = tmp_path_factory.mktemp("stores")
    study = declared, setting
    MlflowClient(address(folder)).search_experiments()
    train(folder / "empty", [], replace(declared, preset="another"), setting, None)
    train(folder / "first", FIRST, *study, None)
    train(folder / "second", SECOND, *study, ARMS)
    train(folder / "undivided", [*FIRST, *SECOND[1:]], *study, ARMS)
    return folder


@pytest.fixture
def copies(stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copies of all of them in another place, their own artifacts out of sight."""
    folder = tmp_path / "copies"
    shutil.copytree(stores, folder)
    for name in ("empty", "first", "undivided"):  # as if each had been made there
        with closing(sqlite3.connect(folder / name / "mlflow.db")) as database, database:
            for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
                database.execute(
                    f"update {table} set {column} = replace({column}, ?, ?)",
                    [str(stores / name), str(folder / name)],
                )
    monkeypatch.chdir(tmp_path)
    return folder


def bring(source: Path, target: Path, artifacts: Path | None = None) -> tuple[int, int]:
    mlflow.set_tracking_uri(address(target))
    folder = str(artifacts) if artifacts else None
    with other_store.opened(address(source), None, schema.EXPERIMENT, folder) as other:
        return merge.merge(other, schema.EXPERIMENT, lambda count, total: None)


def load(folder: Path, study_id: str | None = None) -> reader.Study:
    mlflow.set_tracking_uri(address(folder))
    return reader.load(study_id, images=True)


def assert_same(found: reader.Study, expected: reader.Study) -> None:
    """Every number of two stores, but for run ids and seconds."""
    own = ["run_id", "trial_run_id", "seconds"]
    pd.testing.assert_frame_equal(found.table.drop(columns=own), expected.table.drop(columns=own),
                                  check_exact=True)  # fmt: skip
    assert found.diverged == expected.diverged and found.arms == expected.arms
    assert found.declaration == expected.declaration and found.commit == expected.commit
    assert found.versions == expected.versions and not found.running and not found.partial
    assert found.images.keys() == expected.images.keys()
    for arm, scores in expected.images.items():
        for score in ("nll", "correct"):
            one, other = (of.images[arm].of(score, scores.seeds) for of in (found, expected))
            assert (one == other).all()
    pd.testing.assert_frame_equal(found.curves, expected.curves, check_exact=True)
    pd.testing.assert_frame_equal(found.bins, expected.bins, check_exact=True)
    of_dropout = found.table[found.table["test/temperature"].notna()]
    assert len(of_dropout) and len(found.bins) == len(of_dropout) * 6 * BINS


def changes(folder: Path) -> tuple[object, ...]:
    """What a store holds; a run that is written to or added shows."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        tables = ("runs", "tags", "metrics", "params", "experiments", "inputs")
        return tuple(sorted(database.execute(f"select * from {one}"), key=repr) for one in tables)


def test_two_halves_are_one_undivided_study(copies: Path) -> None:
    assert bring(copies / "second", copies / "first") == (4, 1)
    assert_same(load(copies / "first"), load(copies / "undivided"))


def test_into_an_empty_store_and_both_ways_round(copies: Path, declared: Declaration) -> None:
    before = changes(copies / "second")
    assert bring(copies / "second", copies / "empty") == (5, 0)
    assert bring(copies / "first", copies / "empty") == (2, 1)
    assert_same(load(copies / "empty", declared.study_id), load(copies / "undivided"))
    assert changes(copies / "second") == before, "the source was written to"


def test_a_store_that_is_not_there_yet_is_made(copies: Path, tmp_path: Path) -> None:
    assert bring(copies / "second", tmp_path) == (5, 0)
    assert load(tmp_path).arms == ARMS


def test_the_second_merge_changes_nothing(copies: Path) -> None:
    bring(copies / "second", copies / "first")
    before = changes(copies / "first")
    assert bring(copies / "second", copies / "first") == (0, 5)
    assert changes(copies / "first") == before


def by_seed(folder: Path) -> dict[tuple[str, ...], Run]:
    """Trial and seed runs that ended with their scores, by what they are."""
    client = MlflowClient(address(folder))
    runs = client.search_runs(["1"], f"tags.`{schema.TAG_KIND}` != 'study'")
    kept = (schema.TAG_HASH, schema.TAG_KIND, schema.TAG_SEED)
    return {tuple(run.data.tags.get(tag, "") for tag in kept): run for run in runs}


def test_a_run_is_copied_with_all_that_it_says(copies: Path) -> None:
    bring(copies / "second", copies / "empty")
    expected, found = by_seed(copies / "second"), by_seed(copies / "empty")
    assert found.keys() == expected.keys()
    source, target = (MlflowClient(address(copies / name)) for name in ("second", "empty"))
    own = {schema.TAG_PARENT, "mlflow.artifacts.destination"}
    for key, run in expected.items():
        copy = found[key]
        for name in ("run_name", "status", "start_time", "end_time", "user_id"):
            assert getattr(copy.info, name) == getattr(run.info, name)
        assert copy.data.params == run.data.params
        for tag in {*copy.data.tags, *run.data.tags} - own:
            assert copy.data.tags.get(tag) == run.data.tags.get(tag), tag
        assert copy.data.metrics.keys() == run.data.metrics.keys()
        for metric in run.data.metrics:
            histories = [
                [
                    (one.step, one.timestamp, str(one.value))
                    for one in client.get_metric_history(of, metric)
                ]
                for client, of in ((source, run.info.run_id), (target, copy.info.run_id))
            ]
            assert histories[0] == histories[1]


@pytest.fixture
def report(copies: Path) -> Path:
    """The report of a study with a search trial of each type, as far as `merge` reads it."""
    study, folder = load(copies / "undivided"), copies / "report"
    folder.mkdir()
    (folder / schema.DECLARATION_FILE).write_text(study.declaration.to_json())
    (folder / schema.ARMS_FILE).write_text(json.dumps(study.arms))
    study.table.to_csv(folder / saved_report.TABLE_FILE, index=False)
    return folder


def test_a_reports_search_is_gone_on_from(report: Path, copies: Path) -> None:
    """The trials that tuned, by their hashes and with their scores; what answers is left out."""
    mlflow.set_tracking_uri(address(copies / "empty"))
    source = merge.published(report)
    assert merge.merge(source, schema.EXPERIMENT, lambda count, total: None) == (2, 0)
    assert merge.merge(source, schema.EXPERIMENT, lambda count, total: None) == (0, 2)
    found = load(copies / "empty", source.study.study_id)
    expected = load(copies / "undivided").table.query("phase == 'search'")
    own = ["run_id", "trial_run_id"]
    told = [column for column in schema.RUN_TABLE if column not in own]
    pd.testing.assert_frame_equal(
        found.table[told], expected[told].reset_index(drop=True), check_exact=True
    )
    assert not found.arms and not found.running and not found.partial
    notes = {run.data.tags["mlflow.note.content"] for run in by_seed(copies / "empty").values()}
    assert notes == {f"From the run table in {report}: its last epoch alone."}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (",0.2,0.5,", ",0.2,0.4,", "has another hash for dropout(0.2,0.5)"),
        (",dropout,0.2,0.5,", ",dropout,1.2,0.5,", "dropout rate 1.2 is outside"),
        (f",{schema.CODE_VERSION},", ",3,", "was trained by code version 3"),
        (",glimpse,", ",elsewhere,", "'elsewhere'"),
        (",dropout,0.2,0.5,", ",made.up:Noise,0.2,0.5,", "which is no noise type of this code"),
        (",search,", ",confirm,", "has no trial that tuned an arm"),
    ],
)
def test_a_changed_run_table_is_refused(report: Path, old: str, new: str, told: str) -> None:
    file = report / saved_report.TABLE_FILE
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(StoreError, match=re.escape(told)):
        merge.published(report)
    with pytest.raises(StoreError, match="is of study .*, not 0123456789ab"):
        merge.published(report, "0123456789ab")


class Dies:
    """A client of a process that is killed: its n-th change of the store is its last, made or not,
    and nothing comes after it."""

    CHANGES = ("create_run", "log_batch", "set_terminated", "log_artifact", "log_text", "set_tag",
               "log_inputs", "set_experiment_tag")  # fmt: skip

    class Killed(BaseException):
        pass

    def __init__(self, client: MlflowClient, left: int, done: bool) -> None:
        self._client, self.left, self._done = client, left, done

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name not in self.CHANGES:
            return method

        def called(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left > 0 or (self.left == 0 and self._done):
                result = method(*args, **kwargs)
            if self.left <= 0:
                raise self.Killed
            return result

        return called


def moments() -> list[Any]:
    """Changes of the store that a merge dies at: some always, each beside `make test`."""
    some = {(1, True), (9, False), (16, True), (17, False), (22, True), (27, False), (36, True)}
    more = {(left, done) for left in range(1, 44, 4) for done in (False, True)}
    return [
        pytest.param(*one, marks=[] if one in some else pytest.mark.slow)
        for one in sorted(some | more)
    ]


@pytest.mark.parametrize(("left", "done"), moments())
def test_a_merge_that_is_killed_anywhere_goes_on(
    copies: Path, left: int, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        connect = lifecycle._connect
        patch.setattr(lifecycle, "_connect", lambda: Dies(connect(), left, done))
        with pytest.raises(Dies.Killed):
            bring(copies / "second", copies / "first")
    kept = load(copies / "first")
    whole = set(kept.table["trial_hash"])
    brought, skipped = bring(copies / "second", copies / "first")
    assert brought + skipped == 5
    assert brought == 5 - len({*kept.trained} & {*load(copies / "second").trained}), whole
    assert_same(load(copies / "first"), load(copies / "undivided"))


def test_a_killed_merge_is_finished_by_the_next_study(
    copies: Path, declared: Declaration, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        connect = lifecycle._connect
        patch.setattr(lifecycle, "_connect", lambda: Dies(connect(), 22, True))
        with pytest.raises(Dies.Killed):
            bring(copies / "second", copies / "first")
    assert load(copies / "first").running
    with open_study(declared, setting, schema.EXPERIMENT) as tracker:
        assert not load(copies / "first").running
        tracker.finish()


def test_a_live_coordinator_is_respected(copies: Path) -> None:
    client = MlflowClient(address(copies / "first"))
    (run,) = client.search_runs(["1"], f"tags.`{schema.TAG_KIND}` = 'study'")
    client.update_run(run.info.run_id, "RUNNING")
    beat = Heartbeat.now()._replace(boot="")
    client.set_tag(run.info.run_id, schema.TAG_HEARTBEAT, beat.to_json())
    before = changes(copies / "first")
    with pytest.raises(AlreadyRunning, match="is running this study already"):
        bring(copies / "second", copies / "first")
    assert changes(copies / "first") == before


# Where the artifacts are.


@pytest.fixture
def moved(copies: Path, stores: Path) -> Iterator[Path]:
    """The second half as it was brought here: its artifacts are not where it says."""
    (stores / "second").rename(stores / "away")
    yield copies / "second"
    (stores / "away").rename(stores / "second")


@pytest.mark.parametrize("where", ["mlruns", "mlruns/1", "some/other/place", "."])
def test_artifacts_are_found_where_they_were_put(
    moved: Path, copies: Path, tmp_path: Path, where: str
) -> None:
    """By a folder that holds, or is, `mlruns` or the experiment's folder in it."""
    given = tmp_path / "elsewhere" / where
    put = given / "mlruns" if where == "." else given
    put.parent.mkdir(parents=True)
    (moved / ("mlruns/1" if where == "mlruns/1" else "mlruns")).rename(put)
    assert bring(moved, copies / "first", tmp_path / "elsewhere" / where) == (4, 1)
    assert_same(load(copies / "first"), load(copies / "undivided"))


def test_artifacts_of_a_server_lie_beside_its_database(moved: Path, copies: Path) -> None:
    (moved / "mlruns").rename(moved / "mlartifacts")
    with closing(sqlite3.connect(moved / "mlflow.db")) as database, database:
        (location,) = database.execute(
            "select artifact_location from experiments where name = ?", [schema.EXPERIMENT]
        ).fetchone()
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            database.execute(
                f"update {table} set {column} = replace({column}, ?, 'mlflow-artifacts:/1')",
                [location],
            )
    assert bring(moved, copies / "first") == (4, 1)


def test_the_folder_of_an_earlier_store_is_not_taken_for_it(moved: Path, stores: Path) -> None:
    """It is where the store says, and has one of its runs, of before the store was copied."""
    (run, *_) = (moved / "mlruns/1").iterdir()
    shutil.copytree(run, stores / "second/mlruns/1" / run.name)
    try:
        assert bring(moved, moved.parent / "first") == (4, 1)
    finally:
        shutil.rmtree(stores / "second")


# What is refused, each in one line, and nothing is written.


def edit(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        for statement in statements:
            database.execute(statement)


def cut(folder: Path) -> None:
    """A copy that broke off."""
    file = folder / "mlflow.db"
    edit(folder, "pragma journal_mode = delete")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def overwrite(folder: Path) -> None:
    file = folder / "mlflow.db"
    content = bytearray(file.read_bytes())
    content[4096 * 40 : 4096 * 60] = b"x" * 4096 * 20
    file.write_bytes(content)


def foreign(folder: Path) -> None:
    (folder / "mlflow.db").unlink()
    edit(folder, "create table cakes (flour real)")


def empty(folder: Path) -> None:
    (folder / "mlflow.db").write_bytes(b"")


def older_mlflow(folder: Path) -> None:
    edit(folder, "update alembic_version set version_num = '0123456789ab'")


def older_code(folder: Path) -> None:
    edit(folder, f"update tags set value = '7' where key = '{schema.TAG_CODE}'")


def other_trials(folder: Path) -> None:
    edit(folder, f"update tags set value = 'f00' where key = '{schema.TAG_DATA}'")


def no_declaration(folder: Path) -> None:
    for file in folder.rglob(schema.DECLARATION_FILE):
        file.unlink()


def other_declaration(folder: Path) -> None:
    (file,) = folder.rglob(schema.DECLARATION_FILE)
    file.write_text(file.read_text().replace('"max_rate": 0.8', '"max_rate": 0.7'))


def no_artifacts(folder: Path) -> None:
    shutil.rmtree(folder / "mlruns")


def an_image_file_less(folder: Path) -> None:
    next(folder.rglob(schema.IMAGES_FILE)).unlink()


def a_broken_image_file(folder: Path) -> None:
    next(folder.rglob(schema.IMAGES_FILE)).write_bytes(b"PK")


REFUSED = [
    (cut, "cannot be read|is damaged"),
    (overwrite, "is damaged|cannot be read"),
    (foreign, "is a database of something else than MLflow: .*give --from another store"),
    (empty, "is empty: it holds no study"),
    (older_mlflow, "was made by another version of MLflow: upgrade a copy by `mlflow db upgrade"),
    (older_code, "was trained by code version 7, and this is version"),
    (other_trials, "holds trials of other data than it declares"),
    (no_declaration, "holds no declaration.json"),
    (other_declaration, "declares another study"),
    (no_artifacts, "the artifacts of .* are not in .*: copy its folder mlruns too"),
    (an_image_file_less, "has no images.npz: copy the folder of its artifacts as a whole"),
    (a_broken_image_file, "is damaged; delete that run"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("harm", "told"), REFUSED, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_store_that_will_not_do_is_one_line(
    call: Call, moved: Path, copies: Path, harm: Any, told: str
) -> None:
    harm(moved)
    mlflow.set_tracking_uri(address(copies / "first"))
    before = changes(copies / "first")
    code, stderr = call("merge", "--from", address(moved))
    line = one_line(stderr)
    assert code == 1
    assert re.search(told, line), line
    assert str(moved / "mlflow.db") in line or "run" in line
    assert set(re.findall(r"sqlite:///\S*mlflow\.db", line)) <= {address(moved)}  # not the copy
    assert mlflow.get_tracking_uri() == address(copies / "first")
    assert changes(copies / "first") == before


def test_other_images_of_the_same_name_are_refused(moved: Path, copies: Path) -> None:
    edit(copies / "empty", f"update tags set value = 'f00' where key = '{schema.TAG_CONTENT}'")
    before = changes(copies / "empty")
    with pytest.raises(StoreError, match="is of other data than study .* here, and both call it"):
        bring(moved, copies / "empty")
    assert changes(copies / "empty") == before


def test_a_store_is_not_merged_into_itself(call: Call, copies: Path) -> None:
    mlflow.set_tracking_uri(address(copies / "first"))
    (copies / "link.db").symlink_to(copies / "first/mlflow.db")
    code, stderr = call("merge", "--from", f"sqlite:///{copies / 'link.db'}")
    assert code == 1 and "is the tracking store itself" in one_line(stderr)


def test_a_reports_folder_has_no_artifacts_to_bring(call: Call, tmp_path: Path) -> None:
    code, stderr = call("merge", "--from", str(tmp_path), "--artifacts", str(tmp_path))
    assert code == 2 and "--artifacts is for a store" in one_line(stderr)


def test_a_password_is_not_shown(call: Call) -> None:
    code, stderr = call("merge", "--from", "postgresql://alice:s3cret@db/x")
    assert code == 2 and "s3cret" not in one_line(stderr)


def test_what_is_said(
    copies: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from study.commands.cli import main

    mlflow.set_tracking_uri(address(copies / "first"))
    monkeypatch.setattr("sys.argv", ["study", "merge", "--from", address(copies / "second")])
    for counts in ("4 trials brought, 1 skipped", "0 trials brought, 5 skipped"):
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        told = capfd.readouterr()
        assert not ended.value.code and counts in told.out.splitlines()[-1]
        assert f"study {load(copies / 'first').study_id}: " in told.out
        assert told.err == ("4 of 4 trials brought\n" if counts.startswith("4") else "")


def test_ctrl_c_ends_it_between_two_trials(
    call: Call, copies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_trial = merge.Copier.copy_trial

    def interrupted(self: merge.Copier, stored: other_store.StoredTrial) -> None:
        signal.raise_signal(signal.SIGINT)
        copy_trial(self, stored)

    with monkeypatch.context() as patch:
        patch.setattr(merge.Copier, "copy_trial", interrupted)
        code, stderr = call_here(call, copies)
    assert code == 130 and "finished trials are kept: the same command goes on" in stderr
    assert not load(copies / "first").running
    with signals.remembered():  # which forgets the first one
        assert bring(copies / "second", copies / "first") == (3, 2)


def test_a_store_that_goes_away_leaves_it_incomplete(
    call: Call, copies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise MlflowException("the connection broke off")

    monkeypatch.setenv("DROPOUT_STUDY_PATIENCE", "0")
    with monkeypatch.context() as patch:
        patch.setattr(merge.Copier, "_log_numbers", away)
        code, stderr = call_here(call, copies)
    assert code == 3 and "the connection broke off; finished trials are kept" in one_line(stderr)
    assert bring(copies / "second", copies / "first") == (4, 1)


def call_here(call: Call, copies: Path) -> tuple[int, str]:
    mlflow.set_tracking_uri(address(copies / "first"))
    return call("merge", "--from", address(copies / "second"))
