"""The published results: every number can be recomputed from the published run table, and the pages say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis import stats, wording
from analysis.decide import decide
from study.designs import DESIGNS
from study.presets import PRESETS
from study.schema import AUDIT, CONFIRM, higher_is_better

ASKED = PRESETS["full"].questions
RESULTS = Path(__file__).parents[1] / "docs" / "results"
ROWS: list[dict[str, Any]] = json.loads((RESULTS / "answers.json").read_text())
ANSWERED = [row for row in ROWS if row["estimate"] is not None]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.read_csv(RESULTS / "run_table.csv")


@pytest.fixture(scope="module")
def page() -> str:
    return (RESULTS / "report.md").read_text()


def differences(row: dict[str, Any], table: pd.DataFrame) -> pd.Series:
    """The per-seed contrast of a published row, from the published runs it names."""
    rows = table.loc[table["run_id"].isin(row["run_ids"])]
    assert set(rows["phase"]) == {AUDIT if row["question"] == "audit" else CONFIRM}
    parts = []
    for name, coefficient in row["coefficients"].items():
        arm, _, metric = name.partition(":")
        parts.append(coefficient * rows.loc[rows["arm"] == arm].set_index("seed")[metric or row["metric"]])
    return pd.concat(parts, axis=1).sum(axis=1, skipna=False)


def test_all_questions_are_answered_on_enough_seeds() -> None:
    assert {row["question"] for row in ANSWERED} == set(ASKED)
    assert {row["n_seeds"] for row in ANSWERED if row["question"] != "audit"} == {20}
    assert {row["verdict"] for row in ROWS if row["estimate"] is None} <= {"not entered"}


def test_estimates_intervals_and_verdicts_can_be_recomputed(table: pd.DataFrame) -> None:
    for row in ANSWERED:
        values = differences(row, table)
        assert len(values) == row["n_seeds"]
        assert values.mean() == pytest.approx(row["estimate"], rel=1e-9, abs=1e-12)
        assert stats.interval(values) == pytest.approx((row["ci_low"], row["ci_high"]), rel=1e-9, abs=1e-12)
        assert stats.paired_t(values) == pytest.approx(row["p_value"], rel=1e-6, abs=1e-12)
        estimate = stats.estimate(values, row["margin"], row["alpha"])
        better = higher_is_better(row["metric"])
        assert decide(estimate, row["p_adjusted"], row["margin"], row["alpha"], better) == row["verdict"]


def test_adjusted_p_values_can_be_recomputed() -> None:
    families: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in ROWS:
        families.setdefault((row["question"], row["family"], row["metric"]), []).append(row)
    for rows in families.values():
        adjusted = stats.holm([1.0 if row["p_value"] is None else row["p_value"] for row in rows])
        for row, p in zip(rows, adjusted, strict=True):
            assert row["p_adjusted"] is None or row["p_adjusted"] == pytest.approx(p)


def test_the_page_shows_the_same_numbers(page: str) -> None:
    for row in ANSWERED:
        shown = (
            f"| {row['contrast']} | {row['verdict']} | {wording.difference(row['estimate'], row['metric'], False)} | "
            f"{wording.interval(row['ci_low'], row['ci_high'], row['metric'])} |"
        )
        assert shown in page
    for name in ASKED:
        assert f"## {DESIGNS[name].title}" in page
        assert (RESULTS / "figures" / f"{name}.svg").stat().st_size > 10_000
    assert all((RESULTS / shown).exists() for shown in re.findall(r"!\[.*\]\((.*)\)", page))


def test_the_readme_opens_with_these_verdicts(page: str) -> None:
    readme = (RESULTS.parents[1] / "README.md").read_text()
    for design in (DESIGNS[name] for name in ASKED):
        (verdict,) = re.findall(rf"^\| \*\*{re.escape(design.title)}\*\* (.*?) \| \|", page, flags=re.MULTILINE)
        assert f"| {design.title} | {verdict}" in readme


def test_the_command_that_made_them_is_there() -> None:
    assert "make study PRESET=full" in (RESULTS / "README.md").read_text()
