"""100,000 seed runs: their table and report within memory and time, and no more than in proportion
to the runs."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import large_store
import mlflow
import pytest
import synthetic
from synthetic import Arm, Writer

from analysis import schema
from analysis.report import page
from analysis.store import reader

SIZES = (1_000, 10_000, 100_000)
SECONDS, GIGABYTES = 180, 4  # of CPU time and of memory, at the largest
AT_MOST = (
    13  # times the cost for ten times the runs: linear, and room for what else the machine does
)
MEASURE = """
import json, resource, sys, time
from pathlib import Path
from analysis.report import writer
from analysis.store import reader

study = reader.load(images=True)
loaded = time.process_time()
writer.write(study, Path(sys.argv[1]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps({"rows": len(study.table), "load": loaded, "all": time.process_time(), "peak": peak}))
"""


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = mlflow.get_tracking_uri()
    yield
    mlflow.set_tracking_uri(before)


def rows_of(folder: Path) -> dict[str, set[tuple[Any, ...]]]:
    """Table -> its rows, each run id replaced by the name of its run, which is the same in all
    stores."""
    with sqlite3.connect(folder / "mlflow.db") as database:
        names = dict(database.execute("select run_uuid, name from runs"))
        found = {}
        for table in ("runs", "tags", "params", "metrics", "latest_metrics"):
            cursor = database.execute(f"select * from {table}")
            columns = [column for column, *_ in cursor.description]
            found[table] = {
                tuple(
                    names.get(cell, cell)
                    for column, cell in zip(columns, row, strict=True)
                    if column != "artifact_uri"
                )
                for row in cursor
            }
    database.close()
    return found


def test_the_rows_are_those_that_mlflow_makes(tmp_path: Path) -> None:
    folders, tables = [tmp_path / name for name in ("api", "bulk")], []
    for folder in folders:
        folder.mkdir()
        synthetic.use_store(folder)
        writer = Writer(synthetic.declaration())
        if folder.name == "bulk":
            writer.client = bulk = large_store.Bulk(writer.client, writer.experiment_id, folder)  # type: ignore[assignment]
        writer.trial(Arm("dropout", 0.1, 0.5, 1e-4), (1, 2), schema.SEARCH, number=0)
        writer.trial(Arm("none", 0.0, 0.0, 0.0), (7,), schema.CONFIRM, "swap", status="KILLED")
        if folder.name == "bulk":
            bulk.flush()
        writer.end()
        tables.append(reader.load().table.drop(columns=["run_id", "trial_run_id"]))
    api, bulk_rows = map(rows_of, folders)
    assert api == bulk_rows
    assert tables[0].equals(tables[1])


@pytest.mark.slow
def test_the_cost_of_the_table_and_report_grows_with_the_runs(tmp_path: Path) -> None:
    cost = {}
    for seed_runs in SIZES:
        folder = tmp_path / str(seed_runs)
        folder.mkdir()
        declared = large_store.write(folder, seed_runs)
        cost[seed_runs] = measured(folder)
        assert cost[seed_runs]["rows"] == pytest.approx(seed_runs, rel=0.05)
        check(folder / "report", declared)
    print(json.dumps(cost))
    few, many = cost[SIZES[1]], cost[SIZES[2]]
    assert many["all"] <= SECONDS
    assert many["peak"] <= GIGABYTES * 2**30
    assert many["load"] <= AT_MOST * few["load"] and many["all"] <= AT_MOST * few["all"]


def measured(folder: Path) -> dict[str, float]:
    """CPU seconds and bytes that a process of its own takes for the table and the report."""
    root = Path(__file__).parents[2]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
    }
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder / "report")],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
    )
    return json.loads(done.stdout.splitlines()[-1])


def check(report: Path, declared: schema.Declaration) -> None:
    """Every contrast is answered on all seeds; the page stays readable, and the files for machines
    are complete."""
    rows = json.loads((report / "answers.json").read_text())
    n = len(declared.questions[0].seeds)
    assert {row["n_seeds"] for row in rows} == {n}
    assert all(len(row["run_ids"]) == n * len(row["coefficients"]) for row in rows)
    of_swap = {run_id for row in rows if row["question"] == "swap" for run_id in row["run_ids"]}
    html, text = (report / "index.html").read_text(), (report / "report.md").read_text()
    for told in (html, text):
        assert sum(run_id in told for run_id in of_swap) == min(len(of_swap), page.SHOWN_RUNS)
        assert (f"and {len(of_swap) - page.SHOWN_RUNS} more, which" in told) == (
            len(of_swap) > page.SHOWN_RUNS
        )
    assert len(html) < 10e6
