"""How much of a contrast's uncertainty is the finite test set: seeds and test images resampled together.

Every network of a contrast is scored on the same images, so seeds and images are crossed: an interval over seeds alone
speaks of these 10,000 images only. Both are resampled here, independently, and all arms jointly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

import numpy as np

from analysis.answers import ContrastAnswer
from analysis.runs import ImageScores
from analysis.stats import RESAMPLING_SEED

RESAMPLES = 2_000
SCORES = {"test/accuracy": "correct", "test/loss": "nll"}
"""Metric -> what of it is kept of each image; their mean over the images is the metric."""

Interval = tuple[float, float]


def intervals(
    contrasts: Iterable[ContrastAnswer], arms: Mapping[str, Mapping[str, str]], images: Mapping[str, ImageScores]
) -> dict[tuple[str, str, str], Interval]:
    """The crossed interval of each contrast whose arms have scores of single images.

    Args:
        contrasts: answered.
        arms: recipe -> arm label -> arm name.
        images: arm name -> its networks' scores on each test image.

    Returns:
        (name, recipe, metric) of a contrast -> its 95 % interval in the metric's unit.
    """
    found = {}
    for one in contrasts:
        contrast, seeds = one.contrast, list(one.estimate.differences.index)
        terms = [(arms[contrast.recipe][label], metric, weight) for label, metric, weight in contrast.terms]
        known = all(arm in images and set(seeds) <= set(images[arm].seeds) for arm, _, _ in terms)
        if not known or any(metric not in SCORES or metric != contrast.metric for _, metric, _ in terms):
            continue
        parts = [np.float32(weight) * images[arm].of(SCORES[metric], seeds) for arm, metric, weight in terms]
        found[contrast.name, contrast.recipe, contrast.metric] = pigeonhole(np.sum(parts, axis=0))
    return found


def pigeonhole(differences: np.ndarray, level: float = 0.95) -> Interval:
    """Percentile interval of the mean of (seeds, images), rows and columns resampled independently.

    Source: Owen 2007, The pigeonhole bootstrap; for crossed effects its variance errs on the large side. A percentile
    interval over n seeds is narrower than the paired t's by about sqrt((n - 1) / n) and the t's heavier tail.
    """
    seeds, images = differences.shape
    rows = np.random.default_rng(RESAMPLING_SEED).multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES)
    over_images = differences.astype(np.float32) @ _image_counts(images)  # (seeds, resamples)
    means = np.einsum("rs,sr->r", rows, over_images) / (seeds * images)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@cache
def _image_counts(images: int) -> np.ndarray:
    """How often each resample takes each image: (images, resamples), the same for all contrasts of a report."""
    rng = np.random.default_rng(RESAMPLING_SEED + 1)
    draws = (rng.integers(0, images, images) for _ in range(RESAMPLES))
    return np.stack([np.bincount(draw, minlength=images) for draw in draws], axis=1).astype(np.float32)
