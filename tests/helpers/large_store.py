"""A study of very many seed runs in a real MLflow database, written in seconds a thousand times
faster than by its API.

`synthetic.Writer` writes the study run through MLflow and everything below it through `Bulk`, which
stands in for the client, keeps the rows that MLflow would have made of the same calls and inserts
them many at a time. MLflow makes the database itself, so its schema, keys and indexes are the real
ones; `tests/analysis/test_store_large.py` compares the rows.
"""

from __future__ import annotations

import math
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import mlflow
import numpy as np
import synthetic
from mlflow.entities import Metric, Param, Run, RunData, RunInfo, RunTag
from synthetic import Arm, Writer

from analysis import schema
from analysis.store.run_table import MAX_DOUBLE

CONFIRMED = 0.6  # share of the seed runs that confirm; the rest search
FIRST_SEED = 1000
KEPT = 5000  # runs at most, or those of one trial, between two inserts


class Bulk:
    """What `synthetic.Writer` asks of an MlflowClient, for many runs at once; nothing is stored
    before `flush`."""

    def __init__(self, client: mlflow.MlflowClient, experiment_id: str, folder: Path) -> None:
        self.client, self.experiment = client, client.get_experiment(experiment_id)
        self.database = sqlite3.connect(folder / "mlflow.db", isolation_level=None)
        self.database.execute("pragma journal_mode = off")
        self.database.execute("pragma synchronous = off")
        self.runs: dict[str, list[object]] = {}
        self.tags: list[tuple[object, ...]] = []
        self.params: list[tuple[object, ...]] = []
        self.metrics: list[tuple[object, ...]] = []

    def create_run(
        self, experiment_id: str, start_time: int, tags: dict[str, str], run_name: str
    ) -> Run:
        run_id = uuid.uuid4().hex
        info = RunInfo(run_id, experiment_id, "unknown", "RUNNING", start_time, None, "active")
        uri = f"{self.experiment.artifact_location}/{run_id}/artifacts"
        self.runs[run_id] = [run_id, run_name, "UNKNOWN", "", "", "unknown", "RUNNING", start_time, None, "", "active",
                             uri, int(experiment_id), None]  # fmt: skip
        self.tags += [
            (key, value, run_id) for key, value in (tags | {"mlflow.runName": run_name}).items()
        ]
        return Run(info, RunData())

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric],
        params: Sequence[Param],
        tags: Sequence[RunTag] = (),
    ) -> None:
        self.metrics += [
            (one.key, *_stored(one.value), one.timestamp, one.step, run_id) for one in metrics
        ]
        self.params += [(one.key, one.value, run_id) for one in params]
        self.tags += [(one.key, one.value, run_id) for one in tags]

    def set_terminated(
        self, run_id: str, status: str = "FINISHED", end_time: int | None = None
    ) -> None:
        if run_id in self.runs:
            self.runs[run_id][6], self.runs[run_id][8] = status, end_time
        else:  # the study run
            self.client.set_terminated(run_id, status, end_time)

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        self.client.log_text(run_id, text, artifact_file)

    def flush(self) -> None:
        self.database.execute("begin")
        for table, rows in (
            ("runs", self.runs.values()),
            ("tags", self.tags),
            ("params", self.params),
        ):
            marks = ",".join("?" * (14 if table == "runs" else 3))
            self.database.executemany(
                f"insert into {table} values ({marks})", [tuple(row) for row in rows]
            )
        for table in ("metrics", "latest_metrics"):
            columns = "(key, value, is_nan, timestamp, step, run_uuid)"
            self.database.executemany(
                f"insert into {table} {columns} values (?,?,?,?,?,?)", self.metrics
            )
        self.database.execute("commit")
        self.runs, self.tags, self.params, self.metrics = {}, [], [], []


def _stored(value: float) -> tuple[float, bool]:
    """A metric's value and whether it is NaN, as MLflow keeps them: its databases know neither NaN
    nor infinity."""
    return (0.0, True) if math.isnan(value) else (max(-MAX_DOUBLE, min(MAX_DOUBLE, value)), False)


