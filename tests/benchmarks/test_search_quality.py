"""Simulated searches: a surface is recovered from noisy networks, and regret is measured on it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import search_quality
from benchmarks.search_quality import Surface, fit
from models.config import Arm
from study import search_space
from study.presets import SMALL

NOISE = 0.002


def truth(arm: Arm) -> float:
    """Highest at rates of 0.35 and no weight decay, away from the anchors."""
    rates = (arm.rate1 - 0.35) ** 2 + (arm.rate2 - 0.35) ** 2
    return 0.87 - (0.1 * rates if arm.noise == "dropout" else 0.0245) - 0.3 * arm.weight_decay


def surface(noise: str) -> Surface:
    random = np.random.default_rng(3)
    points = random.uniform(0, 1, (150, len(search_space.coordinates(noise))))
    arms = [search_space.to_arm(noise, point, SMALL, 0.5) for point in points]
    return fit(noise, arms, [truth(arm) + random.normal(0, NOISE) for arm in arms])


@pytest.fixture(scope="module")
def surfaces() -> dict[str, Surface]:
    return {noise: surface(noise) for noise in ("none", "dropout")}


def test_a_surface_is_recovered_from_noisy_networks(surfaces: dict[str, Surface]) -> None:
    found = surfaces["dropout"]
    assert found.sd == pytest.approx(NOISE, rel=0.25) and found.networks == 150
    arms = [SMALL.arm("dropout", rate, rate, 0.0) for rate in (0.05, 0.35, 0.45)]
    assert found.truth(arms) == pytest.approx([truth(arm) for arm in arms], abs=0.002)
    assert found.best == pytest.approx(0.87, abs=0.002)


def test_regret_is_what_the_pick_loses_and_the_new_search_loses_less(
    surfaces: dict[str, Surface],
) -> None:
    lost = search_quality.regrets(surfaces["dropout"], surfaces["none"], 12)
    assert all(len(values) == 12 and values.min() > -0.01 for values in lost.values())
    assert np.median(lost["new"]) < np.median(lost["five TPE trials"])
    again = search_quality.regrets(surfaces["dropout"], surfaces["none"], 3)
    assert again["new"].tolist() == lost["new"][:3].tolist()
