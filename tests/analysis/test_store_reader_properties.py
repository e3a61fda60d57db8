"""Whatever else lies in the experiment, a study's run table is its own; or one line says which run
is in the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import large_store
import mlflow
import pandas as pd
import pytest
import synthetic
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.entities import Metric, Param
from synthetic import Arm, Writer

from analysis import schema
from analysis.store import reader

ARMS = (Arm("dropout", 0.1, 0.5, 1e-4), Arm("gaussian", 0.2, 0.2, 0.0), Arm("none", 0.0, 0.0, 0.0))
UNFINISHED = ("RUNNING", "SCHEDULED", "KILLED", "FAILED")
TAGS = [getattr(schema, name) for name in dir(schema) if name.startswith("TAG_")]
PARAMS = [
    "noise",
    "rate1",
    "rate2",
    "weight_decay",
    "recipe",
    "epochs",
    "learning_rate",
    "seed",
    "precision",
    "device",
]
METRICS = ["train/loss", "val/loss", "val/accuracy", "val/accuracy_last3", "seconds"]
NEEDED = {*PARAMS, *METRICS}
IDS = ["run_id", "trial_run_id"]
bounded = settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = words.filter(bool)
numbers = st.floats() | st.integers(-5, 5).map(float)
times = st.integers(0, 2_000_000_000_000)


@dataclass(frozen=True)
class Store:
    """A store with one finished study of a few trials; what a test adds by `bulk` is taken out
    again."""

    writer: Writer
    bulk: large_store.Bulk
    table: pd.DataFrame
    trials: dict[str, tuple[Arm, tuple[int, ...], str]]  # run id -> arm, seeds and phase

    def load(self, study_id: str | None = None) -> pd.DataFrame:
        """The study's table while what was added is there."""
        added = list(self.bulk.runs)
        self.bulk.flush()
        try:
            return reader.load(study_id).table
        finally:
            for table in ("tags", "params", "metrics", "latest_metrics", "runs"):
                self.bulk.database.executemany(
                    f"delete from {table} where run_uuid = ?", [(run,) for run in added]
                )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    before = mlflow.get_tracking_uri()
    folder = tmp_path_factory.mktemp("store")
    synthetic.use_store(folder)
    writer = Writer(synthetic.declaration())
    bulk = large_store.Bulk(writer.client, writer.experiment_id, folder)
    writer.client = bulk  # type: ignore[assignment]
    trials: dict[str, tuple[Arm, tuple[int, ...], str]] = {}
    for number, arm in enumerate(ARMS):
        trials[writer.trial(arm, (1, 2), schema.SEARCH, number=number)] = (
            arm,
            (1, 2),
            schema.SEARCH,
        )
        trials[writer.trial(arm, (7, 8), schema.CONFIRM, "swap")] = (arm, (7, 8), schema.CONFIRM)
    bulk.flush()
    yield Store(writer, bulk, reader.load().table, trials)
    bulk.database.close()
    mlflow.set_tracking_uri(before)


@st.composite
def foreign(draw: st.DrawFn) -> dict[str, Any]:
    """Somebody else's run: any name, tags, params and metrics, also such that look like a
    study's."""
    own = draw(st.dictionaries(st.sampled_from(TAGS) | names, words, max_size=6))
    own |= draw(
        st.dictionaries(
            st.just(schema.TAG_KIND), st.sampled_from(["study", "trial", "seed", "Seed", ""])
        )
    )
    return {
        "name": draw(words),
        "tags": own,
        "params": draw(st.dictionaries(st.sampled_from(PARAMS) | names, words, max_size=4)),
        "metrics": draw(st.dictionaries(st.sampled_from(METRICS) | names, numbers, max_size=4)),
        "status": draw(st.sampled_from((*UNFINISHED, "FINISHED"))),
        "start": draw(times),
        "of_study": draw(st.booleans()),  # tagged with the study's own id
    }


def write_foreign(store: Store, run: dict[str, Any]) -> str:
    bulk, experiment = store.bulk, store.writer.experiment_id
    tags = {key: value for key, value in run["tags"].items() if key != "mlflow.runName"}
    run_id = bulk.create_run(experiment, run["start"], tags, run["name"]).info.run_id
    metrics = [Metric(key, value, 1, 0) for key, value in run["metrics"].items()]
    bulk.log_batch(run_id, metrics, [Param(key, value) for key, value in run["params"].items()])
    bulk.set_terminated(run_id, run["status"], run["start"])
    return run_id


half_written = st.tuples(
    st.sampled_from(ARMS),
    st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
    st.sampled_from(schema.PHASES),
    st.sampled_from(UNFINISHED),
    st.frozensets(st.sampled_from(sorted(NEEDED)), max_size=4),
)


