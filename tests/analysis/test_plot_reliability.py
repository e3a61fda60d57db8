"""The reliability diagram: drawn from the bins that a store holds, left out where it has none."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib.figure import Figure

from analysis import load_runs, questions
from analysis.plots import reliability
from analysis.questions import noisy_inference
from analysis.report import writer
from analysis.schema import CONFIRM, RELIABILITY
from analysis.stats import paired
from analysis.store import curves, reader
from analysis.store.reader import Study

SEEDS = (100, 101, 102, 103)
ARM = synthetic.Arm("dropout", 0.2, 0.5, 0.0)
CONFIDENCE = (0.5, 0.7, 0.9, 0.96, 0.999)
GAPS = {"": -0.04, "_tempered": 0.0, "_mc1": -0.08, "_mc200": 0.03, "_mc200_tempered": 0.01}
"""Way -> by how much a bin's accuracy is above its confidence."""


def bins(seed: int) -> dict[str, Sequence[float]]:
    """What a run logs: calibrated but for the gap, and by how much differs from seed to seed."""
    found: dict[str, Sequence[float]] = {}
    for way, gap in GAPS.items():
        found[f"{RELIABILITY}confidence{way}"] = CONFIDENCE
        moved = gap + 0.001 * (seed - SEEDS[0])
        found[f"{RELIABILITY}accuracy{way}"] = [one + moved for one in CONFIDENCE]
    return found


def study_in(folder: Path, with_bins: bool) -> Study:
    """A study that asked test-time alone; without bins it is as older code left it."""
    synthetic.use_store(folder)
    asked = noisy_inference.DESIGN.declare([SimpleNamespace(name="decay")], SEEDS, ())
    store = synthetic.Writer(replace(synthetic.declaration(SEEDS), questions=(asked,)))
    scores = {"test/temperature": 1.2, "test/brier": 0.2, "test/ece": 0.05}
    for way in GAPS:
        scores |= {f"test/{name}{way}": 0.3 for name in ("loss", "brier", "ece") if way}
    scores |= {f"test/accuracy{way}": 0.88 for way in ("_mc1", "_mc200")}
    for seed in SEEDS:
        values = bins(seed) if with_bins else {}
        store.trial(ARM, [seed], CONFIRM, "test-time", scores=scores, bins=values)
    store.arms({"tuned dropout": ARM})
    store.end()
    return reader.load(images=True)


@pytest.fixture(scope="module", autouse=True)
def here() -> Iterator[None]:
    before = mlflow.get_tracking_uri()
    yield
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return study_in(tmp_path_factory.mktemp("store"), with_bins=True)


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return study_in(tmp_path_factory.mktemp("older"), with_bins=False)


def drawn(of: pd.DataFrame) -> Figure:
    """The diagram of these bins."""
    rows = pd.DataFrame({"arm": ARM.name}, index=pd.Index(SEEDS, name="seed"))
    (picture,) = reliability.diagram({"tuned dropout": rows}, of)
    return picture.draw()


def test_bins_are_read_as_they_were_logged_and_are_no_columns(study: Study) -> None:
    assert list(study.bins.columns) == [*curves.BIN, *curves.IN_BINS]
    assert len(study.bins) == len(SEEDS) * len(GAPS) * len(CONFIDENCE)
    for seed in SEEDS:
        for way in GAPS:
            one = study.bins[(study.bins["seed"] == seed) & (study.bins["way"] == way.lstrip("_"))]
            assert one["bin"].tolist() == [1, 2, 3, 4, 5]
            assert one["confidence"].tolist() == list(CONFIDENCE)
            assert one["accuracy"].tolist() == bins(seed)[f"{RELIABILITY}accuracy{way}"]
    assert not [name for name in study.table if name.startswith(RELIABILITY)]


def test_they_change_nothing_else_of_a_study(study: Study, older: Study) -> None:
    own = ["run_id", "trial_run_id"]
    pd.testing.assert_frame_equal(study.table.drop(columns=own), older.table.drop(columns=own))
    assert older.bins.empty and list(older.bins.columns) == list(study.bins.columns)


