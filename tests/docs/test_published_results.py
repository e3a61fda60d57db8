"""The published results: every number can be recomputed from the published run table, and the pages
say the same."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis import formatting, load_runs, schema
from analysis.questions import DESIGNS
from analysis.schema import AUDIT, CONFIRM, higher_is_better
from analysis.stats import paired
from analysis.stats.verdicts import decide
from analysis.store.uri import StoreError
from models.config import Arm
from study import search_space
from study.presets import PRESETS, SMALL
from study.search import Search
from study.tracking import merge

RESULTS = Path(__file__).parents[2] / "docs" / "results"


@dataclass(frozen=True)
class Published:
    """One study's answers.json, run_table.csv and report.md."""

    preset: str
    folder: Path

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads((self.folder / "answers.json").read_text())
        return rows

    @cached_property
    def answered(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["estimate"] is not None]

    @cached_property
    def table(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "run_table.csv")

    @cached_property
    def of_older_code(self) -> bool:
        return json.loads((self.folder / "declaration.json").read_text())["code_version"] < 7

    @cached_property
    def questions(self) -> dict[str, str]:
        """Question -> its title."""
        declaration = json.loads((self.folder / "declaration.json").read_text())
        return {question["name"]: question["title"] for question in declaration["questions"]}

    @cached_property
    def page(self) -> str:
        return (self.folder / "report.md").read_text()


QUICK = Published("quick", RESULTS / "quick")
STUDIES = [Published("full", RESULTS), Published("contest", RESULTS / "contest"), QUICK]


@pytest.fixture(params=STUDIES, ids=lambda study: study.preset, scope="module")
def study(request: pytest.FixtureRequest) -> Published:
    published: Published = request.param
    return published


def differences(row: dict[str, Any], table: pd.DataFrame) -> pd.Series:
    """The per-seed contrast of a published row, from the published runs it names."""
    rows = table.loc[table["run_id"].isin(row["run_ids"])]
    assert set(rows["phase"]) == {AUDIT if DESIGNS[row["question"]].phase == AUDIT else CONFIRM}
    parts = []
    for name, coefficient in row["coefficients"].items():
        arm, _, metric = name.partition(":")
        parts.append(
            coefficient * rows.loc[rows["arm"] == arm].set_index("seed")[metric or row["metric"]]
        )
    return pd.concat(parts, axis=1).sum(axis=1, skipna=False)


def test_all_questions_are_answered_on_enough_seeds(study: Published) -> None:
    assert {row["question"] for row in study.answered} == set(study.questions)
    confirmed = [row for row in study.answered if DESIGNS[row["question"]].phase == CONFIRM]
    assert {row["n_seeds"] for row in confirmed} == {20}
    assert {row["verdict"] for row in study.rows if row["estimate"] is None} <= {"not entered"}


def test_estimates_intervals_and_verdicts_can_be_recomputed(study: Published) -> None:
    for row in study.answered:
        values = differences(row, study.table)
        assert len(values) == row["n_seeds"]
        assert values.mean() == pytest.approx(row["estimate"], rel=1e-9, abs=1e-12)
        assert paired.interval(values) == pytest.approx(
            (row["ci_low"], row["ci_high"]), rel=1e-9, abs=1e-12
        )
        assert paired.paired_t(values) == pytest.approx(row["p_value"], rel=1e-6, abs=1e-12)
        estimate = paired.estimate(values, row["margin"], row["alpha"])
        better = higher_is_better(row["metric"])
        verdict = decide(estimate, row["p_adjusted"], row["margin"], row["alpha"], better)
        if study.of_older_code:  # did not say whether a difference matters
            verdict = verdict.removesuffix(", matters")
        assert verdict == row["verdict"]


def test_adjusted_p_values_can_be_recomputed(study: Published) -> None:
    families: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in study.rows:
        families.setdefault((row["question"], row["family"], row["metric"]), []).append(row)
    for rows in families.values():
        adjusted = paired.holm([1.0 if row["p_value"] is None else row["p_value"] for row in rows])
        for row, p in zip(rows, adjusted, strict=True):
            if study.of_older_code:
                assert row["p_adjusted"] is None or row["p_adjusted"] == pytest.approx(p)
            else:  # the largest of the questions that ask for one difference; see the test by SciPy
                assert row["p_adjusted"] >= p - 1e-12


def test_the_page_shows_the_same_numbers(study: Published) -> None:
    for row in study.answered:
        shown = (
            f"| {row['contrast']} | {row['verdict']} | "
            f"{formatting.difference(row['estimate'], row['metric'], False)} | "
            f"{formatting.interval(row['ci_low'], row['ci_high'], row['metric'])} |"
        )
        assert shown in study.page
    for name, title in study.questions.items():
        assert f"## {title}" in study.page
        assert (study.folder / "figures" / f"{name}.svg").stat().st_size > 10_000
    assert all(
        (study.folder / shown).exists() for shown in re.findall(r"!\[.*\]\((.*)\)", study.page)
    )


