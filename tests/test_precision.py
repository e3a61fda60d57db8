"""The study of precision goes on from its record, and its page says what the record holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import precision
from study import schema
from study.recipes import DECAY

RECIPE = replace(DECAY, epochs=1)


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A record of its own, and little to train on."""
    monkeypatch.setattr(precision, "RECORD", tmp_path / "precision.csv")
    monkeypatch.setattr(precision, "IMAGES", 512)
    return tmp_path / "precision.csv"


def test_the_page_is_that_of_the_record() -> None:
    assert precision.PAGE.read_text() == precision.page()


def test_only_what_is_missing_is_trained(record: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_a_network_of_one_precision_makes_no_pair_and_other_code_is_refused(record: Path, folder: Path) -> None:
    precision.train(RECIPE, "none", range(2), str(folder))
    text = record.read_text()
    record.write_text("\n".join(text.splitlines()[:-1]) + "\n")
    assert list(precision.differences("decay", "none", "accuracy", range(2)).index) == [0]
    record.write_text(other := text.replace(f",1,{schema.CODE_VERSION},", ",1,0,"))
    with pytest.raises(RuntimeError, match=f"is of code version 0, this is {schema.CODE_VERSION}: delete it first"):
        precision.train(RECIPE, "none", range(2), str(folder))
    assert record.read_text() == other != text


def test_a_network_that_diverges_is_an_error_and_not_a_row(record: Path, folder: Path) -> None:
    with pytest.raises(RuntimeError, match="decay none bfloat16, seed 0: it diverged"):
        precision.train(replace(RECIPE, learning_rate=1e30), "none", range(1), str(folder))
    assert not record.exists()


def planted(seeds: range, moved: dict[str, float], sd: dict[str, float]) -> pd.DataFrame:
    """Rows of both precisions whose paired differences have exactly these means and SDs."""
    spread = np.tile([1.0, -1.0], -(-len(seeds) // 2))[: len(seeds)]
    spread = (spread - spread.mean()) / spread.std(ddof=1)
    base = {"recipe": "long", "noise": "none", "seed": list(seeds), "code": schema.CODE_VERSION}
    return pd.concat(
        [
            pd.DataFrame({**base, "precision": "float32", "accuracy": 0.9, "loss": 0.5}),
            pd.DataFrame(
                {
                    **base,
                    "precision": "bfloat16",
                    "accuracy": 0.9 + moved["accuracy"] + sd["accuracy"] * spread,
                    "loss": 0.5 + moved["loss"] + sd["loss"] * spread,
                }
            ),
        ]
    )


def test_an_arm_left_open_is_studied_once_more_by_fresh_seeds_read_alone(record: Path) -> None:
    nothing, little = {"accuracy": 0.0, "loss": 0.0}, {"accuracy": 0.0005, "loss": 0.003}
    wide = {"accuracy": 0.0005, "loss": 0.012}
    rows = planted(precision.PILOT, nothing, little)
    assert precision.studies("long", "none") == []
    rows.to_csv(record)
    (first,) = precision.studies("long", "none")
    assert (first.start, len(first)) == (precision.FIRST, 11)
    assert precision.settled("long", "none") is None

    pd.concat([rows, planted(first, nothing, little)]).to_csv(record)
    assert precision.studies("long", "none") == [first] and precision.settled("long", "none")

    rows = pd.concat([rows, planted(first, nothing, wide)])
    rows.to_csv(record)
    assert not precision.equivalent("long", "none", first)
    one, again = precision.studies("long", "none")
    assert one == first and again.start == precision.AGAIN and 10 * len(first) < len(again) < 16 * len(first)
    assert precision.settled("long", "none") is None
    for moved, settled in ((0.0, True), (0.002, False)):
        fresh = planted(again, {"accuracy": 0.0, "loss": moved}, wide)
        pd.concat([rows, fresh]).to_csv(record)
        assert precision.settled("long", "none") is settled
        answers = [line.split(" | ") for line in precision.answer_table("long")][1:]
        assert [(row[0], row[1], row[-1]) for row in answers] == [
            ("| none", "accuracy", "yes |"),
            ("| none", "loss", "no |"),
            ("| none, again", "accuracy", "yes |"),
            ("| none, again", "loss", "yes |" if settled else "no |"),
        ]
        assert precision.studies("long", "none") == [first, again]


def test_differences_of_arms_are_read_by_welch(record: Path) -> None:
    sd = {"accuracy": 0.0004, "loss": 0.0004}
    tables = []
    for noise, moved in (("none", 0.0), ("dropout", 0.002)):
        for seeds in (precision.PILOT, range(precision.FIRST, precision.FIRST + 10)):
            tables.append(planted(seeds, {"accuracy": 0.0, "loss": moved}, sd).assign(noise=noise))
    pd.concat(tables).to_csv(record)
    _, accuracy, loss = precision.difference_table("long")
    assert accuracy.startswith("| dropout - none | accuracy | 10 and 10 | 0.0000 | 0.0000 | ")
    # By hand: 0.002 -+ t(0.95, 18 degrees) 1.734 times 0.0004 sqrt(2 / 10).
    assert "| +0.00200 | [+0.00169, +0.00231] | 0.003 |" in loss and loss.endswith("yes |")
