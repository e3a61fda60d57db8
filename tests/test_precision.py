"""The study of precision goes on from its record, and its page says what the record holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

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
