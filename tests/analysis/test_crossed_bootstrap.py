"""The interval over seeds and test images: as wide as the variance of crossed effects says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats as st

from analysis.schema import Contrast
from analysis.stats import crossed_bootstrap, paired
from analysis.stats.results import ContrastAnswer
from analysis.store.reader import ImageScores

SEEDS, IMAGES = 20, 500


def effects(rng: np.random.Generator, of_seed: float, of_image: float, rest: float) -> np.ndarray:
    """Crossed random effects with mean 0: (seeds, images)."""
    seed, image = rng.normal(0, of_seed, (SEEDS, 1)), rng.normal(0, of_image, (1, IMAGES))
    return seed + image + rng.normal(0, rest, (SEEDS, IMAGES))


@pytest.mark.parametrize(("of_seed", "of_image"), [(1.0, 0.0), (0.0, 5.0), (1.0, 5.0)])
def test_the_width_is_that_of_both_sources(of_seed: float, of_image: float) -> None:
    """Var = s_seed^2 / seeds + s_image^2 / images, over which the widths of 30 data sets
    average."""
    rng = np.random.default_rng(7)
    widths = [
        np.diff(crossed_bootstrap.pigeonhole([effects(rng, of_seed, of_image, 0.1)]))[0]
        for _ in range(30)
    ]
    expected = 2 * st.t.ppf(0.975, SEEDS - 1) * np.sqrt(of_seed**2 / SEEDS + of_image**2 / IMAGES)
    assert np.mean(widths) == pytest.approx(expected, rel=0.08)


def test_it_covers_the_mean_of_a_population_of_seeds_and_images() -> None:
    rng = np.random.default_rng(8)
    covered = 0
    for _ in range(200):
        low, high = crossed_bootstrap.pigeonhole([effects(rng, 1.0, 5.0, 1.0)])
        covered += low <= 0 <= high
    assert 182 <= covered <= 199  # 91 to 99.5 %


@pytest.mark.parametrize("level", [0.9, 0.95, 0.999])
def test_where_all_images_agree_it_is_the_paired_t_interval(level: float) -> None:
    """At every level: its ends are not those of a few resamples."""
    of_seed = np.random.default_rng(5).normal(0.001, 0.003, 8)
    blocks = [np.tile(of_seed[:, None], (1, IMAGES))]
    found = crossed_bootstrap.pigeonhole(blocks, level)
    assert found == pytest.approx(paired.interval(pd.Series(of_seed), level), rel=0.06)


def test_a_contrast_is_made_of_its_arms_images_paired_by_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seeds may stand in any order, and an arm may have more of them."""
    rng = np.random.default_rng(9)
    correct = {"a": rng.random((3, IMAGES)) < 0.9, "b": rng.random((4, IMAGES)) < 0.8}
    images = {
        "arm a": ImageScores((3, 1, 2), np.zeros((3, IMAGES), np.float16), correct["a"]),
        "arm b": ImageScores((1, 2, 3, 4), np.zeros((4, IMAGES), np.float16), correct["b"]),
    }
    contrast = Contrast("a - b", "decay", "test/accuracy", {"A": 1.0, "B": -1.0}, 0.002)
    other = Contrast(
        "a, measured - b", "decay", "test/accuracy", {"A:test/accuracy_mc1": 1.0, "B": -1.0}, 0.002
    )
    difference = correct["a"][[1, 2, 0]].astype(float) - correct["b"][:3]
    estimate = paired.estimate(pd.Series(difference.mean(axis=1), index=[1, 2, 3]), 0.002, 0.05)
    answers = [ContrastAnswer(one, estimate, ()) for one in (contrast, other)]
    found = crossed_bootstrap.intervals(answers, {"decay": {"A": "arm a", "B": "arm b"}}, images)
    assert found == {
        ("a - b", "decay", "test/accuracy"): crossed_bootstrap.pigeonhole([difference])
    }
    monkeypatch.setattr(
        crossed_bootstrap, "BLOCK", 2
    )  # as many seeds at once: what thousands of them need
    in_blocks = crossed_bootstrap.intervals(
        answers[:1], {"decay": {"A": "arm a", "B": "arm b"}}, images
    )
    assert list(in_blocks.values()) == [pytest.approx(interval) for interval in found.values()]
    low, high = found["a - b", "decay", "test/accuracy"]
    assert low < estimate.mean < high
