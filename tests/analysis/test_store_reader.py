"""What `analysis.store.reader` reads back from a real MLflow store."""

import math
import socket
import tempfile
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import synthetic
from synthetic import Arm, Writer

from analysis import schema
from analysis.store import reader
from models import config


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A finished study, and a later one of other seeds that has only begun; (address, first,
    second)."""
    before = mlflow.get_tracking_uri()
    address = synthetic.use_store(tmp_path_factory.mktemp("store"))
    first = synthetic.write_study()
    second = Writer(
        synthetic.declaration(seeds=(500, 501, 502), preset="smoke"), start=1_800_000_000_000
    )
    second.trial(Arm("dropout", 0.5, 0.5, 0.0), (500, 501, 502), schema.CONFIRM, "swap")
    yield address, first, second
    mlflow.set_tracking_uri(before)


@pytest.fixture(autouse=True)
def store(written):
    mlflow.set_tracking_uri(written[0])
    return written


def test_the_table_has_the_schema_s_columns_types_and_one_row_per_seed_run(store):
    study = reader.load(store[1].declared.study_id)
    table = study.table
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == schema.RUN_TABLE
    assert list(table.columns) == list(schema.RUN_TABLE)
    counts = table["phase"].value_counts()
    # 6 trials x 3 types x 3 seeds; 2 of 3 types x 3 seeds; 12 different arms on 8 seeds
    assert dict(counts) == {"search": 54, "rerank": 18, "confirm": 12 * 8}
    assert list(dict.fromkeys(table["phase"])) == ["search", "rerank", "confirm"]
    assert table["run_id"].is_unique
    search = table["phase"] == "search"
    assert sorted(set(table.loc[search, "trial_number"])) == list(range(18))
    assert table.loc[~search, "trial_number"].isna().all()
    assert table.loc[table["phase"] != "confirm", "test/accuracy"].isna().all()
    assert table.loc[table["phase"] == "confirm", "test/accuracy"].notna().all()


def test_a_row_holds_exactly_what_was_logged(store):
    table = reader.load(store[1].declared.study_id).table
    arm = Arm("dropout", 0.1, 0.5, 0.0)
    row = table[(table["arm"] == arm.name) & (table["seed"] == 103)].iloc[0]
    expected = synthetic.metrics(arm, 103, schema.CONFIRM)
    assert {name: row[name] for name in expected} == expected
    assert (row["rate1"], row["rate2"], row["weight_decay"], row["epochs"]) == (0.1, 0.5, 0.0, 4)
    assert (row["question"], row["data_digest"]) == ("swap,additivity,beat-dropout", "0123456789ab")


def test_a_third_rate_is_missing_where_the_type_or_older_code_had_none():
    """In a store of older code the second rate of a composition is that of both hidden layers."""
    writer = Writer(synthetic.declaration(), "three rates")
    arms = [
        Arm("shift+dropout", 0.4, 0.1, 0.0, rate3=0.2),
        Arm("shift+dropout", 0.4, 0.1, 0.0),
        Arm("dropout", 0.4, 0.1, 0.0),
    ]
    for number, arm in enumerate(arms):
        writer.trial(arm, [1], schema.SEARCH, number=number)
    table = reader.load(experiment="three rates").table.set_index("trial_number").loc[[0, 1, 2]]
    assert list(table["arm"]) == [arm.name for arm in arms]
    assert table["rate3"].fillna(-1).tolist() == [0.2, -1, -1]
    recipe = config.Recipe("decay", 4)
    found = [config.Arm.from_row(row, recipe) for row in table.to_dict("records")]
    assert [arm.rates for arm in found] == [(0.4, 0.1, 0.2), (0.4, 0.1, 0.1), (0.4, 0.1)]


def test_the_study_comes_with_its_declaration_arms_versions_and_commit(store):
    study = reader.load(store[1].declared.study_id)
    assert study.declaration == store[1].declared
    assert study.run_id == store[1].study_run
    assert study.arms["decay"]["dropout(0.1,0.5)"] == Arm("dropout", 0.1, 0.5, 0.0).name
    assert study.versions["packages"]["torch"] == "2.0"
    assert (study.commit, study.dirty) == ("c0ffee0" * 5, True)
    found = mlflow.search_runs(
        experiment_names=[study.experiment], filter_string=study.filter_string
    )
    assert set(study.table["run_id"]) < set(found["run_id"])


def test_failed_and_killed_trials_are_counted_and_their_seeds_are_not(store):
    study = reader.load(store[1].declared.study_id)
    assert sorted(trial.status for trial in study.failed) == ["FAILED", "KILLED"]
    assert not set(study.table["trial_run_id"]) & {trial.run_id for trial in study.failed}
    assert not study.table["arm"].str.contains("0.9,0.9").any()
    assert min(study.table["test/accuracy"].dropna()) > 0.5  # the killed trial had 0.1
    assert not study.table.duplicated(["phase", "arm", "seed"]).any()


def test_two_studies_do_not_mix_and_the_newest_is_the_default(store):
    _, first, second = store
    newest = reader.load()
    assert newest.study_id == second.declared.study_id != first.declared.study_id
    assert set(newest.table["seed"]) == {500, 501, 502}
    assert set(newest.table["study_id"]) == {second.declared.study_id}
    assert newest.arms == {}
    assert set(reader.load(first.declared.study_id).table["study_id"]) == {first.declared.study_id}


def test_a_question_confirmed_by_another_study_is_named(store):
    _, first, second = store
    assert reader.load(first.declared.study_id).confirmed_elsewhere == {
        "swap": (second.declared.study_id,)
    }
    assert reader.load(second.declared.study_id).confirmed_elsewhere["swap"] == (
        first.declared.study_id,
    )


def test_another_subset_of_the_same_data_set_is_the_same_test_set():
    of = synthetic.declaration()
    subset = replace(of, train_examples=1000, data=of.data | {"digest": "another split"})
    other = replace(
        of, train_examples=2000, data=of.data | {"digest": "third", "content": "other images"}
    )
    whole, *_ = writers = [Writer(one, "subsets") for one in (of, subset, other)]
    for writer in writers:
        writer.trial(Arm("dropout", 0.5, 0.5, 0.0), (500, 501), schema.CONFIRM, "swap")
    assert reader.load(subset.study_id, "subsets").confirmed_elsewhere == {
        "swap": (whole.declared.study_id,)
    }
    assert reader.load(other.study_id, "subsets").confirmed_elsewhere == {}


def test_of_two_coordinators_trials_the_earliest_finished_one_counts():
    writer = Writer(synthetic.declaration(), "twice")
    arm = Arm("dropout", 0.5, 0.5, 0.0)
    writer.trial(arm, (1, 2), "search", number=0, status="KILLED")
    first = writer.trial(arm, (1, 2), "search", number=0)
    writer.trial(arm, (1, 2), "search", number=0, scores={"val/accuracy": 0.1})
    other = writer.trial(Arm("dropout", 0.4, 0.5, 0.0), (1, 2), "search", number=1)
    writer.clock -= 1_000_000  # started earlier, written later
    earliest = writer.trial(Arm("dropout", 0.4, 0.5, 0.0), (1, 2), "search", number=1)
    table = reader.load(experiment="twice").table
    assert set(table["trial_run_id"]) == {first, earliest} and other != earliest
    assert len(table) == 4 and not table.duplicated(["arm", "seed"]).any()


def test_all_pages_of_a_large_store_are_read(store, monkeypatch):
    whole = reader.load(store[1].declared.study_id).table
    monkeypatch.setattr(reader, "PAGE", 7)
    assert reader.load(store[1].declared.study_id).table.equals(whole)


def test_a_run_that_begins_while_pages_are_read_makes_no_other_appear_twice(monkeypatch):
    writer = Writer(synthetic.declaration(), "moving")
    monkeypatch.setattr(reader, "PAGE", 2)
    for seed in range(3):
        writer.trial(Arm("dropout", 0.5, 0.5, 0.0), [seed], "search", number=seed)
    found = reader.search(writer.experiment_id, f"tags.`{schema.TAG_KIND}` = 'seed'")
    first = next(found)
    writer.trial(Arm("dropout", 0.5, 0.5, 0.0), [3], "search", number=3)
    seeds = [run.data.params["seed"] for run in (first, *found)]
    assert seeds == ["2", "1", "0"]


def with_images(writer, arm, seeds, rows):
    """A confirmed trial whose images.npz has so many rows, in each of which the nll is the seed."""
    trial = writer.trial(arm, seeds, schema.CONFIRM, "swap")
    nll = np.repeat(np.array(rows, dtype=np.float16)[:, None], 12, axis=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / schema.IMAGES_FILE
        np.savez_compressed(path, nll=nll, correct=np.packbits(nll > 2, axis=1))
        writer.client.log_artifact(trial, str(path))
    return trial


def test_the_image_scores_of_an_arm_s_trials_come_together():
    writer, arm = Writer(synthetic.declaration(), "images"), Arm("dropout", 0.5, 0.5, 0.0)
    with_images(writer, arm, (3, 1), (3, 1))
    with_images(writer, arm, (7, 8), (7, 8))
    images = reader.load(experiment="images", images=True).images[arm.name]
    assert sorted(images.seeds) == [1, 3, 7, 8]
    assert images.of("nll", [8, 1, 3]).tolist() == [[8.0] * 12, [1.0] * 12, [3.0] * 12]
    assert images.of("correct", [7, 1]).tolist() == [[1.0] * 12, [0.0] * 12]
    assert reader.load(experiment="images").images == {}


def test_a_list_of_seeds_that_mlflow_cut_off_is_made_up_for_by_the_seed_runs(monkeypatch):
    monkeypatch.setattr(synthetic, "PARAM_LENGTH", 5)  # "4,5,11" becomes "4,5,1"
    writer, arm = Writer(synthetic.declaration(), "cut off"), Arm("dropout", 0.5, 0.5, 0.0)
    with_images(writer, arm, (4, 5, 11), (4, 5, 11))
    assert reader.load(experiment="cut off", images=True).images[arm.name].seeds == (4, 5, 11)


def test_image_scores_of_other_networks_than_the_trial_s_are_named():
    writer = Writer(synthetic.declaration(), "too few")
    trial = with_images(writer, Arm("dropout", 0.5, 0.5, 0.0), (4, 5), (4,))
    with pytest.raises(
        reader.StoreError,
        match=f"{schema.IMAGES_FILE} of run .* \\({trial}\\) holds 1 networks, not 2",
    ):
        reader.load(experiment="too few", images=True)


def test_a_study_without_trials_is_an_empty_table():
    Writer(synthetic.declaration(), "empty")
    study = reader.load(experiment="empty")
    assert study.table.empty
    assert {name: str(dtype) for name, dtype in study.table.dtypes.items()} == schema.RUN_TABLE


def test_diverged_scores_come_back_as_they_were():
    writer = Writer(synthetic.declaration(), "diverged")
    writer.trial(
        Arm("dropout", 0.5, 0.5, 0.0),
        [1],
        "search",
        number=0,
        scores={"val/loss": math.inf, "train/loss": math.nan},
    )
    row = reader.load(experiment="diverged").table.iloc[0]
    assert row["val/loss"] == math.inf
    assert math.isnan(row["train/loss"])


def test_a_trial_that_still_runs_is_told_apart():
    writer = Writer(synthetic.declaration(), "running")
    writer.trial(Arm("dropout", 0.5, 0.5, 0.0), [1], "search", status="RUNNING")
    study = reader.load(experiment="running")
    assert (len(study.running), len(study.failed), len(study.table)) == (1, 0, 0)


@pytest.mark.parametrize(
    ("name", "kind"), [("val/accuracy", "metric"), ("rate1", "param"), ("seed", "param")]
)
def test_a_run_that_lacks_something_is_named(name, kind):
    experiment = f"lacks {name}"
    Writer(synthetic.declaration(), experiment).trial(
        Arm("dropout", 0.5, 0.5, 0.0), [1], "search", number=0, drop=frozenset([name])
    )
    with pytest.raises(
        reader.StoreError, match=f"seed run dropout-search-.*-s1 .* lacks the {kind} '{name}'"
    ):
        reader.load(experiment=experiment)


def test_a_search_trial_without_its_number_is_named():
    """A search is told again in the order of its numbers."""
    Writer(synthetic.declaration(), "no number").trial(
        Arm("dropout", 0.5, 0.5, 0.0), [1], schema.SEARCH
    )
    with pytest.raises(
        reader.StoreError,
        match="seed run dropout-search-.*-s1 .* lacks the tag 'study.trial_number'",
    ):
        reader.load(experiment="no number")


def test_a_number_of_thousands_of_digits_is_malformed_as_others_are():
    """Python itself raises for one of more than 4,300."""
    number: int = "9" * 5000  # type: ignore[assignment]
    writer = Writer(synthetic.declaration(), "long number")
    writer.trial(Arm("dropout", 0.5, 0.5, 0.0), [1], schema.SEARCH, number=number, status="FAILED")
    assert [trial.number for trial in reader.load(experiment="long number").failed] == [None]
    writer.trial(Arm("dropout", 0.4, 0.4, 0.0), [1], schema.SEARCH, number=number)
    with pytest.raises(
        reader.StoreError, match="tag 'study.trial_number' is '9999.*, not Int64"
    ) as told:
        reader.load(experiment="long number")
    assert len(str(told.value)) < 300


def test_what_is_not_there_is_said_in_one_line(store, tmp_path):
    known = store[1].declared.study_id
    with pytest.raises(reader.StoreError, match="no experiment 'nowhere'"):
        reader.load(experiment="nowhere")
    with pytest.raises(reader.StoreError, match=f"no study 'abc'.*known: .*{known}"):
        reader.load("abc")
    mlflow.MlflowClient().create_experiment("bare")
    with pytest.raises(reader.StoreError, match="no study run"):
        reader.load(experiment="bare")

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/typo.db")
    with pytest.raises(reader.StoreError, match="no tracking store"):
        reader.load()
    assert list(tmp_path.iterdir()) == []  # a reader creates nothing

    (tmp_path / "notes.db").write_text("not a database " * 100)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/notes.db")
    with pytest.raises(
        reader.StoreError, match=r"cannot be read: \(sqlite3.DatabaseError\)[^\n]*$"
    ):
        reader.load()


def test_an_address_that_does_not_answer_fails_at_once_and_keeps_its_password():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        mlflow.set_tracking_uri(f"postgresql://user:secret@127.0.0.1:{port}/mlflow")
        with pytest.raises(reader.StoreError, match="does not answer") as caught:
            reader.load()
    assert "secret" not in str(caught.value)


def test_reading_leaves_the_store_untouched(store):
    database = Path(store[0].removeprefix("sqlite:///"))
    before = database.read_bytes()
    reader.load(store[1].declared.study_id)
    assert database.read_bytes() == before


def test_metrics_of_the_machine_are_no_columns(tmp_path):
    """MLflow logs them where a user has set MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING."""
    synthetic.use_store(tmp_path)
    writer = Writer(synthetic.declaration())
    machine = {"system/cpu_utilization_percentage": 3.0, "system/gpu_0_memory_usage": 5.0}
    more = machine | {"test/accuracy_mc10": 0.9}
    writer.trial(Arm("dropout", 0.5, 0.5, 0.0), (100,), schema.CONFIRM, "swap", scores=more)
    columns = set(reader.load().table.columns)
    assert columns - set(schema.RUN_TABLE) == {"test/accuracy_mc10"}
