"""The rules that pick arms, on run tables small enough to check by hand."""

import numpy as np
import pandas as pd
import pytest

from analysis.stats import selection

ARM = {"a": (0.1, 0.2), "b": (0.3, 0.4), "c": (0.5, 0.6)}


def rows(phase, scores, noise="dropout", recipe="decay", column="val/accuracy"):
    """One row per arm and seed; `scores` maps an arm to its scores, the seeds count from 0."""
    return [
        {
            "phase": phase,
            "noise": noise,
            "recipe": recipe,
            "epochs": 4,
            "arm": arm,
            "seed": seed,
            "rate1": ARM[arm][0],
            "rate2": ARM[arm][1],
            "rate3": 0.7,
            "weight_decay": 1e-4,
            column: score,
        }
        for arm, values in scores.items()
        for seed, score in enumerate(values)
    ]


def test_the_ranking_is_by_the_mean_over_seeds_and_ties_by_name():
    table = pd.DataFrame(rows("search", {"c": [0.8, 0.9], "b": [0.9, 0.8], "a": [0.7, 0.95]}))
    ranking = selection.search_ranking(table, "dropout", "val/accuracy")
    assert [row.arm for row in ranking] == ["b", "c", "a"]
    assert (ranking[0].rate1, ranking[0].rate2, ranking[0].weight_decay, ranking[0].epochs) == (
        0.3,
        0.4,
        1e-4,
        4,
    )
    assert (ranking[0].score, ranking[0].n_seeds) == (pytest.approx(0.85), 2)
    assert selection.search_ranking(table.iloc[::-1], "dropout", "val/accuracy") == ranking


def test_the_best_loss_is_the_lowest():
    table = pd.DataFrame(rows("search", {"a": [0.4], "b": [0.3]}, column="val/loss"))
    assert [row.arm for row in selection.search_ranking(table, "dropout", "val/loss")] == ["b", "a"]


def test_the_posterior_mean_smooths_what_single_networks_scored():
    """Of a hill with its top at 0.6 and noise as large as its height, the mean finds the top; one
    that diverged leaves the others apart."""
    random = np.random.default_rng(1)
    points = [[place] for place in np.linspace(0, 1, 24)]
    truth = [0.86 - 0.02 * (place - 0.6) ** 2 for [place] in points]
    scores = [true + random.normal(0, 0.002) for true in truth]
    means = selection.posterior_means(points, scores, points)
    assert abs(points[int(np.argmax(means))][0] - 0.6) < 0.25
    errors = np.abs(np.subtract(means, truth))
    assert errors.mean() < 0.6 * np.abs(np.subtract(scores, truth)).mean()
    diverged = selection.posterior_means([*points, [1.0]], [*scores, 0.1], points)
    assert diverged[14] - diverged[0] > 0.002


def test_optimism_is_positive_where_the_search_flattered():
    search, rerank = (
        rows("search", {"a": [0.95], "b": [0.9]}),
        rows("rerank", {"a": [0.9], "b": [0.8]}),
    )
    table = pd.DataFrame(search + rerank + rows("confirm", {"a": [0.92, 0.90], "b": [0.1, 0.1]}))
    assert selection.optimism(table, "dropout", "decay", "val/accuracy", "a") == pytest.approx(0.04)
    losses = table.assign(**{"val/loss": 1 - table["val/accuracy"]})
    assert selection.optimism(losses, "dropout", "decay", "val/loss", "a") == pytest.approx(0.04)


def test_what_is_missing_is_refused():
    table = pd.DataFrame(rows("search", {"a": [0.95]}))
    with pytest.raises(ValueError, match="no search results of gaussian"):
        selection.search_ranking(table, "gaussian", "val/accuracy")
    with pytest.raises(ValueError, match="no rerank run of b"):
        selection.mean_score(table, "b", "rerank", "val/accuracy")
    with pytest.raises(ValueError, match="no confirm run of a"):
        selection.optimism(
            pd.DataFrame(rows("search", {"a": [1]}) + rows("rerank", {"a": [1]})),
            "dropout",
            "decay",
            "val/accuracy",
            "a",
        )
    with pytest.raises(ValueError, match="no search results of dropout under long"):
        selection.search_ranking(table, "dropout", "val/accuracy", "long")


def test_results_that_do_not_compare_are_refused():
    twice = pd.DataFrame(rows("search", {"a": [0.95]}) * 2)
    with pytest.raises(ValueError, match="a has seed 0 twice"):
        selection.search_ranking(twice, "dropout", "val/accuracy")
    mixed = pd.DataFrame(rows("search", {"a": [0.9]}) + rows("search", {"b": [0.9]}, recipe="long"))
    with pytest.raises(ValueError, match="several recipes: decay, long"):
        selection.search_ranking(mixed, "dropout", "val/accuracy")
    assert [
        row.arm for row in selection.search_ranking(mixed, "dropout", "val/accuracy", "long")
    ] == ["b"]