def test_a_bin_without_an_image_is_left_out(tmp_path: Path) -> None:
    synthetic.use_store(tmp_path)
    store = synthetic.Writer(synthetic.declaration())
    values: dict[str, Sequence[float]] = {
        f"{RELIABILITY}confidence": [0.5, math.nan],
        f"{RELIABILITY}accuracy": [0.6, math.nan],
    }
    store.trial(ARM, [100], CONFIRM, "swap", scores={"test/temperature": 1.0}, bins=values)
    store.arms({})
    assert reader.load(images=True).bins["accuracy"].tolist() == [0.6]


def test_the_report_shows_the_diagram_of_a_store_that_has_the_bins(
    study: Study, older: Study, tmp_path: Path
) -> None:
    shown = "(figures/test-time-reliability.svg)"
    writer.write(study, tmp_path / "now")
    page = (tmp_path / "now" / "report.md").read_text()
    assert shown in page and noisy_inference.NO_BINS not in page
    assert (tmp_path / "now" / "figures" / "test-time-reliability.svg").stat().st_size > 10_000
    for name, one in (("older", older), ("folder", load_runs(tmp_path / "now"))):
        writer.write(one, tmp_path / name)
        page = (tmp_path / name / "report.md").read_text()
        assert shown not in page and noisy_inference.NO_BINS in page
        assert not (tmp_path / name / "figures" / "test-time-reliability.svg").exists()


def test_the_diagram_is_one_of_the_questions_pictures(study: Study) -> None:
    (asked,) = study.declaration.questions
    for kept, names in ((study.bins, ["passes", "reliability"]), (None, ["passes"])):
        (answer,) = questions.answer_all([asked], study.table, study.arms, bins=kept)
        assert [picture.name for picture in answer.pictures] == names
    assert "n = 4 seeds" in drawn(study.bins).get_suptitle()


def test_a_dot_is_the_mean_over_seeds_and_the_band_its_interval(study: Study) -> None:
    """Too sure lies below the line, too modest above, calibrated on it."""
    as_it_is, _, tempered, _ = drawn(study.bins).axes
    lines = {line.get_label(): line for line in as_it_is.lines}
    moved = [0.1 * (seed - SEEDS[0]) for seed in SEEDS]
    for (label, way), band in zip(
        {
            "deterministic": "",
            "one noisy pass": "_mc1",
            "mean of 200 noisy passes": "_mc200",
        }.items(),
        as_it_is.collections,
        strict=True,
    ):
        x, y = np.array(lines[label].get_data(), dtype=float)
        assert x == pytest.approx(100 * np.array(CONFIDENCE))
        assert y - x == pytest.approx(np.full(5, 100 * GAPS[way] + np.mean(moved)))
        low, high = paired.interval(100 * GAPS[way] + pd.Series(moved))
        heights = np.asarray(band.get_paths()[0].vertices)[:, 1]
        assert heights.max() == pytest.approx(99.9 + high) and heights.min() < 50 + low + 0.01
    drawn_tempered = [line.get_label() for line in tempered.lines if np.size(line.get_xdata()) == 5]
    assert drawn_tempered == ["deterministic", "mean of 200 noisy passes"]


def test_the_area_between_a_curve_and_the_line_is_the_calibration_error(study: Study) -> None:
    _, gaps, *_ = drawn(study.bins).axes
    line = next(line for line in gaps.lines if line.get_label() == "one noisy pass")
    assert np.asarray(line.get_xdata()) == pytest.approx([10, 30, 50, 70, 90])
    assert np.abs(line.get_ydata()).mean() == pytest.approx(8 - 0.15)


def test_seeds_that_lack_the_bins_are_not_counted(study: Study) -> None:
    """As where a study goes on that older code began; two seeds have no interval."""
    few = study.bins[study.bins["seed"] < SEEDS[2]]
    assert "n = 2 seeds" in drawn(few).get_suptitle()
    assert not drawn(few).axes[0].collections
    of_another = study.bins.assign(arm="dropout(0.5,0.5) wd=0 decay@4")
    rows = pd.DataFrame({"arm": ARM.name}, index=pd.Index(SEEDS, name="seed"))
    assert not list(reliability.diagram({"tuned dropout": rows}, of_another))