def test_the_published_search_can_be_gone_on_from() -> None:
    """Each trial's hash is that which today's code gives it."""
    trials = merge.published(QUICK.folder).trials
    tuning = QUICK.table.loc[QUICK.table["phase"].isin(["search", "rerank"])]
    assert len(trials) == tuning["trial_run_id"].nunique() > 80
    arms = load_runs(QUICK.folder).arms["small"]
    searched = QUICK.table.loc[QUICK.table["phase"] == "search"].drop_duplicates("arm")
    tried = {
        arm.name: arm for row in searched.to_dict("records") for arm in [Arm.from_row(row, SMALL)]
    }
    none = tried[arms["tuned none"]]
    preset = PRESETS["quick"]
    for label in preset.noise_types[1:]:
        search = Search(label, SMALL, preset.trials_per_type, search_space.MAX_RATE, none)
        assert {arm.name for arm in search.propose()} <= set(tried)


@pytest.mark.parametrize("page", ["README.md", "docs/verdicts.md"])
def test_the_differences_of_a_page_are_the_published_ones(page: str) -> None:
    """Name, verdict, estimate and both intervals of each."""
    text = (RESULTS.parents[1] / page).read_text()
    published = set()
    of_images = [row for row in QUICK.answered if row["ci_crossed_low"] is not None]
    for row in of_images:
        metric = row["metric"]
        ends = (row["ci_low"], row["ci_high"]), (row["ci_crossed_low"], row["ci_crossed_high"])
        cells = [
            f"{row['contrast']}: {row['verdict']}",
            formatting.difference(row["estimate"], metric),
            *(formatting.interval(low, high, metric) for low, high in ends),
        ]
        published.add(" | ".join(cells))
    told = re.findall(r"[^|]* \| [+−]?\d\.\d\d pp \| \[[^]]*\] \| \[[^]]*\]", text)
    assert len(told) >= (4 if page == "README.md" else 1)
    assert {one.strip() for one in told} <= published


def test_the_readme_asks_these_questions() -> None:
    readme = (RESULTS.parents[1] / "README.md").read_text()
    assert all(DESIGNS[name].title in readme for name in QUICK.questions)
    losses = r"ends? at\s([\d.]+) nats(?: and its|, the) validation\sloss at ([\d.]+\d)"
    assert re.findall(losses, readme) == list(dict.fromkeys(re.findall(losses, QUICK.page)))


def test_the_command_that_made_them_is_there(study: Published) -> None:
    assert f"make study PRESET={study.preset}" in (RESULTS / "README.md").read_text()


def test_every_searched_type_was_in_the_contest() -> None:
    table = STUDIES[1].table
    searched = table[(table["phase"] == "search") & (table["recipe"] == "decay")]
    trials = searched.drop_duplicates("trial_hash").groupby("noise").size()
    assert set(trials.index) <= set(PRESETS["contest"].noise_types) and len(trials) >= 28
    confirmed = table[(table["phase"] == "confirm") & (table["recipe"] == "decay")]
    assert set(confirmed["noise"]) == set(trials.index), "losers are published too"


FIELDS = {**dict.fromkeys(schema.RUN_TABLE, "1"), "phase": "search", "trial_number": ""}
NO_NUMBER = f"{','.join(FIELDS)}\n{','.join(FIELDS.values())}\n"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A report's folder without its pictures."""
    for name in (schema.DECLARATION_FILE, schema.ARMS_FILE, "run_table.csv"):
        shutil.copy(RESULTS / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (
            schema.ARMS_FILE,
            "[]",
            "is damaged: arms.json does not hold the arms' names by recipe and label",
        ),
        (
            schema.ARMS_FILE,
            '{"decay": ["none"]}',
            "is damaged: arms.json does not hold the arms' names",
        ),
        (
            schema.ARMS_FILE,
            '{"decay": {"none": 3}}',
            "is damaged: arms.json does not hold the arms' names",
        ),
        (schema.ARMS_FILE, "[" * 100_000, "is damaged: "),
        (schema.ARMS_FILE, b"\xff", "is damaged: "),
        (schema.DECLARATION_FILE, "{}", "is damaged: not a study declaration of this version"),
        ("run_table.csv", "", "is damaged: "),
        (
            "run_table.csv",
            "run_id,arm\n",
            "is damaged: run_table.csv lacks the column trial_run_id",
        ),
        ("run_table.csv", NO_NUMBER, "a search trial without its trial_number"),
        ("run_table.csv", None, "holds no report: no run_table.csv in it"),
    ],
)
def test_a_damaged_report_is_told_in_a_line(
    copy: Path, name: str, content: str | bytes | None, told: str
) -> None:
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StoreError, match=told) as raised:
        load_runs(copy)
    assert len(str(raised.value).splitlines()) == 1


def test_a_report_that_may_not_be_read_is_no_missing_one(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object, **named: object) -> str:
        raise PermissionError(13, "Permission denied", str(copy / schema.ARMS_FILE))

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(StoreError, match="cannot be read: Permission denied"):
        load_runs(copy)
