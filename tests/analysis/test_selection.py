"""The rules that pick arms, on run tables small enough to check by hand."""

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


def test_the_tuned_arm_is_the_best_on_the_new_seeds_not_in_the_search():
    search = rows("search", {"a": [0.95], "b": [0.90], "c": [0.85]})
    rerank = rows("rerank", {"a": [0.88, 0.88], "b": [0.89, 0.91]})
    table = pd.DataFrame(search + rerank)
    assert selection.tuned_arm(table, "dropout", "decay", "val/accuracy") == "b"


def test_optimism_is_positive_where_the_search_flattered():
    search, rerank = (
        rows("search", {"a": [0.95], "b": [0.9]}),
        rows("rerank", {"a": [0.9], "b": [0.8]}),
    )
    table = pd.DataFrame(search + rerank + rows("confirm", {"a": [0.92, 0.90], "b": [0.1, 0.1]}))
    assert selection.optimism(table, "dropout", "decay", "val/accuracy") == pytest.approx(0.04)
    losses = table.assign(**{"val/loss": 1 - table["val/accuracy"]})
    assert selection.optimism(losses, "dropout", "decay", "val/loss") == pytest.approx(0.04)


def test_what_is_missing_is_refused():
    table = pd.DataFrame(rows("search", {"a": [0.95]}))
    with pytest.raises(ValueError, match="no search results of gaussian"):
        selection.search_ranking(table, "gaussian", "val/accuracy")
    with pytest.raises(ValueError, match="no rerank results of dropout under decay"):
        selection.tuned_arm(table, "dropout", "decay", "val/accuracy")
    with pytest.raises(ValueError, match="no confirm run of a"):
        selection.optimism(
            pd.DataFrame(rows("search", {"a": [1]}) + rows("rerank", {"a": [1]})),
            "dropout",
            "decay",
            "val/accuracy",
        )
    with pytest.raises(ValueError, match="no search results of dropout under long"):
        selection.search_ranking(table, "dropout", "val/accuracy", "long")


def test_results_that_do_not_compare_are_refused():
    twice = pd.DataFrame(rows("search", {"a": [0.95]}) * 2)
    with pytest.raises(ValueError, match="a has seed 0 twice"):
        selection.search_ranking(twice, "dropout", "val/accuracy")
    unequal = pd.DataFrame(rows("rerank", {"a": [0.9, 0.9], "b": [0.99]}))
    with pytest.raises(ValueError, match="do not share their seeds"):
        selection.tuned_arm(unequal, "dropout", "decay", "val/accuracy")
    mixed = pd.DataFrame(rows("search", {"a": [0.9]}) + rows("search", {"b": [0.9]}, recipe="long"))
    with pytest.raises(ValueError, match="several recipes: decay, long"):
        selection.search_ranking(mixed, "dropout", "val/accuracy")
    assert [
        row.arm for row in selection.search_ranking(mixed, "dropout", "val/accuracy", "long")
    ] == ["b"]
