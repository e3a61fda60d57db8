"""Figures of differences and of training: what is off the scale, what is left out, what is said."""

from __future__ import annotations

import math
from dataclasses import replace

import mlflow
import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib.figure import Figure

from analysis.plots import forest, style
from analysis.plots.overfitting import overfitting_figures
from analysis.plots.overview import overview_figure
from analysis.questions import answer_all
from analysis.report import writer
from analysis.stats.contrast_table import contrast_table
from analysis.store import curves, reader
from analysis.store.reader import Study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    before = mlflow.get_tracking_uri()
    synthetic.use_store(tmp_path_factory.mktemp("store"))
    synthetic.write_study()
    stored = reader.load(images=True)
    mlflow.set_tracking_uri(before)
    return stored


def moved(study: Study, label: str, accuracy: float) -> Study:
    """The study with one arm's test accuracy moved."""
    table = study.table.copy()
    table.loc[table["arm"] == study.arms["decay"][label], "test/accuracy"] += accuracy
    return replace(study, table=table)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def swap_figure(study: Study) -> Figure:
    asked = study.declaration.questions[0]
    (answer,) = answer_all([asked], study.table, study.arms)
    return forest.question_figure(asked, study.table, study.arms, answer.contrasts)


def overview_of(study: Study) -> Figure:
    asked = study.declaration.questions[0]
    (answer,) = answer_all([asked], study.table, study.arms)
    figure = overview_figure({asked.title: contrast_table(answer, study.arms)})
    assert figure
    return figure


def test_one_effect_off_the_scale_does_not_squash_the_others(study: Study) -> None:
    far = moved(study, "dropout(0.1,0.9)", 0.0525)
    differences = swap_figure(far).axes[1]
    assert max(map(abs, differences.get_xlim())) < 2
    mean = answer_all([far.declaration.questions[0]], far.table, far.arms)[0].contrasts[2]
    arrow = f"{100 * mean.estimate.mean:+.2f} ►"
    assert mean.estimate.mean > 0.04
    assert texts(swap_figure(far)).count(arrow) == 1
    assert texts(overview_of(far)).count(arrow) == 1
    assert max(map(abs, overview_of(far).axes[0].get_xlim())) < 2.2


def test_where_all_effects_are_large_all_are_drawn(study: Study) -> None:
    far = study
    for label in ("dropout(0.1,0.5)", "dropout(0.2,0.5)", "dropout(0.1,0.9)"):
        far = moved(far, label, 0.05)
    assert not [text for text in texts(swap_figure(far)) if "►" in text]
    assert swap_figure(far).axes[1].get_xlim()[1] > 4


@pytest.mark.parametrize(
    ("means", "far"),
    [
        ((0.1, -0.1, 5.25), {5.25}),
        ((0.1, -0.1, -5.25), {-5.25}),
        ((0.7, -5.4, -6.1, -75.1, -75.8, -8.4), {-75.1, -75.8}),  # many are large, two are larger
        ((5.0, 6.0, -4.0), set()),
        ((5.25,), set()),
        ((), set()),
    ],
)
def test_off_the_scale_is_what_is_far_from_the_margin_and_from_the_others(
    means: tuple[float, ...], far: set[float]
) -> None:
    ax = Figure().subplots()
    farthest = style.fit_scale(ax, 0.2, [(mean, [mean - 0.1, mean + 0.1]) for mean in means])
    assert {mean for mean in means if abs(mean) > farthest} == far
    low, high = ax.get_xlim()
    drawn = [-0.2, 0.2, *(mean + end for mean in set(means) - far for end in (-0.1, 0.1))]
    assert low < min(drawn) and max(drawn) < high
    for arrows, room in (
        (min(far, default=0) < 0, min(drawn) - low),
        (5.25 in far, high - max(drawn)),
    ):
        assert (room > 0.15 * (high - low)) == arrows  # an arrow stands beside what is drawn


def test_a_negligible_difference_looks_like_an_equivalent_one() -> None:
    equivalent = style.verdict_colour("equivalent")
    assert style.verdict_colour("worse, negligible") == equivalent
    assert style.verdict_colour("better, negligible") == equivalent
    assert len({style.verdict_colour(one) for one in ("better", "worse", "inconclusive")}) == 3


def test_the_overview_has_a_line_for_each_answered_difference_in_accuracy(study: Study) -> None:
    asked = study.declaration.questions[0]
    (answer,) = answer_all([asked], study.table, study.arms)
    table = contrast_table(answer, study.arms)
    (ax,) = overview_of(study).axes
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[0] == "" and asked.title in texts(overview_of(study))
    assert labels[1:] == [f"{one.name}, decay" for one in asked.contrasts[:3]]
    on_loss = table[table["metric"] == "test/loss"]
    assert overview_figure({asked.title: on_loss}) is None
    unanswered = table.assign(estimate=math.nan)
    assert overview_figure({asked.title: unanswered}) is None


def test_curves_are_the_means_of_the_histories_of_the_best_types(study: Study) -> None:
    assert list(study.curves["noise"].unique()) == ["none", "dropout", "gaussian"]
    assert set(study.curves["metric"]) == set(curves.METRICS)
    arm = study.arms["decay"]["tuned none"]
    rows = study.table[(study.table["arm"] == arm) & (study.table["phase"] == "confirm")]
    last = study.curves[(study.curves["noise"] == "none") & (study.curves["metric"] == "val/loss")]
    expected = rows.sort_values("seed")["val/loss"].head(curves.SEEDS).astype(float).mean()
    assert last["value"].iloc[-1] == pytest.approx(expected)
    assert reader.Study.__dataclass_fields__["curves"].default_factory().empty  # type: ignore[misc]


def test_the_gap_between_training_and_validation_is_told(study: Study, tmp_path) -> None:
    epochs = np.arange(1, 5)
    frames = [
        pd.DataFrame(
            {"recipe": "small", "noise": noise, "metric": metric, "epoch": epochs, "value": end}
        )
        for noise in ("none", "dropout")
        for metric, end in (("train/loss", 0.011), ("val/loss", 0.7))
    ]
    ((figure, caption),) = overfitting_figures(pd.concat(frames)).values()
    assert len(figure.axes) == 2 and {"0.70", "0.01"} <= set(texts(figure))
    assert "ends at 0.01 nats, the validation loss at 0.70" in caption
    assert overfitting_figures(curves.none()) == {}
    writer.write(study, tmp_path)
    page = (tmp_path / "report.md").read_text()
    assert "(figures/training-decay.svg)" in page
    assert (tmp_path / "figures" / "training-decay.svg").stat().st_size > 5_000