@bounded
@given(
    others=st.lists(foreign(), min_size=1, max_size=4), halves=st.lists(half_written, max_size=3)
)
def test_foreign_and_half_written_runs_leave_the_table_as_it_is(
    store: Store, others: list[dict[str, Any]], halves: list[Any]
) -> None:
    for run in others:
        claims = (
            run["of_study"] and run["tags"].get(schema.TAG_KIND) != "study"
        )  # of that, another test
        id_ = {schema.TAG_ID: store.writer.study_id} if claims else {}
        write_foreign(store, run | {"tags": run["tags"] | id_})
    for arm, seeds, phase, status, lacking in halves:
        store.writer.trial(arm, seeds, phase, "swap", status=status, drop=lacking)
    pd.testing.assert_frame_equal(store.load(store.writer.study_id), store.table, check_exact=True)


@bounded
@given(
    tags=st.lists(st.sampled_from(TAGS), max_size=3),
    status=st.sampled_from((*UNFINISHED, "FINISHED")),
    seed=words,
)
def test_a_seed_run_counts_only_below_a_finished_trial_and_when_it_is_finished_itself(
    store: Store, tags: list[str], status: str, seed: str
) -> None:
    """Its own id, kind and parent decide; what else it lacks then does not matter."""
    whole = {schema.TAG_ID: store.writer.study_id, schema.TAG_KIND: "seed", schema.TAG_SEED: seed}
    parent = next(iter(store.trials)) if status != "FINISHED" else "nobody"
    kept = {
        key: value
        for key, value in (whole | {schema.TAG_PARENT: parent}).items()
        if key not in tags
    }
    write_foreign(
        store, {"name": "", "tags": kept, "params": {}, "metrics": {}, "status": status, "start": 5}
    )
    pd.testing.assert_frame_equal(store.load(store.writer.study_id), store.table, check_exact=True)


@bounded
@given(
    which=st.integers(0, 5),
    hours=st.integers(-3, 3).filter(bool),
    status=st.sampled_from((*UNFINISHED, "FINISHED")),
)
def test_of_a_trial_that_is_there_twice_one_counts(
    store: Store, which: int, hours: int, status: str
) -> None:
    arm, seeds, phase = list(store.trials.values())[which]
    writer, question = store.writer, "search" if phase == schema.SEARCH else "swap"
    clock, writer.clock = writer.clock, writer.clock + hours * 3_600_000
    try:
        number = ARMS.index(arm) if phase == schema.SEARCH else None
        twin = writer.trial(arm, seeds, phase, question, number=number, status=status)
    finally:
        writer.clock = clock
    table = store.load(store.writer.study_id)
    pd.testing.assert_frame_equal(
        table.drop(columns=IDS), store.table.drop(columns=IDS), check_exact=True
    )
    assert (twin in set(table["trial_run_id"])) == (hours < 0 and status == "FINISHED")
    assert table["run_id"].is_unique


@bounded
@given(
    lacking=st.frozensets(st.sampled_from(sorted(NEEDED)), min_size=1, max_size=3),
    name=words,
    wrong=st.none() | words.filter(lambda text: not text.strip().strip("+-").isdigit()),
)
def test_a_finished_seed_run_that_lacks_something_is_named_in_one_line(
    store: Store, lacking: frozenset[str], name: str, wrong: str | None
) -> None:
    if wrong is None:
        store.writer.trial(ARMS[0], (5,), schema.CONFIRM, "swap", drop=lacking)
    else:  # all is there, the epochs are no number
        store.writer.trial(replace(ARMS[0], epochs=wrong), (5,), schema.CONFIRM, "swap")  # type: ignore[arg-type]
    ids = [run for run, row in store.bulk.runs.items() if str(row[1]).endswith("-s5")]
    for run in ids:
        store.bulk.runs[run][1] = name
    with pytest.raises(reader.StoreError) as caught:
        store.load(store.writer.study_id)
    assert ids[0] in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@bounded
@given(run=foreign())
def test_the_newest_study_is_read_or_named(store: Store, run: dict[str, Any]) -> None:
    """A study run without an id is nobody's; one without its declaration is told by name and id."""
    id_ = {schema.TAG_ID: store.writer.study_id} if run["of_study"] else {}
    tags = run["tags"] | {schema.TAG_KIND: "study"} | id_
    intruder = write_foreign(store, run | {"tags": tags})
    try:
        table = store.load()
    except reader.StoreError as error:
        assert (
            intruder in str(error) or "'" in tags[schema.TAG_ID]
        )  # an id that no filter can hold is said by MLflow
        assert len(str(error).splitlines()) == 1
    else:
        pd.testing.assert_frame_equal(table, store.table, check_exact=True)
