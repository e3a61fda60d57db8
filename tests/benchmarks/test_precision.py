"""The study of precision goes on from its record, and its page says what the record holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp, ttest_ind

from analysis import schema
from benchmarks import precision
from study.presets import DECAY

RECIPE = replace(DECAY, epochs=1)


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A record of its own, and little to train on."""
    monkeypatch.setattr(precision, "RECORD", tmp_path / "precision.csv")
    monkeypatch.setattr(precision, "PAGE", tmp_path / "precision.md")
    return tmp_path / "precision.csv"


def test_the_page_is_that_of_the_record() -> None:
    assert precision.PAGE.read_text() == precision.page()


def test_only_what_is_missing_is_trained(
    record: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    precision.train(RECIPE, "dropout", range(2), str(folder))
    before = record.read_text().splitlines()
    assert len(before) == 1 + 2 * 2
    capsys.readouterr()
    precision.train(RECIPE, "dropout", range(3), str(folder))
    assert capsys.readouterr().out.splitlines() == [
        "decay dropout bfloat16: seeds (2,)",
        "decay dropout float32: seeds (2,)",
    ]
    after = record.read_text().splitlines()
    assert set(before) < set(after) and len(after) == 1 + 3 * 2
    assert list(precision.differences("decay", "dropout", "loss", range(1, 9)).index) == [1, 2]
    assert 0 < precision.differences("decay", "dropout", "loss", range(9)).abs().max() < 0.05


def test_a_network_of_one_precision_makes_no_pair_and_other_code_is_refused(
    record: Path, folder: Path
) -> None:
    precision.train(RECIPE, "none", range(2), str(folder))
    text = record.read_text()
    record.write_text("\n".join(text.splitlines()[:-1]) + "\n")
    assert list(precision.differences("decay", "none", "accuracy", range(2)).index) == [0]
    record.write_text(other := text.replace(f",1,{schema.CODE_VERSION},", ",1,0,"))
    with pytest.raises(
        RuntimeError, match=f"is of code version 0, this is {schema.CODE_VERSION}: delete it first"
    ):
        precision.train(RECIPE, "none", range(2), str(folder))
    assert record.read_text() == other != text


def test_a_network_that_diverges_is_an_error_and_not_a_row(record: Path, folder: Path) -> None:
    with pytest.raises(RuntimeError, match="decay none bfloat16, seed 0: it diverged"):
        precision.train(replace(RECIPE, learning_rate=1e30), "none", range(1), str(folder))
    assert not record.exists()


NOTHING = {"accuracy": 0.0, "loss": 0.0}
LITTLE, WIDE = {"accuracy": 0.0005, "loss": 0.003}, {"accuracy": 0.0005, "loss": 0.012}


def planted(
    seeds: range,
    moved: dict[str, float],
    sd: dict[str, float],
    noise: str = "none",
    recipe: str = "long",
) -> pd.DataFrame:
    """Rows of both precisions whose paired differences have exactly these means and SDs."""
    spread = np.random.default_rng(seeds.start + len(noise)).normal(size=len(seeds))
    spread = (spread - spread.mean()) / spread.std(ddof=1)
    rows = pd.DataFrame(
        {"recipe": recipe, "noise": noise, "seed": list(seeds), "code": schema.CODE_VERSION}
    )
    base = {"accuracy": 0.9, "loss": 0.5}
    moves = {metric: base[metric] + moved[metric] + sd[metric] * spread for metric in base}
    return pd.concat(
        [rows.assign(precision="float32", **base), rows.assign(precision="bfloat16", **moves)]
    )


def seeds_of(rows: pd.DataFrame, noise: str, record: Path) -> range:
    """Those of the study that these rows ask for next."""
    rows.to_csv(record)
    return precision.studies("long", noise)[-1]


def test_an_arm_that_is_not_equivalent_is_studied_once_more_by_fresh_seeds_read_alone(
    record: Path,
) -> None:
    assert precision.studies("long", "none") == []
    rows = planted(precision.PILOT, NOTHING, LITTLE)
    first = seeds_of(rows, "none", record)
    assert first == range(precision.FIRST, precision.FIRST + 11)
    assert precision.settled("long", "none") is None

    assert seeds_of(pd.concat([rows, planted(first, NOTHING, LITTLE)]), "none", record) == first
    assert precision.settled("long", "none")

    rows = pd.concat([rows, planted(first, {"accuracy": 0.0, "loss": 0.03}, WIDE)])
    again = seeds_of(rows, "none", record)
    assert again.start == precision.AGAIN and 10 * len(first) < len(again) < 16 * len(first)
    assert precision.settled("long", "none") is None
    for moved, settled in ((0.0, True), (0.002, False)):
        fresh = planted(again, {"accuracy": 0.0, "loss": moved}, WIDE)
        assert seeds_of(pd.concat([rows, fresh]), "none", record) == again
        assert precision.settled("long", "none") is settled
        answers = [line.strip("| ").split(" | ") for line in precision.answer_table("long")][1:]
        assert [(row[0], row[1], row[2], row[-1]) for row in answers] == [
            ("none", "accuracy", "11", "yes"),
            ("none", "loss", "11", "no"),
            ("none, again", "accuracy", str(len(again)), "yes"),
            ("none, again", "loss", str(len(again)), "yes" if settled else "no"),
        ]


def test_a_second_study_has_enough_seeds_and_none_of_the_first(record: Path) -> None:
    """Of a first one that moved with hardly any spread, and of one that takes more than the seeds
    set aside."""
    for sd, fewest in ((1e-5, precision.FEWEST), (0.012, 900)):
        rows = planted(precision.PILOT, NOTHING, {"accuracy": sd, "loss": sd})
        first = seeds_of(rows, "none", record)
        moved = planted(first, {"accuracy": 0.004, "loss": 0.0}, {"accuracy": sd, "loss": sd})
        again = seeds_of(pd.concat([rows, moved]), "none", record)
        assert min(len(first), len(again)) >= fewest and again.start >= first.stop


def test_differences_of_arms_are_paired_where_they_have_seeds_in_common(record: Path) -> None:
    first = range(3100, 3111)
    moves = {"none": NOTHING, "dropout": {"accuracy": 0.0, "loss": 0.001}}
    pilots = [planted(precision.PILOT, NOTHING, LITTLE, noise) for noise in moves]
    pd.concat(
        [*pilots, *(planted(first, moved, LITTLE, noise) for noise, moved in moves.items())]
    ).to_csv(record)
    moved = [precision.differences("long", noise, "loss", first) for noise in ("dropout", "none")]
    low, high = ttest_1samp(moved[0] - moved[1], 0).confidence_interval(0.9)
    _, _, loss = precision.difference_table("long")
    assert (
        loss.startswith("| dropout - none | loss | 11 | ")
        and f"| [{low:+.5f}, {high:+.5f}] |" in loss
    )


def test_differences_of_arms_with_no_seed_in_common_are_read_by_welch(record: Path) -> None:
    rows = pd.concat(
        [
            planted(precision.PILOT, NOTHING, LITTLE),
            planted(precision.PILOT, NOTHING, LITTLE, "dropout"),
            planted(range(3100, 3111), NOTHING, WIDE),
            planted(range(3100, 3111), {"accuracy": 0.0, "loss": 0.001}, LITTLE, "dropout"),
        ]
    )
    again = seeds_of(rows, "none", record)
    pd.concat([rows, planted(again, NOTHING, WIDE)]).to_csv(record)
    moved = [
        precision.differences("long", n, "loss", s)
        for n, s in (("dropout", range(3100, 3111)), ("none", again))
    ]
    low, high = ttest_ind(*moved, equal_var=False).confidence_interval(0.9)
    _, _, loss = precision.difference_table("long")
    assert loss.startswith(f"| dropout - none | loss | 11 and {len(again)}, unpaired | ")
    assert f"| [{low:+.5f}, {high:+.5f}] |" in loss


def test_the_page_says_which_arms_are_not_shown_to_be_equivalent(record: Path) -> None:
    def arm(recipe: str, noise: str, moved: dict[str, float]) -> list[pd.DataFrame]:
        pilot = planted(precision.PILOT, NOTHING, LITTLE, noise, recipe)
        return [
            pilot,
            *(
                planted(s, moved, LITTLE, noise, recipe)
                for s in (range(3100, 3111), range(4000, 4011))
            ),
        ]

    arms = {
        (recipe, noise): arm(recipe, noise, NOTHING)
        for recipe, noises in precision.NOISES.items()
        for noise in noises
    }

    def left(other: list[pd.DataFrame], code: int = schema.CODE_VERSION) -> list[str]:
        tables = [
            *(
                table
                for tables in (arms | {("long", "dropout"): other}).values()
                for table in tables
            )
        ]
        pd.concat(tables).assign(code=code).to_csv(record)
        return precision.unsettled()

    assert left(arms["long", "dropout"]) == [] and precision.ALL in precision.page()
    far = {"accuracy": 0.004, "loss": 0.0}
    assert left(arm("long", "dropout", far)[:2]) == ["dropout under `long` (to be trained)"]
    assert left(arm("long", "dropout", far)) == ["dropout under `long` (not shown)"]
    assert (
        "**Shown to be equivalent: all but dropout under `long` (not shown).**" in precision.page()
    )
    assert len(left(arms["long", "dropout"], min(precision.ALIKE) - 1)) == len(arms)
