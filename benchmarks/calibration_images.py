"""Do the intervals over seeds and images keep what they promise? A part of `benchmarks.calibration`.

Networks are simulated image by image: whether a network is right about an image depends on the
image, on the arm, on how the two get on, on the seed, and on chance. Seeds and images are drawn
anew in each repetition, and the true accuracy is known in closed form.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats as st

from analysis.questions.base import tuned_label
from analysis.questions.beat_dropout import DROPOUT, NONE, comparisons, upper_bounds
from analysis.schema import Contrast
from analysis.stats import crossed_bootstrap, paired
from analysis.stats.results import ContrastAnswer, Estimate
from analysis.store.image_scores import ImageScores

RECIPE = SimpleNamespace(name="small")
IMAGES = 2_000
ACCURACY = {NONE: 0.86, DROPOUT: 0.866, "first": 0.868, "second": 0.868, "third": 0.863}
"""True accuracy of the arms; two of the three candidates gain as much over dropout."""
OF_IMAGE, OF_ARM, OF_SEED = 2.0, 0.5, 0.02
"""SDs on the probit scale, where what is left has 1: an image's difficulty, that of an image for an
arm, and an arm's luck with a seed."""


class Shares(NamedTuple):
    """How often an interval held the truth, over all contrasts; and the bounds, all at once."""

    of_seeds: float
    crossed: float
    bounds: float


def arm_means() -> dict[str, float]:
    """Return the mean of each arm on the probit scale."""
    spread = math.sqrt(OF_IMAGE**2 + OF_ARM**2 + OF_SEED**2 + 1)
    return {label: spread * float(st.norm.ppf(share)) for label, share in ACCURACY.items()}


def networks(seeds: int, rng: np.random.Generator) -> dict[str, ImageScores]:
    """Return the scores of each arm's networks on fresh images."""
    of_image = OF_IMAGE * rng.standard_normal(IMAGES, dtype=np.float32)
    scores = {}
    for label, mean in arm_means().items():
        of_arm = OF_ARM * rng.standard_normal(IMAGES, dtype=np.float32)
        of_seed = OF_SEED * rng.standard_normal((seeds, 1), dtype=np.float32)
        rest = rng.standard_normal((seeds, IMAGES), dtype=np.float32)
        correct = np.float32(mean) + of_image + of_arm + of_seed + rest > 0
        scores[label] = ImageScores(tuple(range(seeds)), np.zeros((0, IMAGES)), correct)
    return scores


def contrasts() -> list[Contrast]:
    """Return what beat-dropout declares for the three candidates."""
    names = [label for label in ACCURACY if label not in (NONE, DROPOUT)]
    declared: list[Any] = comparisons(names, RECIPE)
    return [
        Contrast(
            key=one.key,
            name=one.key,
            recipe=RECIPE.name,
            metric="test/accuracy",
            coefficients=one.coefficients,
            margin=0.002,
            candidate=one.candidate,
        )
        for one in declared
    ]


def shares(seeds: int, repetitions: int, rng: np.random.Generator) -> Shares:
    """Simulate, and count how often the truth lies in the study's intervals and below its bounds."""
    declared = contrasts()
    of_label = {tuned_label(name): name for name in ACCURACY} | {NONE: NONE, DROPOUT: DROPOUT}
    arms = {RECIPE.name: of_label}
    of_seeds, crossed, bounds = [], [], []
    for _ in range(repetitions):
        images = networks(seeds, rng)
        answers = [_answered(one, images, of_label) for one in declared]
        over_images = crossed_bootstrap.intervals(answers, arms, images)
        for one in answers:
            true = _true(one.contrast, of_label)
            low, high = paired.interval(one.estimate.differences)
            of_seeds.append(low <= true <= high)
            low, high = over_images[one.contrast.identity]
            crossed.append(low <= true <= high)
        evidence: Any = SimpleNamespace(arms=arms, images=images)
        of_candidates = upper_bounds(evidence, answers)
        gains: dict[str, list[float]] = {}
        for contrast in declared:
            gains.setdefault(contrast.candidate, []).append(_true(contrast, of_label))
        bounds.append(all(min(gains[name]) <= bound for name, bound in of_candidates.items()))
    return Shares(*(float(np.mean(events)) for events in (of_seeds, crossed, bounds)))


def _answered(
    contrast: Contrast, images: Mapping[str, ImageScores], of_label: Mapping[str, str]
) -> ContrastAnswer:
    terms = contrast.coefficients.items()
    parts = [weight * images[of_label[label]].correct.mean(axis=1) for label, weight in terms]
    differences = pd.Series(sum(parts))
    rest = dict.fromkeys(set(Estimate.__dataclass_fields__) - {"differences", "n"}, math.nan)
    estimate = Estimate(differences=differences, n=len(differences), **rest)  # type: ignore[arg-type]
    return ContrastAnswer(contrast, estimate, ())


def _true(contrast: Contrast, of_label: Mapping[str, str]) -> float:
    return sum(
        weight * ACCURACY[of_label[label]] for label, weight in contrast.coefficients.items()
    )
