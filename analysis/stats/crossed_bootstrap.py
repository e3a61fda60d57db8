"""How much of a contrast's uncertainty is the finite test set: seeds and test images resampled
together.

Every network of a contrast is scored on the same images, so seeds and images are crossed: an
interval over seeds alone speaks of these 10,000 images only. Both are resampled here,
independently, and all arms jointly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, lru_cache

import numpy as np

from analysis.stats.paired import RESAMPLING_SEED
from analysis.stats.results import ContrastAnswer
from analysis.store.reader import ImageScores

RESAMPLES = 2_000
SCORES = {"test/accuracy": "correct", "test/loss": "nll"}
"""Metric -> what of it is kept of each image; their mean over the images is the metric."""

BLOCK = 500
"""Seeds whose images are held at once: thousands of them in float32 would fill the memory."""

Interval = tuple[float, float]


def intervals(
    contrasts: Iterable[ContrastAnswer],
    arms: Mapping[str, Mapping[str, str]],
    images: Mapping[str, ImageScores],
) -> dict[tuple[str, str, str], Interval]:
    """The crossed interval of each contrast whose arms have scores of single images.

    Args:
        contrasts: answered.
        arms: recipe -> arm label -> arm name.
        images: arm name -> its networks' scores on each test image.

    Returns:
        Identity of a contrast -> its 95 % interval in the metric's unit.
    """
    crossed = {}
    for answer in contrasts:
        contrast = answer.contrast
        seeds = list(answer.estimate.differences.index)
        terms = []
        for label, metric, weight in contrast.terms:
            arm = images.get(arms[contrast.recipe][label])
            if arm and set(seeds) <= set(arm.seeds) and metric == contrast.metric in SCORES:
                terms.append((arm, np.float32(weight)))
        if len(terms) < len(contrast.terms):
            continue
        over_images = []
        for start in range(0, len(seeds), BLOCK):
            block = seeds[start : start + BLOCK]
            parts = [weight * arm.of(SCORES[contrast.metric], block) for arm, weight in terms]
            over_images.append(_over_images(np.sum(parts, axis=0)))
        image_count = terms[0][0].nll.shape[1]
        crossed[contrast.identity] = _over_seeds(np.concatenate(over_images), image_count)
    return crossed


def pigeonhole(differences: np.ndarray, level: float = 0.95) -> Interval:
    """Percentile interval of the mean of (seeds, images), rows and columns resampled independently.

    Source: Owen 2007, The pigeonhole bootstrap; for crossed effects its variance errs on the large
    side. A percentile interval over n seeds is narrower than the paired t's by about sqrt((n - 1) /
    n) and the t's heavier tail.
    """
    return _over_seeds(_over_images(differences), differences.shape[1], level)


def _over_images(differences: np.ndarray) -> np.ndarray:
    """The sums over each resample of the images: (seeds, images) -> (seeds, resamples)."""
    return differences.astype(np.float32) @ _image_counts(differences.shape[1])


def _over_seeds(over_images: np.ndarray, images: int, level: float = 0.95) -> Interval:
    seeds = len(over_images)
    means = np.einsum("rs,sr->r", _seed_counts(seeds), over_images) / (seeds * images)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@lru_cache(maxsize=2)
def _seed_counts(seeds: int) -> np.ndarray:
    """Return how often each resample takes each seed: (resamples, seeds), the same for all
    contrasts of so many."""
    return np.random.default_rng(RESAMPLING_SEED).multinomial(
        seeds, np.full(seeds, 1 / seeds), RESAMPLES
    )


@cache
def _image_counts(images: int) -> np.ndarray:
    """Return how often each resample takes each image: (images, resamples), the same for all
    contrasts of a report."""
    rng = np.random.default_rng(RESAMPLING_SEED + 1)
    draws = (rng.integers(0, images, images) for _ in range(RESAMPLES))
    return np.stack([np.bincount(draw, minlength=images) for draw in draws], axis=1).astype(
        np.float32
    )
