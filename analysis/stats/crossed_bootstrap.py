"""Intervals over seeds and test images: how much of the uncertainty is the finite test set.

Every network of a contrast is scored on the same images, so seeds and images are crossed: an
interval over seeds alone speaks of these 10,000 images only. Both are resampled here,
independently, and all arms jointly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache

import numpy as np
from scipy import stats as st

from analysis.stats.paired import RESAMPLING_SEED
from analysis.stats.results import ContrastAnswer
from analysis.store.reader import ImageScores

RESAMPLES = 2_000
SCORES = {"test/accuracy": "correct", "test/loss": "nll"}
"""Metric -> what is kept of it for each image; its mean over the images is the metric."""

BLOCK = 500  # seeds whose images are held at once: thousands in float32 would fill the memory

Interval = tuple[float, float]


def intervals(
    contrasts: Iterable[ContrastAnswer],
    arms: Mapping[str, Mapping[str, str]],
    images: Mapping[str, ImageScores],
    level: float = 0.95,
) -> dict[tuple[str, str, str], Interval]:
    """Return the crossed interval of each contrast whose arms have scores of single images.

    Args:
        contrasts: answered.
        arms: recipe -> arm label -> arm name.
        images: arm name -> its networks' scores on each test image.

    Returns:
        Identity of a contrast -> its interval in the metric's unit.
    """
    crossed = {}
    for answered in contrasts:
        contrast = answered.contrast
        seeds = list(answered.estimate.differences.index)
        terms = []
        for label, metric, weight in contrast.terms:
            arm = images.get(arms[contrast.recipe][label])
            if arm and set(seeds) <= set(arm.seeds) and metric == contrast.metric in SCORES:
                terms.append((arm, weight))
        if len(terms) == len(contrast.terms):
            blocks = _differences(terms, SCORES[contrast.metric], seeds)
            crossed[contrast.identity] = pigeonhole(blocks, level)
    return crossed


def pigeonhole(blocks: Iterable[np.ndarray], level: float = 0.95) -> Interval:
    """Interval of the mean: its standard error by resampling seeds and images independently, times
    Student's t of the seeds.

    For crossed effects that standard error errs on the large side. Where all images agree, this is
    the paired t's interval, up to the resampling; a percentile interval would be narrower, and its
    ends at a high level would be those of a few resamples.

    Args:
        blocks: differences (seeds, images), some seeds at a time; two seeds at least.
        level: of confidence.

    Source: Owen 2007, The pigeonhole bootstrap.
    """
    over_images = []
    total = 0.0
    images = 0
    for block in blocks:
        images = block.shape[1]
        total += float(block.sum(dtype=float))
        over_images.append(block.astype(np.float32) @ _image_counts(images))
    sums = np.concatenate(over_images)  # (seeds, resamples of the images)
    seeds = len(sums)
    means = np.einsum("rs,sr->r", _seed_counts(seeds), sums) / (seeds * images)
    # Resampled seeds spread by (n - 1) / n less than their variance with ddof = 1.
    error = float(means.std()) * math.sqrt(seeds / (seeds - 1))
    mean, reach = total / (seeds * images), float(st.t.ppf((1 + level) / 2, seeds - 1)) * error
    return mean - reach, mean + reach


def _differences(
    terms: list[tuple[ImageScores, float]], score: str, seeds: list[int]
) -> Iterator[np.ndarray]:
    for start in range(0, len(seeds), BLOCK):
        block = seeds[start : start + BLOCK]
        yield np.sum([np.float32(weight) * arm.of(score, block) for arm, weight in terms], axis=0)


@lru_cache(maxsize=2)
def _seed_counts(seeds: int) -> np.ndarray:
    """How often each resample takes each seed, (resamples, seeds), shared by all contrasts."""
    rng = np.random.default_rng(RESAMPLING_SEED)
    return rng.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES)


@cache
def _image_counts(images: int) -> np.ndarray:
    """How often each resample takes each image, (images, resamples), shared by all contrasts."""
    rng = np.random.default_rng(RESAMPLING_SEED + 1)
    draws = (rng.integers(0, images, images) for _ in range(RESAMPLES))
    counts = [np.bincount(draw, minlength=images) for draw in draws]
    return np.stack(counts, axis=1).astype(np.float32)
