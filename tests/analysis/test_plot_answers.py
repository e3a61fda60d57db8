"""Figures of differences and of training: what is off the scale, what is left out, what is said."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import synthetic
from matplotlib.figure import Figure

from analysis import load_runs
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
    assert labels[1:] == [one.name for one in asked.contrasts[:3]]
    on_loss = table[table["metric"] == "test/loss"]
    assert overview_figure({asked.title: on_loss}) is None
    unanswered = table.assign(estimate=math.nan)
    assert overview_figure({asked.title: unanswered}) is None


def test_curves_are_the_means_of_the_histories_of_the_best_types(study: Study) -> None:
    assert list(study.curves["noise"].unique()) == ["none", "dropout", "gaussian"]
    none = study.curves[study.curves["noise"] == "none"]
    rows = study.table[
        (study.table["arm"] == none["arm"].iloc[0]) & (study.table["phase"] == "confirm")
    ]
    for metric in curves.METRICS:
        expected = rows.sort_values("seed")[metric].head(curves.SEEDS).astype(float).mean()
        assert none[metric].iloc[-1] == pytest.approx(expected)


def test_the_third_panel_is_of_the_best_other_type_on_validation_images(study: Study) -> None:
    declared = replace(study.declaration, noise_types=("none", "uniform", "gaussian", "dropout"))
    arms = {f"tuned {noise}": f"{noise} arm" for noise in declared.noise_types}
    scores = {"none": 0.88, "dropout": 0.87, "gaussian": 0.86, "uniform": 0.85}
    rows = [
        {"arm": f"{noise} arm", "val/accuracy": score, "phase": "confirm"}
        for noise, score in scores.items()
    ]
    table = pd.DataFrame(rows)
    assert curves.best_types(declared, table, arms) == ["none", "dropout", "gaussian"]
    searched = table.assign(**{"val/accuracy": 1 - table["val/accuracy"], "phase": "search"})
    both = pd.concat([table, searched])
    assert curves.best_types(declared, both, arms) == ["none", "dropout", "gaussian"]
    assert curves.best_types(declared, table.iloc[:2], arms) == ["none", "dropout"]


def losses(**ends: tuple[float, float]) -> pd.DataFrame:
    """Four epochs of each noise type that end at a training and a validation loss."""
    rows = [
        ("small", noise, f"{noise} arm", epoch, training + 4 - epoch, validation + 4 - epoch)
        for noise, (training, validation) in ends.items()
        for epoch in range(1, 5)
    ]
    return pd.DataFrame(rows, columns=list(curves.none().columns))


def test_the_gap_between_training_and_validation_is_told(study: Study) -> None:
    drawn = losses(none=(0.011, 0.7), dropout=(0.2, 0.6))
    ((figure, caption),) = overfitting_figures(drawn, study.table).values()
    assert len(figure.axes) == 2 and {"0.70", "0.01", "0.60", "0.20"} <= set(texts(figure))
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    assert [len(ax.collections) for ax in figure.axes] == [1, 1]  # the shaded gap
    assert caption == (
        "Without noise the network's training loss ends at 0.01 nats and its validation loss at "
        "0.70: the shaded gap is how far it overfits."
    )
    ((_, caption),) = overfitting_figures(losses(none=(0.7, 0.6)), study.table).values()
    assert caption.endswith(": it does not overfit.")
    assert overfitting_figures(curves.none(), study.table) == {}


def test_a_loss_that_is_not_finite_is_left_out_of_the_mean(tmp_path: Path) -> None:
    before = mlflow.get_tracking_uri()
    synthetic.use_store(tmp_path)
    writer_of_store = synthetic.Writer(synthetic.declaration())
    arm = synthetic.Arm("none", 0.0, 0.0, 0.0)
    for seed, loss in ((100, 0.5), (101, math.inf), (102, math.nan)):
        writer_of_store.trial(arm, [seed], "confirm", "swap", scores={"val/loss": loss})
    writer_of_store.arms({"tuned none": arm})
    found = reader.load(images=True).curves
    mlflow.set_tracking_uri(before)
    assert found["val/loss"].tolist() == [0.5]


def test_the_report_shows_the_curves_of_a_store_and_leaves_them_out_of_a_folder(
    study: Study, tmp_path: Path
) -> None:
    writer.write(study, tmp_path / "store")
    page = (tmp_path / "store" / "report.md").read_text()
    assert "(figures/training-decay.svg)" in page
    assert (tmp_path / "store" / "figures" / "training-decay.svg").stat().st_size > 5_000
    writer.write(load_runs(tmp_path / "store"), tmp_path / "folder")
    assert "training-decay" not in (tmp_path / "folder" / "report.md").read_text()
    assert not (tmp_path / "folder" / "figures" / "training-decay.svg").exists()


def test_a_type_of_one_rate_shows_one() -> None:
    """And a label that tells the rates is not followed by them."""
    row = {"arm": "shift(0.218) wd=7.93e-05 small@100", "weight_decay": 7.93e-05}
    runs = pd.DataFrame([row, row])
    assert forest.configuration(runs, "tuned shift") == "p = 0.218; weight decay 7.9e-05; n = 2"
    assert forest.configuration(runs, "shift(0.218)") == "weight decay 7.9e-05; n = 2"