def declaration(seed_runs: int) -> schema.Declaration:
    """The three headline questions on as many seeds as make about so many seed runs, with a search
    beside them."""
    few = synthetic.declaration()
    types, search_seeds = len(few.noise_types), len(few.search_seeds)
    n = round(CONFIRMED * seed_runs / len(set(labels(few).values())))
    declared = synthetic.declaration(seeds=range(FIRST_SEED, FIRST_SEED + n))
    trials = round((1 - CONFIRMED) * seed_runs / (types * search_seeds))
    return replace(declared, trials_per_type=trials)


def labels(declared: schema.Declaration) -> dict[str, Arm]:
    """Arm label -> arm, all of them different but for the tuned types that other questions compare
    too."""
    pairs = [pair for p, q in synthetic.PAIRS for pair in ((p, q), (q, p))]
    found = {f"dropout({p:g},{q:g})": Arm("dropout", p, q, 0.0) for p, q in pairs}
    tuned = {noise: next(arms(noise)) for noise in declared.noise_types}
    found["none"] = Arm("none", 0.0, 0.0, 0.0)
    found["dropout"] = replace(tuned["dropout"], weight_decay=0.0)
    found["weight decay"] = tuned["none"]
    found["both"] = replace(tuned["dropout"], weight_decay=tuned["none"].weight_decay)
    return found | {f"tuned {noise}": arm for noise, arm in tuned.items()}


def arms(noise: str) -> Iterator[Arm]:
    """Arms of one noise type, as a sampler might ask for them; their digits keep them apart."""
    random = np.random.default_rng([5, *noise.encode()])
    while True:
        rate1, rate2 = (
            (0.0, 0.0) if noise == "none" else random.uniform(0, 0.6, 2).round(4).tolist()
        )
        yield Arm(noise, rate1, rate2, float(f"{10 ** random.uniform(-6, -2.5):.6g}"))


def write(folder: Path, seed_runs: int, images: int = 0) -> schema.Declaration:
    """A finished study of about so many seed runs in a new store in `folder`, which MLflow is then
    pointed to.

    Args:
        folder: gets mlflow.db and the artifacts.
        seed_runs: of all phases.
        images: test images of which each confirmed network keeps a score; 0 for none.
    """
    synthetic.use_store(folder)
    declared = declaration(seed_runs)
    writer = Writer(declared)
    bulk = Bulk(writer.client, writer.experiment_id, folder)
    writer.client = bulk  # type: ignore[assignment]
    asked = {
        noise: list(islice(arms(noise), declared.trials_per_type)) for noise in declared.noise_types
    }
    for number in range(declared.trials_per_type * len(declared.noise_types)):
        noise = declared.noise_types[number % len(declared.noise_types)]
        arm = asked[noise][number // len(declared.noise_types)]
        writer.trial(arm, declared.search_seeds, schema.SEARCH, number=number)
        if len(bulk.runs) >= KEPT:
            bulk.flush()
    for noise in declared.noise_types:
        for arm in asked[noise][: declared.rerank_top]:
            writer.trial(arm, declared.rerank_seeds, schema.RERANK)
    picked = labels(declared)
    writer.arms(picked)
    questions = ",".join(question.name for question in declared.questions)
    for place, arm in enumerate(dict.fromkeys(picked.values())):
        run = writer.trial(arm, declared.questions[0].seeds, schema.CONFIRM, questions)
        bulk.flush()
        if images:
            log_images(writer, run, len(declared.questions[0].seeds), images, place)
    writer.end()
    bulk.database.close()
    return declared


def log_images(writer: Writer, run: str, seeds: int, images: int, place: int) -> None:
    """The file of a confirmed trial; rows repeat, so that the disk has room for it."""
    random = np.random.default_rng(place)
    few = random.exponential(0.3, (seeds // 100 + 1, images)).astype(np.float16)
    nll = few.repeat(100, axis=0)[:seeds]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / schema.IMAGES_FILE
        np.savez_compressed(path, nll=nll, correct=np.packbits(nll < 0.7, axis=1))
        mlflow.MlflowClient().log_artifact(run, str(path))
